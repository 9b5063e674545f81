"""What was found, put together: what it hits, and which moments are out of reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pgkeep.coverage.record import Record
from pgkeep.model.coverage import Coverage, Hole, coverage
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import BadHistory, history_name
from pgkeep.model.wal_file import kind_of
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.proofs import DamagedObject, Verdict, WalRange
from pgkeep.repository.repository import ClusterFolder
from pgkeep.verify.content import BadPart, PackFound, WalFound
from pgkeep.verify.hits import FilesHit, dump_files_hit, files_hit, packs_hit
from pgkeep.verify.inventory import BAD_MANIFEST, Inventory
from pgkeep.verify.plan import assess, holes, ranges
from pgkeep.verify.report import MISSING, BackupFound, Proven, WalLoss

_SHOWN: Final = 5  # faults of one object that are spelt out


@dataclass
class Read:
    """What reading came to, gathered as it comes."""

    packs: dict[str, list[BadPart]] = field(default_factory=dict)  # damaged ones
    contents: dict[str, str] = field(default_factory=dict)  # packs whose own contents are wrong
    wal: dict[tuple[str, str], str] = field(default_factory=dict)  # generation and file: why
    bytes: int = 0

    def add(self, found: PackFound | WalFound) -> None:
        self.bytes += found.read
        if isinstance(found, WalFound):
            if found.why:
                self.wal[found.file.generation, found.file.file] = found.why
            return
        if found.parts:
            self.packs[found.name] = list(found.parts)
        if found.contents:
            self.contents[found.name] = found.contents


@dataclass(frozen=True)
class Findings:
    """All that goes into the report and the proof."""

    found: tuple[BackupFound, ...]  # backups, then dumps
    damaged: tuple[DamagedObject, ...]
    losses: tuple[WalLoss, ...]
    proven: tuple[Proven, ...]
    wal: tuple[WalRange, ...]
    let_go: tuple[Hole, ...]  # WAL that is not there, as expiring leaves it


def conclude(
    cluster: ClusterFolder, found: Inventory, read: Read, now: datetime, window_s: int
) -> Findings:
    """Decide what all of it means. Manifests are read again only where packs are damaged."""
    damage = {**found.lost, **read.packs}
    files: dict[str, FilesHit] = {}
    for id in found.scope.readable if damage else ():
        files[id] = _files(cluster, id, damage)
    keep_from = now - timedelta(seconds=window_s)
    losses = [loss for record in found.records for loss in _losses(found, record, read, keep_from)]
    stranded = {backup_id: _stranded(loss) for loss in losses for backup_id in loss.stranded}
    hit = {backup_id: _lost(one) for backup_id, one in files.items() if one.count}
    backups = tuple(
        BackupFound(*one, files.get(one.id, FilesHit(0)))
        for one in assess(found.scope, found.manifests, hit, stranded)
    )
    damaged = _damaged_files(cluster, found, read, damage, files)
    good = {b.id for b in backups if b.verdict is Verdict.GOOD}
    proven = tuple(p for r in found.records for p in _proven(r, _honest(r, read, good)))
    return Findings(
        backups,
        (
            *damaged,
            *_damaged_wal(cluster, found, read, losses),
        ),
        tuple(losses),
        proven if found.scope.everything else (),
        tuple(_wal_ranges(found, read)),
        tuple(h for r in found.records for h in holes(r.coverage, r.backups, keep_from)[1]),
    )


def _files(cluster: ClusterFolder, id: str, damage: Mapping[str, list[BadPart]]) -> FilesHit:
    """Return the files of one that are hit; none if its manifest is: that is told already."""
    try:
        if not packs_hit(cluster.name, dumps.read_packs(cluster, id), damage):
            return FilesHit(0)
        if dumps.is_dump_id(id):
            dump = dumps.read_manifest(cluster, id)
            return dump_files_hit(dump.facts, dump.tables, damage)
        manifest = catalog.read_manifest(cluster, id)
    except BAD_MANIFEST:
        return FilesHit(0)
    return files_hit(manifest.facts, manifest.tables, damage)


def _lost(files: FilesHit) -> str:
    count = "1 file has" if files.count == 1 else f"{files.count:,} files have"
    return f"{count} lost something"


def _stranded(loss: WalLoss) -> str:
    one = loss.first == loss.last
    what = f"WAL segment {loss.first}" if one else f"WAL segments {loss.first} to {loss.last}"
    return f"{what}, needed to make it consistent, {'is' if one else 'are'} lost"


def _honest(record: Record, read: Read, good: set[str] | None = None) -> Coverage:
    """Return the coverage without the segments that are damaged, and of `good` backups only."""
    size = record.generation.segment_size
    bad = {file for generation, file in read.wal if generation == record.generation.id}
    segments = {
        timeline: [n for n in numbers if not bad or Segment(timeline, n, size).name not in bad]
        for timeline, numbers in record.listing.segments.items()
    }
    known = (t for t in record.coverage.timelines if t.history_known and t.timeline > 1)
    histories = {timeline.timeline: timeline.history for timeline in known}
    backups = [b for b in record.backups if good is None or b.id in good]
    return coverage(record.generation, backups, segments, histories)


def _losses(found: Inventory, record: Record, read: Read, keep_from: datetime) -> Iterator[WalLoss]:
    """Yield the WAL that is damaged, and the WAL that is missing though nobody let it go."""
    generation, honest = record.generation, _honest(record, read)
    in_scope = {backup.id: backup for backup in found.scope.backups}

    def loss(first: Segment, last: Segment, why: str) -> WalLoss:
        needing = [
            b.id
            for b in in_scope.values()
            if b.generation.id == generation.id
            and b.timeline == first.timeline
            and b.first_segment.number <= last.number
            and first.number <= b.last_segment.number
        ]
        reaches = (reach for timeline in honest.timelines for reach in timeline.reaches)
        cut = sorted({reach.backup for reach in reaches if reach.end == first.start})
        return WalLoss(
            generation.id, first.name, last.name, why, tuple(needing), tuple(cut), str(first.start)
        )

    for (owner, file), why in sorted(read.wal.items()):
        if owner == generation.id and kind_of(file) == "segment":
            segment = Segment.parse(file, generation.segment_size)
            yield loss(segment, segment, why)
    missing: list[Hole] = []
    if found.scope.everything:
        missing, _ = holes(record.coverage, record.backups, keep_from)
    for hole in missing:
        yield loss(hole.first, hole.last, MISSING)
    for stranded in record.coverage.stranded:
        lost = stranded.missing
        told = any(h.first.timeline == lost.timeline and h.first <= lost <= h.last for h in missing)
        if stranded.backup in in_scope and not told:
            yield loss(lost, lost, MISSING)


def _damaged_files(
    cluster: ClusterFolder,
    found: Inventory,
    read: Read,
    damage: Mapping[str, list[BadPart]],
    files: Mapping[str, FilesHit],
) -> Iterator[DamagedObject]:
    """Yield the manifests, packs and documents that are damaged."""
    for id, why in found.manifests.items():
        yield DamagedObject(dumps.manifest_name(cluster.name, id), why, (id,), True)
    hit: dict[str, list[str]] = {}
    for id, one in files.items():
        for name in one.packs:
            hit.setdefault(name, []).append(id)
    for name in sorted({*damage, *found.odd, *read.contents}):
        whys = [found.odd[name]] if name in found.odd else []
        whys += [part.why for part in damage.get(name, ())]
        if name in read.contents:
            whys.append(f"its table of contents: {read.contents[name]}")
        yield DamagedObject(name, _shortened(whys), tuple(hit.get(name, ())), name in hit)


def _damaged_wal(
    cluster: ClusterFolder, found: Inventory, read: Read, losses: list[WalLoss]
) -> Iterator[DamagedObject]:
    """Yield the WAL files that are damaged or missing; of many missing ones the first."""
    stranded = {(loss.generation, loss.first): loss.stranded for loss in losses}
    for (generation, file), why in sorted(read.wal.items()):
        hit = stranded.get((generation, file), ())
        yield DamagedObject(names.wal(cluster.name, generation, file), why, hit)
    for record in found.records:
        for error in record.bad_histories:
            if isinstance(error, BadHistory):  # its object is intact: it was archived like this
                file = history_name(error.timeline)
                name = names.wal(cluster.name, record.generation.id, file)
                yield DamagedObject(name, str(error))
    for loss in losses:
        if (loss.generation, loss.first) not in read.wal:
            more = f", and all up to {loss.last}" if loss.first != loss.last else ""
            name = names.wal(cluster.name, loss.generation, loss.first)
            yield DamagedObject(name, f"it is missing{more}", loss.stranded)


def _shortened(whys: list[str]) -> str:
    more = f"; and {len(whys) - _SHOWN} more" if len(whys) > _SHOWN else ""
    return "; ".join(whys[:_SHOWN]) + more


def _proven(record: Record, found: Coverage) -> Iterator[Proven]:
    for timeline in found.timelines:
        for span in timeline.spans:
            yield Proven(record.generation.id, timeline.timeline, span)


def _wal_ranges(found: Inventory, read: Read) -> Iterator[WalRange]:
    for record in found.records:
        generation = record.generation
        files = (check.file for check in found.wal if check.file.generation == generation.id)
        good = (
            Segment.parse(wal.file, generation.segment_size)
            for wal in files
            if kind_of(wal.file) == "segment" and (wal.generation, wal.file) not in read.wal
        )
        for first, last in ranges(good):
            yield WalRange(generation.id, first.name, last.name)
