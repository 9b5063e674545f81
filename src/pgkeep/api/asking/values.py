"""What may stand behind an option of a command that the API or the page asks for. Pure.

Each check returns why a value cannot be meant, or None. None lets through what begins with '-',
what no person types, or a path that leads where it does not say.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.target import BadTarget, parse_target, parse_timeline
from pgkeep.units import parse_duration, parse_rate

LONGEST: Final = 4096  # bytes of a value; PATH_MAX is the longest that makes sense
_ID: Final = re.compile(r"D?[0-9]{8}T[0-9]{6}(\.[0-9]{6})?Z-[0-9a-f]{4,16}")
_SHARE: Final = re.compile(r"(100|[0-9]{1,2}(\.[0-9]{1,4})?)%")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAME_BYTES: Final = 63  # NAMEDATALEN - 1 of pg_config_manual.h


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the config says about where commands may reach."""

    restore_directories: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()


Check = Callable[[str, Bounds], str | None]


def text(value: str, _bounds: Bounds) -> str | None:
    """Words for people."""
    return "it is longer than 1000 characters" if len(value) > 1000 else None


def id(value: str, _bounds: Bounds) -> str | None:
    """One backup or dump, and no other: ids may not be cut short here."""
    return None if _ID.fullmatch(value) else "it is not the full id of a backup or dump"


def id_or_latest(value: str, bounds: Bounds) -> str | None:
    return None if value == "latest" else id(value, bounds)


def name(value: str, _bounds: Bounds) -> str | None:
    """What PostgreSQL takes for a name."""
    return None if 0 < len(value.encode()) <= _NAME_BYTES else "names have 1 to 63 bytes"


def table(value: str, _bounds: Bounds) -> str | None:
    """DATABASE.SCHEMA.TABLE; whoever uses it reads it fully."""
    return None if len(value.encode()) <= 4 * (_NAME_BYTES + 2) else "no table's name is so long"


def target(value: str, _bounds: Bounds) -> str | None:
    """What restore --to takes."""
    try:
        parse_target(value, UTC)
    except BadTarget as error:
        return error.why
    return None


def drill_target(value: str, bounds: Bounds) -> str | None:
    return None if value == "random" else target(value, bounds)


def timeline(value: str, _bounds: Bounds) -> str | None:
    try:
        parse_timeline(value)
    except BadTarget as error:
        return error.why
    return None


def duration(value: str, _bounds: Bounds) -> str | None:
    try:
        parse_duration(value)
    except PgkeepError as error:
        return str(error)
    return None


def rate(value: str, _bounds: Bounds) -> str | None:
    try:
        parse_rate(value)
    except PgkeepError as error:
        return str(error)
    return None


def moment(value: str, bounds: Bounds) -> str | None:
    """A time, or how long ago."""
    return None if duration(value, bounds) is None else target(value, bounds)


def until(value: str, bounds: Bounds) -> str | None:
    """A date, or how long from now."""
    if _DATE.fullmatch(value) or duration(value, bounds) is None:
        return None
    return "it is neither a date like 2027-01-31 nor a duration like 90d"


def share(value: str, _bounds: Bounds) -> str | None:
    return None if _SHARE.fullmatch(value) else "it is no share like 5%"


def number(least: int, most: int) -> Check:
    """A whole number of a range."""

    def check(value: str, _bounds: Bounds) -> str | None:
        fits = value.isascii() and value.isdigit() and len(value) <= 18
        return None if fits and least <= int(value) <= most else f"it is no {least} to {most}"

    return check


def one_of(*words: str) -> Check:
    """One of a few words."""

    def check(value: str, _bounds: Bounds) -> str | None:
        return None if value in words else f"it takes {', '.join(words)}"

    return check


def repository(value: str, bounds: Bounds) -> str | None:
    """A repository of the config, by its name: an address could be anywhere."""
    return None if value in bounds.repositories else "the config has no repository of that name"


def new_directory(value: str, bounds: Bounds) -> str | None:
    """A folder below one of [service] restore_directories."""
    if not bounds.restore_directories:
        return (
            "[service] restore_directories of pgkeep.toml is empty: nothing is restored from here"
        )
    parts = value.split("/")
    if not value.startswith("/") or any(part in ("", ".", "..") for part in parts[1:]):
        return "it is no absolute path without '//', '.' and '..'"
    below = [top for top in bounds.restore_directories if value.startswith(top.rstrip("/") + "/")]
    known = ", ".join(bounds.restore_directories)
    return None if below else f"it is not below {known} ([service] restore_directories)"
