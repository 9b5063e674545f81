"""Reads everything that expire and delete decide on, and refuses when it cannot be all there is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from pgkeep.coverage.record import ClusterRecord, Record, read_record
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import BackupId, in_order
from pgkeep.model.dump import noun_of
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.catalog import Catalog, Unreadable
from pgkeep.repository.census.shelf import Listed
from pgkeep.repository.census.shelf import listed as listed_censuses
from pgkeep.repository.dumps import DumpCatalog, UnreadableDump, is_dump_id
from pgkeep.repository.manifest.shelf import BAD_MANIFEST
from pgkeep.repository.proofs import Proofs, read_proofs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobStat
from pgkeep.retention.judging.branches import Known
from pgkeep.retention.packs import Packs, demand_packs, list_packs, sort_packs
from pgkeep.retention.pins import Pin, holding, read_pins
from pgkeep.retention.plan import Marks


class Unprovable(PgkeepError):
    """A backup or dump cannot be read, so nobody knows which packs and which WAL it needs."""

    code = "needs-unknown"
    exit_status = 212

    cluster: str
    backup: str
    why: str
    others: int = 0

    def __str__(self) -> str:
        more = f" (nor can {self.others} more)" if self.others else ""
        return (
            f"cannot delete anything of cluster {self.cluster}: {noun_of(self.backup)} "
            f"{self.backup} cannot be read{more}, so what it needs is unknown: {self.why}"
        )

    @property
    def hint(self) -> str:
        return (
            "bring its manifest back from another copy of the repository, or give the "
            f"{noun_of(self.backup)} up: pgkeep delete {self.backup} --yes"
        )


class NothingListed(PgkeepError):
    """Nothing is listed, though packs are stored: the listing cannot be believed."""

    code = "nothing-listed"
    exit_status = 215

    cluster: str
    packs: int
    store: str

    def __str__(self) -> str:
        return (
            f"cannot delete anything of cluster {self.cluster}: no backup and no dump is listed "
            f"in {self.store}, though {self.packs} packs are stored"
        )

    @property
    def hint(self) -> str:
        return (
            "see that the whole repository is mounted and readable; after a first backup or dump "
            "that was interrupted this is normal until one is complete"
        )


class PinnedMissing(PgkeepError):
    """A pinned backup or dump is not listed: the listing cannot be believed."""

    code = "pinned-missing"
    exit_status = 220

    cluster: str
    backup: str

    def __str__(self) -> str:
        return (
            f"cannot delete anything of cluster {self.cluster}: {noun_of(self.backup)} "
            f"{self.backup} is pinned, and not listed"
        )

    @property
    def hint(self) -> str:
        return (
            f"see that the whole repository is mounted; if the {noun_of(self.backup)} is gone for "
            f"good: pgkeep pin --remove {self.backup}"
        )


@dataclass(frozen=True)
class Survey:
    """All that is on record of a cluster when it was looked at."""

    record: ClusterRecord
    known: tuple[Known, ...]
    dumps: DumpCatalog
    pins: tuple[Pin, ...]
    proofs: Proofs
    packs: dict[bytes, BlobStat]
    marks: Marks
    censuses: tuple[Listed, ...]  # by their names: nothing is read of them

    @property
    def backups(self) -> Catalog:
        """Every backup, the oldest first."""
        everything = in_order(backup for known in self.known for backup in known.backups)
        return Catalog(self.record.cluster, tuple(everything), self.record.unreadable)

    @property
    def unreadable(self) -> tuple[Unreadable | UnreadableDump, ...]:
        return (*self.record.unreadable, *self.dumps.unreadable)

    def ids(self) -> list[str]:
        """Return all backups and dumps that can be read."""
        return [*(one.id for one in self.backups.backups), *(one.id for one in self.dumps.dumps)]


def look(cluster: ClusterFolder, now: datetime) -> Survey:
    """Read all but the packs' names in manifests. Raise NothingListed or PinnedMissing."""
    listed = _listed(cluster)
    record = read_record(cluster)
    listed_dumps = dumps.dumps(cluster)
    # After the manifests: a backup that ends meanwhile leaves young orphans, not missing packs.
    packs = list_packs(cluster)
    known = tuple(known_of(part) for part in record.generations)
    pins, proofs = read_pins(cluster), read_proofs(cluster)
    marks = Marks(holding(pins, now), proofs.damaged_backups())
    censuses = tuple(listed_censuses(cluster))
    found = Survey(record, known, listed_dumps, pins, proofs, packs, marks, censuses)
    _demand_whole(cluster, found, listed)
    return found


