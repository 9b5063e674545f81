"""Where in the archived WAL a target lies: at which record PostgreSQL will stop.

The rules are those of xlogrecovery.c, recoveryStopsBefore and recoveryStopsAfter: a time stops
before the first commit or abort that is later, a position is compared with where records start, a
restore point is the first of its name. Times are searched by bisection, so that not the whole
archive is read; they are not strictly in order, so the neighbourhood is read as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from pgkeep.model.coverage import Reach, TimelineCoverage, segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import AtLsn, AtName, AtTime, AtXid, Immediate, Latest, RecoveryTarget
from pgkeep.restore.target.found import Change, Damage, Search, StopPoint, moment

_FEW: Final = 16  # segments that are read one by one rather than by bisection
_NEAR: Final = 4  # segments on either side in which a clock's step is looked for
_HALF: Final = 1 << 31  # transaction ids are compared on a circle of 2^32


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A named restore point on record."""

    lsn: Lsn
    name: str
    time: datetime


class Wal(Protocol):
    """What the search needs of archived WAL. Raises SegmentUnusable, and what a store raises."""

    def changes(self, segment: Segment) -> Sequence[Change]:
        """Return the commits and aborts that start in a segment, by position."""
        ...

    def points(self, segment: Segment) -> Sequence[RestorePoint]:
        """Return the restore points that start in a segment, by position."""
        ...

    def first_record(self, segment: Segment, lsn: Lsn) -> Lsn | None:
        """Return where the first record at or after `lsn` starts; None: in none of this segment."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """Archived WAL without a gap that recovery from one backup would replay."""

    line: TimelineCoverage
    segment_size: int
    start: Lsn  # the backup's start: replay begins here, and stops at nothing before
    end: Lsn

    @property
    def numbers(self) -> range:
        return range(self.start // self.segment_size, self.end // self.segment_size)

    def segment(self, number: int) -> Segment:
        return segment_on(self.line.history, number, self.segment_size)


class SegmentUnusable(Exception):
    """Archived WAL that cannot be read, and never will be; `locate` stops before it."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(damage.why)
        self.damage: Final = damage


def locate(recovery: RecoveryTarget, stretches: Sequence[Stretch], wal: Wal) -> Search:
    """Find the target in the stretches of the backups that may reach it, the oldest first.

    WAL is taken to end before a damaged segment: what lies before it can be restored all the same.
    Raise what reading the archive raises else: a store that fails would stop recovery as well.
    """
    damage: Damage | None = None
    while True:
        try:
            found = _search(recovery, stretches, wal)
            if found.stop is not None:
                _look_behind(found.stop, stretches, wal)
        except SegmentUnusable as unusable:
            damage = unusable.damage
            shorter = [_before(damage, stretch) for stretch in stretches]
            if shorter == stretches:
                raise
            stretches = shorter
        else:
            return replace(found, damage=damage)


def _before(damage: Damage, stretch: Stretch) -> Stretch:
    """Return what is left of a stretch before the damage; one that begins behind it is whole."""
    segment = damage.segment
    if segment.number not in stretch.numbers:
        return stretch
    return replace(stretch, end=segment.start)


def _look_behind(stop: StopPoint, stretches: Sequence[Stretch], wal: Wal) -> None:
    """Read the segment behind the target's: a recovering server asks for it in advance."""
    behind = stop.lsn // stretches[-1].segment_size + 1
    stretch = next((stretch for stretch in stretches if behind in stretch.numbers), None)
    if stretch is not None:
        wal.changes(stretch.segment(behind))


def _search(recovery: RecoveryTarget, stretches: Sequence[Stretch], wal: Wal) -> Search:
    if not stretches:
        return Search()
    newest = stretches[-1]
    match recovery.target:
        case Latest() | Immediate():
            return Search(newest=_newest(newest, wal))
        case AtTime(time):
            return _at_time(time, newest, wal, inclusive=recovery.inclusive)
        case AtLsn(lsn):
            return _at_lsn(lsn, newest, wal, inclusive=recovery.inclusive)
        case AtXid(xid):
            return _at_xid(xid & 0xFFFFFFFF, stretches, wal, inclusive=recovery.inclusive)
        case AtName(name):
            return _at_name(name, stretches, wal)


def stretches_of(
    line: TimelineCoverage, reaches: Sequence[Reach], starts: Callable[[Reach], Lsn], size: int
) -> tuple[Stretch, ...]:
    """Return the stretch of WAL behind each reach; `starts` tells where its backup began."""
    return tuple(Stretch(line, size, starts(reach), reach.end) for reach in reaches)


def _at_time(time: datetime, stretch: Stretch, wal: Wal, *, inclusive: bool) -> Search:
    def passes(change: Change) -> bool:
        return change.time > time if inclusive else change.time >= time

    numbers = stretch.numbers
    first = _first_number(numbers, stretch, wal, passes)
    # a clock that stepped: a change near by may pass although the ones after it don't
    low = numbers.start if len(numbers) <= _FEW else max(numbers.start, first - _NEAR)
    found = next((c for c in _changes(stretch, wal, low, numbers.stop) if passes(c)), None)
    if found is None:
        newest = _newest(stretch, wal)
        if newest and newest.time == time and inclusive:
            # all that is on record belongs to the result, up to this very change
            return Search(StopPoint(newest.lsn, True, str(newest), newest), newest)
        return Search(newest=newest)
    near = found.lsn // stretch.segment_size + 1 + _NEAR
    high = numbers.stop if len(numbers) <= _FEW else near
    late = [c for c in _changes(stretch, wal, low, high) if c.lsn > found.lsn and not passes(c)]
    warnings = (_clock_warning(found, late),) if late else ()
    last = _last_before(found.lsn, stretch, wal)
    return Search(StopPoint(found.lsn, False, str(found), last, warnings))


