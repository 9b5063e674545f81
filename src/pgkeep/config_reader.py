"""Reads a parsed config file beside the models that declare its options; errors name file and key.

What the options are is in config/.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta, Struct

from pgkeep.errors import PgkeepError
from pgkeep.units import BadUnit, Duration, Rate, Size, parse_duration, parse_rate, parse_size

_Section = TypeVar("_Section", bound=Struct)
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


class BadConfig(PgkeepError):
    """The config file holds something that pgkeep does not understand."""

    code = "bad-config"
    exit_status = 101

    file: str
    line: int | None
    key: str
    why: str
    advice: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"cannot use {self.file}: {place}{self.key} {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


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


class Option(NamedTuple):
    """One declared option, for the reader and for docs/configuration.md."""

    name: str
    kind: Any  # the bare type
    default: Any  # msgspec.NODEFAULT when it must be given
    meta: Meta | None


def options(model: type[Struct]) -> Iterator[Option]:
    """Yield the options that a section declares."""
    hints = get_type_hints(model, include_extras=True)
    # A section's own come before those that it shares with others.
    fields = msgspec.structs.fields(model)
    for field in sorted(fields, key=lambda field: field.name not in model.__annotations__):
        hint = hints[field.name]
        annotated = get_origin(hint) is Annotated
        kind, meta = get_args(hint)[:2] if annotated else (hint, None)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        yield Option(field.name, kind, default, meta)


class Reader:
    """Walks a parsed file beside its model, so that every error knows its exact key."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text

    def error(self, path: tuple[str, ...], why: str, advice: str = "") -> BadConfig:
        return BadConfig(self.file, find_line(self.text, path), ".".join(path), why, advice)

    def section(self, model: type[_Section], table: Any, path: tuple[str, ...]) -> _Section:
        if not isinstance(table, Mapping):
            advice = f"write [{'.'.join(path)}] on a line of its own and its options below"
            raise self.error(path, f"is a section, not {_said(table)}", advice)
        known = {option.name: option for option in options(model)}
        for key in table:
            if key not in known:
                raise self._unknown(key, list(known), path)
        for name, option in known.items():
            if option.default is msgspec.NODEFAULT and name not in table:
                advice = f"add it under [{'.'.join(path)}]" if path else f"add a [{name}] section"
                raise self.error((*path, name), "is missing", advice)
        values = {name: self._value(known[name], given, path) for name, given in table.items()}
        return model(**values)

    def _unknown(self, key: str, known: list[str], path: tuple[str, ...]) -> BadConfig:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        valid = f"{f'[{chr(46).join(path)}]' if path else 'the file'} takes {', '.join(known)}"
        advice = f"did you mean {near[0]}? {valid}" if near else valid
        return self.error((*path, key), "is not an option", advice)

    def _value(self, option: Option, given: Any, path: tuple[str, ...]) -> Any:
        here = (*path, option.name)
        if isinstance(option.kind, type) and issubclass(option.kind, Struct):
            return self.section(option.kind, given, here)
        if get_origin(option.kind) is tuple:
            return self._sections(get_args(option.kind)[0], given, here)
        if get_origin(option.kind) is dict:
            if not isinstance(given, Mapping):
                raise self.error(
                    here,
                    f"holds sections, not {_said(given)}",
                    "write [clusters.main] on a line of its own",
                )
            model = get_args(option.kind)[1]
            if model is Any:
                return dict(given)  # whoever uses it reads it
            return {
                name: self.section(model, table, (*here, name)) for name, table in given.items()
            }
        kind = Annotated[option.kind, option.meta] if option.meta else option.kind
        try:
            return msgspec.convert(given, kind, dec_hook=_own_type)
        except msgspec.ValidationError as error:
            why = f"cannot be {_said(given, option.kind)}"
            raise self.error(here, why, f"it takes {describe(option)}") from error

    def _sections(
        self, model: type[_Section], given: Any, path: tuple[str, ...]
    ) -> tuple[_Section, ...]:
        """Read a section that may be there once, as [name], or several times, as [[name]]."""
        if not isinstance(given, list):
            return (self.section(model, given, path),)
        if not given:
            raise self.error(path, "is empty", f"add a [{path[-1]}] section")
        tables = enumerate(given, 1)
        return tuple(
            self.section(model, table, (*path[:-1], f"{path[-1]}[{n}]")) for n, table in tables
        )


def _own_type(kind: type, given: Any) -> Any:
    if not isinstance(given, str):
        raise TypeError(f"expected text, got {type(given).__name__}")
    try:
        if kind is Rate:
            return Rate(parse_rate(given))
        if kind is Size:
            return Size(parse_size(given))
        return Duration(parse_duration(given)) if kind is Duration else kind(given)
    except BadUnit as error:
        raise ValueError(str(error)) from error


def _said(given: Any, kind: Any = None) -> str:
    if kind is Secret:
        return f"this {type(given).__name__}"
    if isinstance(given, bool):
        return str(given).lower()
    return f'"{given}"' if isinstance(given, str) else repr(given)


def describe(option: Option) -> str:
    """Say in words which values an option takes."""
    kind, meta = option.kind, option.meta
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if kind is Duration:
        return "a duration like 90s, 15min, 14d, 2w in quotes"
    if kind is Size:
        return "a size like 200MB in quotes"
    if kind is bool:
        return "true or false"
    if kind is Rate:
        return "a size per second like 200MB/s in quotes"
    if kind is float:
        return "a number from 0 on"
    if get_origin(kind) in (dict, tuple):
        return "a section"
    if get_origin(kind) is list:
        return 'a list like ["one", "two"]'
    if kind is int and meta is not None:
        low, high = meta.ge, meta.le
        return f"a number from {low} to {high}" if high is not None else f"a number from {low} on"
    return "text in quotes"


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