def sort_found(
    cluster: ClusterFolder,
    found: Survey,
    going: Collection[str],
    now: datetime,
    tick: Callable[[], None],
) -> Packs:
    """Read which packs every backup and dump needs, and sort them.

    Raise Unprovable or PacksMissing.
    """
    unreadable = [(str(bad.id), bad.why) for bad in found.unreadable if bad.id not in going]
    needed: set[bytes] = set()
    freed: set[bytes] = set()
    for id in found.ids():
        try:
            named = set(dumps.read_packs(cluster, id).id.tolist())
        except BAD_MANIFEST as error:
            if id not in going:  # of one that goes, the packs turn out to be orphans
                unreadable.append((id, str(error)))
            continue
        tick()
        if id in going:
            freed |= named
            continue
        needed |= named
        if id not in found.marks.damaged:
            demand_packs(cluster, id, found.packs, named)
    if unreadable:
        id, why = unreadable[0]
        raise Unprovable(cluster.name, id, why, len(unreadable) - 1)
    return sort_packs(found.packs, needed, freed, now.timestamp())


def _listed(cluster: ClusterFolder) -> set[BackupId]:
    """Return the ids of all backups by name alone."""
    prefix = names.backups_prefix(cluster.name)
    found = (b.name.removeprefix(prefix).partition("/")[0] for b in cluster.store.list(prefix))
    return {BackupId(backup_id) for backup_id in found}


def _demand_whole(cluster: ClusterFolder, found: Survey, listed: Collection[BackupId]) -> None:
    """Refuse a view of the cluster that cannot be all there is."""
    seen = found.backups.ids() | found.dumps.ids()
    if not seen and found.packs:
        raise NothingListed(cluster.name, len(found.packs), cluster.store.url)
    _demand_kinds(cluster, found)
    for backup_id in sorted(set(listed) - seen):
        try:
            facts = catalog.read_facts(cluster, backup_id)
        except catalog.UnknownBackup:
            continue  # deleted since it was listed, or something else under a backup's name
        why = f"its generation {facts.generation.id} is not on record"
        raise Unprovable(cluster.name, backup_id, why)
    for id in found.marks.pinned:
        if id not in seen:
            raise PinnedMissing(cluster.name, id)


def _demand_kinds(cluster: ClusterFolder, found: Survey) -> None:
    """Refuse ids of the other kind: what is deleted, and what needs a pack, goes by them."""
    wrong = {id for id in found.backups.ids() if is_dump_id(id)}
    wrong |= {id for id in found.dumps.ids() if not is_dump_id(id)}
    if wrong:
        raise Unprovable(cluster.name, min(wrong), "it lies where the other kind belongs")


def known_of(part: Record) -> Known:
    """Return one generation as retention judges it."""
    archived_at: dict[int, datetime] = {}
    for file, stat in part.listing.stats.items():
        timeline, moment = int(file[:8], 16), datetime.fromtimestamp(stat.modified, UTC)
        archived_at[timeline] = max(moment, archived_at.get(timeline, moment))
    histories = {
        timeline.timeline: timeline.history
        for timeline in part.coverage.timelines
        if timeline.history_known and timeline.timeline > 1
    }
    return Known(part.generation, part.backups, part.listing.segments, histories, archived_at)
