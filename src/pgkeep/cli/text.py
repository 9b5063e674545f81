"""Text for people: safe names, aligned tables, times in their zone and UTC. And JSON values."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from os import PathLike, fspath
from typing import Any, Final

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.zone import in_both_zones, in_zone

# Control characters, formats (among them the bidirectional overrides), surrogates of undecodable
# bytes, private use, line and paragraph separators: all can change what a line seems to say.
_UNSAFE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Look:
    """How text is to look where it is read."""

    zone: tzinfo = UTC
    styled: bool = False  # a terminal that understands bold and colours

    def bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self.styled else text

    def good(self, text: str) -> str:
        return f"\033[32m{text}\033[0m" if self.styled else text

    def bad(self, text: str) -> str:
        return f"\033[1;31m{text}\033[0m" if self.styled else text

    def weak(self, text: str) -> str:
        return f"\033[33m{text}\033[0m" if self.styled else text

    def when(self, moment: datetime) -> str:
        """Return '2026-01-15 16:47:21+01:00 (15:47:21 UTC)'; up to the '(' fit for --to."""
        return in_both_zones(moment, self.zone)

    def at(self, moment: datetime) -> str:
        """Return the time in the user's zone with its offset: for tables."""
        return in_zone(moment, self.zone)


def not_before(moment: datetime) -> datetime:
    """Return the next full second: typed as it is shown, it is no earlier than `moment`."""
    return (
        moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)
    )


def safe(text: str, *, lines: bool = False) -> str:
    """Return `text` with everything that could steer a terminal or forge a line spelt out.

    With `lines`, line ends stay: for texts of several lines that pgkeep itself put together.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelt(c) if _steers(c) and not (lines and c == "\n") else c for c in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE


def _spelt(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def width(text: str) -> int:
    """Return the columns that safe text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], look: Look, right: Sequence[int] = ()
) -> str:
    """Return rows in aligned columns; the columns numbered in `right` are set flush right."""
    cells = [[safe(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = (
            " " * (wide - width(cell)) + cell if i in right else cell + " " * (wide - width(cell))
            for i, (cell, wide) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([look.bold(line(cells[0])), *map(line, cells[1:])])


def fields(pairs: Sequence[tuple[str, str]], indent: str = "") -> str:
    """Return 'name   value' lines, aligned; pairs without a value are left out."""
    shown = [(name, value) for name, value in pairs if value]
    wide = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{indent}{name:<{wide}}  {safe(value)}" for name, value in shown)


def plain(value: Any) -> Any:  # noqa: PLR0912 - one case per kind of value
    """Return a value as JSON has it: times as ISO 8601 in UTC, positions and segments by name."""
    match value:
        case None | bool() | float():
            return value
        case Lsn() | Segment():
            return str(value)
        case Enum():
            return plain(value.value)
        case str():
            return str(value)  # Secrets turn into '***' here
        case int():
            return int(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case PathLike():
            return fspath(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
        case _ if hasattr(value, "_asdict"):
            return plain(value._asdict())
        case _ if hasattr(value, "__struct_fields__"):
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case _:
            return [plain(item) for item in value]
