"""What will be: how long a restore takes, when a repository is full, what is late. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from pgkeep.config.service import ScheduleConfig
from pgkeep.model.backup import Backup
from pgkeep.repository.drills.report import Measures
from pgkeep.schedule.times import newest_until, next_after
from pgkeep.schedule.windows import ends_at, parse_windows
from pgkeep.schedule.words import parse_times

# Bytes a second, for who has not measured: half of what one core did on one disk (benchmarks.md).
GUESSED_RESTORE: Final = 100e6
GUESSED_REPLAY: Final = 30e6
_GRACE: Final = timedelta(hours=2)  # for a job that is due to be done
_ENOUGH: Final = 4  # backups that make a rhythm
_RECENT: Final = timedelta(days=30)  # of which growth is taken
_LEAST: Final = timedelta(days=2)  # of backups, before anything can be said of growth
_COUNTED: Final = 10  # missed times: more say no more


class RestoreTime(NamedTuple):
    """How long a restore to the newest moment will take."""

    seconds: float
    measured: bool  # False: by rates that nobody has measured here


def restore_time(size: int, wal: int, drill: Measures | None) -> RestoreTime:
    """Estimate a restore of `size` bytes and a replay of `wal` bytes by the newest drill."""
    restore, replay, rest, measured = GUESSED_RESTORE, GUESSED_REPLAY, 0.0, False
    if drill is not None:
        if drill.restore_s and drill.restored_bytes:
            restore, measured = drill.restored_bytes / drill.restore_s, True
        # A few segments tell nothing of the rate: most of their time is the server's start.
        if drill.recovery_s and drill.wal_bytes > 1 << 30:
            replay = drill.wal_bytes / drill.recovery_s
        if drill.ready_s is not None:
            rest = max(0.0, drill.ready_s - (drill.restore_s or 0) - (drill.recovery_s or 0))
    return RestoreTime(size / restore + wal / replay + rest, measured)


def wal_between(backups: Sequence[Backup]) -> int | None:
    """Return how much WAL usually comes from one backup to the next; None: too few to tell."""
    if len(backups) < _ENOUGH:
        return None
    steps = [b.start_lsn - a.start_lsn for a, b in pairwise(backups[-9:])]
    return int(median(steps))


class Late(NamedTuple):
    """What should be there and is not."""

    since: datetime  # when the first of what is missing was due
    missed: int  # how many times it was due
    why: str


def late(
    times: str, schedule: ScheduleConfig, done: Sequence[datetime], now: datetime, zone: tzinfo
) -> Late | None:
    """Say whether something that was `done` at these moments, oldest first, is late.

    By its schedule; without one by its own rhythm, which is how those notice who run it by cron.
    """
    if times.strip():
        return _late_by_schedule(times, schedule, done, now, zone)
    return _late_by_rhythm(done, now)


def _late_by_schedule(
    times: str, schedule: ScheduleConfig, done: Sequence[datetime], now: datetime, zone: tzinfo
) -> Late | None:
    if not done:
        return None  # never protected: told of by itself
    wanted = parse_times(times)
    windows = parse_windows(schedule.not_during)
    jitter = timedelta(seconds=schedule.jitter)
    due = newest_until(wanted, done[-1], now - _GRACE - jitter, zone)
    if due is None or ends_at(windows, due + jitter, zone) + _GRACE > now:
        return None
    first = next_after(wanted, done[-1], zone)
    missed, moment = 0, first
    while moment is not None and moment <= due and missed < _COUNTED:
        missed += 1
        moment = next_after(wanted, moment, zone)
    return Late(first or due, missed, f"it is due {times}")


def _late_by_rhythm(done: Sequence[datetime], now: datetime) -> Late | None:
    if len(done) < _ENOUGH:
        return None
    recent = done[-9:]
    usual = timedelta(seconds=median((b - a).total_seconds() for a, b in pairwise(recent)))
    if usual <= timedelta(0) or now - done[-1] < max(2 * usual, usual + _GRACE):
        return None
    missed = min(_COUNTED, int((now - done[-1]) / usual))
    hours = usual.total_seconds() / 3600
    return Late(done[-1] + usual, missed, f"one came every {hours:.1f} hours before")


class Stored(NamedTuple):
    """A file in a repository."""

    at: float  # seconds since 1970, by the store's clock
    size: int


def growth_per_s(backups: Sequence[Backup], wal: Iterable[Stored], now: datetime) -> float | None:
    """Return by how many bytes a second a repository grows; None: too young to tell.

    Only of one that lets nothing go yet: for what expires, nobody can tell from its backups.
    """
    recent = [backup for backup in backups if now - backup.stopped_at <= _RECENT]
    if len(recent) < 2 or now - recent[0].started_at < _LEAST:
        return None
    # From the first on: its own size is what was there, not what came.
    since = recent[0].stopped_at
    came = sum(backup.stored for backup in recent[1:])
    came += sum(file.size for file in wal if file.at > since.timestamp())
    return came / (now - since).total_seconds()


def full_at(free: int | None, growth: float | None, now: datetime) -> datetime | None:
    """Return when nothing is free any more; None: never, or not within ten years."""
    if free is None or growth is None or growth <= 0 or free / growth > 10 * 365 * 86400:
        return None
    return now + timedelta(seconds=free / growth)
