"""One policy's repository, day by day: what was stored, what is there, what a restore reads."""

import contextlib
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bench.simulation.cluster import SimulatedCluster
from bench.simulation.source import SimulatedSource
from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.copying.copy import CopierSetup, make_copier
from pgkeep.backup.copying.workers import InlineWorkers, Workers
from pgkeep.backup.incremental.base import Cleaning
from pgkeep.model.backup import BackupId
from pgkeep.repository import catalog, names
from pgkeep.repository.manifest.tables import ChunkTable, Tables
from pgkeep.repository.packs.chunks import ChunkReader, plan_reads
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.restore.writing.layout import CONTROL, Layout, Owners
from pgkeep.restore.writing.tasks import TaskPlan
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.policy import KeepPolicy

POLICY: Final = KeepPolicy(window=timedelta(days=7), weekly=4, monthly=12)
JOBS: Final = 2
_PAGED: Final = 32 * 1024  # files up to here never have overlays


class Reads(NamedTuple):
    """What is read of the repository."""

    size: int  # bytes, gaps included
    requests: int


class Day(NamedTuple):
    """What one day left behind. Bytes unless said otherwise."""

    day: int
    live: int
    stored: int  # by this day's backup, its manifest included
    moved: int  # of that, chunks carried out of mostly dead packs
    packs: int  # objects
    repository: int  # packs and manifests
    backups: int  # kept
    restore: Reads  # of the newest, by the tasks of a restore
    chunks: Reads  # the same, were every chunk read once
    layers: float  # of files of more than 32 KiB, on average
    most_layers: int
    needed: int = 0  # of the packs, bytes that some kept backup uses; 0: not looked
    full: int = 0  # what a full backup into an empty repository would store; 0: not looked


@dataclass
class Story:
    """A repository that is kept by one pair of thresholds."""

    name: str
    folder: Path
    cleaning: Cleaning
    kind: Kind = Kind.AUTO
    days: list[Day] = field(default_factory=list)

    def __post_init__(self) -> None:
        store = make_store(str(self.folder))
        self.cluster: ClusterFolder = Repository.create(store, "none", None).cluster("main")

    def live_through(self, simulated: SimulatedCluster, *, closely: bool) -> None:
        """Back up, expire and note what that led to. `closely`: prove the backup, and more."""
        source = SimulatedSource(simulated)
        began = source.now
        options = BackupOptions(self.kind, jobs=JOBS, cleaning=self.cleaning)
        backup = run(
            source, self.cluster, options, make_workers=_inline(self.cluster), now=lambda: began
        )
        now = source.now + timedelta(hours=1)
        expired = expire(self.cluster, Wish(POLICY, UTC, now))
        assert expired.decision.refusal is None, expired.decision.refusal
        tables = catalog.read_manifest(self.cluster, backup.backup.id).tables
        sizes = [b.size for b in self.cluster.store.list(names.packs_prefix(self.cluster.name))]
        manifests = {
            blob.name: blob.size
            for blob in self.cluster.store.list(names.backups_prefix(self.cluster.name))
        }
        own = manifests[names.manifest(self.cluster.name, backup.backup.id)]
        large = tables.file.layers[tables.file.size > _PAGED]
        reuse = backup.reuse
        self.days.append(
            Day(
                day=simulated.day,
                live=simulated.live(),
                stored=backup.backup.stored + own,
                moved=reuse.moved_bytes if reuse else 0,
                packs=len(sizes),
                repository=sum(sizes) + sum(manifests.values()),
                backups=len(manifests),
                restore=_restore_reads(tables),
                chunks=_reads([tables.chunk]),
                layers=float(large.mean()),
                most_layers=int(large.max()),
                needed=_needed(self.cluster, manifests) if closely else 0,
                full=_full(simulated, self.folder) if closely else 0,
            )
        )
        if closely:
            prove(self.cluster, backup.backup.id, tables, simulated.root)


def prove(cluster: ClusterFolder, backup_id: BackupId, tables: Tables, root: Path) -> None:
    """Compare a backup, read back, with the files that it was made of."""
    reader = ChunkReader(cluster, cluster.repository.sealer(), tables.pack, backup=backup_id)
    plain = dict(reader.read(tables.chunk))
    found = {number: bytearray(int(size)) for number, size in enumerate(tables.file.size)}
    for row, file, position, start, length in zip(*tables.placements(), strict=True):
        found[int(file)][position : position + length] = plain[int(row)][start : start + length]
    for entry in tables.entries():
        if (root / entry.path).is_file() and found[entry.number] != (
            root / entry.path
        ).read_bytes():
            raise AssertionError(f"{entry.path} of {backup_id} is not what was backed up")
    wanted = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    listed = {entry.path for entry in tables.entries() if entry.kind == 0}
    assert listed == wanted | {CONTROL}, listed ^ wanted


def _inline(cluster: ClusterFolder):  # type: ignore[no-untyped-def]
    def make(setup: CopierSetup, jobs: int) -> AbstractContextManager[Workers]:  # noqa: ARG001
        return contextlib.nullcontext(InlineWorkers(make_copier(cluster, setup)))

    return make


def _restore_reads(tables: Tables) -> Reads:
    layout = Layout(tables, "/nowhere", (), Owners({}, {}))
    return _reads(task.chunks for task in TaskPlan(layout, JOBS))


def _reads(tables: Iterable[ChunkTable]) -> Reads:
    requests = [read.length for chunks in tables for read in plan_reads(chunks)]
    return Reads(sum(requests), len(requests))


def _needed(cluster: ClusterFolder, manifests: Iterable[str]) -> int:
    """Return the bytes of all chunks that some backup uses, each stored chunk once."""
    places: dict[bytes, dict[int, int]] = {}
    prefix = names.backups_prefix(cluster.name)
    for name in manifests:
        backup_id = name.removeprefix(prefix).partition("/")[0]
        tables = catalog.read_manifest(cluster, BackupId(backup_id)).tables
        for number in np.unique(tables.chunk.pack).tolist():
            rows = tables.chunk.pack == number
            offsets, sealed = tables.chunk.offset[rows], tables.chunk.sealed[rows]
            held = places.setdefault(tables.pack.name(number), {})
            held.update(zip(offsets.tolist(), sealed.tolist(), strict=True))
    return sum(sum(held.values()) for held in places.values())


def _full(simulated: SimulatedCluster, beside: Path) -> int:
    """Return what a full backup into an empty repository stores."""
    folder = beside.with_name("full-for-comparison")
    cluster = Repository.create(make_store(str(folder)), "none", None).cluster("main")
    source = SimulatedSource(simulated)
    began = source.now
    options = BackupOptions(Kind.FULL, jobs=JOBS)
    made = run(source, cluster, options, make_workers=_inline(cluster), now=lambda: began)
    shutil.rmtree(folder)
    return made.backup.stored
