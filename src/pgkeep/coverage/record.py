"""Reads all that coverage is computed from: manifests, the WAL listing, timeline histories."""

from dataclasses import dataclass
from functools import partial

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import Coverage, coverage
from pgkeep.model.timeline import BadHistory, History, history_name
from pgkeep.repository import catalog
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import ShortRead
from pgkeep.repository.store.distance.at_once import Calls, at_once
from pgkeep.repository.wal_archive import WalArchive, WalListing, WalMissing


@dataclass(frozen=True, slots=True)
class Record:
    """One generation of a cluster, as the repository has it."""

    generation: Generation
    backups: tuple[Backup, ...]  # complete ones, oldest first
    listing: WalListing
    coverage: Coverage
    bad_histories: tuple[PgkeepError, ...]  # history files that nobody can follow


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """All generations of a cluster, oldest first, and the manifests that cannot be read."""

    cluster: str
    generations: tuple[Record, ...]
    unreadable: tuple[catalog.Unreadable, ...]

    @property
    def newest(self) -> Record | None:
        """The generation that holds the newest backup; the last one when there is no backup."""
        with_backups = [record for record in self.generations if record.backups]
        if not with_backups:
            return self.generations[-1] if self.generations else None
        return max(with_backups, key=lambda record: record.backups[-1].started_at)


def read_record(cluster: ClusterFolder) -> ClusterRecord:
    """Read everything on record of `cluster`; a failing store is raised, damage is noted."""
    with Calls(cluster.store) as calls:
        backups = calls.begin(partial(catalog.backups, cluster))
        generations = cluster.generations()
        known = backups.result()
    read = (partial(read_generation, cluster, generation, known) for generation in generations)
    records = tuple(at_once(cluster.store, read))
    return ClusterRecord(cluster.name, records, known.unreadable)


def read_generation(
    cluster: ClusterFolder, generation: Generation, known: catalog.Catalog
) -> Record:
    """Read one generation's WAL listing and histories; `known` are the cluster's backups."""
    archive = cluster.wal(generation.id)
    listing = archive.list(generation.segment_size)
    backups = tuple(b for b in known.backups if b.generation.id == generation.id)
    histories: dict[int, History] = {}
    bad: list[PgkeepError] = []
    for timeline in listing.histories:
        try:
            histories[timeline] = _archived_history(archive, timeline)
        except (BadHistory, Damaged, FormatTooNew, ShortRead, WalMissing, WrongKey) as error:
            bad.append(error)
    for backup in backups:
        if backup.timeline not in histories and backup.timeline > 1:
            kept = _kept_history(cluster, backup)
            if kept is not None:
                histories[backup.timeline] = kept
    found = coverage(generation, backups, listing.segments, histories)
    return Record(generation, backups, listing, found, tuple(bad))


def _archived_history(archive: WalArchive, timeline: int) -> History:
    text = b"".join(archive.fetch(history_name(timeline))).decode(errors="replace")
    return History.parse(timeline, text)


def _kept_history(cluster: ClusterFolder, backup: Backup) -> History | None:
    """Return the history that a backup carries: it outlives the archived file."""
    text = catalog.read_facts(cluster, backup.id).history
    try:
        return History.parse(backup.timeline, text) if text else None
    except BadHistory:
        return None
