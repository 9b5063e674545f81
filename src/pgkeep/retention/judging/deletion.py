"""What deleting one backup loses, and which WAL then serves nobody. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup, BackupId
from pgkeep.model.coverage import Coverage, Span, TimelineCoverage, coverage
from pgkeep.model.dump import noun_of
from pgkeep.model.lsn import Lsn
from pgkeep.retention.judging.branches import Branch, Known
from pgkeep.retention.judging.promise import PlanBroken
from pgkeep.retention.judging.wal_plan import WalVerdict
from pgkeep.retention.plan import Marks


class BackupPinned(PgkeepError):
    """A backup or dump that should be deleted is pinned."""

    code = "backup-pinned"
    exit_status = 217

    backup: str
    why: str

    def __str__(self) -> str:
        return f"cannot delete {noun_of(self.backup)} {self.backup}, it is pinned: {self.why}"

    @property
    def hint(self) -> str:
        return f"if its reason has gone: pgkeep pin --remove {self.backup}"


class LastBackup(PgkeepError):
    """Without this backup nothing good could be restored any more."""

    code = "last-backup"
    exit_status = 218

    backup: str
    what: str

    def __str__(self) -> str:
        return f"cannot delete backup {self.backup}: it is the last one {self.what}"

    @property
    def hint(self) -> str:
        return "take a new one first: pgkeep backup"


_Numbered = tuple[int, int]  # a timeline, and the number of a segment
_Piece = tuple[int, int, int]  # a timeline, a segment, and the one beyond the last


@dataclass(frozen=True, slots=True)
class Lost:
    """Moments of a timeline that no other backup reaches."""

    timeline: TimelineCoverage
    start: Lsn
    end: Lsn


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """What deleting a backup does."""

    backup: Backup
    lost: tuple[Lost, ...]
    wal: tuple[WalVerdict, ...]  # what goes with it
    after: Coverage  # of its generation


def plan_delete(known: Sequence[Known], marks: Marks, backup: Backup) -> DeletePlan:
    """Raise BackupPinned, LastBackup, or PlanBroken."""
    _demand_deletable(known, marks, backup)
    mine = next(k for k in known if k.generation.id == backup.generation.id)
    left = [other for other in mine.backups if other.id != backup.id]
    gone = tuple(_useless(mine, backup, left))
    segments = {
        timeline: [n for n in numbers if not _in(gone, timeline, n)]
        for timeline, numbers in mine.segments.items()
    }
    after = coverage(mine.generation, left, segments, mine.histories)
    _demand_harmless(mine.coverage, after, backup)
    lost = tuple(
        Lost(timeline, start, end)
        for timeline in mine.coverage.timelines
        for start, end in _difference(timeline, after.timeline(timeline.timeline))
    )
    return DeletePlan(backup, lost, gone, after)


def _demand_deletable(known: Sequence[Known], marks: Marks, backup: Backup) -> None:
    if backup.id in marks.pinned:
        raise BackupPinned(backup.id, marks.pinned[backup.id])
    sound = [other for k in known for other in k.sound(marks.damaged)]
    if backup not in sound:
        return  # it counts for nothing
    others = [other for other in sound if other.id != backup.id]
    if not others:
        raise LastBackup(backup.id, "that can be restored")
    if not backup.corrupt_pages and all(other.corrupt_pages for other in others):
        raise LastBackup(backup.id, "without damaged pages")


def _useless(known: Known, backup: Backup, left: Sequence[Backup]) -> Iterator[WalVerdict]:
    """Yield the WAL up to the next backup, or of an island, as far as none of the others needs it.

    What goes on behind the newest backup stays: whether its timeline is over, expire decides.
    """
    needed = _merged(piece for other in left for piece in _needed(known, other))
    going = [segment for segment in sorted(_going(known, backup, left)) if not needed(segment)]
    for timeline, first, last in _ranges(going):
        why = f"only backup {backup.id} needs it"
        yield WalVerdict(known.generation, timeline, first, last, keep=False, why=why)


def _merged(pieces: Iterable[_Piece]) -> Callable[[_Numbered], bool]:
    """Return what tells whether a segment is in one of these pieces, of which there may be many."""
    joined: list[_Piece] = []
    for timeline, begin, end in sorted(pieces):
        if joined and joined[-1][0] == timeline and begin <= joined[-1][2]:
            joined[-1] = (timeline, joined[-1][1], max(end, joined[-1][2]))
        else:
            joined.append((timeline, begin, end))

    def holds(segment: _Numbered) -> bool:
        place = bisect_right(joined, segment, key=lambda piece: piece[:2]) - 1
        return place >= 0 and joined[place][0] == segment[0] and segment[1] < joined[place][2]

    return holds


def _needed(known: Known, backup: Backup) -> Iterator[_Piece]:
    """Yield the segments that recovery from a backup may read, along whatever timeline."""
    first, last = backup.first_segment.number, backup.last_segment.number
    yield backup.timeline, first, last + 1
    for timeline in known.coverage.timelines:
        beyond = _ends(timeline, known).get(backup.id, first)
        yield from _along(known, backup, timeline, beyond)


def _going(known: Known, backup: Backup, left: Sequence[Backup]) -> set[_Numbered]:
    """Return what only serves to reach the next backup, or an island as a whole."""
    first, island = backup.first_segment.number, backup.last_segment.number + 1
    going: set[_Numbered] = set()
    for timeline in known.coverage.timelines:
        ends = _ends(timeline, known)
        if backup.id not in ends:
            continue
        newer = [b.first_segment.number for b in left if b.id in ends]
        beyond = min((number for number in newer if number > first), default=0)
        if beyond or ends[backup.id] == island:
            for part, begin, end in _along(known, backup, timeline, beyond or island):
                numbers = known.segments.get(part, ())
                there = numbers[bisect_left(numbers, begin) : bisect_left(numbers, end)]
                going |= {(part, number) for number in there}
    return going


def _ends(timeline: TimelineCoverage, known: Known) -> dict[BackupId, int]:
    """Return, for backups that reach along a timeline, the first segment that is not there."""
    size = known.generation.segment_size
    return {reach.backup: int(reach.end) // size for reach in timeline.reaches}


def _along(
    known: Known, backup: Backup, timeline: TimelineCoverage, beyond: int
) -> Iterator[_Piece]:
    for part, begin, end in Branch(known.generation, timeline.history, backup, ()).shares():
        if begin < min(end, beyond):
            yield part, begin, min(end, beyond)


def _ranges(segments: Iterable[_Numbered]) -> Iterator[tuple[int, int, int]]:
    held: tuple[int, int, int] | None = None
    for timeline, number in segments:
        if held is not None and held[0] == timeline and held[2] + 1 == number:
            held = (timeline, held[1], number)
            continue
        if held is not None:
            yield held
        held = (timeline, number, number)
    if held is not None:
        yield held


def _in(gone: Iterable[WalVerdict], timeline: int, number: int) -> bool:
    return any(v.timeline == timeline and v.first <= number <= v.last for v in gone)


def _demand_harmless(before: Coverage, after: Coverage, backup: Backup) -> None:
    """Raise PlanBroken unless every other backup reaches what it did."""
    for timeline in before.timelines:
        still = after.timeline(timeline.timeline)
        there = set(still.reaches) if still else set()
        for reach in timeline.reaches:
            if reach.backup != backup.id and reach not in there:
                why = f"backup {reach.backup} would not reach {reach.end} any more"
                raise PlanBroken(backup.id, (why,))


def _difference(before: TimelineCoverage, after: TimelineCoverage | None) -> list[tuple[Lsn, Lsn]]:
    """Return the stretches of one timeline that are lost; one may be a single moment."""
    left: Sequence[Span] = after.spans if after else ()
    lost: list[tuple[Lsn, Lsn]] = []
    for span in before.spans:
        start = span.start
        for still in left:
            if still.end < start or still.start > span.end:
                continue
            if still.start > start:
                lost.append((start, still.start))
            start = Lsn(max(start, still.end))
        if start < span.end or not _reached(left, start):
            lost.append((start, span.end))
    return lost


def _reached(spans: Iterable[Span], lsn: Lsn) -> bool:
    return any(span.start <= lsn <= span.end for span in spans)
