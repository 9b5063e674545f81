"""Which jobs are due: entries of a schedule, what became of them before, and the clock. Pure.

- However often an entry was due while nothing could run, it runs once.
- What is still running is never started a second time.
- What was due before the service started is caught up with, or passed over, as the entry wants.
- Jitter is the same for a job every time, so that the gap between two backups stays what it says.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from pgkeep.schedule.times import newest_until, next_after
from pgkeep.schedule.windows import Windows, ends_at
from pgkeep.schedule.words import Times

# A record that is further ahead of the clock than this was written while the clock was wrong.
_AHEAD: Final = timedelta(days=1)


class Key(NamedTuple):
    """What tells entries apart."""

    cluster: str
    kind: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a cluster's schedule."""

    cluster: str
    kind: str  # 'backup', 'dump', ...
    words: tuple[str, ...]  # of the command
    times: Times
    zone: tzinfo
    jitter_s: float = 0.0
    not_during: Windows = ()
    catch_up: bool = True
    time_limit_s: float = 86400.0

    @property
    def key(self) -> Key:
        return Key(self.cluster, self.kind)

    @property
    def delay(self) -> timedelta:
        """Return this entry's own share of the jitter: the same at each time."""
        drawn = blake2b(f"{self.cluster}\0{self.kind}".encode(), digest_size=8).digest()
        return timedelta(seconds=self.jitter_s * int.from_bytes(drawn) / 2**64)

    def start_of(self, due_at: datetime) -> datetime:
        """Return when a job that is due starts: later by its jitter, and after its windows."""
        return ends_at(self.not_during, due_at + self.delay, self.zone)


@dataclass(frozen=True, slots=True)
class Due:
    """A job to start now."""

    entry: Entry
    due_at: datetime
    by: str  # 'schedule', or 'catch-up' for what was due before the service was there


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    start: tuple[Due, ...]  # the longest overdue first
    passed_over: tuple[Due, ...]  # was missed and will not be made up for: to be recorded as done
    look_again: datetime | None  # when the next one may be due, but for those that are busy


def decide(
    entries: Sequence[Entry],
    settled: Mapping[Key, datetime],
    busy: Collection[Key],
    there_since: datetime,
    now: datetime,
) -> Decision:
    """Say what starts at `now`.

    `settled`: by entry, the newest due moment that was started or passed over; of an entry that is
    not in it nothing counts as missed. `busy`: the entries whose job has not ended.
    `there_since`: when the service started.
    """
    start: list[Due] = []
    passed: list[Due] = []
    later: list[datetime] = []
    for entry in entries:
        if entry.key in busy:
            continue
        since = _since(entry, settled, there_since, now)
        come = now - entry.delay  # what was due by then, its jitter has passed
        first = _first_after(entry.times, since, entry.zone)
        if first is None:
            continue
        if first > come:
            later.append(entry.start_of(first))
            continue
        following = next_after(entry.times, come, entry.zone)
        if following is not None:
            later.append(entry.start_of(following))
        due_at = newest_until(entry.times, since, come, entry.zone)
        if due_at is None:
            continue
        missed = due_at + entry.delay < there_since
        found = Due(entry, due_at, "catch-up" if missed else "schedule")
        if missed and not entry.catch_up:
            passed.append(found)
            continue
        starts_at = ends_at(entry.not_during, now, entry.zone)
        if starts_at <= now:
            start.append(found)
        else:
            later.append(starts_at)
    start.sort(key=lambda due: (due.due_at, due.entry.key))
    return Decision(tuple(start), tuple(passed), min(later, default=None))


def newly_timed(
    before: Sequence[Entry],
    after: Sequence[Entry],
    settled: Mapping[Key, datetime],
    there_since: datetime,
    now: datetime,
) -> list[Entry]:
    """Return the entries that count from now on, as one config takes another's place.

    Those that are new, and those with other times unless they are overdue by the old ones. A backup
    that is moved to 10:00 at noon waits for tomorrow.
    """
    old = {entry.key: entry for entry in before}
    found = []
    for entry in after:
        was = old.get(entry.key)
        if was is not None and (was.times, was.zone) == (entry.times, entry.zone):
            continue
        since = _since(entry, settled, there_since, now)
        first = _first_after(was.times, since, was.zone) if was is not None else None
        if was is None or first is None or first > now - was.delay:
            found.append(entry)
    return found


# Most entries are not due, and of each the same is asked until it is: with 1,000 clusters the
# calendar's sums would take seconds, every ten seconds.
_first_after = lru_cache(maxsize=1 << 14)(next_after)


def upcoming(entries: Sequence[Entry], now: datetime) -> list[tuple[datetime, Entry]]:
    """Return when each entry starts next, the soonest first."""
    found = [
        (entry.start_of(moment), entry)
        for entry in entries
        # What is due already and waits for its jitter comes, too.
        if (moment := next_after(entry.times, now - entry.delay, entry.zone)) is not None
    ]
    return sorted(found, key=lambda pair: (pair[0], pair[1].key))


def _since(
    entry: Entry, settled: Mapping[Key, datetime], there_since: datetime, now: datetime
) -> datetime:
    last = settled.get(entry.key)
    if last is None or last > now + _AHEAD:
        return min(there_since, now).astimezone(UTC)
    return last.astimezone(UTC)
