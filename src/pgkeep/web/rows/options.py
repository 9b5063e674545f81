"""Every option of the config with its value and where that comes from; secrets are hidden. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from msgspec import Struct

from pgkeep.config.shown import harmless, harmless_command
from pgkeep.config_reader import Option, Secret, find_line, options
from pgkeep.units import Duration, Rate, Size, format_duration, format_size

DEFAULT: Final = "default"
_HIDDEN: Final = "hidden"
_COMMAND: Final = "passphrase_command"


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option as it is used."""

    section: str  # 'clusters.main.schedule'; '' for the file itself
    name: str
    value: str
    origin: str  # 'line 12', or 'default'
    says: str  # what it does

    @property
    def is_set(self) -> bool:
        return self.origin != DEFAULT


def rows(config: Struct, table: Mapping[str, Any], text: str) -> list[OptionRow]:
    """Return the options in the order of their declaration; `text` is the file's, for its lines."""
    return list(_of(config, table, (), text))


def _of(
    config: Struct, table: Mapping[str, Any], path: tuple[str, ...], text: str
) -> Iterator[OptionRow]:
    deeper = []
    for option in options(type(config)):
        value, given = getattr(config, option.name), table.get(option.name)
        if _is_section(option):
            deeper.append((option, value, given))
        else:
            yield _row(option, value, path, text, given=option.name in table)
    for option, value, given in deeper:
        here = (*path, option.name)
        for name, inner, inner_given in _parts(value, given):
            yield from _of(inner, inner_given, _under(here, name), text)


def _under(path: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return where a part is: 'clusters' and 'main', 'repository[2]'."""
    if name.startswith("["):
        return (*path[:-1], f"{path[-1]}{name}")
    return (*path, name) if name else path


def _parts(value: Any, given: Any) -> Iterator[tuple[str, Struct, Mapping[str, Any]]]:
    """Yield the sections of an option: one, one for each name, or one for each place in a list."""
    if isinstance(value, Struct):
        yield "", value, given or {}
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, Struct):
                yield name, inner, (given or {}).get(name, {})
    else:
        given = [given] if isinstance(given, Mapping) else list(given or ())
        for place, inner in enumerate(value):
            name = f"[{place + 1}]" if len(given) > 1 or len(value) > 1 else ""
            yield name, inner, given[place] if place < len(given) else {}


def _is_section(option: Option) -> bool:
    kind = option.kind
    if isinstance(kind, type) and issubclass(kind, Struct):
        return True
    inner = [one for one in get_args(kind) if isinstance(one, type) and issubclass(one, Struct)]
    return get_origin(kind) in (tuple, dict) and bool(inner)


def _row(option: Option, value: Any, path: tuple[str, ...], text: str, *, given: bool) -> OptionRow:
    line = find_line(text, (*path, option.name)) if given else None
    origin = DEFAULT if not given else f"line {line}" if line else "the file"
    says = (option.meta.description or "") if option.meta else ""
    return OptionRow(".".join(path), option.name, _shown(option, value), origin, says)


def _shown(option: Option, value: Any) -> str:
    if isinstance(value, Secret):
        return _HIDDEN if value.reveal() else ""
    if option.name == _COMMAND and value:
        return harmless_command(str(value))
    if option.kind is Duration:
        return format_duration(value)
    if option.kind is Size:
        return format_size(value)
    if option.kind is Rate:
        return f"{format_size(value)}/s" if value else "no limit"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        # Of options that another program reads nobody knows which are secret.
        return ", ".join(f"{name} = {_HIDDEN}" for name in value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(harmless(str(one)) for one in value)
    return harmless(str(value))
