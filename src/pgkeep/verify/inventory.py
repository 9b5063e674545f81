"""What there is to verify: backups and dumps in scope, what they name, what of it is there."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np

from pgkeep.coverage.record import Record, read_generation
from pgkeep.model.cluster import Generation
from pgkeep.postgres.control import BadControlFile, parse_control
from pgkeep.postgres.layout import CONTROL_FILE
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.progress import Progress
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.catalog import Catalog, UnknownBackup
from pgkeep.repository.census.shelf import UnknownCensus, census_facts, read_census
from pgkeep.repository.dumps import UnknownDump
from pgkeep.repository.manifest.checks import BadManifest, UnsafePath
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.tables import Tables
from pgkeep.repository.packs.chunks import ChunkReader, PackMissing
from pgkeep.repository.proofs import Level
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobMissing
from pgkeep.verify.archives import check_archives, check_dump
from pgkeep.verify.content import DAMAGE, WHOLE, BadPart, WalCheck, reason
from pgkeep.verify.objects import Listed, Needed, check_manifest, list_objects, look_again
from pgkeep.verify.plan import (
    ALONE,
    Manner,
    Sample,
    Scope,
    WalFile,
    choose,
    needed_segments,
    plan_scope,
)

# Why a manifest cannot be used, or is not there any more.
BAD_MANIFEST: Final = (BadManifest, UnsafePath, UnknownBackup, UnknownDump, *DAMAGE)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify, and how."""

    level: Level = Level.OBJECTS
    wanted: tuple[str, ...] = ()  # backups and dumps by id; none: all
    sample: Sample | None = None
    since: datetime | None = None
    manner: Manner = ALONE
    window_s: int = 0  # retention.window: nothing in it is ever expired


@dataclass
class Inventory:
    """What was found without reading content, and what is to be read."""

    scope: Scope
    records: list[Record]
    listed: Listed
    needed: Needed = field(default_factory=Needed)
    packs: dict[str, int] = field(default_factory=dict)  # named by what is in scope: sizes
    to_read: dict[str, int] = field(default_factory=dict)  # of those, with their sizes
    lost: dict[str, list[BadPart]] = field(default_factory=dict)  # by pack
    odd: dict[str, str] = field(default_factory=dict)  # objects that are wrong by themselves
    manifests: dict[str, str] = field(default_factory=dict)  # by id: why its own is no good
    orphans: tuple[int, int] | None = None  # packs that no manifest names, and their bytes
    wal: list[WalCheck] = field(default_factory=list)


def take_inventory(
    cluster: ClusterFolder,
    options: VerifyOptions,
    suspects: Collection[str],
    progress: Progress,
    beat: Callable[[], None],
) -> Inventory:
    """Read the catalogs, then list, then decode every manifest: in this order.

    What ends meanwhile is not in a catalog, so its packs are orphans at worst; the other way round
    they would be missing. `suspects` are objects that an earlier proof found damaged.
    """
    progress.phase("listing objects")
    known = catalog.backups(cluster)
    scope = plan_scope(known, dumps.dumps(cluster), options.wanted, options.since)
    generations, odd = _generations(cluster, known)
    listed = list_objects(cluster, {generation.id for generation in generations})
    records = [read_generation(cluster, generation, known) for generation in generations]
    found = Inventory(scope, records, listed, odd=odd)
    for record in records:
        for name in record.listing.foreign:
            listed.add_unexplained(name)
    for bad in scope.unreadable:
        found.manifests[bad.id] = bad.why
    progress.phase("reading manifests", len(scope.readable), "manifests")
    reader = _ManifestReader(cluster, options, found, set(suspects))
    for done, id in enumerate(scope.readable, 1):
        reader.read(id)
        progress.advance(done)
        beat()
    if scope.everything:
        odd.update(_odd_censuses(cluster, options, found, suspects, beat))
    found.orphans = _orphans(found)
    found.wal = list(_wal(found, options, suspects))
    return found


def _generations(cluster: ClusterFolder, known: Catalog) -> tuple[list[Generation], dict[str, str]]:
    """Return all generations, those too whose own document is lost, and what is lost of them."""
    odd: dict[str, str] = {}
    found: dict[str, Generation] = {}
    for generation_id in cluster.generation_ids():
        try:
            found[generation_id] = cluster.generation(generation_id)
        except (*DAMAGE, BlobMissing) as error:
            odd[names.generation(cluster.name, generation_id)] = str(error)
    for backup in known.backups:
        generation = backup.generation
        if generation.id not in found:
            found[generation.id] = generation
            name = names.generation(cluster.name, generation.id)
            odd.setdefault(name, "it is missing, and so is its WAL from lists and restores")
    return sorted(found.values(), key=lambda g: (g.major, g.system_identifier)), odd


def _odd_censuses(
    cluster: ClusterFolder,
    options: VerifyOptions,
    found: Inventory,
    suspects: Collection[str],
    beat: Callable[[], None],
) -> Iterator[tuple[str, str]]:
    """Yield the censuses that are wrong. They are small: none is left out of a sample."""
    for id in found.listed.censuses:
        beat()
        name = names.census(cluster.name, id)
        try:
            if options.level is Level.BYTES or name in suspects:
                read_census(cluster, id)
            else:
                census_facts(cluster, id)
        except UnknownCensus:
            continue  # deleted since it was listed
        except DAMAGE as error:
            yield name, reason(error)


