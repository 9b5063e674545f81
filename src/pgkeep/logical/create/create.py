"""A dump of a running server: pg_dump's own archive, cut into chunks while it is written.

Order: packs, then the manifest. Until the manifest is there nothing of the dump is listed.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, LiteralString, NamedTuple

from msgspec.structs import replace

import pgkeep
from pgkeep.errors import PgkeepError
from pgkeep.logical.capture.capture import Capture, CaptureSetup
from pgkeep.logical.capture.scratch_space import scratch_space
from pgkeep.logical.create.before import Comparison
from pgkeep.logical.create.checks import IncompleteDump, check_globals
from pgkeep.logical.create.cleaning import clean
from pgkeep.logical.create.database import Dumper, Files
from pgkeep.logical.create.manifest import Past, build, known_bytes, read_parent
from pgkeep.logical.create.plan import (
    INVALID,
    DatabasesPlan,
    DatabaseUnfit,
    Found,
    LocksShort,
    check_selection,
    choose_parent,
    last_alike,
    plan_databases,
)
from pgkeep.logical.create.programs import DumpConnectionLost, TablesLocked, dump_globals
from pgkeep.logical.create.report import DumpReport
from pgkeep.logical.create.snapshots import AT_ONCE, Refused, Snapshot, take_all
from pgkeep.logical.create.survey import CannotRead, Survey, survey
from pgkeep.logical.patterns import Chosen, chosen
from pgkeep.model.dump import DUMP_PREFIX, EVERYTHING, DumpId, Selection
from pgkeep.progress import Progress, Silent
from pgkeep.repository import dumps
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.manifest.dump_facts import GLOBALS, DumpedDatabase, DumpFacts, Globals
from pgkeep.repository.packs import attempts
from pgkeep.repository.packs.pack_ids import tag_of
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.client_programs import ProgramFailed, connecting
from pgkeep.server.client_tools import ClientTools, find_tools
from pgkeep.server.connecting import redacted
from pgkeep.server.session import QueryFailed, Session, SessionLost
from pgkeep.units import format_duration
from pgkeep.workers.pool import default_jobs
from pgkeep.workers.throttle import check_step_back

_SERVER: Final[LiteralString] = """
SELECT current_setting('server_version'), current_user,
       has_table_privilege('pg_authid', 'SELECT')
