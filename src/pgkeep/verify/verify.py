"""Proves what is in a repository: everything is there, and at the bytes level is what was written.

Reads only, and writes one object at its end: the proof. Interrupted anywhere it leaves nothing.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Final

from msgspec.structs import replace

from pgkeep import __version__
from pgkeep.model.coverage import Hole
from pgkeep.progress import Progress, Silent
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.marker import timed_id
from pgkeep.repository.proofs import (
    BackupProof,
    Level,
    Proof,
    Proofs,
    read_proofs,
    write_proof,
)
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import StoreFailed
from pgkeep.units import MIB
from pgkeep.verify.content import PackCheck
from pgkeep.verify.findings import Findings, Read, conclude
from pgkeep.verify.inventory import Inventory, VerifyOptions, take_inventory
from pgkeep.verify.plan import Manner, batches, unproven
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.workers import Check, carry_out
from pgkeep.workers.throttle import check_step_back

# Less is read in this process: to start others takes 0.3 s.
_WORTH: Final = 32 * MIB
_MANY: Final = 2000  # WAL files


@dataclass(frozen=True, slots=True)
class Clock:
    """How a verify sees time pass."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    elapsed: Callable[[], float] = time.monotonic


REAL_TIME: Final = Clock()


def run(
    cluster: ClusterFolder,
    options: VerifyOptions,
    progress: Progress | None = None,
    clock: Clock = REAL_TIME,
) -> VerifyReport:
    """Verify, record the proof and return the report; faults are in it, and never raised.

    Raise what the store raises when it fails, VerifyAborted, UnknownBackup or LockTaken: then
    nothing was proven, and nothing is recorded.
    """
    progress = progress or Silent()
    check_step_back(options.manner.nice, options.manner.ionice)
    began, started = clock.elapsed(), clock.now()
    with ExitStack() as stack:
        lock, notes = _try_to_hold(cluster, stack)
        for note in notes:
            progress.note(note)
        beat = lock.beat if lock is not None else _rest
        known = read_proofs(cluster)
        suspects = {damaged.name for _, damaged in known.standing()}
        found = take_inventory(cluster, options, suspects, progress, beat)
        read = _read(cluster, options, found, progress, beat)
        progress.phase("putting together what was found")
        findings = conclude(cluster, found, read, clock.now(), options.window_s)
        proof = _proof(options, cluster.name, found, findings, (started, clock.now()))
        proof = replace(proof, read=read.bytes)
        if lock is not None:
            # Somebody may have taken the lock while we slept, and deleted what we looked for.
            lock.check()
            write_proof(cluster, proof)
    notes += [f"{bad.name} is no proof: {bad.error}" for bad in known.unreadable]
    notes += [f"{_range(hole)} not there, as expiring leaves it" for hole in findings.let_go]
    gone = _gone(known, found)
    return VerifyReport(
        proof=proof,
        found=findings.found,
        wal=findings.losses,
        proven=findings.proven,
        unproven=unproven(options.level, options.sample),
        duration_s=clock.elapsed() - began,
        orphans=found.orphans,
        unexplained=tuple(found.listed.unexplained),
        unexplained_count=found.listed.unexplained_count,
        gone=gone,
        gone_since=known.found[0].finished_at if gone else None,
        notes=tuple(notes),
        recorded=lock is not None,
    )


def _range(hole: Hole) -> str:
    if hole.segments == 1:
        return f"WAL segment {hole.first} between two backups is"
    return f"WAL segments {hole.first} to {hole.last} between two backups are"


def _rest() -> None:
    """Do nothing: there is no lock to keep."""


def _try_to_hold(cluster: ClusterFolder, stack: ExitStack) -> tuple[Lock | None, list[str]]:
    """Keep backups from being deleted under us; a read-only repository can be verified as well."""
    try:
        wanted = locks.hold(cluster, "verify", "pgkeep verify", {"expire"}, waiting=lambda _: None)
        return stack.enter_context(wanted), []
    except StoreFailed as error:
        why = f"nothing can be written, so the result is not recorded: {error}"
        return None, [why]


def _read(
    cluster: ClusterFolder,
    options: VerifyOptions,
    found: Inventory,
    progress: Progress,
    beat: Callable[[], None],
) -> Read:
    """Read what is to be read: packs, then WAL. A WAL file that is not read is looked at."""
    read = Read()
    total = sum(found.to_read.values())
    total += sum(check.file.size for check in found.wal if check.whole)
    much = total >= _WORTH or len(found.wal) >= _MANY
    if options.level is Level.BYTES:
        progress.phase("reading packs and WAL", total)
    else:
        progress.phase("looking at WAL", len(found.wal), "files")
    tasks = chain(_pack_tasks(found), _wal_tasks(found))
    manner = options.manner if much else Manner(rate=options.manner.rate)
    for done, result in enumerate(carry_out(tasks, cluster, manner, beat), 1):
        read.add(result)
        progress.advance(read.bytes if options.level is Level.BYTES else done)
    return read


def _pack_tasks(found: Inventory) -> Iterator[list[Check]]:
    for batch in batches(found.to_read):
        ids = ((name, bytes.fromhex(name.rpartition("/")[2])) for name in batch)
        yield [PackCheck(name, pack_id, found.needed.rows_of(pack_id)) for name, pack_id in ids]


def _wal_tasks(found: Inventory) -> Iterator[list[Check]]:
    """Cut by what is read: a header is next to nothing."""
    checks = {f"{check.file.generation}/{check.file.file}": check for check in found.wal}
    sizes = {name: check.file.size if check.whole else 0 for name, check in checks.items()}
    for batch in batches(sizes):
        yield [checks[name] for name in batch]


def _proof(
    options: VerifyOptions,
    cluster: str,
    found: Inventory,
    findings: Findings,
    times: tuple[datetime, datetime],
) -> Proof:
    return Proof(
        id=timed_id(times[1], os.urandom(4)),
        cluster=cluster,
        level=options.level,
        sample=str(options.sample) if options.sample else "",
        seed=options.sample.seed if options.sample else "",
        since=options.since,
        everything=found.scope.everything,
        pgkeep_version=__version__,
        started_at=times[0],
        finished_at=times[1],
        backups=tuple(BackupProof(b.id, b.verdict, b.why) for b in findings.found),
        damaged=findings.damaged,
        wal=findings.wal,
        wal_files=len(found.wal),
        packs=len(found.packs),
    )


def _gone(known: Proofs, found: Inventory) -> tuple[str, ...]:
    """Return what the last proof saw and is not there any more, if it left packs behind.

    What was deleted takes along what only it needed; what was lost does not.
    """
    if not known.found or not found.orphans or not found.orphans[0]:
        return ()
    there = found.scope.ids()
    return tuple(backup.id for backup in known.found[0].backups if backup.id not in there)
