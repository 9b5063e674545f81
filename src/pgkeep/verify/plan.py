"""What a verify looks at, and what its findings mean for each backup. Pure."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from blake3 import blake3

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.model.coverage import Coverage, Hole
from pgkeep.model.dump import Dump
from pgkeep.model.segment import Segment
from pgkeep.model.wal_file import kind_of
from pgkeep.repository.catalog import Catalog, Unreadable
from pgkeep.repository.copies.object_names import ObjectKind, ObjectName, parse_name
from pgkeep.repository.dumps import DumpCatalog, UnreadableDump, find_any
from pgkeep.repository.proofs import Level, Verdict
from pgkeep.units import MIB

UNIT: Final = 16 * MIB  # stored bytes that are one task: what a worker does in 10 to 30 ms
_MOST: Final = 64  # objects of one task, however small


class BadSample(PgkeepError):
    """A share of the repository that cannot be read."""

    code = "bad-sample"
    exit_status = 231

    text: str
    why: str

    def __str__(self) -> str:
        return f"cannot verify a sample of {self.text!r}: {self.why}"

    @property
    def hint(self) -> str:
        return "write it like --level bytes --sample 5%"


class Sample(NamedTuple):
    """A random share of packs and WAL objects. The same seed chooses the same ones again."""

    percent: float
    seed: str

    def __str__(self) -> str:
        return f"{self.percent:g}%"


@dataclass(frozen=True, slots=True)
class Scope:
    """The backups and dumps to look at."""

    backups: tuple[Backup, ...]  # oldest first
    unreadable: tuple[Unreadable | UnreadableDump, ...]
    everything: bool  # all backups, all dumps and all WAL
    dumps: tuple[Dump, ...] = ()  # oldest first

    @property
    def readable(self) -> list[str]:
        """Return the ids of those whose facts could be read, backups first."""
        return [*(b.id for b in self.backups), *(d.id for d in self.dumps)]

    def ids(self) -> set[str]:
        return {*self.readable, *(bad.id for bad in self.unreadable)}


class WalFile(NamedTuple):
    """A file in the WAL archive of one generation."""

    generation: str
    file: str
    size: int  # bytes of the object


class Manner(NamedTuple):
    """How to read."""

    jobs: int = 1
    rate: int = 0  # bytes a second, all workers together; 0: no limit
    nice: int = 0
    ionice: str = ""

    @property
    def inline(self) -> bool:
        """Tell whether this very process reads; it does not step back for others."""
        return self.jobs <= 1 and not self.nice and not self.ionice


ALONE: Final = Manner()


class Assessed(NamedTuple):
    """What became of one backup or dump."""

    id: str
    verdict: Verdict
    why: str


def parse_sample(text: str, seed: str) -> Sample | None:
    """Read '5%'; '100%' is everything and so no sample. Raise BadSample."""
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        raise BadSample(text, "it is no number") from None
    if not 0 < percent <= 100:
        raise BadSample(text, "it is not between 0 and 100 %")
    return None if percent == 100 else Sample(percent, seed)


def plan_scope(
    catalog: Catalog, dumps: DumpCatalog, wanted: Sequence[str], since: datetime | None
) -> Scope:
    """Return what is `wanted`, by id; none means all. Raise UnknownBackup or UnknownDump."""
    unreadable: tuple[Unreadable | UnreadableDump, ...] = (
        *catalog.unreadable,
        *dumps.unreadable,
    )
    if not wanted:
        recent = (b for b in catalog.backups if since is None or b.stopped_at >= since)
        recent_dumps = (d for d in dumps.dumps if since is None or d.taken_at >= since)
        # How old an unreadable one is cannot be told, and it is damaged whatever its age.
        return Scope(tuple(recent), unreadable, since is None, tuple(recent_dumps))
    chosen: set[str] = set()
    broken: dict[int, str] = {id(bad.error): bad.id for bad in unreadable}
    for text in wanted:
        try:
            chosen.add(find_any(catalog, dumps, text).id)
        except PgkeepError as error:
            if id(error) not in broken:
                raise
            chosen.add(broken[id(error)])
    return Scope(
        tuple(backup for backup in catalog.backups if backup.id in chosen),
        tuple(bad for bad in unreadable if bad.id in chosen),
        everything=False,
        dumps=tuple(dump for dump in dumps.dumps if dump.id in chosen),
    )


def choose(names: Collection[str], sample: Sample | None, always: Collection[str]) -> set[str]:
    """Return the names whose objects are read: all, or a share of them, never none.

    `always` are those that an earlier proof found damaged: a later one must look at them again.
    """
    if sample is None:
        return set(names)
    count = math.ceil(len(names) * sample.percent / 100)
    chance = blake3(sample.seed.encode())

    def place(name: str) -> bytes:
        drawn = chance.copy()
        drawn.update(name.encode())
        return drawn.digest(8)

    return {*sorted(names, key=place)[:count], *(name for name in always if name in names)}


def needed_segments(backups: Iterable[Backup]) -> set[tuple[str, str]]:
    """Return generation and file name of the WAL without which backups are not consistent."""
    return {
        (backup.generation.id, backup.first_segment._replace(number=number).name)
        for backup in backups
        for number in range(backup.first_segment.number, backup.last_segment.number + 1)
    }


def batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Cut names into tasks that are worth a journey to another process, in their order."""
    batch: list[str] = []
    size = 0
    for name, length in sizes.items():
        batch.append(name)
        size += length
        if size >= UNIT or len(batch) == _MOST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def holes(
    found: Coverage, backups: Sequence[Backup], window_start: datetime
) -> tuple[list[Hole], list[Hole]]:
    """Return the holes that nobody made on purpose, and those that expiring may have made.

    Expiring lets go what lies between the end of a backup, or the beginning of a timeline whose
    parent is still in use, and the start of a later one: before the backup from which the whole
    window can be restored.
    """
    distinct = {
        (hole.first.name, hole.last.name): hole
        for timeline in found.timelines
        for hole in timeline.holes
    }
    base = max(
        (b for b in backups if b.stopped_at <= window_start),
        key=lambda b: b.stopped_at,
        default=None,
    )
    starts = {b.first_segment.number for b in backups}
    ends = {b.last_segment._replace(number=b.last_segment.number + 1) for b in backups}
    ends |= _beginnings(found)
    lost: list[Hole] = []
    let_go: list[Hole] = []
    for hole in distinct.values():
        between = hole.first in ends and hole.last.number + 1 in starts
        old = base is not None and hole.last.number < base.first_segment.number
        (let_go if between and old else lost).append(hole)
    return lost, let_go


