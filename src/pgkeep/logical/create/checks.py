"""Whether a dump is whole, and whether it looks like the one before. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.logical.inventory import Item
from pgkeep.repository.manifest.dump_facts import DumpedDatabase

END_OF_DATA: Final = b"\\.\n\n\n"  # pg_dump.c: dumpTableData_copy
END_OF_GLOBALS: Final = b"-- PostgreSQL database cluster dump complete"
_FEW_ROWS: Final = 100  # a table that had fewer may well be emptied on purpose
_SHRUNKEN: Final = 0.5  # of the rows, tables or bytes there were
_NAMED: Final = 10  # tables in a suspicion


class IncompleteDump(PgkeepError):
    """pg_dump ended well, and yet something is missing from what it wrote."""

    code = "dump-incomplete"
    exit_status = 246

    database: str
    why: str

    def __str__(self) -> str:
        return f"no dump was made: what pg_dump wrote of {self.database} is not whole: {self.why}"

    @property
    def hint(self) -> str:
        return "nothing was kept of it; look into the server's log and run it again"


class DataFile(NamedTuple):
    """A file that pg_dump wrote, as it was read."""

    name: str
    size: int  # bytes
    lines: int  # line feeds
    tail: bytes  # its last bytes

    @property
    def ended(self) -> bool:
        """Tell whether the mark that ends table data is there, on a line of its own."""
        before = self.tail[: -len(END_OF_DATA)]
        alone = before.endswith(b"\n") or self.size == len(END_OF_DATA)
        return self.tail.endswith(END_OF_DATA) and alone

    @property
    def rows(self) -> int:
        return self.lines - END_OF_DATA.count(b"\n")


@dataclass
class Counts:
    """What is in a database's table of contents, counted while it passes."""

    objects: int = 0
    schemas: int = 0
    tables: int = 0
    rows: int = 0
    data_bytes: int = 0
    sequences: int = 0
    unlisted: set[str] = field(default_factory=set)  # files that no entry has named yet


def check_data(database: str, file: DataFile) -> None:
    """Raise IncompleteDump for table data without its end."""
    if not file.ended:
        raise IncompleteDump(database, f"{file.name} ends without its end mark")


def check_tables(database: str, expected: int, counts: Counts) -> None:
    """Raise IncompleteDump when tables of the catalog are not in the dump, or files are odd."""
    if counts.tables < expected:
        why = f"it has {counts.tables} of the {expected} tables that the snapshot shows"
        raise IncompleteDump(database, why)
    if counts.unlisted:
        example = min(counts.unlisted)
        raise IncompleteDump(database, f"its table of contents does not name {example}")


def check_globals(content: bytes) -> None:
    """Raise IncompleteDump for roles and tablespaces without their end."""
    if END_OF_GLOBALS not in content[-200:]:
        raise IncompleteDump("roles and tablespaces", "the end mark is missing")


class Before(NamedTuple):
    """The last dump of the same kind, as far as it is compared."""

    id: str
    databases: Mapping[str, DumpedDatabase]
    rows: Mapping[tuple[str, str, str], int]  # database, schema, table: rows, of larger tables


def suspicions(now: Sequence[DumpedDatabase], emptied: Sequence[str], before: Before) -> list[str]:
    """Say what looks wrong beside the last dump: such a dump is kept, and never pushes it out."""
    found = []
    for database in now:
        old = before.databases.get(database.name)
        if old is None:
            continue
        for what, was, is_now in (
            ("tables", old.tables, database.tables),
            ("rows", old.rows, database.rows),
        ):
            if was >= (_FEW_ROWS if what == "rows" else 4) and is_now < was * _SHRUNKEN:
                found.append(
                    f"database {database.name} has {is_now:,} {what}; dump {before.id} had {was:,}"
                )
    gone = sorted(set(before.databases) - {database.name for database in now})
    found += [f"database {name} is gone; dump {before.id} had it" for name in gone]
    if emptied:
        more = f" and {len(emptied) - _NAMED} more" if len(emptied) > _NAMED else ""
        names = ", ".join(emptied[:_NAMED])
        found.append(f"empty now, with rows in dump {before.id}: {names}{more}")
    return found


def larger_tables(
    database: str, items: Iterable[Item]
) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Yield the tables of a database whose rows are worth comparing."""
    for item in items:
        if item.type == "TABLE DATA" and (item.rows or 0) >= _FEW_ROWS:
            yield (database, item.schema, item.name), item.rows or 0
