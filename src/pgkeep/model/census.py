"""What a cluster held at a moment: the names that WAL, which knows only numbers, cannot tell.

WAL says `1663/5/16463`; once a table is dropped, nothing in the server tells that this was
`app.public.users`. So it is written down beforehand.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NewType

from pgkeep.model.lsn import Lsn

CensusId = NewType("CensusId", str)  # '20261128T003000Z-7f3a': when, UTC, to 1/65,536 s

_ID: Final = re.compile(r"(\d{8}T\d{6})Z-([0-9a-f]{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Relation:
    """A row of pg_class that others may see: temporary relations are left out."""

    oid: int
    schema: str
    name: str
    kind: str  # pg_class.relkind: r, p, i, I, S, t, m, v, f
    filenode: int  # pg_relation_filenode(); 0 without a file
    tablespace: int  # oid, never 0: the database's own is filled in
    size: int  # bytes of the main fork, as the last VACUUM or ANALYZE saw it; 0 before the first
    rows: float  # an estimate: the planner's, else the live rows that were counted; -1 unknown
    key: tuple[str, ...] = ()  # columns of the primary key, in its order
    # Of an index: its table; of a toast table: whose values it holds; of a partition: of what.
    parent: int = 0
    toast: int = 0  # oid of a table's toast table
    persistence: str = "p"  # pg_class.relpersistence: p; u: unlogged, its rows are in no backup

    @property
    def is_unlogged(self) -> bool:
        return self.persistence == "u"


@dataclass(frozen=True)
class Database:
    """One database and its relations; those of template0 are not looked at.

    The catalogs that all databases share are among the relations of each.
    """

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
    taken_at: datetime  # UTC, by the server's clock, when the first one was read
    lsn: Lsn  # WAL was written up to here when the last one had been read
    timeline: int
    generation: str
    databases: tuple[Database, ...]
    unread: tuple[tuple[str, str], ...] = ()  # databases that could not be read, and why

    def relations(self) -> Iterator[tuple[Database, Relation]]:
        for database in self.databases:
            for relation in database.relations:
                yield database, relation


def new_census_id(moment: datetime) -> CensusId:
    """Return an id that sorts by time."""
    at = moment.astimezone(UTC)
    return CensusId(f"{at:%Y%m%dT%H%M%SZ}-{(at.microsecond << 16) // 1_000_000:04x}")


def moment_of(id: str) -> datetime | None:
    """Return when a census of this id was taken, to 16 microseconds; None if it is no such id."""
    match = _ID.fullmatch(id)
    if match is None:
        return None
    try:
        second = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return second.replace(microsecond=int(match[2], 16) * 1_000_000 >> 16)
