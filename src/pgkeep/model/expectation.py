"""What a query must return for a restored copy to be right, as people write it. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final

ROWS: Final = "rows"
NO_ROWS: Final = "no rows"
_COMPARISON: Final = re.compile(r"(=|!=|<>|<=|>=|<|>)\s*(.*)", re.DOTALL)
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": eq, "!=": ne, "<>": ne, "<": lt, "<=": le, ">": gt, ">=": ge,
}  # fmt: skip
_SHOWN: Final = 200  # characters of a value that a report quotes

FORMS: Final = (
    'a value like "42" or "true", a comparison like "> 1000" or "!= 0", "rows" or "no rows"'
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A number of rows, or a comparison with the first column of the first row."""

    operator: str  # 'rows', 'no rows', or a comparison's
    value: str = ""

    def __str__(self) -> str:
        if not self.value and self.operator in (ROWS, NO_ROWS):
            return {ROWS: "at least one row", NO_ROWS: "no row"}[self.operator]
        return self.value if self.operator == "=" else f"{self.operator} {self.value}"

    def why_not(self, rows: Sequence[Sequence[object]]) -> str:
        """Return in what way rows differ from what is expected; '' when they don't."""
        if self.operator == ROWS:
            return "" if rows else f"it returned no row, expected {self}"
        if self.operator == NO_ROWS:
            found = f"it returned {_row(rows[0])}" if rows else ""
            return f"{found}, expected {self}" if rows else ""
        if not rows or not rows[0]:
            return f"it returned no row, expected {self}"
        value = spelled(rows[0][0])
        return "" if self._holds(value) else f"it returned {_cut(value)}, expected {self}"

    def _holds(self, found: str) -> bool:
        compare = _OPERATORS[self.operator]
        for read in (_number, _time):
            one, other = read(found), read(self.value)
            if one is not None and other is not None:
                return compare(one, other)
        if self.operator in ("=", "!=", "<>"):
            return compare(found, self.value)
        return False  # what cannot be compared is not what was expected


def parse_expectation(text: str) -> Expectation:
    """Read what `expect` takes. Raise ValueError, saying what is wrong with it."""
    text = text.strip()
    if text in (ROWS, NO_ROWS):
        return Expectation(text)
    if not text:
        raise ValueError("is empty")
    comparison = _COMPARISON.fullmatch(text)
    if comparison is None:
        return Expectation("=", text)
    operator, value = comparison[1], comparison[2].strip()
    if not value:
        raise ValueError(f"compares with nothing: {text!r}")
    if operator not in ("=", "!=", "<>") and _number(value) is None and _time(value) is None:
        raise ValueError(f"compares with what is neither a number nor a time: {text!r}")
    return Expectation(operator, value)


def spelled(value: object) -> str:
    """Return a value of a query as people write it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
        case bytes():
            return value.hex()
        case _:
            return str(value)


def _row(row: Sequence[object]) -> str:
    return _cut(", ".join(map(spelled, row))) or "a row"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
