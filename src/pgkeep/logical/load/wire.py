"""A worker's connection to the server: whatever it waits for, it can be stopped.

The bytes of names, rows and messages are the dump's own encoding, and psycopg knows fewer encodings
than PostgreSQL: so this goes past its cursors, to libpq. libpq hides an error during COPY until the
end of the data (fe-protocol3.c: pqParseInput3), hence the look at the socket.
"""

import os
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from pgkeep.logical.encodings import readable
from pgkeep.logical.load.tables import literal
from pgkeep.server.connecting import Connection, connect
from pgkeep.units import KIB, MIB

_CANCEL_S: Final = 2.0
_MESSAGE: Final = 32 * KIB  # the server reads a message whole before it looks at the first row
_SOCKET_BUFFER: Final = MIB  # the usual 208 KiB make both sides wait for each other too often
# Blocks. libpq goes on as if all were well when it cannot send (fe-misc.c: write_failed).
_LOOK_AFTER: Final = 8
_NAP_MS: Final = 200  # how long a wait goes on before it asks whether to stop
_ENDED: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY)
_LOST: Final = "08006"  # connection_failure, for what has no SQLSTATE
_CANCELED: Final = "57014"  # query_canceled
_EVENTS: Final = select.POLLIN | select.POLLOUT
_PEEK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT
_ERROR: Final = (b"", b"E")  # the server is gone, or sends an ErrorResponse

# No setting of the database, the role or the server may change, stop or delay what is loaded.
_SETTINGS: Final[tuple[tuple[int, str], ...]] = (
    (0, "SET lock_timeout = 0"),
    (0, "SET idle_in_transaction_session_timeout = 0"),
    (14, "SET idle_session_timeout = 0"),
    (17, "SET transaction_timeout = 0"),
    (0, "SELECT pg_catalog.set_config('search_path', '', false)"),
    (0, "SET default_transaction_read_only = off"),
    (0, "SET default_transaction_isolation = 'read committed'"),
    (0, "SET standard_conforming_strings = on"),
    (0, "SET row_security = off"),
    (0, "SET DateStyle = 'ISO'"),
    (0, "SET IntervalStyle = 'postgres'"),  # as pg_dump writes intervals
    (0, "SET array_nulls = on"),
    (0, "SET xmloption = content"),
    (0, "SET client_min_messages = error"),
    # Until the database gets its name nobody relies on it, and the restore ends with a commit that
    # waits for all WAL before it.
    (0, "SET synchronous_commit = off"),
)
# Welcome where they can be had: English messages, and a server that notices that we are gone.
_WISHES: Final[tuple[tuple[int, str], ...]] = (
    (0, "SET lc_messages = 'C'"),
    (14, "SET client_connection_check_interval = '2s'"),
)
NO_TRIGGERS: Final = "SET session_replication_role = replica"


class Stopped(Exception):
    """The owner of the work has given it up."""


class Refused(Exception):
    """The server did not do it, or is gone."""

    def __init__(
        self, sqlstate: str, why: str, context: str = "", detail: str = "", start: int = 0
    ) -> None:
        super().__init__(why)
        self.sqlstate: Final = sqlstate
        self.why: Final = f"{why}: {detail}" if detail else why
        self.context: Final = context
        self.start: Final = start  # where the data began that the context counts lines of
        self._without_detail: Final = why

    def without_values(self, start: int) -> "Refused":
        """Return it without what it quotes of rows, but for what the server's first words do."""
        place = self.context.partition(": ")[0]
        return Refused(self.sqlstate, self._without_detail, place, start=start)

    @property
    def lost(self) -> bool:
        return self.sqlstate[:2] in {"08", "57"}


class Answer(NamedTuple):
    """What a statement gave."""

    rows: list[tuple[bytes | None, ...]]
    rowcount: int  # in its command tag
    total: int = 0  # of all statements' command tags


