"""One of the two servers of an undo: the recovered copy, or the live one.

COPY is always text. Binary COPY would carry the numbers of types in arrays and composites, which
differ when a type had to be made anew, and spares little: most of the time goes into indexes.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from pgkeep.server.connecting import CannotConnect, Connection, connect
from pgkeep.undo.errors import CannotUndo

# No setting of the role, the database or the server may change what is read and written. That a
# live server is read-only is respected: somebody wants it so.
_SETTINGS: Final[tuple[tuple[int, str], ...]] = (
    (0, "SET statement_timeout = 0"),
    (0, "SET idle_in_transaction_session_timeout = 0"),
    (14, "SET idle_session_timeout = 0"),
    (17, "SET transaction_timeout = 0"),
    (0, "SELECT pg_catalog.set_config('search_path', '', false)"),
    (0, "SET standard_conforming_strings = on"),
    (0, "SET row_security = off"),  # rows that are hidden make it fail instead of missing silently
    (0, "SET DateStyle = 'ISO'"),
    (0, "SET IntervalStyle = 'postgres'"),
    (0, "SET TimeZone = 'UTC'"),
    (0, "SET bytea_output = 'hex'"),
    (0, "SET xmloption = content"),
    (0, "SET check_function_bodies = off"),  # as pg_dump: bodies may name what comes later
    (0, "SET client_min_messages = error"),
    (0, "SET client_encoding = 'UTF8'"),
)
# psycopg writes into its log what it also raises: nobody is to read it twice.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
_BLOCK: Final = 1 << 18  # bytes that are handed on at once

_HINTS: Final = {
    "53100": "make room on the disk of the server that says so, and run this again",
    "25006": "the live server takes no changes: undo on the primary, and look whether "
    "default_transaction_read_only is on",
    "55P03": "somebody else holds the table: see pg_stat_activity, or give --lock-timeout more",
    "42501": "connect as the table's owner or a superuser: conninfo in pgkeep.toml",
    "23503": "rows that these refer to are gone as well: bring them back first",
    "57014": "a timeout or an administrator ended it: run it again",
}


class Refused(CannotUndo):
    """A server refused a statement of an undo. Its transaction was rolled back."""

    code = "undo-refused"

    sqlstate: str = ""

    @property
    def hint(self) -> str:
        return self.advice or _HINTS.get(self.sqlstate, "")


class ConnectionBroke(CannotUndo):
    """The connection to a server was lost in the middle of an undo."""

    code = "undo-connection-lost"

    @property
    def hint(self) -> str:
        return self.advice or "look into the server's log, and run this again"


class Side:
    """One connection; not for several threads. Close it, or use `with`."""

    def __init__(self, connection: Connection, conninfo: str, title: str) -> None:
        self._connection = connection
        self.conninfo = conninfo
        self.title = title  # 'the live server'
        self.major = connection.info.server_version // 10000
        self.database = connection.info.dbname

    @classmethod
    def open(cls, conninfo: str, title: str, database: str | None = None) -> Self:
        """Connect. Raise CannotConnect, BadConninfo or Refused."""
        connection = connect(conninfo, **({} if database is None else {"dbname": database}))
        side = cls(connection, conninfo, title)
        try:
            for since, statement in _SETTINGS:
                if side.major >= since:
                    side.run(statement, doing="prepare the session")
        except BaseException:
            connection.close()
            raise
        return side

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
        """End the session; what it had begun is rolled back."""
        self._connection.close()

    @property
    def lost(self) -> bool:
        return self._connection.closed

    def run(self, statement: str, *values: object, doing: str = "") -> list[tuple[Any, ...]]:
        """Run one statement, or several without values; return the rows of the last."""
        with self._told(doing):
            cursor = self._connection.execute(_bytes(statement), values or None)
            return cursor.fetchall() if cursor.description is not None else []

    def change(self, statement: str, *values: object, doing: str = "") -> int:
        """Run one statement; return how many rows it wrote."""
        with self._told(doing):
            return self._connection.execute(_bytes(statement), values or None).rowcount

    def value(self, statement: str, *values: object, doing: str = "") -> Any:
        """Return the first column of the first row."""
        return self.run(statement, *values, doing=doing)[0][0]

    def single(self, statement: str, *, doing: str = "") -> Any:
        """Return the first value of what must be one statement: users' own words are in it."""
        with self._told(doing):
            # The extended protocol, which psycopg takes for binary answers, allows no second one.
            rows = self._connection.execute(_bytes(statement), binary=True).fetchone()
            return rows[0] if rows else None

    def copy_out(self, query: str, encoding: str, doing: str = "") -> Iterator[bytes]:
        """Yield the rows of a query (or a table) as COPY writes them, in blocks."""
        statement = f"COPY {query} TO STDOUT (ENCODING '{encoding}')"
        with (
            self._told(doing),
            self._connection.cursor() as cursor,
            cursor.copy(_bytes(statement)) as copy,
        ):
            pending = bytearray()
            while piece := copy.read():
                pending += piece
                if len(pending) >= _BLOCK:
                    yield bytes(pending)
                    pending.clear()
            if pending:
                yield bytes(pending)

    def copy_in(self, target: str, encoding: str, blocks: Iterable[bytes], doing: str = "") -> int:
        """Write rows as COPY wrote them; return how many it took.

        What `blocks` raises goes through: COPY is ended, and with it the transaction.
        """
        statement = f"COPY {target} FROM STDIN (ENCODING '{encoding}')"
        with self._told(doing), self._connection.cursor() as cursor:
            with cursor.copy(_bytes(statement)) as copy:
                for block in blocks:
                    copy.write(block)
            return cursor.rowcount

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part of a transaction that may fail alone: then Refused, and the rest goes on."""
        self.run("SAVEPOINT pgkeep_attempt")
        try:
            yield
        except Refused:
            self.run("ROLLBACK TO SAVEPOINT pgkeep_attempt")
            self.run("RELEASE SAVEPOINT pgkeep_attempt")
            raise
        self.run("RELEASE SAVEPOINT pgkeep_attempt")

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            what = doing or "ask the server"
            if self._connection.closed:
                raise ConnectionBroke(
                    what, f"the connection to {self.title} was lost: {_words(error)}"
                ) from error
            raise Refused(
                what, f"{self.title} says: {_words(error)}", sqlstate=error.sqlstate or ""
            ) from error


def reachable(conninfo: str, title: str, database: str) -> Side | None:
    """Connect again after a loss; None where nobody answers."""
    try:
        return Side.open(conninfo, title, database)
    except (CannotConnect, CannotUndo):
        return None


def _bytes(statement: str) -> bytes:
    return statement.encode("utf-8", "surrogateescape")


def _words(error: psycopg.Error) -> str:
    """Return the server's message and its detail, on one line."""
    primary, detail = error.diag.message_primary, error.diag.message_detail
    if primary:
        return f"{primary} ({detail.rstrip('.')})" if detail else primary
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
