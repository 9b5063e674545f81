"""The drill of a backup: restored, recovered to its target, and looked at from all sides."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from pgkeep.coverage.record import read_record
from pgkeep.drill.checking import Checks
from pgkeep.drill.finding import Finding, failed, passed, untested
from pgkeep.drill.looking import programs
from pgkeep.drill.looking.comparing import Wanted, compare
from pgkeep.drill.looking.connecting import Seen, look
from pgkeep.drill.looking.copy import Copy
from pgkeep.drill.looking.expected import Expected, expected_of
from pgkeep.drill.looking.queries import ask
from pgkeep.drill.random_target import draw_moment
from pgkeep.drill.request import RANDOM, DrillRequest, Wishes
from pgkeep.drill.story import Story
from pgkeep.drill.troubles import judged
from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.model.target import AtLsn, Latest, RecoveryTarget
from pgkeep.progress import Progress
from pgkeep.repository.census.codec import CensusFacts
from pgkeep.repository.census.shelf import newest_before, read_census
from pgkeep.repository.drills.report import CheckKind, Measures
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.plan import RestorePlan
from pgkeep.sandbox.sandbox import Sandbox, open_sandbox
from pgkeep.units import format_size
from pgkeep.workers.pool import default_jobs

_AFTER_RESTORE = (
    CheckKind.RESTORE,
    CheckKind.RECOVERY,
    CheckKind.CONNECT,
    CheckKind.CHECKSUMS,
    CheckKind.AMCHECK,
    CheckKind.READ,
    CheckKind.EXPECTED,
)
_RECOVERED = "the server became consistent and reached the target"
_NOT_THERE = "there was no server to look at"


def drill_backup(
    cluster: ClusterFolder,
    request: DrillRequest,
    story: Story,
    progress: Progress,
    started_at: datetime,
) -> None:
    """Restore, recover, look, and remove all of it. Raise only what was wrong with the question."""
    with story.checks.others(*_AFTER_RESTORE, why=_NOT_THERE), ExitStack() as stack:
        sandbox = _restore(cluster, request, story, progress, stack)
        if sandbox is None:
            return
        _tell(sandbox, story, started_at)
        _look(cluster, sandbox, request, story, progress)


def _restore(
    cluster: ClusterFolder,
    request: DrillRequest,
    story: Story,
    progress: Progress,
    stack: ExitStack,
) -> Sandbox | None:
    """Return a recovered sandbox; None when there is none, and note why."""

    def remember(plan: RestorePlan) -> None:
        story.of, story.timeline = plan.backup.id, plan.timeline

    try:
        recovery = _recovery(cluster, request, story)
        asked = replace(request.sandbox, recovery=recovery, backup=request.wanted)
        return stack.enter_context(open_sandbox(cluster, asked, progress, on_plan=remember))
    except PgkeepError as error:
        kind, finding = judged(error)
        if kind is not CheckKind.RESTORE and story.of:
            story.checks.note(CheckKind.RESTORE, passed("every file was restored"))
        if kind is CheckKind.CONNECT:
            story.checks.note(CheckKind.RECOVERY, passed(_RECOVERED))
        story.checks.note(kind, finding, story.seconds)
        return None


def _recovery(cluster: ClusterFolder, request: DrillRequest, story: Story) -> RecoveryTarget:
    if request.asked != RANDOM:
        return request.sandbox.recovery
    story.seed = request.seed
    drawn = draw_moment(cluster, request.seed, request.wanted or "")
    recovery = replace(
        request.sandbox.recovery, target=AtLsn(drawn.lsn), inclusive=False, timeline=drawn.timeline
    )
    story.target = str(recovery.target)
    story.notes = (f"drawn by lot: {drawn.words}",)
    return recovery


def _tell(sandbox: Sandbox, story: Story, started_at: datetime) -> None:
    """Note what it took to get here, and where here is."""
    plan, outcome, measured = sandbox.plan, sandbox.outcome, sandbox.measured
    story.server = sandbox.binaries.version
    story.reached = outcome.words
    story.notes = (*story.notes, *plan.warnings, *sandbox.notes)
    newest = measured.newest_change
    to_the_end = story.target == str(Latest()) and newest is not None
    story.measures = Measures(
        restored_bytes=measured.restored_bytes,
        restore_s=round(measured.restore_seconds, 3),
        wal_bytes=measured.wal_bytes,
        recovery_s=round(measured.recovery_seconds, 3),
        newest_commit=newest,
        age_s=(started_at - newest).total_seconds() if to_the_end and newest else None,
    )
    files = f"{measured.restored_files:,} files, {format_size(measured.restored_bytes)}"
    checks = story.checks
    checks.note(CheckKind.RESTORE, passed(f"{files} restored"), measured.restore_seconds)
    checks.note(CheckKind.RECOVERY, _reached(sandbox), measured.recovery_seconds)


def _reached(sandbox: Sandbox) -> Finding:
    outcome = sandbox.outcome
    if outcome.warnings:
        return failed("recovery did not stop where it was to stop", outcome.warnings)
    return passed(_RECOVERED)


def _look(
    cluster: ClusterFolder,
    sandbox: Sandbox,
    request: DrillRequest,
    story: Story,
    progress: Progress,
) -> None:
    checks, wishes = story.checks, request.wishes
    progress.phase("connecting to every database")
    seen = _connect(sandbox, checks)
    story.is_ready()
    copy = Copy(
        conninfo=sandbox.conninfo(),
        data_directory=sandbox.data_directory,
        binaries=sandbox.binaries,
        databases=seen.databases,
        size=seen.size,
        jobs=request.sandbox.jobs or default_jobs(),
        progress=progress,
    )
    if seen.databases:
        checks.make(CheckKind.AMCHECK, lambda: _amcheck(copy, wishes))
        checks.make(CheckKind.READ, lambda: _read(copy, wishes))
        checks.make(CheckKind.EXPECTED, lambda: _compare(cluster, sandbox, copy, wishes))
        if wishes.queries:
            progress.phase("asking your own questions", len(wishes.queries), "questions")
        ask_all(sandbox.conninfo(), wishes, checks)
    if not sandbox.is_running():
        words = "the server died while it was looked at"
        checks.replace(CheckKind.CONNECT, failed(words, _last_words(sandbox)))
    # Last of all: the server must be down for it, and what it has read is on disk by then.
    checks.make(CheckKind.CHECKSUMS, lambda: _checksums(sandbox, copy))


def _connect(sandbox: Sandbox, checks: Checks) -> Seen:
    seen = Seen()

    def connect() -> Finding:
        nonlocal seen
        finding, seen = look(sandbox.conninfo())
        return finding

    checks.make(CheckKind.CONNECT, connect)
    return seen


def _amcheck(copy: Copy, wishes: Wishes) -> Finding:
    if wishes.amcheck == "never":
        return untested('left out: amcheck = "never" under [drill]')
    return programs.amcheck(copy, full=wishes.amcheck == "full")


def _read(copy: Copy, wishes: Wishes) -> Finding:
    if wishes.read_all == "never":
        return untested('left out: read_all = "never" under [drill]')
    if wishes.read_all == "auto" and copy.size > wishes.read_limit:
        size, limit = format_size(copy.size), format_size(wishes.read_limit)
        return untested(f"left out: {size} are more than read_limit under [drill], {limit}")
    return programs.read_all(copy)


def _compare(cluster: ClusterFolder, sandbox: Sandbox, copy: Copy, wishes: Wishes) -> Finding:
    """Compare with the newest census at or before the moment that was recovered to."""
    plan = sandbox.plan
    generation = plan.backup.generation.id
    record = next(r for r in read_record(cluster).generations if r.generation.id == generation)
    line = record.coverage.timeline(plan.timeline)
    history = line.history if line is not None else None
    found = newest_before(cluster, generation, _reached_lsn(sandbox), history).census
    if found is None:
        return untested("there is no census from before this moment: pgkeep census take makes one")
    when = f"{found.taken_at:%Y-%m-%d %H:%M} UTC"
    if found.unread:
        when += f" (which lacks {', '.join(one.name for one in found.unread)})"
    return compare(
        copy, Wanted(when, found.relations, _expected(cluster, found)), wishes.may_be_empty
    )


def _expected(
    cluster: ClusterFolder, facts: CensusFacts
) -> Iterator[tuple[str, Sequence[Expected]]]:
    for database in facts.databases:
        census = read_census(cluster, facts.id, {database.oid})
        yield database.name, [table for one in census.databases for table in expected_of(one)]


def _reached_lsn(sandbox: Sandbox) -> Lsn:
    plan, replayed = sandbox.plan, sandbox.outcome.replayed
    end = replayed[1] if replayed else plan.backup.stop_lsn
    return max(end, plan.backup.stop_lsn)


def _last_words(sandbox: Sandbox) -> list[str]:
    with suppress(FileNotFoundError):
        return sandbox.log_file.read_text(errors="replace").splitlines()[-10:]
    return []


def ask_all(conninfo: str, wishes: Wishes, checks: Checks) -> None:
    """Ask every query of the user's."""
    for query in wishes.queries:
        look = partial(ask, conninfo, query, wishes.query_timeout_s)
        checks.make(CheckKind.QUERY, look, query.name)


def _checksums(sandbox: Sandbox, copy: Copy) -> Finding:
    copy.progress.phase("stopping the server")
    sandbox.stop()
    return programs.checksums(copy)
