"""Runs pg_dump and pg_dumpall, and says in our words why they failed."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, LiteralString, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.server.client_programs import Connecting, failed, run_program
from pgkeep.server.client_tools import ClientTools
from pgkeep.server.connecting import CannotConnect
from pgkeep.server.session import QueryFailed, Session, SessionLost
from pgkeep.units import format_duration

_SHOWN: Final = 5  # tables in an error's message
_TIMED_OUT: Final = re.compile(r"lock timeout|statement timeout.*LOCK TABLE", re.DOTALL)
_NOT_AT_ONCE: Final = re.compile(r'could not obtain lock on relation "([^"]+)"')
_LOST: Final = re.compile(
    r"server closed the connection unexpectedly|connection to server .* failed"
    r"|terminating connection|SSL SYSCALL error|could not receive data from server"
)
# Whoever keeps pg_dump from its ACCESS SHARE locks; sessions that only wait are none.
_HOLDERS: Final[LiteralString] = """
SELECT n.nspname || '.' || c.relname, l.pid, coalesce(a.usename, '?'),
       coalesce(nullif(a.application_name, ''), '?'), coalesce(a.state, '?')
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND c.relkind IN ('r', 'p')
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""


class TablesLocked(PgkeepError):
    """Tables stayed locked by others for longer than a dump waits."""

    code = "tables-locked"
    exit_status = 247

    database: str
    waited_s: float
    tables: tuple[str, ...]
    holders: tuple[str, ...]  # 'process 4711 of ann (psql, idle in transaction)'

    def __str__(self) -> str:
        more = f" and {len(self.tables) - _SHOWN} more" if len(self.tables) > _SHOWN else ""
        names = ", ".join(self.tables[:_SHOWN]) + more
        by = f" by {', '.join(self.holders[:_SHOWN])}" if self.holders else ""
        return (
            f"no dump was made: after {format_duration(self.waited_s)} "
            f"{names or 'a table'} of database {self.database} was still locked{by}"
        )

    @property
    def hint(self) -> str:
        return (
            "nothing of ours holds a lock any more; run it again when the other has ended, or give "
            "it longer with --lock-wait"
        )


class DumpConnectionLost(PgkeepError):
    """The server, or the way to it, was lost in the middle of a dump."""

    code = "dump-connection-lost"
    exit_status = 248

    database: str
    why: str

    def __str__(self) -> str:
        return (
            f"no dump was made: the connection was lost while database {self.database} was read: "
            f"{self.why}"
        )

    @property
    def hint(self) -> str:
        return "older dumps are whole; see that the server runs, and run it again"


class Running(NamedTuple):
    """A pg_dump at work, the leader of a process group of its own."""

    process: subprocess.Popen[bytes]
    argv: Sequence[str]
    messages: Path  # what it says on stderr

    def said(self) -> str:
        return self.messages.read_text(errors="replace").strip()


def start_dump(
    tools: ClientTools, words: Sequence[str], connecting: Connecting, directory: Path
) -> Running:
    """Start pg_dump into `directory`, which it makes; its messages go to a file beside it."""
    argv = [
        tools.tool("pg_dump"),
        *words,
        f"--file={directory}",
        f"--dbname={connecting.conninfo}",
    ]
    messages = directory.with_suffix(".messages")
    with messages.open("wb") as stderr:
        process = subprocess.Popen(
            argv,
            env=dict(connecting.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            process_group=0,
        )
    return Running(process, argv, messages)


def demand_success(running: Running, conninfo: str, database: str, lock_wait_s: float) -> None:
    """Raise what went wrong, in words that name tables and who locks them, unless it ended well."""
    status = running.process.returncode
    if status == 0:
        return
    said = running.said()
    at_once = _NOT_AT_ONCE.search(said)
    if at_once or _TIMED_OUT.search(said):
        tables, holders = _holders(conninfo, database)
        named = (at_once[1],) if at_once else ()
        raise TablesLocked(database, lock_wait_s, named or tables, holders)
    if _LOST.search(said):
        raise DumpConnectionLost(database, " ".join(said.splitlines()[-1].split()))
    raise failed(f"dump database {database}", running.argv, status, said)


def dump_globals(tools: ClientTools, connecting: Connecting, *, passwords: bool) -> bytes:
    """Return roles, memberships and tablespaces as pg_dumpall writes them."""
    argv = [
        tools.tool("pg_dumpall"),
        "--globals-only",
        "--no-password",
        "--quote-all-identifiers",
        *([] if passwords else ["--no-role-passwords"]),
        f"--dbname={connecting.conninfo}",
    ]
    doing = "dump roles and tablespaces"
    content, _ = run_program(doing, argv, environment=connecting.environment)
    return content


def _holders(conninfo: str, database: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tables that are locked, and by whom; nothing where nobody can be asked."""
    try:
        with Session.connect(conninfo, database=database, any_version=True) as session:
            rows = session.query(_HOLDERS, doing="ask who holds locks")
    except (CannotConnect, QueryFailed, SessionLost):
        return (), ()
    tables = tuple(dict.fromkeys(row[0] for row in rows))
    holders = dict.fromkeys(f"process {p} of {u} ({app}, {state})" for _, p, u, app, state in rows)
    return tables, tuple(holders)
