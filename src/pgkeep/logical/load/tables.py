"""A table's data in a dump, and the COPY statement that it was dumped for. Pure.

Names are as in the archive: bytes of the dump's encoding, read as UTF-8 with surrogates for what is
none, so that `encoded` gives back the very bytes. Source: pg_dump.c, dumpTableData.
"""

import re
from dataclasses import dataclass
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.encodings import readable

END_MARK: Final = b"\\.\n\n\n"  # pg_dump.c: dumpTableData_copy ends every table's data with it

_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\s".(),]+)'
_COPY: Final = re.compile(
    rf"\s*COPY\s+({_NAME})(?:\.({_NAME}))?\s*(?:\(([^\0]*)\))?\s*FROM\s+stdin\s*;?\s*",
    re.IGNORECASE,
)
_COLUMNS: Final = re.compile(rf"\s*({_NAME})\s*(,|\Z)")


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

    def words(self, encoding: str) -> str:
        """Return its name for people."""
        return ".".join(readable(part, encoding) for part in (self.schema, self.name) if part)


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where rows go: a table and its columns in the order of the data, quoted for SQL."""

    relation: str
    columns: tuple[str, ...]

    @property
    def copy(self) -> str:
        return f"COPY {self.relation}{self.column_list} FROM STDIN"

    @property
    def column_list(self) -> str:
        return f" ({', '.join(self.columns)})" if self.columns else ""


def copy_target(table: TableData, encoding: str) -> CopyTarget:
    """Read the COPY statement of a dump. Raise CannotLoad for what pg_dump never writes."""
    match = _COPY.fullmatch(table.copy_statement)
    columns = _columns(match[3] or "") if match else None
    if match is None or columns is None:
        statement = readable(table.copy_statement, encoding)
        why = f"its statement is no COPY: {statement.strip()[:200]!r}"
        raise CannotLoad(f"table {table.words(encoding)}", why)
    schema, name = (match[1], match[2]) if match[2] else (quoted(table.schema), match[1])
    return CopyTarget(f"{schema}.{name}", columns)


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(name: str) -> str:
    """Return the name that a quoted or plain one means."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def literal(text: str) -> str:
    """Return a text as SQL has it, with standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"


def encoded(statement: str) -> bytes:
    """Return SQL as it is sent: the names are the archive's own bytes again."""
    return statement.encode("utf-8", "surrogateescape")


def _columns(text: str) -> tuple[str, ...] | None:
    found, position = list[str](), 0
    while position < len(text):
        match = _COLUMNS.match(text, position)
        if match is None:
            return None
        found.append(match[1])
        position = match.end()
    return tuple(found)
