"""Deletes one backup or dump, after showing what would be lost with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgkeep.coverage.dates import newest_change
from pgkeep.model.backup import Backup
from pgkeep.progress import Progress, Silent
from pgkeep.repository.catalog import Unreadable
from pgkeep.repository.claims.locks import Lock, hold
from pgkeep.repository.dumps import UnreadableDump, find_any, is_dump_id, manifest_name
from pgkeep.repository.repository import ClusterFolder
from pgkeep.retention.expire import CONFLICTS, agreed_time, ended_pins, secure_manifests
from pgkeep.retention.judging.deletion import BackupPinned, DeletePlan, Lost, plan_delete
from pgkeep.retention.judging.dump_deletion import DumpDeletion, plan_delete_dump
from pgkeep.retention.judging.wal_files import Ranges, WalFile, files_of, oldest_first
from pgkeep.retention.packs import Packs
from pgkeep.retention.removal import Locks, Remover
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
    """What deleting a backup or dump does. Of one that cannot be read, nothing is known."""

    cluster: str
    repository: str
    id: str
    plan: DeletePlan | DumpDeletion | None
    unreadable: Unreadable | UnreadableDump | None
    losses: tuple[DatedLoss, ...] = ()
    packs: Packs | None = None
    wal_files: tuple[WalFile, ...] = ()

    @property
    def wal_size(self) -> int:
        return sum(file.size for file in self.wal_files)

    @property
    def freed(self) -> int:
        return self.wal_size + (self.packs.freed_size if self.packs else 0)


def preview_delete(
    cluster: ClusterFolder, text: str, now: datetime | None = None, *, last_too: bool = False
) -> Preview:
    """Return what deleting the backup or dump that `text` means would do. Only reads.

    With `last_too` that may be the last good dump of its series; never the last good backup.
    Raise BackupPinned, LastBackup, LastDump, UnknownBackup, UnknownDump, Unprovable, ...
    """
    now = now or datetime.now(UTC)
    job = _Job(cluster, look(cluster, now), now, last_too)
    return job.preview(text, lambda: None)


def delete(  # noqa: PLR0913 - one of them is named
    cluster: ClusterFolder,
    text: str,
    on_preview: Callable[[Preview], None] | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
    *,
    last_too: bool = False,
    locks: Locks | None = None,
) -> tuple[Preview, Outcome]:
    """Delete a backup or dump, unless it is locked: see Outcome.held.

    Raise as `preview_delete`, LockTaken or LockLost.
    """
    with hold(cluster, "expire", "pgkeep delete", CONFLICTS) as lock:
        now = now or agreed_time(cluster)
        # Under the lock: what was previewed may have changed.
        job = _Job(cluster, look(cluster, now), now, last_too, locks)
        preview = job.preview(text, lock.beat)
        if on_preview is not None:
            on_preview(preview)
        return preview, job.carry_out(preview, lock, progress or Silent())


@dataclass(frozen=True)
class _Job:
    """One deletion, and all that is on record when it is decided."""

    cluster: ClusterFolder
    found: Survey
    now: datetime
    last_too: bool
    locks: Locks | None = None

    def preview(self, text: str, tick: Callable[[], None]) -> Preview:
        found, marks = self.found, self.found.marks
        for bad in found.unreadable:
            if bad.id == text:  # only in full: what cannot be read can't be told apart by its looks
                if bad.id in marks.pinned:
                    raise BackupPinned(bad.id, marks.pinned[bad.id])
                return Preview(self.cluster.name, self.cluster.store.url, bad.id, None, bad)
        one = find_any(found.backups, found.dumps, text)
        if isinstance(one, Backup):
            return self._of_backup(one, tick)
        plan = plan_delete_dump(found.dumps.dumps, marks, one, last_too=self.last_too)
        packs = sort_found(self.cluster, found, {one.id}, self.now, tick)
        store = self.cluster.store
        return Preview(self.cluster.name, store.url, one.id, plan, None, packs=packs)

    def _of_backup(self, backup: Backup, tick: Callable[[], None]) -> Preview:
        found, cluster = self.found, self.cluster
        plan = plan_delete(found.known, found.marks, backup)
        return Preview(
            cluster.name,
            cluster.store.url,
            backup.id,
            plan,
            None,
            tuple(_dated(cluster, found.backups.backups, plan, lost) for lost in plan.lost),
            sort_found(cluster, found, {backup.id}, self.now, tick),
            tuple(_wal_files(found, plan)),
        )

    def carry_out(self, preview: Preview, lock: Lock, progress: Progress) -> Outcome:
        """Delete the manifest, then packs, then WAL: whatever stops it, the others are whole."""
        cluster, id = self.cluster, preview.id
        remover = Remover(cluster.store, lock, progress, self.locks, self.now)
        took_over = tuple(map(str, lock.took_over))
        secure_manifests(cluster)
        manifest = manifest_name(cluster.name, id)
        if not remover.remove("deleting the manifest", [(manifest, 0)]).objects:
            problem = remover.problem(cluster.name)
            return Outcome(took_over=took_over, problem=problem, held=remover.held)
        remover.remove("deleting ended pins", ended_pins(cluster, self.found, id))
        packs = preview.packs
        freed = [packs.stored[pack] for pack in packs.freed] if packs else []
        wal = ((file.object, file.size) for file in preview.wal_files)
        outcome = Outcome(
            backups=() if is_dump_id(id) else (id,),
            dumps=(id,) if is_dump_id(id) else (),
            packs=remover.remove("deleting packs", ((blob.name, blob.size) for blob in freed)),
            wal=remover.remove("deleting WAL", wal),
            took_over=took_over,
        )
        return replace(outcome, problem=remover.problem(cluster.name), held=remover.held)


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
