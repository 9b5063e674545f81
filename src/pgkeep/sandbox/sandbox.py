"""A sandbox: a backup restored into a scratch directory, with a private server on it.

The server recovers to a moment, listens on a socket that only its owner reaches, archives nothing
and reaches out to nobody. Whatever ends the process that made it, all of it is removed: by the
process itself, else by its watchdog, else by the next one that makes a sandbox there.
"""

import os
import random
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from psycopg.conninfo import make_conninfo

from pgkeep.model.target import Action
from pgkeep.progress import Progress, Silent
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.preflight import NoRoom
from pgkeep.restore.prepare import Prepared, RestoreRequest, prepare
from pgkeep.restore.restore import RestoreReport, carry_out
from pgkeep.restore.start import Ending, RecoveryOutcome
from pgkeep.sandbox import cleaning
from pgkeep.sandbox.configure import configure
from pgkeep.sandbox.libraries import libraries
from pgkeep.sandbox.login import Login, collation_notes, find_login
from pgkeep.sandbox.place import (
    Place,
    check_directory,
    keep_place,
    make_place,
    open_to_server,
    usual_directory,
)
from pgkeep.sandbox.private_server import PrivateServer
from pgkeep.sandbox.request import Measured, SandboxRequest, SandboxTooSmall
from pgkeep.sandbox.settings import Here
from pgkeep.server.binaries import Binaries, PgToolsMissing, find_binaries
from pgkeep.server.processes import free_memory
from pgkeep.server.session import Session
from pgkeep.units import format_size
from pgkeep.workers.watchdog import Watchdog


@dataclass(slots=True)
class Sandbox:
    """A recovered server of one's own, from open_sandbox(). Not for several threads."""

    plan: RestorePlan
    restored: RestoreReport
    outcome: RecoveryOutcome  # where recovery stopped, and why
    measured: Measured
    notes: tuple[str, ...]  # what is otherwise than at the source and may matter
    port: int  # the number in the socket's name: no port is listened on
    login: Login  # as whom, and to which database unless another is named
    _server: PrivateServer
    _place: Place

    @property
    def directory(self) -> Path:
        """All of the sandbox: the data directory, tablespaces, the log."""
        return self._place.root

    @property
    def data_directory(self) -> Path:
        return self._place.data_directory

    @property
    def log_file(self) -> Path:
        return self._place.log_file

    @property
    def socket_directory(self) -> Path:
        return self._place.socket_directory

    @property
    def binaries(self) -> Binaries:
        return self._server.binaries

    @property
    def is_read_only(self) -> bool:
        """Whether the server waits at its target instead of having been promoted."""
        return self.outcome.ending is Ending.PAUSED

    @property
    def kept_until(self) -> datetime | None:
        """Until when it stays after its block; None: it is removed at once."""
        return self._place.mark.kept_until

    def conninfo(self, database: str | None = None) -> str:
        """Return how to connect; without a database to postgres, or template1 if that is gone."""
        database = self.login.database if database is None else database
        return _conninfo(self._place, self.port, Login(self.login.role, database))

    def psql(self, database: str | None = None) -> str:
        """Return the command for a person to look around with."""
        try:
            program = self.binaries.tool("psql")
        except PgToolsMissing:
            program = "psql"
        database = self.login.database if database is None else database
        words = [program, "-h", str(self.socket_directory), "-p", str(self.port)]
        return shlex.join([*words, "-U", self.login.role, "-d", database])

    def session(self, database: str | None = None) -> Session:
        """Open a session as a superuser. Raise CannotConnect, DatabaseMissing, ..."""
        return Session.connect(self.conninfo(database))

    def is_running(self) -> bool:
        return self._server.find() is not None

    def stop(self) -> None:
        """Shut the server down in order, so that its files can be checked. Raise ServerWontStop.

        Sessions are ended. Stopping one that is down succeeds.
        """
        self._server.stop()

    def start(self, progress: Progress | None = None) -> None:
        """Start the server again after stop(), with the same content. Raise SandboxFailed."""
        if not self.is_running():
            self._server.start_again(self.outcome, progress or Silent())

    def keep(self, until: datetime) -> None:
        """Leave the sandbox and its server there until then, if the block ends without an error.

        They outlive this process; what removes them is a watchdog, or the next sandbox.
        """
        self._place = keep_place(self._place, until)


