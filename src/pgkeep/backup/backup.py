"""A full physical backup: copy a running cluster, and the WAL without which a copy is worthless."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pgkeep.backup.copying.copy import CopierSetup, Reading, Work
from pgkeep.backup.copying.workers import ProcessWorkers, Workers
from pgkeep.backup.interruption import interruptible
from pgkeep.backup.plan import CopyPlan, FileToCopy, Task, plan_copy
from pgkeep.backup.record import CopiedFiles, describe
from pgkeep.backup.report import BackupReport
from pgkeep.backup.source import BackupAborted, ClusterFacts, Listing, Source, Started, Stopped
from pgkeep.backup.wait_wal import WalCollector, segments_between, wait_for_wal
from pgkeep.model.backup import BackupId
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import history_name
from pgkeep.progress import Progress, Silent
from pgkeep.repository import catalog, locks
from pgkeep.repository.locks import Lock
from pgkeep.repository.repository import ClusterFolder
from pgkeep.workers import default_jobs

_PING_S: Final = 2.0  # a lost session makes the copy worthless: no use in copying on for long

MakeWorkers = Callable[[CopierSetup, int], AbstractContextManager[Workers]]


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What the user may choose."""

    label: str = ""
    jobs: int = field(default_factory=default_jobs)
    level: int = 1  # of zstd
    archive_timeout: float = 600.0  # seconds without any WAL arriving, before it is given up


