"""Sizes and durations as people write and read them."""

import re
from typing import Final

from pgkeep.errors import PgkeepError

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

_SIZE_UNITS: Final = {
    "": 1, "b": 1,
    "k": KIB, "kb": KIB, "kib": KIB,
    "m": MIB, "mb": MIB, "mib": MIB,
    "g": GIB, "gb": GIB, "gib": GIB,
    "t": 1024 * GIB, "tb": 1024 * GIB, "tib": 1024 * GIB,
}  # fmt: skip
_EXAMPLES: Final = {
    "size": "200MB, 4GiB",
    "duration": "90s, 15min, 14d, 2w",
    "rate": "200MB/s, 1GiB/s",
}
_DURATION_UNITS: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class BadUnit(PgkeepError):
    """A size or duration that cannot be read."""

    code = "bad-unit"
    exit_status = 11

    text: str
    wanted: str

    def __str__(self) -> str:
        return f"cannot read {self.text!r} as a {self.wanted}"

    @property
    def hint(self) -> str:
        return f"write it like {_EXAMPLES.get(self.wanted, '')}"


class Duration(int):
    """Seconds, written '90s', '15min', '14d'."""

    __slots__ = ()


class Rate(int):
    """Bytes per second, written '200MB/s'."""

    __slots__ = ()


class Size(int):
    """Bytes, written '200MB', '4GiB'."""

    __slots__ = ()


def parse_size(text: str) -> int:
    """Return bytes; 'kB', 'MB' ... count in 1024s, as PostgreSQL's own settings do."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _SIZE_UNITS:
        raise BadUnit(text, "size")
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def parse_rate(text: str) -> int:
    """Return bytes per second of '200MB/s'; the '/s' may be left out. Never 0."""
    try:
        rate = parse_size(text.lower().strip().removesuffix("/s"))
    except BadUnit:
        rate = 0
    if rate <= 0:
        raise BadUnit(text, "rate")
    return rate


def parse_duration(text: str) -> int:
    """Return seconds; the units are s, min (or m), h, d, w, and '1h30min' is fine."""
    parts = re.findall(r"(\d+)\s*(s|min|m|h|d|w)", text.lower())
    if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s", "", text.lower()):
        raise BadUnit(text, "duration")
    return sum(int(number) * _DURATION_UNITS[unit] for number, unit in parts)


def format_size(size: float) -> str:
    """Return '812 B', '1.5 GiB': three significant digits, binary units by their right names."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB" if abs(size) < 999.5 else f"{size:,.0f} TiB"


def format_amount(count: int, unit: str) -> str:
    """Return '1.5 GiB' of bytes, '1 file', '12,000 rows' of other units, which are plurals."""
    if unit == "bytes":
        return format_size(count)
    return plural(count, unit.removesuffix("s"), unit)


def plural(count: int, one: str, many: str = "") -> str:
    """Return '1 backup', '1,204 files'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def format_duration(seconds: float) -> str:
    """Return '0.4 s', '38 s', '4 min 10 s', '3 h 5 min', '12 d 4 h'."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for large, small, large_name, small_name in (
        (60, 1, "min", "s"),
        (3600, 60, "h", "min"),
        (86400, 3600, "d", "h"),
    ):
        if whole < large * (60 if large == 60 else 24) or large == 86400:
            major, minor = whole // large, whole % large // small
            return (
                f"{major} {large_name} {minor} {small_name}" if minor else f"{major} {large_name}"
            )
    raise AssertionError
