"""What a table is and what belongs to it, as the catalog tells. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.undo.returning.names import TableName, columns_sql, relation_sql


class Column(NamedTuple):
    """A column that is not dropped."""

    name: str
    type: str  # format_type() with an empty search path: fit for SQL
    not_null: bool
    generated: str  # '', 's' stored, 'v' virtual: its values are computed, never copied
    identity: str  # '', 'a' always, 'd' by default
    collation: str  # COLLATE clause's name, where it is not the type's own
    comment: str


class Part(NamedTuple):
    """Something of a table that has a name and a definition."""

    name: str
    definition: str


class Sequence(NamedTuple):
    """A sequence that a column owns."""

    schema: str
    name: str
    column: str
    value: int | None  # None: never used, or hidden from us
    called: bool
    increment: int
    start: int

    @property
    def sql(self) -> str:
        return relation_sql(self.schema, self.name)


class Member(NamedTuple):
    """A table of a tree: the root, a partition or an inheriting table."""

    schema: str
    name: str
    kind: str  # relkind
    columns: tuple[str, ...]  # whose values are copied, in its own order

    @property
    def sql(self) -> str:
        return relation_sql(self.schema, self.name)

    @property
    def source(self) -> str:
        """What stands behind FROM: its own rows alone."""
        return f"ONLY {self.sql}"


class Incoming(NamedTuple):
    """A foreign key of another table to this one."""

    schema: str
    table: str
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Found:
    """One table with all that belongs to it."""

    name: TableName
    kind: str  # r or p
    owner: str
    size: int  # bytes, with indexes and TOAST, of the whole tree
    rows: int | None  # counted; None where nobody asked
    columns: tuple[Column, ...]
    key: tuple[str, ...]  # columns that tell rows apart: primary key, else a unique not-null one
    key_is_primary: bool
    tablespace: str = ""
    comment: str = ""
    members: tuple[Member, ...] = ()  # the tree, the root first
    parents: tuple[str, ...] = ()  # of which it is a partition or heir
    indexes: tuple[Part, ...] = ()
    constraints: tuple[Part, ...] = ()
    foreign_keys: tuple[Part, ...] = ()
    incoming: tuple[Incoming, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    triggers: tuple[Part, ...] = ()
    views: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    policies: tuple[Part, ...] = ()
    row_security: bool = False
    unlogged: bool = False  # its rows are in no backup: recovery empties it
    first_rows: tuple[tuple[str | None, ...], ...] = field(default=())

    @property
    def source(self) -> str:
        """What stands behind FROM: all partitions' rows, but not those of heirs."""
        return self.name.sql if self.kind == "p" else f"ONLY {self.name.sql}"

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns whose values are copied."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def heirs(self) -> tuple[Member, ...]:
        """Tables that inherit and are no partitions: their rows are their own."""
        return () if self.kind == "p" else self.members[1:]

    def column(self, name: str) -> Column | None:
        return next((one for one in self.columns if one.name == name), None)


def same_columns(one: Found, other: Found) -> list[Column]:
    """Return the stored columns that both have with the same type, in the first one's order."""
    there = {column.name: column.type for column in other.stored}
    return [column for column in one.stored if there.get(column.name) == column.type]


def row_text(columns: list[Column], alias: str) -> str:
    """Return SQL for one text of a row, the same wherever the row is the same."""
    # A call takes 100 arguments at most, ROW() as many as a table may have columns.
    return f"ROW({columns_sql((column.name for column in columns), f'{alias}.')})::pg_catalog.text"


def row_hash(columns: list[Column], alias: str) -> str:
    """Return SQL for a row's hash. "C" spares it looking at collations."""
    text = f'({row_text(columns, alias)}) COLLATE pg_catalog."C"'
    return f"pg_catalog.hashtextextended({text}, 0)"


def same_key(key: tuple[str, ...], one: str, other: str) -> str:
    """Return SQL that compares the keys of two rows."""
    pairs = (f"{one}.{always_quoted(name)} = {other}.{always_quoted(name)}" for name in key)
    return " AND ".join(pairs)
