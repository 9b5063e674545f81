"""A cluster's part of a repository, filled by hand: backups, packs and WAL of chosen ages."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pgkeep.model.backup import BackupId
from pgkeep.model.census import CensusId, new_census_id
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import history_name
from pgkeep.repository import catalog, names
from pgkeep.repository.census.shelf import listed, write_census
from pgkeep.repository.manifest.builder import ChunkLog, ManifestBuilder
from pgkeep.repository.pack import Placed, StoredPack
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.memory import MemoryStore
from support.censuses import some_census
from support.manifests import ATTRIBUTES, some_facts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIZE = 1 << 20  # of a WAL segment
GENERATION = Generation(7710983248089545577, 18, SIZE)
PACK_SIZE = 1200


@dataclass
class Clock:
    """The store's clock, set by hand."""

    moment: datetime = NOW

    def __call__(self) -> float:
        return self.moment.timestamp()


@dataclass
class Shelf:
    """Everything below happens at `days` before NOW, by the store's clock too."""

    generation: Generation = GENERATION
    name: str = "main"
    clock: Clock = field(default_factory=Clock)
    store: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=self.clock)
        Repository.create(self.store, "none", None)
        self.cluster.add_generation(self.generation)

    @property
    def cluster(self) -> ClusterFolder:
        return self.seen_through(self.store)

    def seen_through(self, store: Store) -> ClusterFolder:
        return Repository(store, "00" * 16, None).cluster(self.name)

    def at(self, days: float) -> datetime:
        self.clock.moment = NOW - timedelta(days=days)
        return self.clock.moment

    def wal(self, first: int, last: int, days: float, timeline: int = 1) -> None:
        """Archive segments; the last one `days` ago, each one an hour after the one before."""
        archive = self.cluster.wal(self.generation.id)
        for number in range(first, last + 1):
            self.at(days + (last - number) / 24)
            archive.push(Segment(timeline, number, SIZE).name, b"wal")

    def wal_file(self, file: str, days: float, content: bytes = b"x") -> None:
        self.at(days)
        self.cluster.wal(self.generation.id).push(file, content)

    def history(self, timeline: int, days: float, *branches: tuple[int, float]) -> None:
        lines = (f"{t}\t{Lsn(int(at * SIZE))}\tno reason\n" for t, at in branches)
        self.wal_file(history_name(timeline), days, "".join(lines).encode())

    def pack(self, name: str, days: float) -> bytes:
        """Store a pack called by one letter, if it is not there."""
        pack_id = name.encode() * 16
        if not any(self.store.list(names.pack(self.name, pack_id))):
            self.at(days)
            self.store.put(names.pack(self.name, pack_id), [bytes(PACK_SIZE)])
        return pack_id

    def backup(
        self,
        name: str,
        days: float,
        start: float,
        stop: float | None = None,
        *,
        packs: str = "",
        **facts: Any,
    ) -> BackupId:
        """Make a backup from segment position `start` to `stop`, in packs of one letter each."""
        builder, log = ManifestBuilder(), ChunkLog()
        builder.add_file(0, "a", ATTRIBUTES)
        stored = [StoredPack(self.pack(letter, days), PACK_SIZE) for letter in packs or name]
        for index, pack in enumerate(stored):
            log.add(0, index * 1000, Placed(pack.id, index, 0, 1000), 1000)
        builder.add_chunks(log.finish(stored))
        moment = self.at(days)
        lsns = (start, start + 0.5 if stop is None else stop)
        start_lsn, stop_lsn = (str(Lsn(int(lsn * SIZE))) for lsn in lsns)
        made = some_facts(
            id=name,
            cluster=self.name,
            generation=self.generation,
            start_lsn=start_lsn,
            stop_lsn=stop_lsn,
            started_at=moment - timedelta(minutes=1),
            stopped_at=moment,
            stored=PACK_SIZE * len(stored),
            **facts,
        )
        catalog.write_manifest(self.cluster, builder.build(made))
        return BackupId(name)

    def census(self, days: float) -> CensusId:
        moment = self.at(days)
        taken = some_census(id=new_census_id(moment), taken_at=moment)
        write_census(self.cluster, taken)
        return taken.id

    def damage_manifest(self, name: str) -> None:
        blob = names.manifest(self.name, name)
        self.store.put(blob, [self.store.get(blob)[:-1]])

    def ids(self) -> str:
        """Return the names of all listed backups, like 'a b c'."""
        return " ".join(sorted(backup.id for backup in catalog.backups(self.cluster).backups))

    def censuses(self) -> list[float]:
        """Return how many days ago those that are there were taken, newest first."""
        found = [(NOW - one.moment) / timedelta(days=1) for one in listed(self.cluster)]
        return [round(days, 2) for days in reversed(found)]

    def packs(self) -> str:
        """Return the letters of all stored packs, like 'abc'."""
        stored = self.store.list(names.packs_prefix(self.name))
        return "".join(sorted(bytes.fromhex(b.name[-32:]).decode()[0] for b in stored))

    def segments(self, timeline: int = 1) -> list[int]:
        listing = self.cluster.wal(self.generation.id).list(SIZE)
        return listing.segments.get(timeline, [])

    def everything(self) -> set[str]:
        return {blob.name for blob in self.store.list()}
