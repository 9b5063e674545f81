"""Carries out a restore that has been decided and checked. Everything is told in the report.

The order in which things become durable is told in write.py.
"""

import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pgkeep.errors import PgkeepError
from pgkeep.model.target import Action
from pgkeep.model.timeline import history_name
from pgkeep.postgres.conf import recovery_command
from pgkeep.progress import Progress, Silent
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.claims.writers import take_over, this_server
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore import settings
from pgkeep.restore.delta.clean import Cleaner, Deleted
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.preflight import TargetUnsafe, refuse_running
from pgkeep.restore.prepare import Prepared, RestoreRequest, prepare
from pgkeep.restore.settings import ConfigTexts, RecoveryOptions
from pgkeep.restore.target.found import moment
from pgkeep.restore.writing.copy import Written
from pgkeep.restore.writing.tasks import TaskPlan, control_task
from pgkeep.restore.writing.workers import Source, write_tasks
from pgkeep.restore.writing.write import Tree
from pgkeep.server.binaries import PgToolsMissing, find_binaries
from pgkeep.traces import marker_text
from pgkeep.workers.pool import default_jobs
from pgkeep.workers.throttle import SharedRate

_CONFIG: Final = "pgkeep_config"  # where files from outside PGDATA are in a backup
_ADOPTABLE: Final = {  # the setting that named the file at the source, and its usual name
    "config_file": "postgresql.conf",
    "hba_file": "pg_hba.conf",
    "ident_file": "pg_ident.conf",
}


@dataclass(frozen=True, slots=True)
class DeltaCounts:
    """What a delta restore found, and what it had to do."""

    compared_files: int
    compared_bytes: int
    rewritten_files: int
    rewritten_bytes: int
    deleted_files: int
    deleted_bytes: int
    fetched_bytes: int  # of the repository, as they are stored there


@dataclass(slots=True)
class Done:
    """What the workers have done so far."""

    files: int = 0
    size: int = 0
    compared: int = 0
    rewritten: int = 0
    fetched: int = 0
    changed: int = 0
    shared: set[str] = field(default_factory=set)  # large files, of which something was written

    def add(self, written: Written, files: int = 0) -> None:
        self.files += files
        self.size += written.size
        self.compared += written.compared
        self.rewritten += written.rewritten
        self.fetched += written.fetched
        self.changed += written.files
        if written.shared:
            self.shared.add(written.shared)

    def delta(self, deleted: Deleted) -> DeltaCounts:
        return DeltaCounts(
            compared_files=self.files,
            compared_bytes=self.compared,
            rewritten_files=self.changed + len(self.shared),
            rewritten_bytes=self.rewritten,
            deleted_files=deleted.files,
            deleted_bytes=deleted.size,
            fetched_bytes=self.fetched,
        )


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore has done."""

    plan: RestorePlan
    files: int
    size: int
    seconds: float
    start_command: str
    promote_command: str  # '' when recovery promotes by itself
    notes: tuple[str, ...]  # what the user should know of the configuration
    delta: DeltaCounts | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as --json shows it."""
        return {
            **self.plan.to_dict(),
            "files": self.files,
            "size": self.size,
            "seconds": round(self.seconds, 3),
            "start_command": self.start_command,
            "promote_command": self.promote_command,
            "notes": list(self.notes),
            "delta_counts": asdict(self.delta) if self.delta else None,
        }