"""
# Not everywhere may everybody call it: some clouds hide it.
_IDENTITY: Final[LiteralString] = "SELECT system_identifier::text FROM pg_control_system()"
_DATABASES: Final[LiteralString] = """
SELECT datname, datallowconn, datconnlimit FROM pg_database ORDER BY datname
"""
_ROLES: Final[LiteralString] = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
_SPACES: Final[LiteralString] = """
SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What the user may choose."""

    databases: tuple[str, ...] = ()  # none: all
    selection: Selection = EVERYTHING
    role_passwords: bool | None = None  # None: where the role may read them
    label: str = ""
    jobs: int = field(default_factory=default_jobs)
    level: int = 1  # of zstd
    lock_wait_s: float = 60.0
    pg_bin: str = ""
    scratch: str = ""  # directory; '' chooses
    rate: int = 0  # bytes stored per second; 0: no limit
    nice: int = 0
    ionice: str = ""


def create(
    cluster: ClusterFolder,
    conninfo: str,
    options: CreateOptions,
    progress: Progress | None = None,
) -> DumpReport:
    """Dump databases; when this returns, the dump is complete, durable and listed.

    Whatever is raised, nothing of the attempt is listed, no process of ours is left and no lock is
    held on the server. Databases that could not be dumped beside others, and a dump that shrank,
    are not raised: see DumpReport.problem.
    """
    progress = progress or Silent()
    check_step_back(options.nice, options.ionice)
    check_selection(options.selection, len(options.databases))
    wanted = chosen(options.selection)
    with _lock(cluster, progress) as lock:
        for holder in lock.took_over:
            progress.note(f"took over from {holder}: that process is dead")
        server = _look(conninfo)
        excluded = options.selection.exclude_databases
        plan = plan_databases(server.databases, options.databases, excluded)
        where = redacted(conninfo)
        tools = find_tools(server.version, f"the server at {where}", options.pg_bin or None)
        job = _Job(cluster, conninfo, options, progress, lock, server, plan, tools, wanted)
        dump_id = new_id(job.began)
        with attempts.given_back_when_full(cluster, dump_id, lock):
            return job.run(dump_id)


def new_id(moment: datetime) -> DumpId:
    """Return an id that sorts by time. Several dumps may begin at once: chance tells them apart."""
    return DumpId(f"{DUMP_PREFIX}{moment:%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}")


def _lock(cluster: ClusterFolder, progress: Progress) -> Lock:
    """Several dumps may be made at once: each only adds."""
    return locks.hold(
        cluster,
        "dump",
        "pgkeep dump create",
        {"expire"},
        waiting=lambda command: progress.phase(f"waiting for the end of {command!r}"),
    )


# What is wrong with one database and no other; all else ends the dump as a whole.
_OF_ONE_DATABASE: Final = (
    CannotRead,
    DumpConnectionLost,
    IncompleteDump,
    LocksShort,
    ProgramFailed,
    QueryFailed,
    SessionLost,
    TablesLocked,
)


class _Server(NamedTuple):
    """A server before it is dumped."""

    version: str  # '18.6'
    role: str
    may_read_passwords: bool
    system_identifier: str
    databases: tuple[Found, ...]
    roles: tuple[str, ...]
    tablespaces: tuple[str, ...]


def _look(conninfo: str) -> _Server:
    with Session.connect(conninfo, any_version=True) as session:
        version, role, passwords = session.query(_SERVER)[0]
        try:
            identity = str(session.query(_IDENTITY)[0][0])
        except QueryFailed:
            identity = ""
        found = session.query(_DATABASES, doing="list databases")
        return _Server(
            version.split()[0],
            role,
            passwords,
            identity,
            tuple(Found(name, allowed, limit != INVALID) for name, allowed, limit in found),
            tuple(row[0] for row in session.query(_ROLES, doing="list roles")),
            tuple(row[0] for row in session.query(_SPACES, doing="list tablespaces")),
        )


class _Ready(NamedTuple):
    """A database that can be dumped."""

    snapshot: Snapshot
    survey: Survey


@dataclass(slots=True)
class _Job:
    """One dump being made."""

    cluster: ClusterFolder
    conninfo: str
    options: CreateOptions
    progress: Progress
    lock: Lock
    server: _Server
    plan: DatabasesPlan
    tools: ClientTools
    chosen: Chosen
    notes: list[str] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    missing: list[tuple[str, str]] = field(default_factory=list)
    errors: list[PgkeepError] = field(default_factory=list)

    def run(self, dump_id: DumpId) -> DumpReport:
        began, now = time.monotonic(), self.began
        self.missing += self.plan.impossible
        known = dumps.dumps(self.cluster)
        parent = choose_parent(known.dumps, self.plan.names, self.options.selection)
        past = read_parent(self.cluster, parent)
        last = last_alike(known.dumps, self.plan, self.options.selection)
        comparison = Comparison.with_last(self.cluster, last)
        files = Files()
        # Before the first pack: should we die, it is known by this whose packs they are.
        attempts.begin(self.cluster, dump_id, now)
        with ExitStack() as stack:
            self.progress.phase("looking at the server")
            snapshots = stack.enter_context(take_all(self.conninfo, self.plan.names))
            ready = self._surveyed(snapshots)
            scratch = stack.enter_context(scratch_space(self.options.scratch))
            setup = self._setup(dump_id, past, scratch.limit)
            capture = stack.enter_context(Capture(setup, self.options.jobs, self.progress.note))
            dumper = Dumper(
                tools=self.tools,
                conninfo=self.conninfo,
                connecting=connecting(self.conninfo),
                selection=self.options.selection,
                jobs=self.options.jobs,
                lock_wait_s=self.options.lock_wait_s,
                capture=capture,
                scratch=scratch.directory,
                files=files,
                comparison=comparison,
                progress=self.progress,
                beat=self.lock.beat,
            )
            found_globals = self._globals(dumper)
            databases = list(self._dumped(ready, dumper))
            self.progress.phase("storing what is left")
            stored = capture.finish(self.lock.beat)
        if not databases and (self.errors or self.missing):
            raise self._nothing()
        facts = self._facts(dump_id, now, databases, found_globals, past)
        facts = replace(self._compared(facts, comparison), known=known_bytes(stored))
        cleaned = clean(self.cluster, stored, past.tables, self.options.level)
        self.notes += cleaned.notes
        facts = replace(facts, duration_s=time.monotonic() - began)
        manifest = build(facts, files, cleaned.stored, past)
        # The last moment to notice that another process took this one for dead.
        self.lock.check()
        # Last of all, when all packs are durable: from here on the dump is offered.
        dumps.shelf(self.cluster).write(manifest)
        attempts.end(self.cluster, [dump_id])
        duration = time.monotonic() - began
        return DumpReport(manifest.facts.dump(), manifest.facts, duration, self.missing, self.notes)

    def _surveyed(self, snapshots: Iterator[Snapshot | Refused]) -> Iterator[_Ready]:
        """Look at databases before any is dumped, where all snapshots are held at once."""
        ready = self._survey_each(snapshots)
        if len(self.plan.names) <= AT_ONCE:
            return iter(list(ready))
        return ready

    def _survey_each(self, snapshots: Iterator[Snapshot | Refused]) -> Iterator[_Ready]:
        objects = self._takes_large_objects
        for snapshot in snapshots:
            if isinstance(snapshot, Refused):
                self._give_up(snapshot.database, snapshot.error)
                continue
            try:
                yield _Ready(snapshot, survey(snapshot, self.chosen, large_objects=objects))
            except _OF_ONE_DATABASE as error:
                snapshot.close()
                self._give_up(snapshot.database, error)

    @property
    def _takes_large_objects(self) -> bool:
        selection = self.options.selection
        if selection.large_objects is not None:
            return selection.large_objects
        chosen_ones = selection.tables or selection.tables_and_children or selection.schemas
        return not (chosen_ones or selection.schema_only)

    def _dumped(self, ready: Iterator[_Ready], dumper: Dumper) -> Iterator[DumpedDatabase]:
        """Dump one database after the other, each as fast as the machine can."""
        for number, (snapshot, found) in enumerate(ready, 1):
            first = len(dumper.files)
            try:
                yield dumper.dump(snapshot, found, number)
            except _OF_ONE_DATABASE as error:
                dumper.files.drop_from(first)
                self._give_up(snapshot.database, error)
            finally:
                snapshot.close()
            self._note_collation(snapshot.database, found)
            if found.partless and not self.options.selection.tables_and_children:
                self.notes.append(
                    f"rows of partitions that no -t chooses are not in it: of "
                    f"{', '.join(found.partless)}"
                )

    def _give_up(self, database: str, error: PgkeepError) -> None:
        """Go on without a database, if there are others: they are worth having all the same."""
        if len(self.plan.names) == 1:
            raise error
        self.progress.note(f"database {database} is left out: {error}")
        self.errors.append(error)
        self.missing.append((database, str(error)))

    def _nothing(self) -> PgkeepError:
        """Return why there is nothing to keep."""
        if self.errors:
            return self.errors[0]
        name, why = self.missing[0]
        return DatabaseUnfit(name, why)

    def _note_collation(self, database: str, found: Survey) -> None:
        if found.actual_version and found.actual_version != found.collation_version:
            self.notes.append(
                f"database {database}: its collation has version {found.collation_version or '?'}, "
                f"the server's libraries {found.actual_version}: its indexes may be out of order "
                "(REINDEX, then ALTER DATABASE ... REFRESH COLLATION VERSION); the dump is not hit"
            )

    def _globals(self, dumper: Dumper) -> Globals:
        """Store roles, memberships and tablespaces: without them no database is complete."""
        passwords = self.options.role_passwords
        if passwords is None:
            passwords = self.server.may_read_passwords
            if not passwords:
                self.notes.append(
                    f"roles are dumped without their passwords: {self.server.role} may not read "
                    "them (that takes a superuser)"
                )
        content = dump_globals(dumper.tools, dumper.connecting, passwords=passwords)
        check_globals(content)
        dumper.capture.store(dumper.files.add(GLOBALS), iter([content]))
        return Globals(
            roles=self.server.roles,
            tablespaces=self.server.tablespaces,
            passwords=passwords,
            dump_version=self.tools.version,
        )

    def _setup(self, dump_id: DumpId, past: Past, limit: int) -> CaptureSetup:
        repository = self.cluster.repository
        return CaptureSetup(
            store=repository.store.address,
            repository=repository.id,
            key=repository.key,
            cluster=self.cluster.name,
            level=self.options.level,
            tag=tag_of(dump_id),
            limit=limit,
            known=past.known,
            rate=self.options.rate,
            nice=self.options.nice,
            ionice=self.options.ionice,
        )

    def _facts(
        self,
        dump_id: DumpId,
        now: datetime,
        databases: Sequence[DumpedDatabase],
        found: Globals,
        past: Past,
    ) -> DumpFacts:
        moments = [database.snapshot_at for database in databases if database.snapshot_at]
        return DumpFacts(
            id=dump_id,
            cluster=self.cluster.name,
            label=self.options.label,
            started_at=now,
            taken_at=max(moments, default=now),
            server_version=self.server.version,
            system_identifier=self.server.system_identifier,
            all_databases=self.plan.all,
            selection=self.options.selection,
            databases=tuple(databases),
            globals=found,
            consistency=_consistency(databases),
            jobs=self.options.jobs,
            parent=past.id,
            source=redacted(self.conninfo),
            source_host=socket.gethostname(),
            pgkeep_version=pgkeep.__version__,
        )

    def _compared(self, facts: DumpFacts, comparison: Comparison) -> DumpFacts:
        """Flag what looks wrong beside the last dump of the same kind."""
        if comparison.why_not:
            self.notes.append(comparison.why_not)
        found = [f"database {name} is missing: {why}" for name, why in self.missing]
        return replace(facts, suspicions=(*found, *comparison.verdict(facts)))


def _consistency(databases: Sequence[DumpedDatabase]) -> str:
    """Say what hangs together: each database by itself, and how far apart they are."""
    moments = [database.snapshot_at for database in databases if database.snapshot_at]
    if len(moments) < 2:
        return "one snapshot"
    apart = (max(moments) - min(moments)).total_seconds()
    return f"one snapshot for each database, taken within {format_duration(apart)}"
