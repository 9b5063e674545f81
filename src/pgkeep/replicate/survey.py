"""What there is at both ends of a copy. Only names, sizes and the facts in manifests are read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pgkeep.model.backup import Backup
from pgkeep.model.cluster import Generation
from pgkeep.model.dump import Dump
from pgkeep.model.segment import Segment
from pgkeep.replicate.plan import Blob, Choice, Ends, Start, Thing, WalBlob
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.catalog import Catalog, Unreadable
from pgkeep.repository.copies.intact import NOT_INTACT
from pgkeep.repository.copies.object_names import ObjectKind, parse_name
from pgkeep.repository.dumps import DumpCatalog, UnreadableDump
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobMissing, BlobStat
from pgkeep.repository.wal_archive import WalListing, WalMissing


class Unsendable(NamedTuple):
    """An object that cannot be sent, and why."""

    name: str
    why: str


@dataclass
class Survey:
    """Both ends, and what could not be read at the source."""

    ends: Ends
    unsendable: list[Unsendable] = field(default_factory=list)


def look(source: ClusterFolder, target: ClusterFolder, beat: Callable[[], None]) -> Survey:
    """List both ends. Manifests first, then what they need: nothing that ends meanwhile is torn."""
    backups, known_dumps = catalog.backups(source), dumps.dumps(source)
    beat()
    there = _there(target)
    manifests, pins = _sizes(source, _kinds(source.name)), _pins(source)
    lost = [Unsendable(*bad) for bad in _unreadable(source.name, backups, known_dumps)]
    found = Survey(Ends(), [bad for bad in lost if bad.name not in there])
    things = [
        _thing(source.name, one, start, manifests, pins)
        for one, start in _starts(source.name, backups, known_dumps)
    ]
    documents = _documents(source)
    wal: list[WalBlob] = []
    for generation in _generations(source, backups, found):
        beat()
        listing = source.wal(generation.id).list(generation.segment_size)
        there.update(_sizes(target, [names.wal_prefix(source.name, generation.id)]))
        documents[ObjectKind.HISTORY] += [Blob(s.name, s.size) for s in _histories(listing)]
        wal += _wal(listing, generation)
    same = frozenset(_same(source, target, wal, there))
    found.ends = Ends(tuple(things), documents, tuple(wal), there, same)
    return found


def with_packs(
    source: ClusterFolder,
    target: ClusterFolder,
    found: Survey,
    choice: Choice,
    beat: Callable[[], None],
) -> None:
    """Add the packs of what is to be sent, and which of them the target has."""
    ends = found.ends
    new = [t for t in ends.things if ends.lacks(t.manifest) and not choice.why_not(t.id)]
    if not new:
        return
    there = {**ends.there, **_sizes(target, [names.packs_prefix(target.name)])}
    wanted = {thing.id for thing in new}
    things = []
    for thing in ends.things:
        if thing.id in wanted:
            beat()
            try:
                packs = tuple(_packs(source, thing.id))
            except NOT_INTACT as error:
                found.unsendable.append(Unsendable(thing.manifest.name, str(error)))
                continue
            except (catalog.UnknownBackup, dumps.UnknownDump):
                continue  # deleted since it was listed
            things.append(replace(thing, packs=packs))
        else:
            things.append(thing)
    found.ends = replace(ends, things=tuple(things), there=there)


def _packs(source: ClusterFolder, id: str) -> Iterator[Blob]:
    packs = dumps.read_packs(source, id)
    for row, size in enumerate(packs.size.tolist()):
        yield Blob(names.pack(source.name, packs.name(row)), size)


def _kinds(cluster: str) -> list[str]:
    return [names.backups_prefix(cluster), names.dumps_prefix(cluster)]


def _describing(cluster: str) -> list[str]:
    lost = f"{names.cluster_prefix(cluster)}lost/"
    told = [names.census_prefix(cluster), names.drills_prefix(cluster)]
    # The repository's own acts go with every cluster's copy: nothing else copies them.
    acts = [names.acts_prefix(cluster), names.ACTS]
    return [names.generations_prefix(cluster), lost, *told, *acts]


def _there(target: ClusterFolder) -> dict[str, int]:
    prefixes = [*_describing(target.name), *_kinds(target.name)]
    return _sizes(target, [*prefixes, names.pins_prefix(target.name)])


def _sizes(cluster: ClusterFolder, prefixes: Iterable[str]) -> dict[str, int]:
    """Return what is listed, by name; what pgkeep has not put there is passed over."""
    found = (blob for prefix in prefixes for blob in cluster.store.list(prefix))
    return {blob.name: blob.size for blob in found if parse_name(blob.name) is not None}


def _documents(source: ClusterFolder) -> dict[ObjectKind, list[Blob]]:
    """Return what describes a cluster or tells of it, with room for histories."""
    found: dict[ObjectKind, list[Blob]] = {ObjectKind.HISTORY: []}
    for name, size in _sizes(source, _describing(source.name)).items():
        parsed = parse_name(name)
        if parsed is not None:
            found.setdefault(parsed.kind, []).append(Blob(name, size))
    return found


def _pins(source: ClusterFolder) -> dict[str, tuple[Blob, ...]]:
    found: dict[str, tuple[Blob, ...]] = {}
    for name, size in _sizes(source, [names.pins_prefix(source.name)]).items():
        parsed = parse_name(name)
        if parsed is not None and parsed.kind is ObjectKind.PIN:
            found[parsed.of] = (*found.get(parsed.of, ()), Blob(name, size))
    return found


def _unreadable(
    cluster: str, backups: Catalog, known_dumps: DumpCatalog
) -> Iterator[tuple[str, str]]:
    everything: list[Unreadable | UnreadableDump] = [*backups.unreadable, *known_dumps.unreadable]
    for bad in everything:
        yield dumps.manifest_name(cluster, bad.id), bad.why


def _starts(
    cluster: str, backups: Catalog, known_dumps: DumpCatalog
) -> Iterator[tuple[Backup | Dump, Start | None]]:
    for backup in backups.backups:
        first, last = backup.first_segment, backup.last_segment
        numbers = range(first.number, last.number + 1)
        generation = backup.generation.id
        files = (first._replace(number=number).name for number in numbers)
        needed = tuple(names.wal(cluster, generation, file) for file in files)
        yield backup, Start(generation, first.number, needed)
    for dump in known_dumps.dumps:
        yield dump, None


def _thing(
    cluster: str,
    one: Backup | Dump,
    start: Start | None,
    manifests: dict[str, int],
    pins: dict[str, tuple[Blob, ...]],
) -> Thing:
    name = dumps.manifest_name(cluster, one.id)
    manifest = Blob(name, manifests.get(name, 0))
    return Thing(one.id, one.stopped_at, manifest, start, (), pins.get(one.id, ()))


def _generations(source: ClusterFolder, backups: Catalog, found: Survey) -> Iterator[Generation]:
    """Yield every generation that can be read; of one whose document is lost a backup may tell."""
    told = {str(backup.generation.id): backup.generation for backup in backups.backups}
    for generation_id in source.generation_ids():
        try:
            yield source.generation(generation_id)
        except (*NOT_INTACT, BlobMissing) as error:
            name = names.generation(source.name, generation_id)
            found.unsendable.append(Unsendable(name, str(error)))
            if generation_id in told:
                yield told[generation_id]


def _histories(listing: WalListing) -> Iterator[BlobStat]:
    return (stat for file, stat in listing.stats.items() if file.endswith(".history"))


def _wal(listing: WalListing, generation: Generation) -> Iterator[WalBlob]:
    for file, stat in listing.stats.items():
        if not file.endswith(".history"):
            at = Segment.parse(file[:24], generation.segment_size)
            yield WalBlob(stat.name, stat.size, generation.id, file, at.timeline, at.number)


def _same(
    source: ClusterFolder, target: ClusterFolder, wal: list[WalBlob], there: dict[str, int]
) -> Iterator[str]:
    """Yield WAL that was pushed to both ends: sealed twice, and so perhaps of two lengths."""
    for one in wal:
        if there.get(one.name, one.size) == one.size:
            continue
        try:
            ours = source.wal(one.generation).describe(one.file)
            theirs = target.wal(one.generation).describe(one.file)
        except (*NOT_INTACT, WalMissing):
            continue
        if ours.is_same_as(theirs):
            yield one.name