def run(
    cluster: ClusterFolder,
    request: RestoreRequest,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> RestoreReport:
    """Restore, from the decision to the last fsync. Raise what `prepare` and `carry_out` raise."""
    return carry_out(cluster, prepare(cluster, request, progress), now=now, progress=progress)


def carry_out(
    cluster: ClusterFolder,
    prepared: Prepared,
    *,
    now: datetime,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RestoreReport:
    """Write what has been prepared. When it raises, what lies there cannot be started.

    Raise CannotWrite, or what reading the repository raises: Damaged, PackMissing, StoreFailed.
    """
    progress = progress or Silent()
    began, plan = clock(), prepared.plan
    tree = Tree(prepared.layout, chown=os.geteuid() == 0)
    with ExitStack() as stack:
        stack.callback(tree.close)
        lock = locks.keep_from_expiring(cluster, "restore", "pgkeep restore", progress, stack)
        when = moment(now.replace(microsecond=0))
        over = prepared.over is not None
        marker = marker_text(plan.backup.id, plan.asked, when, plan.backup.generation.id, over=over)
        tree.begin(marker, over=over)
        deleted = _clear(tree, prepared, progress)
        tree.make_directories()
        source = _source(cluster, prepared, sync=not tree.syncs_at_once)
        done = _copy(source, prepared, progress, lock)
        notes = _configure(tree, prepared, now)
        progress.phase("waiting until everything is on disk")
        tree.make_durable()
        # All names and contents are durable from here on, and still no server could start.
        last = control_task(prepared.layout)
        if last is not None:
            alone = source._replace(sync=True, delta=False)
            for written in write_tasks([last], alone, 1, cluster.store):
                done.add(written, files=1)
                for note in written.notes:
                    progress.note(note)
        tree.end()
    if prepared.request.keep_archiving:
        notes += _succeed(cluster, prepared)
    start, promote = _commands(prepared)
    counts = done.delta(deleted) if prepared.over else None
    return RestoreReport(
        plan, done.files, done.size, clock() - began, start, promote, tuple(notes), counts
    )


def _clear(tree: Tree, prepared: Prepared, progress: Progress) -> Deleted:
    """Make an old data directory one that no server starts on, and remove what does not belong."""
    if prepared.over is None:
        return Deleted()
    try:
        # Again, now that the directory is ours: somebody may have started it since.
        refuse_running(prepared.plan.target_dir)
    except TargetUnsafe:
        tree.unmark()
        raise
    # First of all: from here on nothing starts, whatever else is still there.
    tree.disable()
    progress.phase("removing what is not in the backup")
    return Cleaner(prepared.layout, prepared.over.ground).run()


def _copy(source: Source, prepared: Prepared, progress: Progress, lock: Lock | None) -> Done:
    """Write all files but pg_control."""
    jobs = prepared.request.jobs or default_jobs()
    tasks, done = TaskPlan(prepared.layout, jobs), Done()
    verb = "comparing" if source.delta else "restoring"
    progress.phase(f"{verb} files", tasks.size)
    for written in write_tasks(tasks, source, min(jobs, len(tasks))):
        done.add(written)
        for note in written.notes:
            progress.note(note)
        progress.advance(done.size)
        if lock is not None:
            lock.beat()
    done.files = tasks.files
    return done


def _source(cluster: ClusterFolder, prepared: Prepared, *, sync: bool) -> Source:
    repository, manifest = cluster.repository, prepared.manifest
    return Source(
        repository.store.address,
        repository.id,
        repository.key,
        cluster.name,
        manifest.facts.id,
        manifest.tables.pack,
        sync,
        prepared.over is not None,
        SharedRate(prepared.request.rate),
    )


def _configure(tree: Tree, prepared: Prepared, now: datetime) -> list[str]:
    """Write what makes the server recover as planned; return what the user should know."""
    facts, plan, request = prepared.manifest.facts, prepared.plan, prepared.request
    like = "PG_VERSION"
    notes = list(_adopt(tree, prepared))
    texts = ConfigTexts(tree.read("postgresql.conf"), tree.read("postgresql.auto.conf"))
    options = RecoveryOptions(
        recovery_command(request.fetch_command, plan.backup.generation.id),
        request.keep_archiving,
        request.primary_conninfo,
        request.primary_slot_name,
    )
    when = moment(now.astimezone(UTC).replace(microsecond=0))
    auto = settings.auto_conf(texts, plan, options, facts, when)
    tree.write("postgresql.auto.conf", auto, like)
    tree.write("backup_label", settings.backup_label(facts), like)
    spaces = settings.tablespace_map(facts, plan)
    if spaces:
        tree.write("tablespace_map", spaces, like)
    if facts.history:
        # the server looks for it here when the archive has lost it
        tree.write(f"pg_wal/{history_name(facts.timeline)}", facts.history, like)
    tree.write("standby.signal" if plan.standby else "recovery.signal", "", like)
    notes += _shell_notes(plan)
    if not request.keep_archiving:
        notes.append("archiving is off in the restored server: the archive is its original's")
    return notes


def _succeed(cluster: ClusterFolder, prepared: Prepared) -> Iterator[str]:
    """Make the restored server the one that archives, as --keep-archiving says it is."""
    plan = prepared.plan
    server = this_server(plan.target_dir, prepared.request.server_name)
    try:
        take_over(cluster, plan.backup.generation.id, server, plan.timeline)
    except PgkeepError as error:
        yield f"before it can archive, run pgkeep wal take-over in the restored server: {error}"


def _shell_notes(plan: RestorePlan) -> Iterator[str]:
    if plan.shells:
        commands = "; ".join(database.drop for database in plan.shells)
        yield f"databases without content, drop them before you use this server: {commands}"
    if ("ignore_invalid_pages", "on") in plan.settings:
        yield (
            "take ignore_invalid_pages out of postgresql.auto.conf and restart, once recovery has "
            "ended: it hides damage"
        )


def _adopt(tree: Tree, prepared: Prepared) -> Iterator[str]:
    """Put configuration that was kept elsewhere into the data directory, where it has none."""
    tables = prepared.manifest.tables
    for kept in prepared.manifest.facts.config_files:
        stored = f"{_CONFIG}/{kept.name}"
        if tables.find(stored) is None:
            continue
        usual = _ADOPTABLE.get(kept.name)
        if usual is None or tables.find(usual) is not None:
            yield f"{kept.path} of the source is in {stored}"
            continue
        text = tree.read(stored)
        if kept.name == "config_file":
            text = settings.adopted(text)
        tree.write(usual, text, like=stored)
        yield f"{usual} is {kept.path} of the source, without what points to its old surroundings"


def _commands(prepared: Prepared) -> tuple[str, str]:
    """Return the commands to start and to promote the restored server."""
    directory, plan = prepared.layout.target_dir, prepared.plan
    try:
        pg_ctl = find_binaries(plan.backup.generation.major).tool("pg_ctl")
    except PgToolsMissing:
        pg_ctl = "pg_ctl"
    prefix = ""
    owner = os.stat(directory).st_uid
    if os.geteuid() == 0 and owner != 0:
        prefix = f"setpriv --reuid={owner} --regid={os.stat(directory).st_gid} --clear-groups "
    program, place = shlex.quote(pg_ctl), shlex.quote(directory)
    log = shlex.quote(f"{directory}.log")
    start = f"{prefix}{program} -D {place} -l {log} -w -t 86400 start"
    by_itself = plan.action is Action.PROMOTE and not plan.standby
    return start, "" if by_itself else f"{prefix}{program} -D {place} promote"
