"""A physical backup: what changed of a cluster, and the WAL without which it is worthless."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

from pgkeep.backup.copying.copy import CopierSetup, make_copier
from pgkeep.backup.copying.tasks import Tasks
from pgkeep.backup.copying.workers import InlineWorkers, ProcessWorkers, Workers
from pgkeep.backup.incremental.attempts import Past
from pgkeep.backup.incremental.base import DEFAULT_CLEANING, Base, Cleaning, NoParent, Search
from pgkeep.backup.incremental.parent import Now
from pgkeep.backup.interruption import interruptible
from pgkeep.backup.record import CopiedFiles, describe
from pgkeep.backup.report import BackupReport
from pgkeep.backup.source import BackupAborted, ClusterFacts, Listing, Source, Started, Stopped
from pgkeep.backup.wait_wal import GatheredWal, WalCollector, segments_between, wait_for_wal
from pgkeep.census.take import refused
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import BackupId
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import BadHistory, History, history_name
from pgkeep.progress import Progress, Silent
from pgkeep.repository import catalog, names
from pgkeep.repository.census.codec import CensusFacts
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock, LockLost
from pgkeep.repository.manifest.facts import Reuse
from pgkeep.repository.packs import attempts
from pgkeep.repository.packs.pack_ids import tag_of
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.distance.at_once import Calls
from pgkeep.units import MIB
from pgkeep.workers.pool import default_jobs
from pgkeep.workers.throttle import SharedRate, check_step_back

_PING_S: Final = 2.0  # a lost session makes the copy worthless: no use in copying on for long

_LITTLE: Final = 32 * MIB  # is copied sooner than worker processes come up

MakeWorkers = Callable[[CopierSetup, int], AbstractContextManager[Workers]]
# Stores a census of the server that is backed up, and calls what it is given again and again.
TakeCensus = Callable[[ClusterFolder, Callable[[], object]], CensusFacts]


class Kind(StrEnum):
    """What the user asks for."""

    AUTO = "auto"  # incremental where there is a parent
    FULL = "full"
    INCREMENTAL = "incremental"  # or nothing


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What the user may choose."""

    kind: Kind = Kind.AUTO
    label: str = ""
    jobs: int = field(default_factory=default_jobs)
    level: int = 1  # of zstd
    archive_timeout: float = 600.0  # seconds without any WAL arriving, before it is given up
    cleaning: Cleaning = DEFAULT_CLEANING
    rate: int = 0  # bytes read per second, all workers together; 0: no limit
    nice: int = 0
    ionice: str = ""


