"""The rules in [dump.masks], as they are written: docs/masked-copies.md. Pure.

A key is a column's name with its table and perhaps its schema, in SQL's own spelling; TOML's dotted
keys come as nested tables, and mean the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.patterns import quoted
from pgkeep.postgres.archive.sql import NotUnderstood, parse_identifier, quote_identifier

_SQL: Final = "sql"
_TEXT: Final = "text"
_SQL_PREFIX: Final = "sql:"
_SHOWN: Final = 10  # problems in a message; the facts have them all


class BadMasks(PgkeepError):
    """The masks cannot be applied to this dump. Nothing of it was loaded."""

    code = "bad-masks"
    exit_status = 224

    problems: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.problems) - _SHOWN
        listed = "; ".join(self.problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return f"nothing was loaded, because the masks cannot be applied: {listed}"

    @property
    def hint(self) -> str:
        return (
            'correct [dump.masks] in pgkeep.toml: rules are like users.email = "hash", '
            'users.phone = "null", users.name = {sql = "left(name, 1)"}; see masked-copies.md'
        )


class Kind(StrEnum):
    """What becomes of a value."""

    HASH = "hash"  # another of the same type; equal ones stay equal
    NULL = "null"
    EMAIL = "email"  # hash@example.invalid
    SQL = "sql"  # whatever an expression gives
    LITERAL = "literal"  # always the same


@dataclass(frozen=True, slots=True)
class MaskRule:
    """One rule."""

    schema: str  # '' any
    table: str
    column: str
    kind: Kind
    text: str = ""  # of SQL and LITERAL

    @property
    def key(self) -> str:
        """Return how the rule names its column."""
        parts = (self.schema, self.table, self.column) if self.schema else (self.table, self.column)
        return ".".join(map(quote_identifier, parts))

    @property
    def words(self) -> str:
        """Return what it does, for reports: 'hash', 'sql: left(name, 1)', "'redacted'"."""
        if self.kind is Kind.SQL:
            return f"sql: {self.text}"
        return f"'{self.text}'" if self.kind is Kind.LITERAL else self.kind.value


def parse_masks(rules: Mapping[str, Any]) -> tuple[MaskRule, ...]:
    """Read all rules, in the order of the file. Raise BadMasks, naming every bad one."""
    found, problems = dict[tuple[str, str, str], MaskRule](), list[str]()
    for path, value in _flat(rules, ()):
        try:
            rule = _rule(path, value)
        except NotUnderstood as no:
            problems.append(f"{'.'.join(path)}: {no}")
            continue
        place = (rule.schema, rule.table, rule.column)
        if place in found:
            problems.append(f"{rule.key}: there are two rules for it")
        found[place] = rule
    if problems:
        raise BadMasks(tuple(problems))
    return tuple(found.values())


def _flat(rules: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in rules.items():
        names = (*path, key)
        if isinstance(value, Mapping) and not _is_rule(value, names):
            yield from _flat(value, names)
        else:
            yield names, value


def _is_rule(value: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Tell a rule like {sql = "..."} from a table with a column called sql.

    A rule needs a table and a column before it.
    """
    try:
        enough = len(_names(path)) >= 2
    except NotUnderstood:
        enough = len(path) >= 2
    return enough and len(value) == 1 and value.keys() <= {_SQL, _TEXT}


def _rule(path: tuple[str, ...], value: Any) -> MaskRule:
    names = _names(path)
    if len(names) not in {2, 3}:
        raise NotUnderstood("it must name a table and a column, like users.email")
    schema, table, column = ("", *names) if len(names) == 2 else names
    kind, text = _meaning(value)
    return MaskRule(schema, table, column, kind, text)


def _names(path: tuple[str, ...]) -> tuple[str, ...]:
    """Read 'shop."Order Lines".note', wherever TOML has cut it."""
    found = list[str]()
    for part in path:
        at = 0
        while True:
            name, at = parse_identifier(part, at)
            found.append(name)
            if at == len(part):
                break
            if part[at] != ".":
                raise NotUnderstood(
                    f"after {part[:at]!r} a dot is missing; odd names go in double quotes, "
                    f"and with these in single ones: '{quoted(part)}'"
                )
            at += 1
    return tuple(found)


def _meaning(value: Any) -> tuple[Kind, str]:
    if isinstance(value, Mapping):
        if value.keys() == {_SQL} and isinstance(value[_SQL], str):
            return _expression(value[_SQL])
        if value.keys() == {_TEXT} and isinstance(value[_TEXT], str):
            return Kind.LITERAL, value[_TEXT]
        raise NotUnderstood('a table of settings must be {sql = "..."} or {text = "..."}')
    if isinstance(value, bool):
        return Kind.LITERAL, str(value).lower()
    if isinstance(value, (datetime, date, time)):
        return Kind.LITERAL, value.isoformat()
    if isinstance(value, (int, float)):
        return Kind.LITERAL, str(value)
    if not isinstance(value, str):
        raise NotUnderstood(f"a {type(value).__name__} says nothing")
    if value in {Kind.HASH, Kind.NULL, Kind.EMAIL}:
        return Kind(value), ""
    if value.startswith(_SQL_PREFIX):
        return _expression(value.removeprefix(_SQL_PREFIX))
    return Kind.LITERAL, value


def _expression(text: str) -> tuple[Kind, str]:
    if not text.strip():
        raise NotUnderstood("the expression is empty")
    return Kind.SQL, text.strip()
