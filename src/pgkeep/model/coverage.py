"""Coverage: which moments of a cluster can be restored, and where the holes are.

Everything that speaks of recoverability (list, check, restore, expire, metrics, alerts) shows
this one value. Pure: manifests, the WAL listing and timeline histories in, LSN ranges out;
pgkeep.coverage puts times to them.

A moment of timeline T is reachable from a backup when the backup lies on T's history, the moment is
at or after the backup's stop LSN, and every WAL segment from the backup's start to the moment is
archived. Which timeline's file serves a segment follows xlogrecovery.c, XLogFileReadAnyTLI: the
newest one of T's history that begins in or before that segment.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from pgkeep.model.backup import Backup, BackupId
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import History


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one backup can be recovered along one timeline: from `start` up to `end`."""

    backup: BackupId
    start: Lsn  # the backup's stop LSN: consistent from here on
    end: Lsn  # the first byte that is not archived

    def holds(self, lsn: Lsn) -> bool:
        """Tell whether recovery can end at `lsn`, all WAL before it being there."""
        return self.start <= lsn <= self.end


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch without holes: every moment in it can be restored from one of the backups."""

    start: Lsn
    end: Lsn
    backups: tuple[BackupId, ...]  # oldest first


@dataclass(frozen=True, slots=True)
class Hole:
    """Segments that no longer, or not yet, are in the archive, with archived ones after them."""

    first: Segment
    last: Segment

    @property
    def segments(self) -> int:
        return self.last.number - self.first.number + 1


@dataclass(frozen=True, slots=True)
class Stranded:
    """A backup that cannot be restored at all: WAL that makes it consistent is missing."""

    backup: BackupId
    missing: Segment  # the first one


@dataclass(frozen=True, slots=True)
class TimelineCoverage:
    """What can be restored along one timeline, its ancestors' share included."""

    history: History
    reaches: tuple[Reach, ...]  # by start
    holes: tuple[Hole, ...]
    history_known: bool = True  # False: its history file is missing, so its ancestors are unknown

    @property
    def timeline(self) -> int:
        return self.history.timeline

    @property
    def spans(self) -> tuple[Span, ...]:
        """The reaches, joined where they overlap."""
        spans: list[Span] = []
        for reach in self.reaches:
            if spans and reach.start <= spans[-1].end:
                last = spans.pop()
                end = Lsn(max(last.end, reach.end))
                spans.append(Span(last.start, end, (*last.backups, reach.backup)))
            else:
                spans.append(Span(reach.start, reach.end, (reach.backup,)))
        return tuple(spans)

    @property
    def newest(self) -> Lsn | None:
        """The end of what can be restored, or None when nothing can."""
        return max((reach.end for reach in self.reaches), default=None)

    def reaching(self, lsn: Lsn) -> tuple[Reach, ...]:
        """Return the backups from which `lsn` can be restored, the newest (least replay) last."""
        return tuple(reach for reach in self.reaches if reach.holds(lsn))


@dataclass(frozen=True, slots=True)
class Coverage:
    """All that can be restored of one generation of a cluster."""

    generation: Generation
    timelines: tuple[TimelineCoverage, ...]  # by number
    stranded: tuple[Stranded, ...]

    def timeline(self, number: int) -> TimelineCoverage | None:
        return next((t for t in self.timelines if t.timeline == number), None)

    @property
    def latest(self) -> TimelineCoverage | None:
        """The newest timeline along which something can be restored."""
        return next((t for t in reversed(self.timelines) if t.reaches), None)


def coverage(
    generation: Generation,
    backups: Sequence[Backup],
    archived: Mapping[int, Sequence[int]],
    histories: Mapping[int, History],
) -> Coverage:
    """Return what can be restored of `generation`.

    `backups` are complete ones of this generation; `archived` has the sorted numbers of the
    segments archived on each timeline; `histories` the readable history files (none for 1).
    """
    numbers = {1} if not archived and not backups and not histories else set()
    numbers |= archived.keys() | histories.keys() | {backup.timeline for backup in backups}
    timelines = tuple(
        _along(generation, backups, archived, _history(number, histories))
        for number in sorted(numbers)
    )
    usable = {reach.backup for timeline in timelines for reach in timeline.reaches}
    stranded = tuple(
        Stranded(backup.id, _first_missing(backup, archived))
        for backup in backups
        if backup.id not in usable
    )
    return Coverage(generation, timelines, stranded)


