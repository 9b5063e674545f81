"""Deletes one backup, after showing what would be lost with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pgkeep.coverage.dates import newest_change
from pgkeep.model.backup import Backup, BackupId
from pgkeep.progress import Progress, Silent
from pgkeep.repository import catalog, locks, names
from pgkeep.repository.catalog import Catalog, Unreadable
from pgkeep.repository.locks import Lock
from pgkeep.repository.repository import ClusterFolder
from pgkeep.retention.expire import CONFLICTS, agreed_time, ended_pins, secure_manifests
from pgkeep.retention.judging.deletion import BackupPinned, DeletePlan, Lost, plan_delete
from pgkeep.retention.judging.wal_files import Ranges, WalFile, files_of, oldest_first
from pgkeep.retention.packs import Packs
from pgkeep.retention.removal import Remover
from pgkeep.retention.report import Outcome
from pgkeep.retention.survey import Survey, look, sort_found


@dataclass(frozen=True, slots=True)
class DatedLoss:
    """Moments that are lost; a time is None where no transaction on record tells it."""

    timeline: int
    start: datetime | None
    end: datetime | None
    lost: Lost


@dataclass(frozen=True)
class Preview:
    """What deleting a backup does. Of one that cannot be read, nothing is known."""

    cluster: str
    repository: str
    id: BackupId
    plan: DeletePlan | None
    unreadable: Unreadable | None
    losses: tuple[DatedLoss, ...] = ()
    packs: Packs | None = None
    wal_files: tuple[WalFile, ...] = ()

    @property
    def wal_size(self) -> int:
        return sum(file.size for file in self.wal_files)

    @property
    def freed(self) -> int:
        return self.wal_size + (self.packs.freed_size if self.packs else 0)


def preview_delete(cluster: ClusterFolder, text: str, now: datetime | None = None) -> Preview:
    """Return what deleting the backup that `text` means would do. Only reads.

    Raise BackupPinned, LastBackup, UnknownBackup, Unprovable, ...
    """
    now = now or datetime.now(UTC)
    return _preview(cluster, look(cluster, now), text, now, lambda: None)


def delete(
    cluster: ClusterFolder,
    text: str,
    on_preview: Callable[[Preview], None] | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> tuple[Preview, Outcome]:
    """Delete a backup. Raise as `preview_delete`, LockTaken or LockLost."""
    with locks.hold(cluster, "expire", "pgkeep delete", CONFLICTS) as lock:
        now = now or agreed_time(cluster)
        found = look(cluster, now)  # under the lock: what was previewed may have changed
        preview = _preview(cluster, found, text, now, lock.beat)
        if on_preview is not None:
            on_preview(preview)
        return preview, _carry_out(cluster, found, preview, lock, progress or Silent())


def _preview(
    cluster: ClusterFolder, found: Survey, text: str, now: datetime, tick: Callable[[], None]
) -> Preview:
    for bad in found.unreadable:
        if bad.id == text:  # only in full: what cannot be read can't be told apart by its looks
            if bad.id in found.marks.pinned:
                raise BackupPinned(bad.id, found.marks.pinned[bad.id])
            return Preview(cluster.name, cluster.store.url, bad.id, None, bad)
    everything = sorted(
        (backup for known in found.known for backup in known.backups),
        key=lambda backup: (backup.started_at, backup.id),
    )
    listed = Catalog(cluster.name, tuple(everything), found.unreadable)
    backup = catalog.find_backup(listed, text)
    plan = plan_delete(found.known, found.marks, backup)
    return Preview(
        cluster.name,
        cluster.store.url,
        backup.id,
        plan,
        None,
        tuple(_dated(cluster, everything, plan, lost) for lost in plan.lost),
        sort_found(cluster, found, {backup.id}, now, tick),
        tuple(_wal_files(found, plan)),
    )


def _dated(
    cluster: ClusterFolder, backups: Iterable[Backup], plan: DeletePlan, lost: Lost
) -> DatedLoss:
    generation, history = plan.backup.generation, lost.timeline.history
    archive = cluster.wal(generation.id)
    known = {b.stop_lsn: b.stopped_at for b in backups if b.generation.id == generation.id}
    start = known.get(lost.start) or newest_change(
        archive, history, lost.start, plan.backup.stop_lsn, generation.segment_size
    )
    end = known.get(lost.end) or newest_change(
        archive, history, lost.end, lost.start, generation.segment_size
    )
    return DatedLoss(lost.timeline.timeline, start, end or start, lost)


def _wal_files(found: Survey, plan: DeletePlan) -> list[WalFile]:
    ranges, generation = Ranges(plan.wal), plan.backup.generation.id
    part = next(p for p in found.record.generations if p.generation.id == generation)
    return oldest_first(f for f in files_of(part) if ranges.find(generation, f.segment))


def _carry_out(
    cluster: ClusterFolder, found: Survey, preview: Preview, lock: Lock, progress: Progress
) -> Outcome:
    """Delete the manifest, then packs, then WAL: whatever stops it, the others are whole."""
    remover = Remover(cluster.store, lock, progress)
    took_over = tuple(map(str, lock.took_over))
    secure_manifests(cluster)
    manifest = names.manifest(cluster.name, preview.id)
    if not remover.remove("deleting the manifest", [(manifest, 0)]).objects:
        return Outcome(took_over=took_over, problem=remover.problem(cluster.name))
    remover.remove("deleting ended pins", ended_pins(cluster, found, preview.id))
    packs = preview.packs
    freed = [packs.stored[pack] for pack in packs.freed] if packs else []
    return Outcome(
        backups=(preview.id,),
        packs=remover.remove("deleting packs", ((blob.name, blob.size) for blob in freed)),
        wal=remover.remove("deleting WAL", ((f.object, f.size) for f in preview.wal_files)),
        took_over=took_over,
        problem=remover.problem(cluster.name),
    )