def _beginnings(found: Coverage) -> set[Segment]:
    """Return the first segment of each timeline that began at a promotion."""
    size = found.generation.segment_size
    beginnings = set()
    for timeline in found.timelines:
        ancestors = timeline.history.ancestors
        children = [*(branch.timeline for branch in ancestors[1:]), timeline.timeline]
        for branch, child in zip(ancestors, children, strict=False):  # the first one has none
            beginnings.add(Segment(child, branch.switch // size, size))
    return beginnings


def ranges(segments: Iterable[Segment]) -> list[tuple[Segment, Segment]]:
    """Join segments without a gap: first and last of each range, by timeline and position."""
    joined: list[tuple[Segment, Segment]] = []
    for segment in sorted(segments):
        if joined and segment == joined[-1][1]._replace(number=joined[-1][1].number + 1):
            joined[-1] = (joined[-1][0], segment)
        else:
            joined.append((segment, segment))
    return joined


def assess(
    scope: Scope,
    manifests: Mapping[str, str],
    files: Mapping[str, str],
    stranded: Mapping[str, str],
) -> list[Assessed]:
    """Return the verdict on each backup, oldest first, then on each dump.

    All three tell, by id, what was lost: the manifest, files, WAL that makes a backup consistent.
    """
    found = []
    for id in sorted(scope.ids()):  # those of dumps come behind all times
        whys = [lost[id] for lost in (manifests, files, stranded) if id in lost]
        verdict = Verdict.GOOD
        if id in stranded:
            verdict = Verdict.NOT_RESTORABLE
        elif whys:
            verdict = Verdict.DAMAGED
        found.append(Assessed(id, verdict, "; ".join(whys)))
    return found


class MissingWal(NamedTuple):
    """Segments of one generation that are not there: file names, both belong to it."""

    generation: str
    first: str
    last: str

    def holds(self, name: ObjectName) -> bool:
        """Tell whether an object is one of these segments, of either one's timeline."""
        file = name.file
        ours = name.of == self.generation and kind_of(file) == "segment"
        timelines = (self.first[:8], self.last[:8])
        return ours and file[:8] in timelines and self.first[8:] <= file[8:] <= self.last[8:]


# Manifests before packs: they tell what packs must hold.
_HEALING: Final = (
    ObjectKind.GENERATION,
    ObjectKind.WRITER,
    ObjectKind.MANIFEST,
    ObjectKind.PACK,
    ObjectKind.HISTORY,
    ObjectKind.WAL,
    ObjectKind.PIN,
    ObjectKind.CENSUS,
    ObjectKind.DRILL,
    ObjectKind.ACT,
)


def in_need(
    damaged: Collection[str], missing: Iterable[MissingWal], elsewhere: Iterable[str]
) -> list[ObjectName]:
    """Return the objects to bring back from other copies, in the order in which to do it.

    A verify names the first of many missing segments; `elsewhere` are objects of other copies.
    """
    holes = list(missing)
    parsed = {name: parse_name(name) for name in (*damaged, *elsewhere)}
    named = set(damaged)
    found = (
        one
        for name, one in parsed.items()
        if one is not None and (name in named or any(hole.holds(one) for hole in holes))
    )
    return sorted(found, key=lambda one: (_HEALING.index(one.kind), one.name))


def words(level: Level, sample: Sample | None) -> str:
    """Say what such a verify proves."""
    return str(level) if sample is None else f"{level}, sample of {sample.percent:g} %"


def unproven(level: Level, sample: Sample | None) -> str:
    """Say what such a verify did not look at; '' when it looked at everything."""
    if level is Level.OBJECTS:
        return (
            "the content of packs and WAL was not read: damage that leaves an object's size as it "
            "was is found by --level bytes only"
        )
    if sample is not None:
        rest = 100 - sample.percent
        return f"the content of the other {rest:g} % of packs and WAL was not read"
    return ""
