"""What a cluster held at a moment: the names that WAL, which knows only numbers, cannot tell.

WAL says `1663/5/16463`; once a table is dropped, nothing in the server tells that this was
`app.public.users`. So it is written down beforehand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NewType

from pgkeep.model.lsn import Lsn

CensusId = NewType("CensusId", str)  # '20261128T003000Z-7f3a': like a backup's id


@dataclass(frozen=True, slots=True)
class Relation:
    """A row of pg_class that has a file, or could be asked for by name."""

    oid: int
    schema: str
    name: str
    kind: str  # pg_class.relkind: r, p, i, I, S, t, m, v, f
    filenode: int  # pg_relation_filenode(); 0 without a file
    tablespace: int  # oid, never 0: the database's own is filled in
    size: int  # bytes of the main fork
    rows: float  # the planner's estimate (reltuples); -1 unknown
    key: tuple[str, ...] = ()  # columns of the primary key, in its order
    parent: int = (
        0  # of an index: its table; of a toast table: whose values it holds; of a partition
    )
    toast: int = 0  # oid of a table's toast table


@dataclass(frozen=True)
class Database:
    """One database and its relations; those of template0 are not looked at."""

    oid: int
    name: str
    relations: tuple[Relation, ...]

    @cached_property
    def by_oid(self) -> dict[int, Relation]:
        return {relation.oid: relation for relation in self.relations}

    @cached_property
    def by_file(self) -> dict[tuple[int, int], Relation]:
        """Relations by (tablespace, filenode)."""
        return {(one.tablespace, one.filenode): one for one in self.relations if one.filenode}


@dataclass(frozen=True)
class Census:
    """All databases at about one moment: each was read under a snapshot of its own."""

    id: CensusId
    taken_at: datetime  # UTC, when the first one was read
    lsn: Lsn  # WAL was written up to here when the last one had been read
    timeline: int
    generation: str
    databases: tuple[Database, ...]
    unread: tuple[tuple[str, str], ...] = ()  # databases that could not be read, and why

    def relations(self) -> Iterator[tuple[Database, Relation]]:
        for database in self.databases:
            for relation in database.relations:
                yield database, relation