def run(  # noqa: PLR0913  # the last two are for tests
    source: Source,
    cluster: ClusterFolder,
    options: BackupOptions,
    progress: Progress | None = None,
    *,
    copies: Sequence[ClusterFolder] = (),
    take_census: TakeCensus | None = None,
    make_workers: MakeWorkers = ProcessWorkers,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackupReport:
    """Make one backup; when this returns, it is complete, durable and listed.

    `copies` of the repository may have got some of its WAL, which is brought here. What
    `take_census` raises is told in the report.

    Whatever is raised, nothing of the attempt is ever listed and the lock is given back; the
    server leaves backup mode when the caller closes the source. Damaged pages are not raised: see
    BackupReport.problem.
    """
    progress = progress or Silent()
    check_step_back(options.nice, options.ionice)
    with (
        interruptible(),
        Calls(cluster.store) as last,
        _lock(cluster, progress) as lock,
        Calls(cluster.store) as calls,
    ):
        for holder in lock.took_over:
            progress.note(f"took over from {holder}: that process is dead")
        facts, began = source.facts(), now()
        job = _Job(
            source,
            cluster,
            options,
            progress,
            lock,
            calls,
            facts,
            new_id(began),
            began,
            copies,
            take_census,
        )
        with attempts.given_back_when_full(cluster, job.id, lock):
            report, attempted = job.run(make_workers)
        # While the lock is given back: neither needs the other, and the backup is complete.
        last.begin(partial(attempts.end, cluster, attempted))
        return report


def _lock(cluster: ClusterFolder, progress: Progress) -> Lock:
    """Two backups of one cluster at once would only slow each other down."""
    return locks.hold(
        cluster,
        "backup",
        "pgkeep backup",
        {"backup", "expire"},
        waiting=lambda command: progress.phase(f"waiting for the end of {command!r}"),
    )


def new_id(moment: datetime) -> BackupId:
    """Return an id that sorts by time, to the 65,536th of a second.

    Two backups of a cluster get different ones: each begins under a lock, after the other's end.
    """
    return BackupId(f"{moment:%Y%m%dT%H%M%SZ}-{(moment.microsecond << 16) // 1_000_000:04x}")


class _Copy(NamedTuple):
    """What has been copied, and from what."""

    started: Started
    collector: WalCollector
    listing: Listing
    listed_ns: int
    base: Base | None
    reuse: Reuse | None
    notes: list[str]
    files: CopiedFiles
    seconds: float


@dataclass(frozen=True, slots=True)
class _Job:
    """One backup being made."""

    source: Source
    cluster: ClusterFolder
    options: BackupOptions
    progress: Progress
    lock: Lock
    calls: Calls
    facts: ClusterFacts
    id: BackupId
    now: datetime
    copies: Sequence[ClusterFolder] = ()
    take_census: TakeCensus | None = None

    def run(self, make_workers: MakeWorkers) -> tuple[BackupReport, Sequence[str]]:
        """Return what was made, and the attempts that are over."""
        began = time.monotonic()
        known = self.calls.begin(partial(self.cluster.add_generation, self.facts.generation))
        past = Past.read(self.cluster)
        # Before any WAL or pack is stored: a generation is known before there is something of it.
        known.result()
        setup = self._setup(past)
        copy = self._copy(past, setup, make_workers)
        # Before the stop, so that no moment which can be restored is older than all censuses.
        census = self._census(copy.notes)
        # After all other files, and proven whole: a restored directory starts from it.
        control = self.source.control_file()
        stored = self.calls.begin(partial(copy.files.add_control, *control, self.cluster, setup))
        stopped = self.source.stop()
        segments = self._wal(copy.started, stopped, copy.collector, stored)
        stored.result()
        corrupt, notes = copy.files.verdict(
            copy.started.lsn, stopped.lsn, self.source.relation_name
        )
        facts = describe(
            self.facts,
            copy.started,
            stopped,
            id=self.id,
            cluster=self.cluster.name,
            label=self.options.label,
            tablespaces=tuple(self.source.tablespaces()),
            history=self._history(copy.started.timeline),
            corrupt=corrupt,
            owners=copy.listing.owners,
            listed_ns=copy.listed_ns,
            duration_s=time.monotonic() - began,
            **copy.files.counts(copy.reuse),
        )
        manifest = copy.listing.builder.build(facts, copy.base.tables if copy.base else None)
        report = BackupReport(
            backup=manifest.facts.backup(),
            cluster=self.cluster.name,
            read=copy.files.read,
            duration_s=time.monotonic() - began,
            copy_s=copy.seconds,
            segments=[segment.name for segment in segments],
            reuse=manifest.facts.reuse,
            resumed=copy.files.resumed,
            corrupt=corrupt.pages,
            census=census,
            notes=[*copy.listing.notes, *copy.notes, *copy.files.notes, *notes],
        )
        del copy  # with the parent's tables: storing the manifest needs room of its own
        # The last moment to notice that another process took this one for dead.
        ours = self.calls.begin(self.lock.check)
        # Last of all, when packs and WAL are durable: from here on the backup is offered.
        catalog.write_manifest(self.cluster, manifest, at_last=ours.result)
        report = replace(report, duration_s=time.monotonic() - began)
        return report, (self.id, *past.unfinished)

    def _copy(self, past: Past, setup: CopierSetup, make_workers: MakeWorkers) -> _Copy:
        """Begin backup mode and copy everything but pg_control; its packs are durable then."""
        with ExitStack() as stack:
            # Before its first pack: should we die, the next backup finds by it what we have stored.
            begun = self.calls.begin(partial(attempts.begin, self.cluster, self.id, self.now))
            workers = None
            if self.options.kind is Kind.FULL or not past.known.backups:
                # Much to do: the workers come up while the server makes its checkpoint.
                workers = stack.enter_context(make_workers(setup, self.options.jobs))
            self.progress.phase("waiting for the server's checkpoint")
            started = self.source.start(self.options.label or f"pgkeep {self.id}")
            collector = self._collector(started)
            began, listed_ns = time.monotonic(), time.time_ns()
            listing = self.source.listing()  # after the start: what comes later is in the WAL
            search = Search(
                self.cluster, self.source, self.options.cleaning, past.packs, past.damaged
            )
            base = self._base(search, past, started, listing)
            reuse = None
            if base is not None:
                sizes = listing.files().size
                listing.builder.take_over(base.taken_over(sizes))
                for number in base.changes.left_out():
                    listing.builder.leave_out(number)
                reuse = base.reuse(sizes)
            tasks = Tasks(listing, base, started.lsn)
            plan = tasks.plan(self.options.jobs)
            if workers is None and tasks.total(plan) <= _LITTLE:
                workers = InlineWorkers(make_copier(self.cluster, setup))
            elif workers is None:
                workers = stack.enter_context(make_workers(setup, self.options.jobs))
            copied = CopiedFiles(listing, self.facts.checksums)
            begun.result()
            self.progress.phase("copying files", plan.size)
            for result in workers.copy(tasks.works(plan), self._ticker(collector)):
                copied.add(result)
        seconds = time.monotonic() - began
        return _Copy(
            started, collector, listing, listed_ns, base, reuse, search.notes, copied, seconds
        )

    def _census(self, notes: list[str]) -> str:
        """Record what the cluster holds; '' and a note when that fails: no restore needs it."""
        if self.take_census is None:
            return ""
        self.progress.phase("taking a census")
        try:
            facts = self.take_census(self.cluster, self.lock.beat)
        except LockLost:
            raise
        except PgkeepError as error:
            notes.append(f"no census was taken, so undo will miss names: {error}")
            return ""
        notes += [f"the census lacks database {bad.name}: {bad.why}" for bad in refused(facts)]
        return facts.id

    def _setup(self, past: Past) -> CopierSetup:
        repository = self.cluster.repository
        adopted = past.adopt(self.cluster)
        if len(adopted):
            self.progress.note(
                f"an interrupted backup left {len(adopted.packs)} packs: what is in them is not "
                "stored again"
            )
        return CopierSetup(
            store=repository.store.address,
            repository=repository.id,
            key=repository.key,
            cluster=self.cluster.name,
            level=self.options.level,
            reader=self.source.reader(),
            checksums=self.facts.checksums,
            tag=tag_of(self.id),
            adopted=adopted,
            rate=SharedRate(self.options.rate),
            nice=self.options.nice,
            ionice=self.options.ionice,
        )

    def _base(self, search: Search, past: Past, started: Started, listing: Listing) -> Base | None:
        """Return what an incremental backup builds on; None for a full one."""
        if self.options.kind is Kind.FULL:
            return None
        self.progress.phase("comparing with the last backup")
        history = self._timeline_history(started.timeline)
        base = None
        if history is None:
            search.notes.append(f"the history of timeline {started.timeline} is not to be had")
        else:
            facts = self.facts
            now = Now(
                facts.generation,
                facts.checksums,
                history,
                started.lsn,
                facts.archiving,
                facts.running_since,
            )
            base = search.find(past.known, now, started, listing)
        if base is None and self.options.kind is Kind.INCREMENTAL:
            raise NoParent("; ".join(search.notes) or "the cluster has no backup yet")
        return base

    def _timeline_history(self, timeline: int) -> History | None:
        if timeline == 1:
            return History(1)
        content = self.source.history(timeline)
        try:
            text = (content or b"").decode(errors="replace")
            return History.parse(timeline, text) if text else None
        except BadHistory:
            return None

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

    def _wal(
        self, started: Started, stopped: Stopped, collector: WalCollector, stored: Future[None]
    ) -> list[Segment]:
        """Return the WAL segments of the backup, when all of them are in the repository.

        When `stored` fails meanwhile, its error is raised: nothing is waited for in vain.
        """

        def tick() -> None:
            self.lock.beat()
            if stored.done():
                stored.result()

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
                GatheredWal(
                    self.cluster.wal(generation.id),
                    [copy.wal(generation.id) for copy in self.copies],
                ),
                progress=self.progress,
                patience=self.options.archive_timeout,
                tick=tick,
            )
        # They can be seen before whoever stores them has come to his fsync.
        objects = (names.wal(self.cluster.name, generation.id, segment.name) for segment in wanted)
        for folder in sorted({name.rpartition("/")[0] for name in objects}):
            self.cluster.store.secure(f"{folder}/")
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