@dataclass(frozen=True, slots=True)
class _Run:
    """Archived segments without a gap, by number; both ends belong to it."""

    first: int
    last: int


def _history(number: int, histories: Mapping[int, History]) -> tuple[History, bool]:
    if number == 1:
        return History(1), True
    known = histories.get(number)
    return (known, True) if known else (History(number), False)


def _along(
    generation: Generation,
    backups: Sequence[Backup],
    archived: Mapping[int, Sequence[int]],
    known: tuple[History, bool],
) -> TimelineCoverage:
    history, is_known = known
    size = generation.segment_size
    parts = _parts(history, size)
    runs = _runs(_served(parts, archived))
    own = [b for b in backups if history.includes(b.timeline, b.stop_lsn)]
    reaches = [
        Reach(backup.id, backup.stop_lsn, Lsn((run.last + 1) * size))
        for backup in own
        if (run := _run_holding(backup.first_segment.number, runs)) is not None
        and run.last >= backup.last_segment.number
    ]
    reaches.sort(key=lambda reach: (reach.start, reach.end, reach.backup))
    oldest = min((backup.first_segment.number for backup in own), default=None)
    holes = () if oldest is None else tuple(_holes(parts, runs, oldest, size))
    return TimelineCoverage(history, tuple(reaches), holes, is_known)


def segment_on(history: History, number: int, size: int) -> Segment:
    """Return the segment file that recovery along `history` reads for a segment number."""
    return _segment(_parts(history, size), number, size)


class _Part(NamedTuple):
    """The segment numbers that recovery along a history takes from one timeline's files."""

    timeline: int
    first: int
    beyond: int


def _parts(history: History, size: int) -> list[_Part]:
    timelines = [*(branch.timeline for branch in history.ancestors), history.timeline]
    firsts = [0, *(branch.switch // size for branch in history.ancestors)]
    return [_Part(*part) for part in zip(timelines, firsts, [*firsts[1:], 1 << 64], strict=True)]


def _served(parts: Sequence[_Part], archived: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """Yield the numbers of the archived segments that recovery would use."""
    for part in parts:
        numbers = archived.get(part.timeline, ())
        yield from numbers[bisect_left(numbers, part.first) : bisect_left(numbers, part.beyond)]


def _runs(numbers: Iterable[int]) -> list[_Run]:
    runs = []
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        runs.append(_Run(members[0], members[-1]))
    return runs


def _run_holding(number: int, runs: Sequence[_Run]) -> _Run | None:
    index = bisect_right(runs, number, key=lambda run: run.first) - 1
    return runs[index] if index >= 0 and number <= runs[index].last else None


def _holes(parts: Sequence[_Part], runs: Sequence[_Run], oldest: int, size: int) -> Iterator[Hole]:
    """Yield the gaps from the oldest backup's start on; what lies before it protects nothing."""
    wanted = oldest
    for run in runs:
        if run.last < wanted:
            continue
        if run.first > wanted:
            yield Hole(_segment(parts, wanted, size), _segment(parts, run.first - 1, size))
        wanted = run.last + 1


def _segment(parts: Sequence[_Part], number: int, size: int) -> Segment:
    timeline = next(part.timeline for part in parts if part.first <= number < part.beyond)
    return Segment(timeline, number, size)


def _first_missing(backup: Backup, archived: Mapping[int, Sequence[int]]) -> Segment:
    there = set(archived.get(backup.timeline, ()))
    first, last = backup.first_segment, backup.last_segment
    missing = (n for n in range(first.number, last.number + 1) if n not in there)
    return first._replace(number=next(missing, last.number + 1))
