"""Sessions that hold a snapshot while pg_dump and its workers read under it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple, Self

from pgkeep.server.connecting import CannotConnect
from pgkeep.server.session import Session

AT_ONCE: Final = 32  # sessions held open before the first dump begins
_COPY_PROGRESS_SINCE: Final = 14
_COPYING: Final[LiteralString] = """
SELECT relid::regclass::text FROM pg_stat_progress_copy
WHERE datname = current_database() AND command = 'COPY TO' AND relid <> 0 ORDER BY pid
"""
# Repeatable read: the exported snapshot is that of the first statement, and stays.
_BEGIN: Final[LiteralString] = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# 'latest' in recovery: how far the standby had replayed when the snapshot was taken.
_EXPORT: Final[LiteralString] = """
SELECT pg_export_snapshot(), clock_timestamp(),
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
             ELSE pg_current_wal_insert_lsn() END)::text,
       pg_is_in_recovery()
"""


class Exported(NamedTuple):
    """What pg_dump is to see."""

    name: str  # for pg_dump --snapshot
    at: datetime  # by the server's clock
    lsn: str
    standby: bool


class Snapshot:
    """One database as it was at one moment. Close it, or use `with`: until then VACUUM waits."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Such a database keeps bytes of any encoding: they come as they are, and not as UTF-8.
        self._raw = session.query("SHOW server_encoding")[0][0] == "SQL_ASCII"
        if self._raw:
            session.query("SET client_encoding = 'LATIN1'")
        session.query(_BEGIN, doing="begin a snapshot")
        self.exported = Exported(*session.query(_EXPORT, doing="export a snapshot")[0])
        self.database = session.database
        self.role = session.role
        self.major = session.major

    @classmethod
    def take(cls, conninfo: str, database: str) -> Self:
        session = Session.connect(conninfo, database=database, any_version=True)
        try:
            return cls(session)
        except BaseException:
            session.close()
            raise

    def query(self, statement: LiteralString, *values: object, doing: str) -> list[tuple[Any, ...]]:
        """Ask under the snapshot."""
        return [self._row(row) for row in self._session.query(statement, *values, doing=doing)]

    def stream(self, statement: LiteralString, *, doing: str) -> Iterator[tuple[Any, ...]]:
        """Ask for more rows than should be in memory."""
        return map(self._row, self._session.stream(statement, doing=doing))

    def _row(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a row with texts as archives have them: UTF-8, or surrogates for what is none."""
        if not self._raw:
            return row
        return tuple(
            value.encode("latin-1").decode("utf-8", "surrogateescape")
            if isinstance(value, str)
            else value
            for value in row
        )

    def copying(self) -> list[str]:
        """Return the tables that are being read in this database; nothing before 14."""
        if self.major < _COPY_PROGRESS_SINCE:
            return []
        doing = "ask what is being read"
        # What others do is remembered until the transaction ends, and ours is a long one.
        self._session.query("SELECT pg_stat_clear_snapshot()", doing=doing)
        return [str(row[0]) for row in self.query(_COPYING, doing=doing)]

    def close(self) -> None:
        self._session.close()


class Refused(NamedTuple):
    """A database that could not be connected to."""

    database: str
    error: CannotConnect


@contextmanager
def take_all(conninfo: str, databases: Sequence[str]) -> Iterator[Iterator[Snapshot | Refused]]:
    """Give the snapshots of all databases, in their order, each to be closed by its user.

    PostgreSQL has no snapshot across databases. So they are taken as close together as possible:
    all before the first one is used, unless there are very many.
    """
    with ExitStack() as stack:

        def take(database: str) -> Snapshot | Refused:
            try:
                snapshot = Snapshot.take(conninfo, database)
            except CannotConnect as error:
                return Refused(database, error)
            stack.callback(snapshot.close)
            return snapshot

        held = [take(database) for database in databases] if len(databases) <= AT_ONCE else None
        yield iter(held) if held is not None else map(take, databases)
