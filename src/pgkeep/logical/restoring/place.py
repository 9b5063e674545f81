"""The database that a dump is restored into: it has a name of ours until it is whole."""

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgkeep.errors import PgkeepError
from pgkeep.logical.load.tables import encoded
from pgkeep.logical.load.wire import Refused, Wire
from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.server.connecting import CannotConnect
from pgkeep.server.session import QueryFailed, Session, SessionLost

PREFIX: Final = "pgkeep_restore_"
_NAME_LIMIT: Final = 63  # bytes: NAMEDATALEN - 1
_OTHERS: Final[LiteralString] = """
SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database d
WHERE datname LIKE 'pgkeep\\_restore\\_%%' AND datname <> %s
  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid) ORDER BY 1
"""
_SESSIONS: Final[LiteralString] = """
SELECT format('process %%s of %%s (%%s)', pid, coalesce(usename, '?'),
              coalesce(nullif(application_name, ''), '?'))
FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' ORDER BY pid
"""
_SUBSCRIPTIONS: Final[LiteralString] = """
SELECT subname FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class DatabaseThere(PgkeepError):
    """A database of the wanted name exists: nothing is ever restored into what is there."""

    code = "database-there"
    exit_status = 206

    database: str
    sessions: tuple[str, ...] = ()  # connected to it: only with --replace

    def __str__(self) -> str:
        if self.sessions:
            who = ", ".join(self.sessions[:5])
            return f"cannot replace database {self.database}: it is in use by {who}"
        return f"nothing was restored: there is a database {self.database} already"

    @property
    def hint(self) -> str:
        if self.sessions:
            return "end these sessions, or let --force end them at the moment of the swap"
        return (
            "give another name with -d, or --replace: that restores beside it, swaps the names in "
            "the end and keeps the old one"
        )


@dataclass(frozen=True, slots=True)
class Swapped:
    """What became of a database that was replaced."""

    old: str  # its name now
    dropped: bool = False


class Place:
    """A database in the making. Use as a context manager: unless `finish` ran, it is dropped."""

    def __init__(self, conninfo: str, wanted: str, dump: str) -> None:
        given = conninfo_to_dict(conninfo).get("dbname") or "postgres"
        # A database cannot be renamed from within.
        other = "postgres" if wanted != "postgres" else "template1"
        database = other if given == wanted else str(given)
        self._maintenance = make_conninfo(conninfo, dbname=database)
        self.wanted = wanted
        self.name = f"{PREFIX}{os.urandom(4).hex()}"
        self.conninfo = make_conninfo(conninfo, dbname=self.name)
        self._mark = f"being restored from {dump} by pgkeep since {datetime.now(UTC):%F %T} UTC"
        self._made = False
        self.keep = False  # whatever happens: for somebody to look at

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        if self._made and not self.keep:
            with suppress(CannotConnect, QueryFailed, SessionLost):
                self._drop(self.name)

    def session(self) -> Session:
        """Connect to the database that the user named: for what concerns all databases."""
        return Session.connect(self._maintenance, any_version=True)

    def create(self, options: str) -> None:
        """Make the database; `options` are what follows its name. PUBLIC may not see it yet."""
        with self.session() as session:
            name = sql.Identifier(self.name).as_string(None)
            self._made = True  # a signal after the statement must not leave it
            session.query(f"CREATE DATABASE {name} {options}".encode(), doing="make a database")
            statement = f"COMMENT ON DATABASE {name} IS {sql.Literal(self._mark).as_string(None)}"
            session.query(statement.encode(), doing="mark the database")
            statement = f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC"
            session.query(statement.encode(), doing="hide the database")

    def exists(self) -> bool:
        with self.session() as session:
            rows = session.query("SELECT 1 FROM pg_database WHERE datname = %s", self.wanted)
            return bool(rows)

    def leftovers(self) -> list[tuple[str, str]]:
        """Return databases that restores which were killed have left, and their marks."""
        with self.session() as session:
            return [(row[0], row[1]) for row in session.query(_OTHERS, self.name)]

    def users(self) -> list[str]:
        """Return who is connected to the database of the wanted name."""
        with self.session() as session:
            return [row[0] for row in session.query(_SESSIONS, self.wanted)]

    def restore_visibility(self, statements: Sequence[str], encoding: str, owner: str) -> None:
        """Give the database its own privileges, settings and comment, and everybody's rights."""
        with self.session() as session:
            name = sql.Identifier(self.name).as_string(None)
            opened = f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO PUBLIC".encode()
            unmarked = f"COMMENT ON DATABASE {name} IS NULL".encode()
            for statement in (opened, unmarked):
                session.query(statement, doing="open the database")
        own = [f"ALTER DATABASE {name} OWNER TO {always_quoted(owner)}"] if owner else []
        try:
            with closing(Wire.open(self._maintenance, encoding)) as wire:
                for text in (*own, *statements):
                    wire.run(encoded(text))
        except Refused as no:
            raise QueryFailed("give the database its settings", no.sqlstate, no.why) from no

    def finish(self) -> None:
        """Give it the wanted name: from now on it is there. Raise DatabaseThere, QueryFailed."""
        with self.session() as session:
            self._rename(session, self.name, self.wanted)
        self._made = False

    def swap(self, *, force: bool, drop_old: bool) -> Swapped:
        """Give it the wanted name, and the one that has it another: in one transaction, or not."""
        old = _aside(self.wanted, self.name.removeprefix(PREFIX))
        with self.session() as session:
            if force:
                session.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = %s AND pid <> pg_backend_pid()",
                    self.wanted,
                    doing="end the sessions of the old database",
                )
            # Whoever dies between the two leaves the old one under its name.
            session.query("BEGIN", doing="begin to swap")
            self._rename(session, self.wanted, old)
            self._rename(session, self.name, self.wanted)
            session.query("COMMIT", doing="swap the databases")
        self._made = False
        if drop_old:
            self._drop(old)
        return Swapped(old, drop_old)

    def _rename(self, session: Session, name: str, to: str) -> None:
        words = (sql.Identifier(one).as_string(None) for one in (name, to))
        statement = "ALTER DATABASE {} RENAME TO {}".format(*words)
        try:
            session.query(statement.encode(), doing=f"rename database {name}")
        except QueryFailed as refused:
            if refused.sqlstate == "42P04":  # duplicate_database: somebody was quicker
                raise DatabaseThere(to) from refused
            if refused.sqlstate == "55006":  # object_in_use
                raise DatabaseThere(name, tuple(self.users()) or ("somebody",)) from refused
            raise

    def _drop(self, name: str) -> None:
        """Drop a database with whatever is in it. A subscription would hold it."""
        with suppress(CannotConnect, QueryFailed, SessionLost):
            where = make_conninfo(self._maintenance, dbname=name)
            with Session.connect(where, any_version=True) as inside:
                for (found,) in inside.query(_SUBSCRIPTIONS):
                    _drop_subscription(inside, found)
        with self.session() as session:
            forced = " WITH (FORCE)" if session.major >= 13 else ""
            words = sql.Identifier(name).as_string(None)
            session.query(f"DROP DATABASE IF EXISTS {words}{forced}".encode(), doing=f"drop {name}")


def _drop_subscription(session: Session, name: Any) -> None:
    words = sql.Identifier(str(name)).as_string(None)
    for statement in (
        f"ALTER SUBSCRIPTION {words} DISABLE",
        f"ALTER SUBSCRIPTION {words} SET (slot_name = NONE)",
        f"DROP SUBSCRIPTION {words}",
    ):
        session.query(statement.encode(), doing="drop a subscription that was restored")


def _aside(name: str, chance: str) -> str:
    """Return 'shop_before_1a2b3c4d', cut to what a name may have."""
    end = f"_before_{chance}"
    room = _NAME_LIMIT - len(end)
    return name.encode()[:room].decode(errors="ignore") + end
