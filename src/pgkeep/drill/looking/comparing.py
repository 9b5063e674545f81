"""Compares a restored copy with a census: is everything there, and what had rows not empty?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import sql

from pgkeep.drill.finding import Finding
from pgkeep.drill.looking import expected
from pgkeep.drill.looking.copy import Copy
from pgkeep.drill.looking.expected import Expected, Name, Outcome, There
from pgkeep.errors import PgkeepError
from pgkeep.server.session import QueryFailed, Session

_TABLES: Final[LiteralString] = (
    "SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence <> 'u', "
    "c.relispopulated, coalesce(pg_partition_root(c.oid)::oid, 0::oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'f')"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a census expects: one database after the other, for there may be many tables."""

    when: str
    tables: int  # at most
    databases: Iterable[tuple[str, Sequence[Expected]]]


def compare(copy: Copy, wanted: Wanted, may_be_empty: Sequence[str]) -> Finding:
    """Look for every table that a census knows; ask for a row of those that had any."""
    outcome = Outcome()
    copy.progress.phase("comparing with what was there", wanted.tables, "relations")
    for database, tables in wanted.databases:
        outcome.tables += len(tables)
        if database not in copy.databases:
            outcome.problems.append(f"database {database} is not there, or lets nobody in")
            continue
        copy.progress.detail(database)
        try:
            _compare(copy.to(database), (database, tables), outcome, may_be_empty)
        except PgkeepError as error:
            outcome.unread.append(f"{database}: {error}")
        copy.progress.advance(outcome.tables)
    return outcome.finding(wanted.when)


def _compare(
    conninfo: str,
    wanted: tuple[str, Sequence[Expected]],
    outcome: Outcome,
    may_be_empty: Sequence[str],
) -> None:
    database, tables = wanted
    with Session.connect(conninfo) as session:
        there = _tables(session)
        for found in expected.missing(database, tables, there, outcome, may_be_empty):
            try:
                if not _has_row(session, found, list(there.values())):
                    expected.empty(database, found, outcome, may_be_empty)
            except QueryFailed as error:  # a damaged page, say: the others can be asked
                outcome.unread.append(f"{database}: {error}")


def _tables(session: Session) -> dict[Name, There]:
    rows = session.query(_TABLES, doing="list the tables")
    found = (There(oid, Name(schema, name), *rest) for oid, schema, name, *rest in rows)
    return {one.name: one for one in found}


def _has_row(session: Session, found: There, there: Sequence[There]) -> bool:
    for leaf in expected.leaves(found, there):
        name = sql.Identifier(*leaf.name).as_string(None)
        doing = f"read table {leaf.name.schema}.{leaf.name.table}"
        if session.query(f"SELECT EXISTS (SELECT FROM {name})".encode(), doing=doing)[0][0]:  # noqa: S608
            return True
    return False
