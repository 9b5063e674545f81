"""`pgkeep repair`: find damaged pages, decide about each, write what can be proven."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from pgkeep.coverage.record import Record, read_record
from pgkeep.model.backup import Backup
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.postgres.control import ControlFile, read_control
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.postgres.wal_blocks.scan import Block, PageLog
from pgkeep.progress import Progress, Silent
from pgkeep.repair.bases import Bases, find_bases
from pgkeep.repair.damage import Damage, find_damage
from pgkeep.repair.plan import Fate, Verdict, WalProof, decide
from pgkeep.repair.refused import CannotRepair
from pgkeep.repair.wal import LocalWal, history_of, stop_of
from pgkeep.repair.write import PageWriter
from pgkeep.repository import catalog
from pgkeep.repository.claims import locks
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.instance import running_server

_KEPT: Final = "pgkeep-repair"  # of the directory for damaged pages, after that of the cluster


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What the user asks for."""

    target_dir: str
    backup: str | None = None  # an id, the beginning of one, or 'latest'; None: any
    dry_run: bool = False
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was found and what became of it."""

    cluster: str
    directory: str
    dry_run: bool
    files: int
    pages: int  # that were checked
    verdicts: tuple[Verdict, ...]
    databases: dict[int, str]  # names
    kept_in: str  # where the damaged pages are now; '' when nothing was written
    notes: tuple[str, ...]
    seconds: float

    @property
    def cannot(self) -> int:
        """How many pages stay damaged."""
        return sum(verdict.fate is Fate.CANNOT for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Return what --json prints: docs/repair.md."""
        return {
            "cluster": self.cluster,
            "directory": self.directory,
            "dry_run": self.dry_run,
            "files": self.files,
            "pages": self.pages,
            "damaged": len(self.verdicts),
            "repaired": 0 if self.dry_run else len(self.verdicts) - self.cannot,
            "kept_in": self.kept_in or None,
            "found": [self._page(verdict) for verdict in self.verdicts],
            "notes": self.notes,
            "seconds": self.seconds,
        }

    def _page(self, verdict: Verdict) -> dict[str, Any]:
        relation = verdict.page.relation
        return {
            "path": verdict.page.path,
            "block": verdict.page.block,
            "tablespace": relation.tablespace,
            "database": relation.database,
            "database_name": self.databases.get(relation.database),
            "filenode": relation.number,
            "fork": relation.fork,
            "fate": verdict.fate,
            "why": verdict.why,
            "backup": verdict.backup,
            "changes": verdict.changes,
            "advice": verdict.advice or None,
        }


class _Stopped(NamedTuple):
    """The cluster to repair, as it was found."""

    folder: ClusterFolder
    root: str
    control: ControlFile


