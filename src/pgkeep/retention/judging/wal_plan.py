"""Which WAL stays: whole branches from their anchor on, and islands around older backups. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

from pgkeep.model.backup import Backup
from pgkeep.model.cluster import Generation
from pgkeep.model.segment import Segment
from pgkeep.retention.judging.branches import Branch, Known


@dataclass(frozen=True, slots=True)
class WalVerdict:
    """Whether archived segments without a gap between them stay, and why."""

    generation: Generation
    timeline: int
    first: int  # segment numbers; both belong to it
    last: int
    keep: bool
    why: str

    @property
    def segments(self) -> int:
        return self.last - self.first + 1

    def names(self) -> tuple[str, str]:
        size = self.generation.segment_size
        return (
            Segment(self.timeline, self.first, size).name,
            Segment(self.timeline, self.last, size).name,
        )


class _Stay(NamedTuple):
    """Segments of one timeline that stay, archived or not."""

    first: int
    beyond: int
    why: str


def judge_wal(
    known: Known, branches: Sequence[Branch], kept: Iterable[Backup]
) -> Iterator[WalVerdict]:
    """Yield a verdict for every archived segment of a generation, in ranges, oldest first."""
    mine = [b for b in branches if b.generation.id == known.generation.id]
    islands = [backup for backup in kept if backup.generation.id == known.generation.id]
    for timeline in sorted(known.segments):
        gone = _why_gone(known, mine, timeline, has_backups=bool(islands))
        stays = _stays(mine, islands, timeline)
        stays += [stay for backup in islands for stay in _elsewhere(known, backup, timeline)]
        yield from _cut(known, timeline, stays, gone)


def is_needed(branches: Iterable[Branch], kept: Iterable[Backup], at: Segment, of: str) -> bool:
    """Tell whether what belongs to a segment of generation `of` stays, archived or not."""
    mine = [b for b in branches if b.generation.id == of]
    islands = [backup for backup in kept if backup.generation.id == of]
    stays = _stays(mine, islands, at.timeline)
    return any(stay.first <= at.number < stay.beyond for stay in stays)


def _stays(branches: Iterable[Branch], islands: Iterable[Backup], timeline: int) -> list[_Stay]:
    return [
        *(stay for branch in branches for stay in _along(branch, timeline)),
        *(_island(backup) for backup in islands if backup.timeline == timeline),
    ]


def _island(backup: Backup) -> _Stay:
    first, last = backup.first_segment.number, backup.last_segment.number
    return _Stay(first, last + 1, f"makes backup {backup.id} consistent")


def _elsewhere(known: Known, backup: Backup, timeline: int) -> Iterator[_Stay]:
    """Yield what a backup needs of timelines that branched off while it ran.

    After a promotion the segment of the switch may have been archived as the child's alone.
    """
    first, beyond = backup.first_segment.number, backup.last_segment.number + 1
    own = known.segments.get(backup.timeline, ())
    if bisect_left(own, beyond) - bisect_left(own, first) == beyond - first:
        return
    reaching = [
        found
        for found in known.coverage.timelines
        if any(reach.backup == backup.id for reach in found.reaches)
    ]
    for found in reaching:
        for part, begin, end in Branch(known.generation, found.history, backup, ()).shares():
            if part == timeline and begin < min(end, beyond):
                yield _island(backup)._replace(first=begin, beyond=min(end, beyond))


def _along(branch: Branch, timeline: int) -> Iterator[_Stay]:
    why = f"timeline {branch.timeline} goes on from backup {_first_backup(branch)}"
    if not branch.backups:
        why = f"timeline {branch.timeline} is in use, and has no backup yet"
    for part, first, beyond in branch.shares():
        if part == timeline:
            yield _Stay(first, beyond, why)


def _first_backup(branch: Branch) -> str:
    first = min(branch.backups, key=lambda b: b.first_segment.number, default=None)
    return first.id if first else ""


def _why_gone(known: Known, mine: Sequence[Branch], timeline: int, *, has_backups: bool) -> str:
    if not mine and not has_backups:
        return "this generation of the cluster is over, and none of its backups is kept"
    if not any(part == timeline for b in mine for part, _, _ in b.shares()):
        seen = known.archived_at.get(timeline)
        since = f" since {seen:%Y-%m-%d}" if seen else ""
        return f"nobody has written on timeline {timeline}{since}"
    return "no kept backup needs it"


def _cut(known: Known, timeline: int, stays: Sequence[_Stay], gone: str) -> Iterator[WalVerdict]:
    """Cut a timeline's archived segments where the verdict or its reason changes, and at holes."""
    numbers = known.segments[timeline]
    if not numbers:
        return
    borders = {numbers[0], numbers[-1] + 1}
    for stay in stays:
        borders |= {b for b in stay[:2] if numbers[0] < b <= numbers[-1]}
    pieces = []
    for first, beyond in pairwise(sorted(borders)):
        why = next((stay.why for stay in stays if stay.first <= first < stay.beyond), "")
        for run in _runs(numbers[bisect_left(numbers, first) : bisect_left(numbers, beyond)]):
            pieces.append((why, *run))
    for why, first, last in _joined(pieces):
        yield WalVerdict(known.generation, timeline, first, last, bool(why), why or gone)


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        yield members[0], members[-1]


def _joined(pieces: Sequence[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """Join neighbours of the same verdict again, which a border of another reason had cut."""
    held: tuple[str, int, int] | None = None
    for why, first, last in pieces:
        if held is not None and held[0] == why and held[2] + 1 == first:
            held = (why, held[1], last)
            continue
        if held is not None:
            yield held
        held = (why, first, last)
    if held is not None:
        yield held
