"""A session with a server: ask it about itself, bracket a backup, nudge its WAL."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, LiteralString, NamedTuple, Self

import psycopg

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.versions import VERSIONS, UnsupportedVersion
from pgkeep.server import facts, privileges
from pgkeep.server.connecting import CannotConnect, Connection, connect
from pgkeep.server.facts import Extension, Identity, ServerFacts, Tablespace
from pgkeep.server.privileges import Privilege

# A backup's session is silent for hours: nothing may end it but us. Newer settings are left out
# where the server does not know them.
_HARDENED: Final[tuple[tuple[int, LiteralString], ...]] = (
    (0, "statement_timeout = 0"),
    (0, "lock_timeout = 0"),
    (0, "idle_in_transaction_session_timeout = 0"),
    (14, "idle_session_timeout = 0"),
    (17, "transaction_timeout = 0"),
    # No object of a user's may stand in for one of the catalog's.
    (0, "search_path = pg_catalog, pg_temp"),
    (0, "DateStyle = 'ISO'"),
    (0, "TimeZone = 'UTC'"),
    (0, "client_encoding = 'UTF8'"),
)
_LABEL_LIMIT: Final = 1024  # bytes; xlogbackup.h: MAXPGPATH


class SessionLost(PgkeepError):
    """The connection broke while the server was asked something."""

    code = "session-lost"
    exit_status = 120

    doing: str
    why: str

    def __str__(self) -> str:
        return f"cannot {self.doing}: the connection to the server was lost: {self.why}"

    @property
    def hint(self) -> str:
        return "look into the server's log, and run it again"


class BackupSessionLost(PgkeepError):
    """The session that held the backup is gone, and with it the backup."""

    code = "backup-session-lost"
    exit_status = 121

    why: str

    def __str__(self) -> str:
        return f"no backup was made: the session that held it was lost: {self.why}"

    @property
    def hint(self) -> str:
        return (
            "connect pgkeep to the server itself, not through a pooler, look into the server's "
            "log, and run the backup again"
        )


class QueryFailed(PgkeepError):
    """The server refused something it was asked."""

    code = "query-failed"
    exit_status = 123

    doing: str
    sqlstate: str
    why: str  # in the server's language

    def __str__(self) -> str:
        return f"cannot {self.doing}: the server says: {self.why} (SQLSTATE {self.sqlstate})"


class BackupStart(NamedTuple):
    """The moment from which on WAL is needed."""

    lsn: Lsn
    timeline: int
    time: datetime  # the server's clock, when it was done


class BackupStop(NamedTuple):
    """The moment from which on the copy can be consistent."""

    lsn: Lsn  # the first byte that is not needed
    timeline: int
    time: datetime  # the server's clock, when it was done
    label_file: str  # to be kept byte for byte
    tablespace_map: str  # '' when there are no tablespaces


class ArchiverStats(NamedTuple):
    """pg_stat_archiver. A command that ends above 125 counts nowhere here."""

    archived_count: int
    last_archived_wal: str | None  # may be a .history, .backup or .partial name
    last_archived_time: datetime | None
    failed_count: int
    last_failed_wal: str | None
    last_failed_time: datetime | None
    stats_reset: datetime | None

    @property
    def failed_at(self) -> datetime | None:
        """When the last attempt was, if it failed."""
        failed, archived = self.last_failed_time, self.last_archived_time
        return None if failed is None or (archived is not None and failed <= archived) else failed


class SummarizerState(NamedTuple):
    """How far the server has summarized its WAL (PostgreSQL 17+); 0/0 when it never did."""

    timeline: int
    summarized_lsn: Lsn  # files in pg_wal/summaries reach up to here
    running: bool


class Session:
    """One connection to one server. Not for several threads. Close it, or use `with`."""

    def __init__(self, connection: Connection, conninfo: str) -> None:
        self._connection = connection
        self._conninfo = conninfo
        self._backup_process: int | None = None  # server process that holds our backup
        self.major = connection.info.server_version // 10000
        self.role = connection.info.user
        self.database = connection.info.dbname

    @classmethod
    def connect(
        cls, conninfo: str, *, database: str | None = None, any_version: bool = False
    ) -> Self:
        """Raise CannotConnect, BadConninfo, or UnsupportedVersion for other majors than ours.

        `any_version` is for those who only run SQL: a dump is taken by PostgreSQL's own programs.
        """
        connection = connect(conninfo, **({} if database is None else {"dbname": database}))
        session = cls(connection, conninfo)
        try:
            session._prepare(any_version=any_version)
        except BaseException:
            connection.close()
            raise
        return session

    def _prepare(self, *, any_version: bool) -> None:
        if self.major not in VERSIONS and not any_version:
            info = self._connection.info
            number = info.server_version
            raise UnsupportedVersion(f"the server at {info.host}:{info.port}", str(number // 10000))
        settings = [f"SET {setting}" for since, setting in _HARDENED if self.major >= since]
        self.query("; ".join(settings).encode(), doing="prepare the session")  # one way there
        self.role = str(self.query("SELECT current_user")[0][0])  # ALTER ROLE ... SET role counts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session, and a backup that it holds with it."""
        self._connection.close()

    def query(
        self,
        statement: LiteralString | bytes,
        *values: object,
        doing: str = "ask the server",
        needs: Privilege | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows.

        Raise MissingPrivilege naming the grant in `needs`, SessionLost (BackupSessionLost while
        a backup runs), or QueryFailed.
        """
        doing = needs.purpose if needs else doing
        try:
            cursor = self._connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description is not None else []
        except psycopg.errors.InsufficientPrivilege as error:
            if needs is None:
                raise self._refused(error, doing) from error
            raise needs.missing(self.role, self.database) from error
        except psycopg.Error as error:
            if not self._connection.closed:
                raise self._refused(error, doing) from error
            why = _first_line(error)
            if self._backup_process is not None:
                raise BackupSessionLost(why) from error
            raise SessionLost(doing, why) from error

    def stream(self, statement: LiteralString, *, doing: str) -> Iterator[tuple[Any, ...]]:
        """Run one statement; yield its rows as they come, however many. Raises as `query`."""
        try:
            with self._connection.cursor() as cursor:
                yield from cursor.stream(statement)
        except psycopg.Error as error:
            if not self._connection.closed:
                raise self._refused(error, doing) from error
            raise SessionLost(doing, _first_line(error)) from error

    def _refused(self, error: psycopg.Error, doing: str) -> QueryFailed:
        return QueryFailed(doing, error.sqlstate or "unknown", _first_line(error))

    def identity(self) -> Identity:
        """Return which cluster this is, and in which state."""
        return Identity(*self.query(facts.IDENTITY)[0])

    def facts(self, *, lists: bool = True) -> ServerFacts:
        """Return what the server tells of itself. Needs pg_read_all_settings.

        Without `lists` those of files, databases, extensions and tablespaces are empty: whoever
        looks each minute has no use for them, and does not have pg_hba.conf read each time.
        """
        identity = self.identity()
        settings: dict[str, str] = dict(self.query(facts.SETTINGS))
        if "data_directory" not in settings:
            raise privileges.READ_SETTINGS.missing(self.role, self.database)
        if not lists:
            return ServerFacts(identity, settings, (), (), (), ())
        databases = self.query(facts.databases_query(self.major))
        return ServerFacts(
            identity=identity,
            settings=settings,
            included_files=self._included_files(),
            databases=tuple(map(facts.database, databases)),
            extensions=self.extensions(),
            tablespaces=self.tablespaces(),
        )

    def tablespaces(self) -> tuple[Tablespace, ...]:
        """Return the tablespaces besides PostgreSQL's own two."""
        return tuple(Tablespace(*row) for row in self.query(facts.TABLESPACES))

    def extensions(self) -> tuple[Extension, ...]:
        """Return the extensions of the connected database."""
        return tuple(Extension(*row) for row in self.query(facts.EXTENSIONS))

    def all_extensions(self, names: Sequence[str]) -> tuple[list[Extension], list[str]]:
        """Connect to each database for its extensions; return also those that let us not in."""
        found, closed = list[Extension](), list[str]()
        for name in names:
            try:
                with connect(self._conninfo, dbname=name) as connection:
                    rows = connection.execute(facts.EXTENSIONS).fetchall()
            except (CannotConnect, psycopg.Error):
                closed.append(name)
            else:
                found += [Extension(*row) for row in rows]
        return found, closed

    def start_backup(self, label: str, *, fast: bool = True) -> BackupStart:
        """Begin a backup that this session holds; blocks until the server's checkpoint is done.

        `fast` checkpoints at once; else it may take minutes and disturbs less.
        """
        start, _ = privileges.backup_functions(self.major)
        # Outside the label file's format, a line end would break it.
        clean = re.sub(r"[\x00-\x1f\x7f]+", " ", label).encode()[:_LABEL_LIMIT]
        call = VERSIONS[self.major].start_call.encode()
        # The process first: should it change afterwards, the backup was lost with it.
        process = self._process()
        rows = self.query(call, clean.decode(errors="ignore"), fast, needs=start)
        self._backup_process = process
        timeline, now = self._timeline_and_clock()
        return BackupStart(Lsn.parse(rows[0][0]), timeline, now)

    def ping(self) -> None:
        """Raise BackupSessionLost unless the server process that holds the backup answers."""
        if self._backup_process is not None and self._process() != self._backup_process:
            raise BackupSessionLost("another server process answers now: there is a pooler between")

    def stop_backup(self) -> BackupStop:
        """End the backup without waiting for the archive. Raise BackupSessionLost, QueryFailed.

        On a primary this ends the WAL segment, so that the last one needed can be archived.
        """
        _, stop = privileges.backup_functions(self.major)
        self.ping()
        call = VERSIONS[self.major].stop_call.encode()
        lsn, label_file, tablespace_map = self.query(call, needs=stop)[0]
        self._backup_process = None
        timeline, now = self._timeline_and_clock()
        return BackupStop(Lsn.parse(lsn), timeline, now, label_file, tablespace_map or "")

    def _process(self) -> int:
        return int(self.query("SELECT pg_backend_pid()", doing="reach the server")[0][0])

    def _timeline_and_clock(self) -> tuple[int, datetime]:
        # Starting made a checkpoint (on a standby: a restartpoint), so the control file is current.
        row = self.query("SELECT (pg_control_checkpoint()).timeline_id, clock_timestamp()")[0]
        return row[0], row[1]

    def switch_wal(self) -> Lsn:
        """End the current WAL segment, if anything is in it; return where it ended."""
        return self._lsn("SELECT pg_switch_wal()", needs=privileges.SWITCH_WAL)

    def create_restore_point(self, name: str) -> Lsn:
        """Write a named restore point (63 bytes at most); return its end in WAL."""
        statement: LiteralString = "SELECT pg_create_restore_point(%s)"
        return self._lsn(statement, name, needs=privileges.RESTORE_POINT)

    def checkpoint(self) -> None:
        """Run a checkpoint now. Needs pg_checkpoint, or a superuser before 15."""
        self.query("CHECKPOINT", needs=privileges.CHECKPOINT)

    def current_lsn(self) -> Lsn:
        """Return how far WAL is written; on a standby, how far it is replayed."""
        return self._lsn(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
            " ELSE pg_current_wal_lsn() END"
        )

    def insert_lsn(self) -> Lsn:
        """Return where the next WAL record will begin; only a primary knows."""
        return self._lsn("SELECT pg_current_wal_insert_lsn()")

    def clock(self) -> datetime:
        """Return the server's time."""
        now: datetime = self.query("SELECT clock_timestamp()")[0][0]
        return now

    def archiver_stats(self) -> ArchiverStats:
        """Return how the server's archiver is doing."""
        return ArchiverStats(*self.query(
            "SELECT archived_count, last_archived_wal, last_archived_time, failed_count,"
            " last_failed_wal, last_failed_time, stats_reset FROM pg_stat_archiver"
        )[0])  # fmt: skip

    def ready_count(self) -> int | None:
        """Return how many WAL files wait for the archive; None when the role may not look."""
        try:
            rows = self.query(
                "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE right(name, 6) = '.ready'",
                needs=privileges.ARCHIVE_STATUS,
            )
        except privileges.MissingPrivilege:
            return None
        return int(rows[0][0])

    def summarizer_state(self) -> SummarizerState:
        """Return how far WAL is summarized. Servers before 17 know nothing of it: QueryFailed."""
        timeline, lsn, running = self.query(
            "SELECT summarized_tli, summarized_lsn::text, summarizer_pid IS NOT NULL"
            " FROM pg_get_wal_summarizer_state()",
            doing="ask how far WAL is summarized",
        )[0]
        return SummarizerState(int(timeline), Lsn.parse(lsn), running)

    def _included_files(self) -> tuple[str, ...]:
        """Return the files that configure the server; only a superuser sees quite all of them."""
        found = [row[0] for row in self.query(facts.SOURCE_FILES)]
        more: list[LiteralString] = [facts.ALL_FILES]
        if self.major >= 16:  # since then these files can include others
            more.append(facts.HBA_FILES)
        for statement in more:
            try:
                found += [row[0] for row in self.query(statement)]
            except QueryFailed as refused:
                if refused.sqlstate != "42501":
                    raise
        return tuple(dict.fromkeys(found))

    def _lsn(
        self, statement: LiteralString, *values: object, needs: Privilege | None = None
    ) -> Lsn:
        return Lsn.parse(self.query(statement, *values, needs=needs)[0][0])


def _first_line(error: psycopg.Error) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