def run(
    cluster: ClusterFolder,
    request: RepairRequest,
    *,
    now: datetime,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RepairReport:
    """Repair what can be proven; with `dry_run` only say so.

    Raise CannotRepair, before any work, where the cluster is not stopped cleanly or has no
    checksums; RepairFailed when writing fails; and what reading the repository raises.
    """
    progress, began = progress or Silent(), clock()
    root = os.path.abspath(request.target_dir)
    control = _demand_stopped(root)
    found = find_damage(root, control, request.jobs, progress)
    verdicts: tuple[Verdict, ...] = ()
    databases: dict[int, str] = {}
    stopped = _Stopped(cluster, root, control)
    if found.bad:
        with ExitStack() as stack:
            locks.keep_from_expiring(cluster, "restore", "pgkeep repair", progress, stack)
            verdicts, databases = _decide(stopped, request.backup, found, progress)
    kept_in = "" if request.dry_run else _write(stopped, verdicts, now, progress)
    return RepairReport(
        cluster.name,
        root,
        request.dry_run,
        found.files,
        found.pages,
        verdicts,
        databases,
        kept_in,
        tuple(found.notes),
        clock() - began,
    )


def _demand_stopped(root: str) -> ControlFile:
    """Return pg_control of a cleanly stopped cluster with checksums. Raise CannotRepair."""
    occupant = running_server(root)
    if occupant is not None:
        why = f"a server is using it, or may be: {occupant.why}"
        raise CannotRepair(root, why, f"stop it first: pg_ctl stop -D {root}")
    control = read_control(root)
    if not control.state.clean:
        raise CannotRepair(
            root,
            f"it was not stopped cleanly (pg_control says: {control.state})",
            "start it once and stop it again, so that its own recovery comes first; if it does "
            "not start, restore it",
        )
    if not control.checksums:
        why = "it has no data checksums, so a damaged page cannot be told from a good one"
        raise CannotRepair(root, why, "pgkeep verify and pg_amcheck find other kinds of damage")
    if control.block_size != PAGE_SIZE:
        why = f"its pages have {control.block_size} bytes, and only {PAGE_SIZE} are supported"
        raise CannotRepair(root, why, "restore it")
    return control


def _decide(
    stopped: _Stopped, wanted_backup: str | None, found: Damage, progress: Progress
) -> tuple[tuple[Verdict, ...], dict[int, str]]:
    cluster, root, control = stopped
    progress.phase("looking for the pages in backups")
    record = _record(cluster, root, control)
    timeline, stop = stop_of(control)
    history = history_of(root, timeline, record)
    backups = _usable(stopped, record, history, stop, wanted_backup)
    bases = find_bases(cluster, backups, found.bad)
    wanted = [page.wal_block for page in found.bad if not page.derived and not page.unlogged]
    logs: dict[Block, PageLog] = {}
    proof = WalProof(None, "")
    if wanted:
        wal = LocalWal(root, cluster, record, history, stop)
        logs, proof = wal.follow(wanted, _start(bases, backups, len(wanted)), progress)
    verdicts = tuple(
        decide(
            page,
            bases.found.get(page),
            bases.why_not.get(page, ""),
            logs.get(page.wal_block) or PageLog(),
            proof,
        )
        for page in found.bad
    )
    return verdicts, bases.databases


def _record(cluster: ClusterFolder, root: str, control: ControlFile) -> Record:
    for record in read_record(cluster).generations:
        if record.generation.id == control.generation.id:
            return record
    why = f"cluster {cluster.name} of {cluster.store.url} is another one: it does not know "
    why += f"{control.generation.id}, which pg_control names"
    raise CannotRepair(root, why, "name the right cluster with --cluster NAME: see pgkeep list")


def _usable(
    stopped: _Stopped, record: Record, history: History, stop: Lsn, wanted: str | None
) -> list[Backup]:
    """Return the backups whose pages may be this cluster's, the newest first."""
    if wanted is not None:
        known = catalog.Catalog(stopped.folder.name, record.backups)
        chosen = catalog.find_backup(known, wanted)
        why = _unusable(chosen, history, stop)
        if why:
            raise CannotRepair(stopped.root, why, "leave --backup away, and pgkeep chooses")
        return [chosen]
    usable = [backup for backup in record.backups if not _unusable(backup, history, stop)]
    return sorted(usable, key=lambda backup: (backup.start_lsn, backup.id), reverse=True)


def _unusable(backup: Backup, history: History, stop: Lsn) -> str:
    """Return why the pages of a backup say nothing about this cluster's; '' if they do."""
    if not backup.checksums:
        return f"backup {backup.id} was taken without data checksums, so nothing proves its pages"
    if not history.includes(backup.timeline, backup.stop_lsn):
        return (
            f"backup {backup.id} is of timeline {backup.timeline} at {backup.stop_lsn}, which the "
            f"cluster on timeline {history.timeline} never went through"
        )
    if backup.stop_lsn > stop:
        return f"backup {backup.id} is newer than the cluster, which was stopped at {stop}"
    return ""


def _start(bases: Bases, backups: Sequence[Backup], wanted: int) -> Lsn:
    """Return from where on WAL matters."""
    starts = [base.start for base in bases.found.values()]
    if len(starts) < wanted:
        # Pages that no backup has may be whole in the newest WAL.
        starts.append(backups[0].start_lsn if backups else Lsn(0))
    return min(starts)


def _write(
    stopped: _Stopped, verdicts: Sequence[Verdict], now: datetime, progress: Progress
) -> str:
    """Write the pages; return where the damaged ones are kept."""
    good = [verdict for verdict in verdicts if verdict.fate is not Fate.CANNOT]
    if not good:
        return ""
    # Again, now: searching may have taken an hour.
    root = stopped.root
    if _demand_stopped(root) != stopped.control:
        raise CannotRepair(root, "somebody started it meanwhile", "stop it, and run it again")
    writer = PageWriter(root, f"{root}.{_KEPT}-{now:%Y%m%dT%H%M%S}")
    kept_in = writer.begin()
    progress.phase("repairing pages", len(good), "pages")
    for done, verdict in enumerate(good, 1):
        writer.write(verdict)
        progress.advance(done)
    return kept_in
