"""As whom, and to which database, one connects to a server of which nothing is known.

And what its databases expect of the machine that it came to.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from pgkeep.sandbox.request import SandboxFailed
from pgkeep.server.connecting import CannotConnect, DatabaseMissing
from pgkeep.server.session import Session

_DATABASES: Final = ("postgres", "template1")  # the second cannot be dropped


class Login(NamedTuple):
    """A superuser, and a database that is there."""

    role: str
    database: str


def find_login(connect: Callable[[Login], Session], candidates: Iterable[str]) -> Login:
    """Return a superuser who may log in: a candidate, or one of whom a candidate knows.

    Everybody who reaches the socket is believed, but only roles that exist. Raise SandboxFailed.
    """
    tried = list(dict.fromkeys(filter(None, candidates)))
    why = ""
    for role in tried:
        for database in _DATABASES:
            try:
                with connect(Login(role, database)) as session:
                    found = session.query(
                        "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin"
                        " ORDER BY rolname <> current_user, oid LIMIT 1"
                    )
            except DatabaseMissing:
                continue
            except CannotConnect as error:
                why = str(error)
                break
            if found:
                return Login(found[0][0], database)
            why = "none of its superusers may log in"
    names = ", ".join(tried)
    raise SandboxFailed(f"no superuser was found in it, tried {names}: {why}")


def collation_notes(session: Session) -> list[str]:
    """Say which databases sort by another version of a library than at their source.

    Their indexes on text may then look broken, or find nothing, without being so at the source.
    """
    if session.major < 15:
        return []  # not on record there
    rows = session.query(
        "SELECT datname, datcollversion, coalesce(v, 'none') FROM pg_catalog.pg_database,"
        " pg_catalog.pg_database_collation_actual_version(oid) v"
        " WHERE datallowconn AND datcollversion IS NOT NULL AND datcollversion IS DISTINCT FROM v"
        " ORDER BY datname"
    )
    return [
        f"database {name} was sorted by version {recorded} of its collation and is by {here} here: "
        "indexes on text may look broken"
        for name, recorded, here in rows
    ]
