"""Whether every database of a restored copy lets a session in."""

from collections.abc import Collection
from typing import Final, LiteralString, NamedTuple

from psycopg.conninfo import make_conninfo

from pgkeep.drill.finding import Finding, failed, passed
from pgkeep.errors import PgkeepError
from pgkeep.server.session import Session

# datconnlimit -2: DROP DATABASE was interrupted, and PostgreSQL itself lets nobody in any more.
_DATABASES: Final[LiteralString] = (
    "SELECT datname, datconnlimit = -2 FROM pg_database WHERE datallowconn ORDER BY datname"
)
_SIZE: Final[LiteralString] = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"


class Seen(NamedTuple):
    """What a server says of itself."""

    databases: tuple[str, ...] = ()
    size: int = 0


def look(conninfo: str, only: Collection[str] = ()) -> tuple[Finding, Seen]:
    """Connect to every database that takes connections, and read from its catalog.

    `only` names those that are meant, where there are others besides.
    """
    try:
        with Session.connect(conninfo) as session:
            rows = session.query(_DATABASES, doing="list the databases")
            size = int(session.query(_SIZE, doing="measure the databases")[0][0])
    except PgkeepError as error:
        return failed("the server lets nobody in", [str(error)]), Seen()
    rows = [row for row in rows if not only or row[0] in only]
    good: list[str] = []
    bad: list[str] = []
    for name in (name for name, invalid in rows if not invalid):
        try:
            with Session.connect(make_conninfo(conninfo, dbname=name)) as session:
                session.query("SELECT count(*) FROM pg_class", doing=f"read database {name}")
            good.append(name)
        except PgkeepError as error:
            bad.append(f"{name}: {error}")
    seen = Seen(tuple(good), size)
    if bad:
        many = f"{len(bad)} of {len(bad) + len(good)} databases let nobody in"
        return failed(many, bad), seen
    invalid = [name for name, invalid in rows if invalid]
    rest = f"; dropped half-way before: {', '.join(invalid)}" if invalid else ""
    return passed(f"every database lets a session in: {', '.join(good)}{rest}"), seen
