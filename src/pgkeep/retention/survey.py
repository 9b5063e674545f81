"""Reads everything that expire and delete decide on, and refuses when it cannot be all there is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from pgkeep.coverage.record import ClusterRecord, Record, read_record
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import BackupId
from pgkeep.repository import catalog, names
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.proofs import Proofs, read_proofs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import BlobStat, ShortRead
from pgkeep.retention.judging.branches import Known
from pgkeep.retention.packs import Packs, demand_packs, list_packs, sort_packs
from pgkeep.retention.pins import Pin, holding, read_pins
from pgkeep.retention.plan import Marks

_BAD_MANIFEST = (BadManifest, Damaged, FormatTooNew, ShortRead, WrongKey)


class Unprovable(PgkeepError):
    """A backup cannot be read, so nobody knows which packs and which WAL it needs."""

    code = "needs-unknown"
    exit_status = 212

    cluster: str
    backup: str
    why: str
    others: int = 0

    def __str__(self) -> str:
        more = f" (nor can {self.others} more)" if self.others else ""
        return (
            f"cannot delete anything of cluster {self.cluster}: backup {self.backup} cannot be "
            f"read{more}, so what it needs is unknown: {self.why}"
        )

    @property
    def hint(self) -> str:
        return (
            "bring its manifest back from another copy of the repository, or give the backup up: "
            f"pgkeep delete {self.backup} --yes"
        )


class NothingListed(PgkeepError):
    """No backup is listed, though packs are stored: the listing cannot be believed."""

    code = "nothing-listed"
    exit_status = 215

    cluster: str
    packs: int
    store: str

    def __str__(self) -> str:
        return (
            f"cannot delete anything of cluster {self.cluster}: no backup is listed in "
            f"{self.store}, though {self.packs} packs are stored"
        )

    @property
    def hint(self) -> str:
        return (
            "see that the whole repository is mounted and readable; after a first backup that was "
            "interrupted this is normal until one is complete: pgkeep backup"
        )


class PinnedMissing(PgkeepError):
    """A pinned backup is not listed: the listing cannot be believed."""

    code = "pinned-missing"
    exit_status = 220

    cluster: str
    backup: str

    def __str__(self) -> str:
        return (
            f"cannot delete anything of cluster {self.cluster}: backup {self.backup} is pinned, "
            "and not listed"
        )

    @property
    def hint(self) -> str:
        return (
            "see that the whole repository is mounted; if the backup is gone for good: "
            f"pgkeep pin --remove {self.backup}"
        )


@dataclass(frozen=True)
class Survey:
    """All that is on record of a cluster when it was looked at."""

    record: ClusterRecord
    known: tuple[Known, ...]
    pins: tuple[Pin, ...]
    proofs: Proofs
    packs: dict[bytes, BlobStat]
    marks: Marks

    @property
    def unreadable(self) -> tuple[catalog.Unreadable, ...]:
        return self.record.unreadable

    def backup_ids(self) -> list[BackupId]:
        return [backup.id for known in self.known for backup in known.backups]


def look(cluster: ClusterFolder, now: datetime) -> Survey:
    """Read all but the packs' names in manifests. Raise NothingListed or PinnedMissing."""
    listed = _listed(cluster)
    record = read_record(cluster)
    # After the manifests: a backup that ends meanwhile leaves young orphans, not missing packs.
    packs = list_packs(cluster)
    known = tuple(_known(part) for part in record.generations)
    pins, proofs = read_pins(cluster), read_proofs(cluster)
    damaged = {BackupId(name): why for name, why in proofs.damaged_backups().items()}
    found = Survey(record, known, pins, proofs, packs, Marks(holding(pins, now), damaged))
    _demand_whole(cluster, found, listed)
    return found


def sort_found(
    cluster: ClusterFolder,
    found: Survey,
    going: Collection[BackupId],
    now: datetime,
    tick: Callable[[], None],
) -> Packs:
    """Read which packs every backup needs, and sort them. Raise Unprovable or PacksMissing."""
    unreadable = [(bad.id, bad.why) for bad in found.unreadable if bad.id not in going]
    needed: set[bytes] = set()
    freed: set[bytes] = set()
    for backup_id in found.backup_ids():
        try:
            named = set(catalog.read_packs(cluster, backup_id).id.tolist())
        except _BAD_MANIFEST as error:
            if backup_id not in going:  # of one that goes, the packs turn out to be orphans
                unreadable.append((backup_id, str(error)))
            continue
        tick()
        if backup_id in going:
            freed |= named
            continue
        needed |= named
        if backup_id not in found.marks.damaged:
            demand_packs(cluster, backup_id, found.packs, named)
    if unreadable:
        backup_id, why = unreadable[0]
        raise Unprovable(cluster.name, backup_id, why, len(unreadable) - 1)
    return sort_packs(found.packs, needed, freed, now.timestamp())


def _listed(cluster: ClusterFolder) -> set[BackupId]:
    """Return the ids of all manifests by name alone."""
    prefix = names.backups_prefix(cluster.name)
    found = (b.name.removeprefix(prefix).partition("/")[0] for b in cluster.store.list(prefix))
    return {BackupId(backup_id) for backup_id in found}


def _demand_whole(cluster: ClusterFolder, found: Survey, listed: Collection[BackupId]) -> None:
    """Refuse a view of the cluster that cannot be all there is."""
    seen = {*found.backup_ids(), *(bad.id for bad in found.unreadable)}
    if not seen and found.packs:
        raise NothingListed(cluster.name, len(found.packs), cluster.store.url)
    for backup_id in sorted(set(listed) - seen):
        try:
            facts = catalog.read_facts(cluster, backup_id)
        except catalog.UnknownBackup:
            continue  # deleted since it was listed, or something else under a backup's name
        why = f"its generation {facts.generation.id} is not on record"
        raise Unprovable(cluster.name, backup_id, why)
    for backup_id in found.marks.pinned:
        if backup_id not in seen:
            raise PinnedMissing(cluster.name, backup_id)


def _known(part: Record) -> Known:
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
