"""What one committed transaction did, in numbers: what it means is told by classify.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.postgres.wal_changes.few import (
    DroppedColumn,
    DroppedFolder,
    Locked,
    Made,
    RowOfDatabase,
)


class Rows(NamedTuple):
    """What a transaction did to one relation."""

    deleted: int = 0
    updated: int = 0
    inserted: int = 0
    pages: int = 0  # written whole

    def plus(self, other: "Rows") -> "Rows":
        return Rows(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Deed:
    """A committed transaction that may have destroyed something, its subtransactions included."""

    xid: int
    first: Lsn  # where its first record begins
    commit: Lsn
    time: datetime
    rows: Mapping[Locator, Rows] = field(default_factory=dict)
    made: tuple[Made, ...] = ()
    locked: tuple[Locked, ...] = ()
    files: tuple[Locator, ...] = ()  # removed at the commit
    dropped: tuple[tuple[int, int], ...] = ()  # database and OID of relations
    changed: tuple[tuple[int, int], ...] = ()
    columns: tuple[DroppedColumn, ...] = ()
    databases: tuple[RowOfDatabase, ...] = ()  # rows of pg_database that it deleted
    marked: Lsn | None = None  # where DROP DATABASE made the database unusable
    folders: tuple[DroppedFolder, ...] = ()
    whole: bool = True  # False: it may have begun before the WAL that was read
    began_after: datetime | None = None
    began_before: datetime | None = None