class _ManifestReader:
    """Decodes manifests one by one, and notes what they need."""

    def __init__(
        self,
        cluster: ClusterFolder,
        options: VerifyOptions,
        found: Inventory,
        suspects: set[str],
    ) -> None:
        self._cluster = cluster
        self._options = options
        self._found = found
        self._suspects = suspects
        self._names: dict[bytes, str] = {}
        self._chosen = self._choose()

    def read(self, id: str) -> None:
        try:
            wrong, tables = self._dump(id) if dumps.is_dump_id(id) else self._backup(id)
        except BAD_MANIFEST as error:
            self._found.manifests[id] = str(error)
            return
        if wrong:
            self._found.manifests[id] = "; ".join(wrong)
        self._packs(tables)

    def _backup(self, backup_id: str) -> tuple[list[str], Tables]:
        manifest = catalog.read_manifest(self._cluster, backup_id)
        wrong = check_manifest(manifest)
        if self._options.level is Level.BYTES and not wrong:
            wrong += self._control(manifest)
        return wrong, manifest.tables

    def _dump(self, dump_id: str) -> tuple[list[str], Tables]:
        manifest = dumps.read_manifest(self._cluster, dump_id)
        wrong = check_dump(manifest)
        if self._options.level is Level.BYTES and not wrong:
            wrong, unread = check_archives(self._cluster, manifest)
            self._suspects |= {self._name(pack) for pack in unread}
        return wrong, manifest.tables

    def _choose(self) -> set[str] | None:
        """Return the packs whose content is read; None for all."""
        options = self._options
        if options.level is Level.OBJECTS:
            return set()
        if options.sample is None:
            return None
        named: set[str] = set()
        for id in self._found.scope.readable:
            try:
                packs = dumps.read_packs(self._cluster, id)
            except BAD_MANIFEST:
                continue  # decoding it all will tell
            named.update(self._name(packs.name(row)) for row in range(len(packs)))
        return choose(named, options.sample, ())

    def _packs(self, tables: Tables) -> None:
        """Compare the packs that a manifest names with what is there."""
        packs, found, wanted = tables.pack, self._found, set()
        for row, recorded in enumerate(packs.size.tolist()):
            name = self._name(packs.name(row))
            size = self._size(name)
            found.packs.setdefault(name, size or 0)
            if size is None:
                found.lost[name] = [BadPart(0, WHOLE, "it is missing")]
                continue
            if size != recorded:
                found.odd[name] = f"it has {size} bytes instead of {recorded}"
            doubtful = name in self._suspects or size != recorded
            if doubtful or self._chosen is None or name in self._chosen:
                wanted.add(row)
                found.to_read[name] = size
        if wanted:
            found.needed.add(tables, wanted)

    def _size(self, name: str) -> int | None:
        """Return the size of a pack that is there. What a listing does not show is asked for."""
        size = self._found.listed.packs.get(name)
        if size is None and name not in self._found.lost:
            there = look_again(self._cluster, name)
            if there is not None:
                size = self._found.listed.packs[name] = there.size
        return size

    def _name(self, pack_id: bytes) -> str:
        name = self._names.get(pack_id)
        if name is None:
            name = self._names[pack_id] = names.pack(self._cluster.name, pack_id)
        return name

    def _control(self, manifest: Manifest) -> list[str]:
        """Return what is wrong with the backup's pg_control: it starts no server, or another's."""
        facts, tables = manifest.facts, manifest.tables
        number = tables.find(CONTROL_FILE)
        assert number is not None  # check_manifest has seen it
        rows = tables.chunk_rows(number)
        chunks = tables.chunk.take(np.array(rows))
        sealer = self._cluster.repository.sealer()
        reader = ChunkReader(self._cluster, sealer, tables.pack, backup=facts.id)
        try:
            plain = dict(reader.read(chunks))
            control = parse_control(b"".join(plain[row] for row in range(len(chunks))))
        except (*DAMAGE, PackMissing):
            # Its pack is read, or known to be missing; in a sample it may not have been chosen.
            self._suspects |= {self._name(tables.pack.name(int(p))) for p in chunks.pack}
            return []
        except (BadControlFile, UnsupportedVersion) as error:
            return [str(error)]
        if control.generation != facts.generation:
            ours, other = facts.generation.id, control.generation.id
            return [f"its {CONTROL_FILE} is of {other} instead of {ours}"]
        if control.redo < facts.backup().start_lsn:
            return [f"its {CONTROL_FILE} is older than the backup: it says {control.redo}"]
        return []


def _orphans(found: Inventory) -> tuple[int, int] | None:
    """Count the packs that no manifest names; None where not all of them were looked at."""
    if not found.scope.everything:
        return None
    left = [size for name, size in found.listed.packs.items() if name not in found.packs]
    return len(left), sum(left)


def _wal(found: Inventory, options: VerifyOptions, suspects: Collection[str]) -> Iterator[WalCheck]:
    """Yield the WAL files in scope. Histories are small, and read whole at every level."""
    scope = found.scope
    needed = needed_segments(scope.backups)
    files: dict[str, WalFile] = {}
    for record in found.records:
        generation = record.generation.id
        for file, stat in record.listing.stats.items():
            late = options.since is not None and stat.modified >= options.since.timestamp()
            if scope.everything or (late and not options.wanted) or (generation, file) in needed:
                files[stat.name] = WalFile(generation, file, stat.size)
    whole = set(suspects)
    if options.level is Level.BYTES:
        whole |= choose(files, options.sample, suspects)
    for name, wal in files.items():
        yield WalCheck(wal, name in whole or wal.file.endswith(".history"))
