"""A table's data in a dump, and the COPY statement that it was dumped for. Pure.

Names are as in the archive: bytes of the dump's encoding, read as UTF-8 with surrogates for what is
none, so that `encoded` gives back the very bytes. Source: pg_dump.c, dumpTableData.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.encodings import readable
from pgkeep.postgres.archive.sql import (
    CopyTarget,
    Name,
    NotUnderstood,
    always_quoted,
    parse_copy,
)

END_MARK: Final = b"\\.\n\n\n"  # pg_dump.c: dumpTableData_copy ends every table's data with it
INSERTS_END: Final = b"\n\n"  # dumpTableData_insert

_NAME: Final = r'"(?:[^"]|"")+"'
# With --quote-all-identifiers; reading it word by word takes longer than loading a small table.
_AS_PGKEEP_DUMPS: Final = re.compile(
    rf"COPY {_NAME}\.{_NAME} (?:\({_NAME}(?:, {_NAME})*\))? FROM stdin;\n?"
)


class CannotLoad(PgkeepError):
    """The data of a dump could not be loaded into a database."""

    code = "cannot-load"
    exit_status = 223

    what: str  # 'table shop.orders'
    why: str
    sqlstate: str = ""
    context: str = ""  # where, in the server's words
    line: int = 0  # of `file`, or of its part that begins at byte `start`; 0: not known
    file: str = ""
    start: int = 0

    def __str__(self) -> str:
        place = f"line {self.line} of {self.file}" if self.line else ""
        if self.line and self.start:
            place = f"line {self.line} after byte {self.start} of {self.file}"
        where = "; ".join(part for part in (place, self.context) if part)
        return f"cannot load {self.what}: {self.why}{f' ({where})' if where else ''}"

    @property
    def hint(self) -> str:
        if self.sqlstate.startswith("53"):  # insufficient_resources: disk full, out of memory
            return "give the server more of what it ran out of, and restore again"
        if self.sqlstate[:2] in {"08", "57"}:  # connection lost, shutdown
            return "look into the server's log, and restore again"
        if self.line:
            return f"pgkeep dump export --format directory writes {self.file}, with that line in it"
        return "the dump is unharmed: mend the cause, and restore again"


@dataclass(frozen=True, slots=True)
class TableData:
    """The rows of one table, in one file of the dump."""

    dump_id: int  # of the TABLE DATA entry
    schema: str
    name: str
    copy_statement: str
    file: str  # '1/3421.dat'
    rows: int | None  # that the dump counted
    size: int  # bytes of the file, with the end mark

    @property
    def as_inserts(self) -> bool:
        """Tell whether the rows are statements, and not for COPY."""
        return not self.copy_statement.strip()

    def words(self, encoding: str) -> str:
        """Return its name for people."""
        return ".".join(readable(part, encoding) for part in (self.schema, self.name) if part)


def copy_target(table: TableData, encoding: str) -> CopyTarget:
    """Read the COPY statement of a dump. Raise CannotLoad for what pg_dump never writes."""
    try:
        return parse_copy(table.copy_statement, table.schema)
    except NotUnderstood as no:
        why = f"its statement is no COPY of pg_dump: {readable(str(no), encoding)}"
        raise CannotLoad(f"table {table.words(encoding)}", why) from no


def plain_copy(table: TableData, encoding: str) -> str:
    """Return the dump's own statement, checked. Raise CannotLoad."""
    if _AS_PGKEEP_DUMPS.fullmatch(table.copy_statement):
        return table.copy_statement
    target = copy_target(table, encoding)
    return copy_into(relation_sql(target.table), target.columns)


def copy_into(relation: str, columns: Sequence[str]) -> str:
    """Return the statement that reads rows; `relation` is quoted already."""
    return f"COPY {relation}{column_list(columns)} FROM STDIN"


def column_list(columns: Sequence[str]) -> str:
    """Return columns in parentheses, nothing for none."""
    return f" ({', '.join(map(always_quoted, columns))})" if columns else ""


def relation_sql(name: Name) -> str:
    return f"{always_quoted(name.schema)}.{always_quoted(name.name)}"


def literal(text: str) -> str:
    """Return a text as SQL has it, with standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"


def encoded(statement: str) -> bytes:
    """Return SQL as it is sent: the names are the archive's own bytes again."""
    return statement.encode("utf-8", "surrogateescape")