class Wire:
    """One connection, for one thread. Close it."""

    def __init__(self, connection: Connection, encoding: str, stopped: Callable[[], bool]) -> None:
        self._connection = connection
        self._pgconn: PGconn = connection.pgconn
        self._encoding = encoding
        self._stopped = stopped
        # A descriptor of its own: closing it must not close libpq's.
        self._socket = socket.socket(fileno=os.dup(self._pgconn.socket))
        if self._socket.family == socket.AF_UNIX:  # over TCP the kernel finds a size by itself
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._plain = not self._pgconn.ssl_in_use
        self.major = connection.info.server_version // 10000

    @classmethod
    def open(
        cls, conninfo: str, encoding: str, stopped: Callable[[], bool] = lambda: False
    ) -> "Wire":
        """Connect and prepare. Raise CannotConnect, BadConninfo, or Refused."""
        wire = cls(connect(conninfo), encoding, stopped)
        try:
            wire._prepare()
        except BaseException:
            wire.close()
            raise
        return wire

    def _prepare(self) -> None:
        lines = [statement for since, statement in _SETTINGS if self.major >= since]
        if self._encoding:
            lines.append(f"SET client_encoding = {literal(self._encoding)}")
        self._without_timeout("; ".join(lines).encode())
        for since, statement in _WISHES:
            if self.major >= since:
                self.wish(statement)

    def _without_timeout(self, statements: bytes) -> None:
        """Run them with statement_timeout off, however short the database's own is.

        A timeout that strikes while it is switched off cancels the statement after it, as if
        somebody had asked for that (postgres.c: ProcessInterrupts).
        """
        for last in (False, False, False, True):
            try:
                self.run(b"SET statement_timeout = 0")
                self.run(statements)
            except Refused as no:
                if last or no.sqlstate != _CANCELED:
                    raise
            else:
                return

    def wish(self, statement: str) -> None:
        """Run a statement that the server may refuse."""
        try:
            self.run(statement.encode())
        except Refused as no:
            if no.lost:
                raise

    def close(self) -> None:
        """End the session; a statement that still runs is cancelled."""
        if self._pgconn.status == ConnStatus.OK and self._running:
            with suppress(psycopg.Error):  # the server notices that we are gone
                self._connection.cancel_safe(timeout=_CANCEL_S)
        self._socket.close()
        self._connection.close()

    @property
    def _running(self) -> bool:
        return self._connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE

    def run(self, statements: bytes) -> Answer:
        """Run statements, in one transaction if there are several; return what the last one gave.

        Raise Refused, or Stopped.
        """
        with _told():
            self._pgconn.send_query(statements)
        return self._answers()

    def ask(self, statement: bytes, values: Sequence[bytes | None], types: Sequence[int]) -> Answer:
        """Run one statement with binary values. Raise Refused, or Stopped."""
        with _told():
            self._pgconn.send_query_params(
                statement, list(values), param_types=list(types),
                param_formats=[Format.BINARY] * len(values),
            )  # fmt: skip
        return self._answers()

    def copy(self, statements: bytes, blocks: Iterable[bytes | memoryview]) -> int:
        """Run statements of which one, a COPY, reads `blocks`; return how many rows it took.

        Raise Refused, Stopped, or what `blocks` raises: the connection is of no use then.
        """
        with _told():
            self._pgconn.send_query(statements)
            self._flush()
        while (result := self._next()).status != ExecStatus.COPY_IN:
            self._check(result)
        try:
            for number, block in enumerate(blocks, 1):
                self._put(memoryview(block))
                # The error itself is read below; the rest of the data would be sent in vain.
                if not self._flush() or (not number % _LOOK_AFTER and self._failing()):
                    break
            self._pgconn.put_copy_end()
        except psycopg.Error as error:
            raise self._last_words(error) from error
        return self._answers(first=True).rowcount

    def _last_words(self, error: psycopg.Error) -> Refused:
        """Return what the server said before it was gone, or libpq's own words."""
        with suppress(psycopg.Error):
            while (result := self._pgconn.get_result()) is not None:
                if result.status == ExecStatus.FATAL_ERROR:
                    return self._refused(result)
                if result.status == ExecStatus.COPY_IN:
                    break
        return _gone(error)

    def _put(self, block: memoryview) -> None:
        for start in range(0, len(block), _MESSAGE):
            self._pgconn.put_copy_data(block[start : start + _MESSAGE])

    def _answers(self, *, first: bool = False) -> Answer:
        """Read to the end; return the last answer, or the first."""
        with _told():
            self._flush()
        found: Answer | None = None
        total = 0
        failed: Refused | None = None
        while (result := self._result()) is not None:
            if result.status in _ENDED:
                total += result.command_tuples or 0
                if found is None or not first:
                    found = _answer(result)
            elif failed is None:
                failed = self._refused(result)
        if failed is not None:
            raise failed
        assert found is not None
        return found._replace(total=total)

    def _next(self) -> PGresult:
        result = self._result()
        if result is None:
            raise Refused(_LOST, "the server did not ask for the rows")
        return result

    def _check(self, result: PGresult) -> None:
        if result.status not in _ENDED:
            failed = self._refused(result)
            while self._result() is not None:
                pass
            raise failed

    def _result(self) -> PGresult | None:
        with _told():
            while self._pgconn.is_busy():
                self._wait(select.POLLIN)
                self._pgconn.consume_input()
            return self._pgconn.get_result()

    def _flush(self) -> bool:
        """Send what is waiting. Return False when the server reports an error meanwhile."""
        fine = True
        while self._pgconn.flush() == 1:
            self._wait(_EVENTS)
            fine = fine and not self._failing()
        return fine

    def _failing(self) -> bool:
        """Look whether an error is coming in. With TLS only the end of the connection shows."""
        try:
            seen = self._socket.recv(1, _PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return seen in _ERROR if self._plain else seen == b""

    def _wait(self, events: int) -> None:
        # poll() gives other threads the interpreter: one of them watches over our parent.
        poller = select.poll()
        poller.register(self._socket, events)
        while not poller.poll(_NAP_MS):
            if self._stopped():
                raise Stopped
        if self._stopped():
            raise Stopped

    def _refused(self, result: PGresult) -> Refused:
        def field(name: DiagnosticField) -> str:
            return self._text(result.error_field(name) or b"")

        why = field(DiagnosticField.MESSAGE_PRIMARY)
        if not why:  # libpq's own words: the connection is gone
            return _gone(psycopg.OperationalError(self._text(result.error_message or b"")))
        detail = field(DiagnosticField.MESSAGE_DETAIL)
        context = field(DiagnosticField.CONTEXT).splitlines()
        state, words = field(DiagnosticField.SQLSTATE), f"the server says: {why}"
        return Refused(state, words, context[0] if context else "", detail)

    def _text(self, raw: bytes) -> str:
        return readable(raw.decode("utf-8", "surrogateescape"), self._encoding)


@contextmanager
def _told() -> Iterator[None]:
    """Translate libpq's errors."""
    try:
        yield
    except psycopg.Error as error:
        raise _gone(error) from error


def _gone(error: psycopg.Error) -> Refused:
    lines = str(error).strip().splitlines()
    return Refused(_LOST, lines[0] if lines else "the connection was lost")


def _answer(result: PGresult) -> Answer:
    columns = range(result.nfields)
    rows = [
        tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)
    ]
    return Answer(rows, result.command_tuples or 0)
