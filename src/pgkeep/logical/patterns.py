"""Name patterns as pg_dump and psql read them. Pure. Source: string_utils.c, processSQLNamePattern.

`*` and `?` are wildcards, a dot separates schema and name, letters are folded to lower case unless
in double quotes, and what is in quotes stands for itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pgkeep.errors import PgkeepError
from pgkeep.model.dump import Selection


class BadPattern(PgkeepError):
    """A name pattern that cannot be read."""

    code = "bad-pattern"
    exit_status = 201

    text: str
    why: str

    def __str__(self) -> str:
        return f"cannot read the pattern {self.text!r}: {self.why}"

    @property
    def hint(self) -> str:
        return (
            'write it like orders, shop.orders, shop.*, or \'"Mixed Case"."Orders"\' with double '
            "quotes around names that are not all lower case"
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern for a name that may have a schema."""

    text: str
    schema: re.Pattern[str] | None  # None: the pattern names none
    name: re.Pattern[str]

    def matches(self, schema: str, name: str, *, visible: bool = True) -> bool:
        """Tell whether it means this one; without a schema only what the search path shows."""
        if self.schema is None:
            return visible and self.name.fullmatch(name) is not None
        return self.schema.fullmatch(schema) is not None and self.name.fullmatch(name) is not None


def parse_pattern(text: str) -> Pattern:
    """Read a pattern of one or two parts. Raise BadPattern."""
    parts = _parts(text)
    if len(parts) > 2:
        raise BadPattern(text, "it has too many dots; a name with a dot goes in double quotes")
    try:
        compiled = [re.compile(part, re.DOTALL) for part in parts]
    except re.error as error:
        raise BadPattern(text, f"it is no regular expression: {error}") from error
    return Pattern(text, compiled[0] if len(parts) == 2 else None, compiled[-1])


def quoted(name: str) -> str:
    """Return the pattern that means exactly this name."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Chosen:
    """The patterns of a selection, ready to be asked about single tables."""

    tables: tuple[Pattern, ...]
    exclude_tables: tuple[Pattern, ...]
    exclude_data: tuple[Pattern, ...]
    schemas: tuple[Pattern, ...]
    exclude_schemas: tuple[Pattern, ...]

    @property
    def only_excludes(self) -> bool:
        """Tell whether everything is meant but what is excluded."""
        return not (self.tables or self.schemas)

    def has(self, schema: str, name: str, *, visible: bool = True) -> bool:
        """Tell whether pg_dump takes this table: chosen tables come from any schema."""
        if self.tables:
            chosen = any(p.matches(schema, name, visible=visible) for p in self.tables)
        elif self.schemas:
            chosen = any(p.matches("", schema) for p in self.schemas)
        else:
            chosen = True
        if not self.tables and any(p.matches("", schema) for p in self.exclude_schemas):
            chosen = False
        return chosen and not self.is_excluded(schema, name, visible=visible)

    def is_excluded(self, schema: str, name: str, *, visible: bool = True) -> bool:
        """Tell whether a table is left out by name."""
        return any(p.matches(schema, name, visible=visible) for p in self.exclude_tables)

    def has_data(self, schema: str, name: str, *, visible: bool = True) -> bool:
        """Tell whether the rows of a table are taken too."""
        chosen = self.has(schema, name, visible=visible)
        return chosen and not self.is_without_data(schema, name, visible=visible)

    def is_without_data(self, schema: str, name: str, *, visible: bool = True) -> bool:
        """Tell whether the rows of a table are left out by its name."""
        return any(p.matches(schema, name, visible=visible) for p in self.exclude_data)


def chosen(selection: Selection) -> Chosen:
    """Return what a selection means. Raise BadPattern."""
    return Chosen(
        _all([*selection.tables, *selection.tables_and_children]),
        _all([*selection.exclude_tables, *selection.exclude_tables_and_children]),
        _all([*selection.exclude_table_data, *selection.exclude_table_data_and_children]),
        _all(selection.schemas),
        _all(selection.exclude_schemas),
    )


def _all(texts: Iterable[str]) -> tuple[Pattern, ...]:
    return tuple(map(parse_pattern, texts))


def _parts(text: str) -> list[str]:
    parts, inside, index = [""], False, 0
    while index < len(text):
        letter = text[index]
        if letter == '"':
            if inside and text[index + 1 : index + 2] == '"':
                parts[-1] += '"'
                index += 1
            else:
                inside = not inside
        elif inside:
            parts[-1] += re.escape(letter)
        elif letter == ".":
            parts.append("")
        elif letter == "*":
            parts[-1] += ".*"
        elif letter == "?":
            parts[-1] += "."
        elif letter == "$":
            parts[-1] += r"\$"
        else:
            parts[-1] += letter.lower()
        index += 1
    if inside:
        raise BadPattern(text, "a double quote is not closed")
    if not all(parts):
        raise BadPattern(text, "a part of it is empty")
    return parts