def run(  # noqa: PLR0913  # the last two are for tests
    source: Source,
    cluster: ClusterFolder,
    options: BackupOptions,
    progress: Progress | None = None,
    *,
    make_workers: MakeWorkers = ProcessWorkers,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackupReport:
    """Make one full backup; when this returns, it is complete, durable and listed.

    Whatever is raised, nothing of the attempt is ever listed and the lock is given back; the
    server leaves backup mode when the caller closes the source. Damaged pages are not raised: see
    BackupReport.problem.
    """
    with interruptible(), _lock(cluster) as lock:
        progress = progress or Silent()
        for holder in lock.took_over:
            progress.note(f"took over from {holder}: that process is dead")
        facts = source.facts()
        # Before any WAL or pack is stored: a generation is known before there is something of it.
        cluster.add_generation(facts.generation)
        job = _Job(source, cluster, options, progress, lock, facts)
        return job.run(new_id(now()), make_workers)


def _lock(cluster: ClusterFolder) -> Lock:
    """Two backups of one cluster at once would only slow each other down."""
    return locks.hold(cluster, "backup", command="pgkeep backup", conflicts={"backup"})


def new_id(moment: datetime) -> BackupId:
    """Return an id that sorts by time, and is unique even within a second."""
    return BackupId(f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}")


@dataclass(frozen=True, slots=True)
class _Job:
    """One backup being made."""

    source: Source
    cluster: ClusterFolder
    options: BackupOptions
    progress: Progress
    lock: Lock
    facts: ClusterFacts

    def run(self, backup_id: BackupId, make_workers: MakeWorkers) -> BackupReport:
        began = time.monotonic()
        with make_workers(self._setup(), self.options.jobs) as workers:
            # The workers come up while the server makes its checkpoint.
            self.progress.phase("waiting for the server's checkpoint")
            started = self.source.start(self.options.label or f"pgkeep {backup_id}")
            collector = self._collector(started)
            copy_began = time.monotonic()
            listing = self.source.listing()  # after the start: what comes later is in the WAL
            copied = self._copy(workers, listing, started, collector)
            copy_s = time.monotonic() - copy_began
        # After all other files, and proven whole: a restored directory starts from it.
        copied.add_control(*self.source.control_file(), self.cluster, self.options.level)
        stopped = self.source.stop()
        segments = self._wal(started, stopped, collector)
        corrupt, notes = copied.verdict(started.lsn, stopped.lsn, self.source.relation_name)
        facts = describe(
            self.facts,
            started,
            stopped,
            id=backup_id,
            cluster=self.cluster.name,
            label=self.options.label,
            tablespaces=tuple(self.source.tablespaces()),
            history=self._history(started.timeline),
            corrupt=corrupt,
            read=copied.read,
            stored=copied.stored,
            owners=listing.owners,
            duration_s=time.monotonic() - began,
        )
        manifest = listing.builder.build(facts)
        # The last moment to notice that another process took this one for dead.
        self.lock.check()
        # Last of all, when packs and WAL are durable: from here on the backup is offered.
        catalog.write_manifest(self.cluster, manifest)
        return BackupReport(
            backup=manifest.facts.backup(),
            cluster=self.cluster.name,
            read=copied.read,
            duration_s=time.monotonic() - began,
            copy_s=copy_s,
            segments=[segment.name for segment in segments],
            corrupt=corrupt.pages,
            notes=[*listing.notes, *notes],
        )

    def _setup(self) -> CopierSetup:
        repository = self.cluster.repository
        return CopierSetup(
            store=repository.store.url,
            repository=repository.id,
            key=repository.key,
            cluster=self.cluster.name,
            level=self.options.level,
            reader=self.source.reader(),
            checksums=self.facts.checksums,
        )

    def _copy(
        self, workers: Workers, listing: Listing, started: Started, collector: WalCollector
    ) -> CopiedFiles:
        """Copy everything but pg_control; return when its packs are durable."""
        plan = plan_copy(list(_files(listing)), self.options.jobs)
        copied = CopiedFiles(listing, self.facts.checksums)
        self.progress.phase("copying files", plan.size)
        for result in workers.copy(_works(plan, listing, started), self._ticker(collector)):
            copied.add(result)
        return copied

    def _ticker(self, collector: WalCollector) -> Callable[[int], None]:
        """Return what is to be done again and again while workers copy."""
        pinged = time.monotonic()

        def tick(read: int) -> None:
            nonlocal pinged
            self.progress.advance(read)
            self.lock.beat()
            if time.monotonic() - pinged >= _PING_S:
                self.source.ping()
                if not self.facts.archiving:
                    collector.collect(self.source.written())  # before a checkpoint removes it
                pinged = time.monotonic()

        return tick

    def _collector(self, started: Started) -> WalCollector:
        generation = self.facts.generation
        first = Segment.containing(started.lsn, started.timeline, generation.segment_size)
        return WalCollector(self.source, self.cluster.wal(generation.id), first)

    def _wal(self, started: Started, stopped: Stopped, collector: WalCollector) -> list[Segment]:
        """Return the WAL segments of the backup, when all of them are in the repository."""
        if started.timeline != stopped.timeline:
            raise BackupAborted(
                f"the server changed from timeline {started.timeline} to {stopped.timeline}"
            )
        generation = self.facts.generation
        wanted = segments_between(
            started.lsn, stopped.lsn, started.timeline, generation.segment_size
        )
        if not self.facts.archiving:
            self.progress.phase("storing WAL", len(wanted), "segments")
            collector.collect(wanted[-1].end)
        else:
            wait_for_wal(
                wanted,
                self.source,
                self.cluster.wal(generation.id),
                progress=self.progress,
                patience=self.options.archive_timeout,
                tick=self.lock.beat,
            )
        return wanted

    def _history(self, timeline: int) -> str:
        """Return the timeline's history file, and see to it that the archive has it too."""
        if timeline == 1:
            return ""
        history = self.source.history(timeline)
        if history is None:
            return ""
        # A restore to the latest timeline looks for it: without it, recovery can't find the way.
        self.cluster.wal(self.facts.generation.id).push(history_name(timeline), history)
        return history.decode(errors="surrogateescape")


def _files(listing: Listing) -> Iterator[FileToCopy]:
    """Yield the files that have to be read. Empty relations need not: what grows is in the WAL."""
    for index, (size, first_block) in enumerate(
        zip(listing.sizes, listing.first_blocks, strict=True)
    ):
        if size or first_block < 0:
            yield FileToCopy(index, size, splittable=first_block >= 0)


def _works(plan: CopyPlan, listing: Listing, started: Started) -> Iterator[Work]:
    for task in plan.tasks:
        yield Work(list(_readings(task, listing)), started.lsn)


def _readings(task: Task, listing: Listing) -> Iterator[Reading]:
    if task.part is not None:
        entry, start, end = task.part
        yield Reading(entry, listing.paths[entry], _first_block(listing, entry), start, end)
    for entry in task.files:
        yield Reading(entry, listing.paths[entry], _first_block(listing, entry))


def _first_block(listing: Listing, entry: int) -> int | None:
    block = listing.first_blocks[entry]
    return None if block < 0 else block
