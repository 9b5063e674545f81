"""Filter files, as pg_dump 17 reads them, for every version. Source: filter.c and its manual page.

include table shop.orders
exclude table_data "Audit".*      # a comment
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.patterns import parse_pattern
from pgkeep.model.dump import Selection

# What a line names, and where that goes.
_FIELDS: Final = {
    ("include", "table"): "tables",
    ("exclude", "table"): "exclude_tables",
    ("exclude", "table_data"): "exclude_table_data",
    ("include", "table_and_children"): "tables_and_children",
    ("exclude", "table_and_children"): "exclude_tables_and_children",
    ("exclude", "table_data_and_children"): "exclude_table_data_and_children",
    ("include", "schema"): "schemas",
    ("exclude", "schema"): "exclude_schemas",
    ("include", "extension"): "extensions",
    ("exclude", "extension"): "exclude_extensions",
    ("include", "foreign_data"): "foreign_servers",
}


class BadFilter(PgkeepError):
    """A filter file that cannot be understood."""

    code = "bad-filter"
    exit_status = 229

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        place = f", line {self.line}" if self.line else ""
        return f"cannot use the filter file {self.file}{place}: {self.why}"

    @property
    def hint(self) -> str:
        if not self.line:
            return "name a text file in UTF-8 with --filter"
        return "write lines like: include table shop.orders, or: exclude table_data audit.*"


def read_filter(file: Path) -> Selection:
    """Read a filter file. Raise BadFilter."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadFilter(str(file), 0, why) from error
    except UnicodeDecodeError as error:
        raise BadFilter(str(file), 0, f"it is not in UTF-8: {error}") from error
    return parse_filter(text, str(file))


def parse_filter(text: str, file: str) -> Selection:
    """Return what the lines of a filter file choose. Raise BadFilter, BadPattern."""
    found: dict[str, list[str]] = {}
    for number, line in _lines(text, file):
        words = line.split(None, 2)
        if len(words) < 3:
            raise BadFilter(file, number, f"{line!r} names nothing")
        command, kind, pattern = words
        field = _FIELDS.get((command.lower(), kind.lower()))
        if field is None:
            raise BadFilter(file, number, f"pg_dump knows no '{command} {kind}'")
        parse_pattern(pattern)
        found.setdefault(field, []).append(pattern)
    chosen: dict[str, Any] = {name: tuple(patterns) for name, patterns in found.items()}
    return Selection(**chosen)


def merged(one: Selection, other: Selection) -> Selection:
    """Return a selection with the patterns of both."""
    more: dict[str, Any] = {
        field.name: (*getattr(one, field.name), *getattr(other, field.name))
        for field in fields(Selection)
        if isinstance(getattr(one, field.name), tuple)
    }
    return replace(one, **more)


def _lines(text: str, file: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, without comments; a quoted name may go over several."""
    held, begun = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = f"{held}\n{raw}" if held else raw
        begun = begun or number
        code, inside = _without_comment(line)
        if inside:
            held = line
            continue
        held = ""
        if code.strip():
            yield begun, code.strip()
        begun = 0
    if held:
        raise BadFilter(file, begun, "a double quote is not closed")


def _without_comment(line: str) -> tuple[str, bool]:
    """Return a line up to its comment, and whether a double quote is still open at its end."""
    inside = False
    for place, letter in enumerate(line):
        if letter == '"':
            inside = not inside
        elif letter == "#" and not inside:
            return line[:place], False
    return line, inside