def _clock_warning(found: Change, late: Sequence[Change]) -> str:
    last = late[-1]
    return (
        f"the server's clock stepped back near the target: recovery stops before {found}, and "
        f"{len(late)} later transactions with earlier times, up to {last}, will be missing; to "
        f"have them too, restore --to lsn:{last.lsn}"
    )


def _first_number(
    numbers: range, stretch: Stretch, wal: Wal, passes: Callable[[Change], bool]
) -> int:
    """Return the first segment with a change that passes, were the changes in order."""
    low, high = numbers.start, numbers.stop
    if len(numbers) <= _FEW:
        return low
    while low < high:
        middle = (low + high) // 2
        number, changes = _next_changes(stretch, wal, middle, high)
        if not changes or passes(changes[-1]):
            high = middle
        else:
            low = number + 1
    return low


def _next_changes(
    stretch: Stretch, wal: Wal, number: int, end: int
) -> tuple[int, Sequence[Change]]:
    """Return the first segment from `number` on that has changes; an idle server's have none."""
    for candidate in range(number, end):
        changes = wal.changes(stretch.segment(candidate))
        if changes:
            return candidate, changes
    return end, ()


def _at_lsn(lsn: Lsn, stretch: Stretch, wal: Wal, *, inclusive: bool) -> Search:
    for number in range(lsn // stretch.segment_size, stretch.numbers.stop):
        segment = stretch.segment(number)
        record = wal.first_record(segment, Lsn(max(lsn, segment.start)))
        if record is None:
            continue
        change = next((c for c in wal.changes(segment) if c.lsn == record), None)
        what = str(change) if change else f"the first record at or after {lsn}"
        last = change if inclusive and change else _last_before(record, stretch, wal)
        return Search(StopPoint(record, inclusive, what, last))
    return Search(newest=_newest(stretch, wal))


def _at_xid(xid: int, stretches: Sequence[Stretch], wal: Wal, *, inclusive: bool) -> Search:
    """Find a transaction's end: it lies at or after the first end of an equal or younger one."""
    whole = stretches[0]

    def younger(change: Change) -> bool:
        return (change.xid - xid) % (2 * _HALF) < _HALF

    for stretch in _apart(stretches):
        numbers = stretch.numbers
        first = _first_number(numbers, stretch, wal, younger)
        # a long transaction ends among younger ones: the order is a rough one
        low = max(numbers.start, first - _NEAR)
        for change in _changes(stretch, wal, low, numbers.stop):
            if change.xid == xid:
                last = change if inclusive else _last_before(change.lsn, stretch, wal)
                return Search(StopPoint(change.lsn, inclusive, str(change), last))
    why = (
        "no end of this transaction is on record: it wrote nothing, is a part of another "
        "(a savepoint), is still open, or lies before the oldest backup"
    )
    return Search(newest=_newest(whole, wal), why=why)


def _at_name(name: str, stretches: Sequence[Stretch], wal: Wal) -> Search:
    """Find the first restore point of this name, seen from the newest backup that has one."""
    known: list[RestorePoint] = []
    beyond = stretches[-1].numbers.stop
    for stretch in reversed(stretches):
        window = range(stretch.numbers.start, min(beyond, stretch.numbers.stop))
        points = [
            point
            for number in window
            for point in wal.points(stretch.segment(number))
            if point.lsn >= stretch.start
        ]
        known = points + known
        same = [point for point in known if point.name == name]
        if same:
            return Search(_stop_at_point(same, stretch, wal))
        beyond = window.start
    near = ", ".join(f"{p.name} ({moment(p.time)})" for p in known[-3:])
    why = "no restore point of this name is on record"
    why += f"; the newest ones are {near}" if near else ", nor any other"
    return Search(newest=_newest(stretches[-1], wal), why=why)


def _stop_at_point(same: Sequence[RestorePoint], stretch: Stretch, wal: Wal) -> StopPoint:
    point = same[0]
    what = f"restore point {point.name!r}, made at {moment(point.time)}"
    warnings: tuple[str, ...] = ()
    if len(same) > 1:
        times = ", ".join(f"{moment(p.time)} (lsn:{p.lsn})" for p in same)
        warnings = (f"restore point {point.name!r} was made more than once: {times}",)
    return StopPoint(point.lsn, True, what, _last_before(point.lsn, stretch, wal), warnings)


def _apart(stretches: Sequence[Stretch]) -> Iterator[Stretch]:
    """Yield stretches that don't overlap, the newest first: each reaches on to its first gap."""
    ends: set[Lsn] = set()
    longest = {stretch.end: stretch for stretch in reversed(stretches)}
    for stretch in reversed(stretches):
        if stretch.end not in ends:
            ends.add(stretch.end)
            yield longest[stretch.end]


def _changes(stretch: Stretch, wal: Wal, first: int, end: int) -> Iterator[Change]:
    """Yield the changes that replay of this stretch meets, in the order of the WAL."""
    for number in range(first, min(end, stretch.numbers.stop)):
        for change in wal.changes(stretch.segment(number)):
            if change.lsn >= stretch.start:
                yield change


def _last_before(lsn: Lsn, stretch: Stretch, wal: Wal) -> Change | None:
    """Return the last change before a position; None when it is long before, or there is none."""
    last = min(lsn // stretch.segment_size, stretch.numbers.stop - 1)
    for number in range(last, max(stretch.numbers.start, last - _FEW) - 1, -1):
        before = [c for c in wal.changes(stretch.segment(number)) if c.lsn < lsn]
        if before:
            return before[-1]
    return None


def _newest(stretch: Stretch, wal: Wal) -> Change | None:
    return _last_before(stretch.end, stretch, wal) if stretch.numbers else None
