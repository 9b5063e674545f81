"""Which databases a restore brings back, and which become empty shells. Pure.

The server needs every database's directory, with files of the sizes that WAL speaks of. Of those
that nobody asked for it gets just that, without content: to be dropped, not to be used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from pgkeep.errors import PgkeepError

FIRST_NORMAL_OID: Final = 16384  # transam.h, FirstNormalObjectId: template1, postgres are below
# All else is zeros, pg_filenode.map too: without it connecting is refused. With it the server would
# find its catalogs empty and PANIC (relcache.c, load_critical_index), for all databases.
_REAL: Final = frozenset({"PG_VERSION"})
_INSIDE: Final = re.compile(r"(?:base|pg_tblspc/[0-9]+/PG_[0-9.]+_[0-9]+)/([0-9]+)/([^/]+)")


class UnknownDatabase(PgkeepError):
    """A database that was to be restored is not in the backup."""

    code = "unknown-database"
    exit_status = 242

    name: str
    backup: str
    near: tuple[str, ...]  # names that look alike; else some that there are

    def __str__(self) -> str:
        return (
            f"cannot restore database {self.name!r} alone: backup {self.backup} has none of that "
            "name; nothing was written"
        )

    @property
    def hint(self) -> str:
        there = ", ".join(self.near) or "none but PostgreSQL's own"
        return f"databases in it: {there}; one created later needs the whole cluster restored"


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a backup."""

    oid: int
    name: str

    @property
    def drop(self) -> str:
        """The command that removes it."""
        quoted = self.name.replace('"', '""')
        return f'DROP DATABASE "{quoted}"'


def choose_shells(
    databases: Sequence[Database], wanted: Sequence[str], backup: str
) -> tuple[Database, ...]:
    """Return the databases that become shells: none when none was named. Raise UnknownDatabase."""
    if not wanted:
        return ()
    names = [database.name for database in databases]
    for name in wanted:
        if name not in names:
            users = [d.name for d in databases if d.oid >= FIRST_NORMAL_OID]
            near = get_close_matches(name, names, n=3) or sorted(users)[:5]
            raise UnknownDatabase(name, backup, tuple(near))
    return tuple(
        database
        for database in databases
        if database.oid >= FIRST_NORMAL_OID and database.name not in wanted
    )


def is_in_shell(path: str, shells: frozenset[int]) -> bool:
    """Tell whether a file of the backup becomes all zeros, of the same size."""
    match = _INSIDE.fullmatch(path)
    return match is not None and int(match[1]) in shells and match[2] not in _REAL
