"""How a table is named on the command line: DB.SCHEMA.TABLE, quoted where names are odd. Pure."""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pgkeep.postgres.archive.sql import (
    NotUnderstood,
    always_quoted,
    parse_identifier,
    quote_identifier,
)
from pgkeep.undo.errors import CannotUndo

_LIMIT = 63  # bytes of a name: NAMEDATALEN - 1


class BadTableName(CannotUndo):
    """A table that is not named as DB.SCHEMA.TABLE."""

    code = "bad-table-name"


class TableName(NamedTuple):
    """A table of a cluster."""

    database: str
    schema: str
    table: str

    def __str__(self) -> str:
        return ".".join(map(quote_identifier, self))

    @property
    def typed(self) -> str:
        """The name as a shell takes it."""
        return shlex.quote(str(self))

    @property
    def sql(self) -> str:
        """The name as statements in its database have it."""
        return relation_sql(self.schema, self.table)

    def beside(self, suffix: str) -> str:
        """Return a table's name with a suffix, cut so that PostgreSQL does not cut it."""
        room = _LIMIT - len(suffix.encode())
        return self.table.encode()[:room].decode(errors="ignore") + suffix


def as_option(name: str) -> str:
    """Return the option that brings a table back beside, as a shell takes it."""
    return f"--as {shlex.quote(name)}"


def relation_sql(schema: str, name: str) -> str:
    return f"{always_quoted(schema)}.{always_quoted(name)}"


def columns_sql(names: Iterable[str], prefix: str = "") -> str:
    """Return names with commas between them: '"id", "e-mail"'."""
    return ", ".join(prefix + always_quoted(name) for name in names)


def parse_table(text: str) -> TableName:
    """Read DB.SCHEMA.TABLE. Raise BadTableName, with what to type."""
    names, at = list[str](), 0
    try:
        while True:
            name, at = parse_identifier(text, at)
            names.append(name)
            if text[at : at + 1] != ".":
                break
            at += 1
    except NotUnderstood as error:
        raise _bad(text, str(error)) from error
    if at < len(text):
        raise _bad(text, f"there is {text[at : at + 20]!r} behind {names[-1]!r}")
    if len(names) != 3:
        why = f"it has {len(names)} part{'s' * (len(names) > 1)}, not three"
        instead = f"app.public.{quote_identifier(names[0])}" if len(names) == 1 else ""
        raise _bad(text, why, instead)
    long = next((name for name in names if len(name.encode()) > _LIMIT), None)
    if long is not None:
        raise _bad(text, f"a name has at most {_LIMIT} bytes")
    return TableName(*names)


def _bad(text: str, why: str, instead: str = "app.public.users") -> BadTableName:
    advice = (
        f"write database, schema and table: {instead or 'app.public.users'}; names with capitals "
        """or other signs in double quotes: 'app.public."Order items"'"""
    )
    return BadTableName(f"read {text!r} as a table", why, advice)


def nearest(wanted: TableName, known: Sequence[tuple[str, str]]) -> list[TableName]:
    """Return the tables that were most likely meant: the same name elsewhere first."""
    names = {table.lower(): table for _, table in known}
    close = difflib.get_close_matches(wanted.table.lower(), names, n=3, cutoff=0.6)
    ranked = [wanted.table, *(names[one] for one in close)]
    found = [one for table in dict.fromkeys(ranked) for one in known if one[1] == table]
    return [TableName(wanted.database, *one) for one in found[:5]]
