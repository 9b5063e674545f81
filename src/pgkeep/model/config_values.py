"""What TOML does not say: secrets, durations, sizes and rates; and the line of a key."""

import re
from typing import Any, Final

from pgkeep.units import BadUnit, parse_duration, parse_rate, parse_size

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


class Secret(str):
    """Text that no repr, log or report shows; `reveal()` at the one place that needs it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')" if self.reveal() else "Secret('')"

    def __str__(self) -> str:
        return "***" if self.reveal() else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def reveal(self) -> str:
        return str.__str__(self)


class Duration(int):
    """Seconds, written '90s', '15min', '14d'."""

    __slots__ = ()


class Size(int):
    """Bytes, written '20GB'."""

    __slots__ = ()


class Rate(int):
    """Bytes per second, written '200MB/s'."""

    __slots__ = ()


def own_type(kind: type, given: Any) -> Any:
    """Read one of our types for msgspec. Raise TypeError or ValueError."""
    if not isinstance(given, str):
        raise TypeError(f"expected text, got {type(given).__name__}")
    try:
        if kind is Size:
            return Size(parse_size(given))
        if kind is Rate:
            return Rate(parse_rate(given))
        return Duration(parse_duration(given)) if kind is Duration else kind(given)
    except BadUnit as error:
        raise ValueError(str(error)) from error


def said(given: Any, kind: Any = None) -> str:
    """Return a given value as a message shows it; never a secret."""
    if kind is Secret:
        return f"this {type(given).__name__}"
    if isinstance(given, bool):
        return str(given).lower()
    return f'"{given}"' if isinstance(given, str) else repr(given)


def find_line(text: str, path: tuple[str, ...]) -> int | None:
    """Return the line of a key, else of its section, in a TOML text; None where it hides."""
    section: tuple[str, ...] = ()
    best: tuple[int, int] | None = None  # how much of the path, where
    seen: dict[str, int] = {}  # [[headers]], which come several times
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            section = _dotted(header[2])
            if header[1] == "[[":
                seen[header[2]] = seen.get(header[2], 0) + 1
                section = (*section[:-1], f"{section[-1]}[{seen[header[2]]}]")
            found = section
        elif key := _KEY.match(line):
            found = (*section, *_dotted(key[1]))
        else:
            continue
        same = min(len(found), len(path))
        if found[:same] == path[:same] and (best is None or same > best[0]):
            best = (same, number)
    return best[1] if best else None


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
