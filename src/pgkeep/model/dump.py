"""A logical backup, as lists, plans and retention see it."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NewType

DumpId = NewType("DumpId", str)  # 'D20261127T160500Z-7f3a': start time in UTC, then chance
DUMP_PREFIX: Final = "D"  # tells a dump's id from a backup's


def noun_of(id: str) -> str:
    """Return 'dump' or 'backup': what an id is of."""
    return "dump" if id.startswith(DUMP_PREFIX) else "backup"


class Origin(StrEnum):
    """Where a dump came from."""

    SERVER = "server"  # pgkeep dump create
    FILE = "file"  # pgkeep dump import


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a database is dumped; all empty: everything. Patterns are pg_dump's."""

    schema_only: bool = False
    data_only: bool = False
    sections: tuple[str, ...] = ()  # of pre-data, data, post-data
    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_table_data: tuple[str, ...] = ()
    tables_and_children: tuple[str, ...] = ()
    exclude_tables_and_children: tuple[str, ...] = ()
    exclude_table_data_and_children: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    exclude_extensions: tuple[str, ...] = ()
    foreign_servers: tuple[str, ...] = ()  # whose tables' data is fetched and dumped
    large_objects: bool | None = None  # None: as pg_dump decides
    exclude_databases: tuple[str, ...] = ()  # where all were wanted

    @property
    def whole(self) -> bool:
        """Tell whether nothing is left out: only such a dump is a backup of its database."""
        return self in (EVERYTHING, _AND_LARGE_OBJECTS)

    @property
    def holds_all(self) -> bool:
        """Tell whether all of each database is there, though not every database."""
        return replace(self, exclude_databases=()).whole

    @property
    def takes_rows(self) -> bool:
        """Tell whether any rows are in the dump."""
        return not self.schema_only and (not self.sections or "data" in self.sections)

    @property
    def lists_tables(self) -> bool:
        """Tell whether every table that is chosen has its definition in the dump."""
        return not self.data_only and (not self.sections or "pre-data" in self.sections)

    @property
    def words(self) -> str:
        """Return 'everything', or what was chosen and left out, for people."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            name = field.name.replace("_", " ")
            if value is True:
                parts.append(name)
            elif value is False and field.name == "large_objects":
                parts.append("no large objects")
            elif isinstance(value, tuple) and value:
                parts.append(f"{name} {', '.join(value)}")
        return "; ".join(parts) or "everything"


EVERYTHING: Final = Selection()
_AND_LARGE_OBJECTS: Final = Selection(large_objects=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """One complete dump."""

    id: DumpId
    origin: Origin
    started_at: datetime  # UTC
    taken_at: datetime  # UTC: the moment that its newest snapshot shows; an import's: when
    databases: tuple[str, ...]
    all_databases: bool = False  # every one that the cluster had
    selection: Selection = EVERYTHING
    globals: bool = False  # roles, memberships and tablespaces are in it
    server_version: str = ""
    label: str = ""
    tables: int = 0
    rows: int = 0
    size: int = 0  # plain bytes of its files
    stored: int = 0  # bytes it added to the repository
    suspicions: tuple[str, ...] = ()  # what looks wrong beside the last one: shrunken, emptied

    @property
    def stopped_at(self) -> datetime:
        """The moment it holds, under the name that retention knows from backups."""
        return self.taken_at

    def to_dict(self) -> dict[str, Any]:
        """Return what lists tell of it, as documented for --json."""
        return {
            "id": self.id,
            "origin": self.origin,
            "started_at": self.started_at,
            "taken_at": self.taken_at,
            "databases": list(self.databases),
            "all_databases": self.all_databases,
            "selection": self.selection.words,
            "whole": self.selection.whole,
            "globals": self.globals,
            "server_version": self.server_version,
            "label": self.label,
            "tables": self.tables,
            "rows": self.rows,
            "size": self.size,
            "stored": self.stored,
            "suspicions": list(self.suspicions),
        }

    @property
    def series(self) -> tuple[object, ...]:
        """Return what dumps that replace each other have in common.

        A schema-only dump does not replace a whole one, nor one database another.
        """
        databases = ("*",) if self.all_databases else tuple(sorted(self.databases))
        return (self.origin, databases, self.selection, self.globals)

    @property
    def series_words(self) -> str:
        """Return 'all databases', 'shop (schema only)': what the series holds, for people."""
        names = "all databases" if self.all_databases else ", ".join(self.databases)
        names = names or "globals"
        if not self.selection.whole:
            names += f" ({self.selection.words})"
        return f"imported: {names}" if self.origin is Origin.FILE else names
