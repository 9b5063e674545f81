"""From ranges of WAL to the objects that hold it: which files go, and what ranges weigh. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pgkeep.coverage.record import Record
from pgkeep.model.segment import Segment
from pgkeep.model.wal_file import kind_of
from pgkeep.retention.judging.wal_plan import WalVerdict
from pgkeep.retention.plan import ExpirePlan


class WalFile(NamedTuple):
    """An archived file and where it belongs."""

    object: str
    size: int  # bytes stored
    segment: Segment
    whole: bool  # a segment that can be restored; else .partial, .backup or cut off


def files_of(part: Record) -> Iterator[WalFile]:
    """Yield what is archived of a generation, without history files: those always stay."""
    size = part.generation.segment_size
    cut_off = set(part.listing.cut_off)
    for file, stat in part.listing.stats.items():
        kind = kind_of(file)
        if kind != "history":
            whole = kind == "segment" and file not in cut_off
            yield WalFile(stat.name, stat.size, Segment.parse(file[:24], size), whole)


class Ranges:
    """Finds the verdict on a segment."""

    def __init__(self, verdicts: Iterable[WalVerdict]) -> None:
        self._of: dict[tuple[str, int], list[WalVerdict]] = {}
        for verdict in sorted(verdicts, key=lambda v: v.first):
            key = (verdict.generation.id, verdict.timeline)
            self._of.setdefault(key, []).append(verdict)

    def find(self, generation_id: str, segment: Segment) -> WalVerdict | None:
        verdicts = self._of.get((generation_id, segment.timeline), [])
        place = bisect_right(verdicts, segment.number, key=lambda v: v.first) - 1
        if place < 0 or verdicts[place].last < segment.number:
            return None
        return verdicts[place]


class KeptWal:
    """Tells which files stay by a plan."""

    def __init__(self, plan: ExpirePlan) -> None:
        self._plan = plan
        self._ranges = Ranges(plan.wal)

    def holds(self, generation_id: str, file: WalFile) -> bool:
        verdict = self._ranges.find(generation_id, file.segment) if file.whole else None
        return verdict.keep if verdict else self._plan.needs(generation_id, file.segment)


def weigh(verdicts: Sequence[WalVerdict], parts: Iterable[Record]) -> dict[WalVerdict, int]:
    """Return the stored bytes of each range."""
    ranges, sizes = Ranges(verdicts), dict.fromkeys(verdicts, 0)
    for part in parts:
        for file in files_of(part):
            verdict = ranges.find(part.generation.id, file.segment)
            if verdict is not None and file.whole:
                sizes[verdict] += file.size
    return sizes


def oldest_first(files: Iterable[WalFile]) -> list[WalFile]:
    """Sort by place in WAL: whatever stops a deletion, what is left has no new hole."""
    return sorted(files, key=lambda f: (f.segment.number, f.segment.timeline, f.object))
