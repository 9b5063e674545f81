"""Compares a restored copy with a census: is everything there, and what had rows not empty?"""

from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg import sql

from pgkeep.drill import expected
from pgkeep.drill.copy import Copy
from pgkeep.drill.expected import Name, Outcome, There, Wanted
from pgkeep.drill.finding import Finding
from pgkeep.errors import PgkeepError
from pgkeep.server.session import QueryFailed, Session

_TABLES: Final[LiteralString] = (
    "SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence <> 'u', "
    "c.relispopulated, coalesce(pg_partition_root(c.oid)::oid, 0::oid) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'f')"
)


def compare(copy: Copy, wanted: Wanted, when: str, may_be_empty: Sequence[str]) -> Finding:
    """Look for every table that a census knows; ask for a row of those that had any."""
    outcome, done = Outcome(), 0
    copy.progress.phase("comparing with what was there", wanted.tables, "tables")
    for database, tables in wanted.databases.items():
        if database not in copy.databases:
            outcome.problems.append(f"database {database} is not there, or lets nobody in")
            continue
        copy.progress.detail(database)
        try:
            with Session.connect(copy.to(database)) as session:
                there = _tables(session)
                asked = expected.missing(database, tables, there, outcome, may_be_empty)
                for found in asked:
                    try:
                        if not _has_row(session, found, list(there.values())):
                            expected.empty(database, found, outcome, may_be_empty)
                    except QueryFailed as error:  # a damaged page, say: the others can be asked
                        outcome.unread.append(f"{database}: {error}")
        except PgkeepError as error:
            outcome.unread.append(f"{database}: {error}")
        done += len(tables)
        copy.progress.advance(done)
    return outcome.finding(wanted, when)


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