@contextmanager
def open_sandbox(
    cluster: ClusterFolder,
    request: SandboxRequest,
    progress: Progress | None = None,
    *,
    on_plan: Callable[[RestorePlan], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Sandbox]:
    """Make a sandbox for a `with` block, which begins when recovery has ended, then remove it.

    What others left behind in the directory is removed first. `on_plan` is called when the plan is
    made: what fails afterwards failed with that backup. Raise why the target cannot be
    reached or what is wrong with the backup (as prepare() and carry_out() do), SandboxTooSmall
    and SandboxMisplaced before anything is written, SandboxServerFailed with the server's words.
    """
    if request.recovery.action is Action.SHUTDOWN:
        raise ValueError("a sandbox whose server shuts down at the target is of no use")
    progress, began, now = progress or Silent(), clock(), datetime.now(UTC)
    directory = os.path.abspath(request.directory or usual_directory())
    url = cluster.store.url
    check_directory(directory, url if url.startswith("/") else None)
    for note in cleaning.clean(directory, now):
        progress.note(note)
    place = make_place(directory, cluster.name, request.purpose, now)
    watchdog = Watchdog(place.data_directory, place.made)
    kept = False
    try:
        sandbox = _make(cluster, request, place, progress, on_plan)
        sandbox.measured = replace(sandbox.measured, seconds=clock() - began)
        yield sandbox
        if sandbox.kept_until is not None:
            watchdog.keep(sandbox.kept_until.timestamp())
            kept = True
    finally:
        if not kept:
            progress.phase("removing the sandbox")
            cleaning.remove(place.root, place.mark)
            # The last step: until here the watchdog would have finished the work for us.
            watchdog.end()
        place.let_go()


def _make(
    cluster: ClusterFolder,
    request: SandboxRequest,
    place: Place,
    progress: Progress,
    on_plan: Callable[[RestorePlan], object],
) -> Sandbox:
    with ExitStack() as stack:
        # Until recovery is over: it needs WAL that no expire may take meanwhile.
        lock = locks.keep_from_expiring(cluster, "restore", request.purpose, progress, stack)
        beating = _Beating(progress, lock)
        prepared = _prepare(cluster, request, place, beating)
        on_plan(prepared.plan)
        # Looked for before the first byte is written.
        binaries = find_binaries(prepared.plan.backup.generation.major, request.pg_bin)
        open_to_server(place, *_owner(prepared))
        report = carry_out(cluster, prepared, now=datetime.now(UTC), progress=beating)
        facts, action = prepared.manifest.facts, request.recovery.action
        port = random.randrange(20000, 60000)  # noqa: S311  # part of a socket's name only
        here = Here(free_memory(), libraries(binaries), str(place.socket_directory), port)
        decided = configure(place.data_directory, facts, here, action, dict(request.settings))
        server = PrivateServer(place, prepared.plan, binaries, request.environment)
        outcome = server.recover(decided.settings, beating)

    def connect(login: Login) -> Session:
        return Session.connect(_conninfo(place, port, login))

    login = find_login(connect, [request.role, "postgres", *facts.users])
    with connect(login) as session:
        measured = _measured(report, outcome, session)
        notes = (*decided.notes, *collation_notes(session))
    return Sandbox(prepared.plan, report, outcome, measured, notes, port, login, server, place)


def _prepare(
    cluster: ClusterFolder, request: SandboxRequest, place: Place, progress: Progress
) -> Prepared:
    asked = RestoreRequest(
        str(place.data_directory),
        request.recovery,
        backup=request.backup,
        tablespaces_below=str(place.tablespaces),
        databases=request.databases,
        jobs=request.jobs,
        rate=request.rate,
        spare=request.room,
        fetch_command=request.fetch_command,
    )
    try:
        return prepare(cluster, asked, progress)
    except NoRoom as error:
        why = (
            f"{format_size(error.needed)} are needed: {', '.join(error.parts)}; "
            f"{format_size(error.free)} are free"
        )
        directory = str(place.root.parent)
        raise SandboxTooSmall(why, directory, error.needed, error.free) from error


def _owner(prepared: Prepared) -> tuple[int, int]:
    """Return to which user and group the data directory will belong here."""
    layout = prepared.layout
    number = layout.tables.find("global")
    if number is None:
        return os.geteuid(), os.getegid()
    return layout.owners.of(layout.tables.entry(number))


def _measured(report: RestoreReport, outcome: RecoveryOutcome, session: Session) -> Measured:
    newest = session.query("SELECT pg_catalog.pg_last_xact_replay_timestamp()")[0][0]
    first, last = outcome.replayed or (0, 0)
    return Measured(
        restored_files=report.files,
        restored_bytes=report.size,
        restore_seconds=report.seconds,
        wal_files=outcome.fetched_files,
        wal_bytes=int(last) - int(first),
        recovery_seconds=outcome.seconds,
        seconds=0.0,
        newest_change=newest,
    )


def _conninfo(place: Place, port: int, login: Login) -> str:
    return make_conninfo(
        host=str(place.socket_directory), port=port, user=login.role, dbname=login.database
    )


class _Beating:
    """Progress that keeps a lock alive while it is told."""

    def __init__(self, progress: Progress, lock: Lock | None) -> None:
        self._progress = progress
        self._lock = lock

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        self._beat()
        self._progress.phase(title, total, unit)

    def advance(self, done: int) -> None:
        self._beat()
        self._progress.advance(done)

    def detail(self, text: str) -> None:
        self._progress.detail(text)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def _beat(self) -> None:
        if self._lock is not None:
            self._lock.beat()
