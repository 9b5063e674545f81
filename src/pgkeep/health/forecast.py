"""What will be: how long a restore takes, when a repository is full, what is late. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import combinations, pairwise
from statistics import median
from typing import Final, NamedTuple

from pgkeep.config.service import ScheduleConfig
from pgkeep.model.backup import Backup
from pgkeep.repository.drills.rates import GUESSED_REPLAY, GUESSED_RESTORE
from pgkeep.repository.drills.report import Measures
from pgkeep.schedule.times import newest_until, next_after
from pgkeep.schedule.windows import ends_at, parse_windows
from pgkeep.schedule.words import parse_times

_GRACE: Final = timedelta(hours=2)  # for a job that is due to be done
_ENOUGH: Final = 4  # backups that make a rhythm
_RECENT: Final = timedelta(days=30)  # of which growth is taken
_LEAST: Final = timedelta(days=2)  # of backups or sizes, before anything can be said of growth
# Of sizes: two of every weekly round of full backups and expiry, and soon over a change of policy.
WEIGHED: Final = timedelta(days=14)
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


class Sample(NamedTuple):
    """What was stored of a cluster in a repository at a moment, and what was free there."""

    at: float  # seconds since 1970
    size: int
    free: int | None  # None: the store does not tell


def slope(points: Sequence[tuple[float, int]]) -> float:
    """Return the median of the slopes between all pairs of points (Theil-Sen).

    What is out of line for a while moves it little: a backup before what it replaces has expired.
    """
    steps = [(y - x) / (b - a) for (a, x), (b, y) in combinations(points, 2) if a != b]
    return median(steps) if steps else 0.0


def spans(samples: Sequence[Sample]) -> bool:
    """Tell whether samples, the oldest first, are enough to say anything."""
    return bool(samples) and samples[-1].at - samples[0].at >= _LEAST.total_seconds()


def weighed_growth_per_s(samples: Sequence[Sample], now: datetime) -> float | None:
    """Return by how many bytes a second what is stored grew of late; None: too few samples."""
    recent = _recent(samples, now)
    return slope([(one.at, one.size) for one in recent]) if spans(recent) else None


def filling_per_s(samples: Sequence[Sample], now: datetime) -> float | None:
    """Return by how many bytes a second room is taken, by this cluster or whoever is there too.

    None: too few samples. Where more room was given, what is stored tells alone.
    """
    growth = weighed_growth_per_s(samples, now)
    room = [(one.at, -one.free) for one in _recent(samples, now) if one.free is not None]
    return growth if growth is None else max(growth, slope(room))


def _recent(samples: Sequence[Sample], now: datetime) -> list[Sample]:
    """Leave out what a clock that was wrong has written, too."""
    begins, ends = (now - WEIGHED).timestamp(), now.timestamp()
    return [one for one in samples if begins <= one.at <= ends]


def full_at(free: int | None, growth: float | None, now: datetime) -> datetime | None:
    """Return when nothing is free any more; None: never, or not within ten years."""
    if free is None or growth is None or growth <= 0 or free / growth > 10 * 365 * 86400:
        return None
    return now + timedelta(seconds=free / growth)
