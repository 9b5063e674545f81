"""The config as it may be shown and kept: without secrets, and still a file that pgkeep reads."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from blake3 import blake3
from msgspec import Struct

from pgkeep.config.whole import Config
from pgkeep.config_reader import Secret, options

HIDDEN: Final = "(not shown)"

_COMMAND: Final = "passphrase_command"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SERVERS: Final = ("postgresql://", "postgres://")  # connection strings, as libpq takes them
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
# Of options that are no secrets, proxies and addresses may carry one all the same.
_IN_ADDRESS: Final = re.compile(r"(://[^/@:\s]*:)[^/@\s]*@|((?:password|sig|secret|token)=)[^&\s]+")


def without_secrets(
    table: Mapping[str, Any], show: Callable[[str], str] = lambda _: HIDDEN
) -> dict[str, Any]:
    """Return a parsed file's table with every secret replaced.

    `show` says what stands for a connection string, and for whatever is no address.
    """
    masked: dict[str, Any] = _masked(table, Config, show)
    return masked


def fingerprint(table: Mapping[str, Any]) -> str:
    """Return what changes whenever the config does. Secrets do not count: nothing tells of them."""
    shown = json.dumps(without_secrets(table), sort_keys=True, default=str)
    return blake3(shown.encode()).hexdigest(8)


def harmless(address: str) -> str:
    """Return an address without the passwords that may stand in it."""
    return _IN_ADDRESS.sub(_hide, address)


def harmless_command(command: str) -> str:
    """Return how a vault is asked, but never a command that holds the secret itself."""
    return HIDDEN if command.split()[:1] in (["echo"], ["printf"]) else harmless(command)


def toml(table: Mapping[str, Any]) -> str:
    """Write a table as TOML: plain values first, then sections."""
    return "\n".join(_section(table, ())).strip("\n") + "\n"


def _masked(value: Any, kind: Any, show: Callable[[str], str]) -> Any:
    if kind is Secret:
        return _shown(str.__str__(value), show) if value else value
    model = _struct_in(kind)
    if isinstance(value, Mapping):
        if model is not None and not _is_mapping(kind):
            kinds = {option.name: option.kind for option in options(model)}
            masked = {key: _masked(item, kinds.get(key), show) for key, item in value.items()}
            if isinstance(command := masked.get(_COMMAND), str):
                masked[_COMMAND] = harmless_command(command)
            return masked
        inner = get_args(kind)[-1] if _is_mapping(kind) else None
        return {key: _masked(item, inner, show) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, model, show) for item in value]
    return harmless(value) if isinstance(value, str) else value


def _shown(secret: str, show: Callable[[str], str]) -> str:
    """Return what stands for a secret; an address stays one, or the file would be refused."""
    scheme = _SCHEME.match(secret)
    if scheme is None or scheme[0].lower() in _SERVERS:
        return show(secret)
    return f"{scheme[0]}{HIDDEN}"


def _hide(found: re.Match[str]) -> str:
    return f"{found[1]}***@" if found[1] else f"{found[2]}***"


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is dict


def _struct_in(kind: Any) -> type[Struct] | None:
    """Return the section that a type is made of, once or many times."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next(filter(None, map(_struct_in, get_args(kind))), None)


def _section(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    deeper = {key: item for key, item in table.items() if _is_section(item)}
    for key, item in table.items():
        if key not in deeper:
            yield f"{_key(key)} = {_value(item)}"
    for key, item in deeper.items():
        here = (*path, key)
        name = ".".join(map(_key, here))
        if isinstance(item, Mapping):
            # A section of nothing but sections needs no line of its own.
            alone = not item or not all(map(_is_section, item.values()))
            yield from (*(("", f"[{name}]") if alone else ()), *_section(item, here))
            continue
        for one in item:
            yield from ("", f"[[{name}]]", *_section(one, here))


def _is_section(item: Any) -> bool:
    if isinstance(item, Mapping):
        return True
    return isinstance(item, list) and bool(item) and all(isinstance(i, Mapping) for i in item)


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _value(item: Any) -> str:
    match item:
        case bool():
            return "true" if item else "false"
        case int() | float():
            return repr(item)
        case list() | tuple():
            return f"[{', '.join(map(_value, item))}]"
        case Mapping():
            return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in item.items()) + "}"
        case _:
            return json.dumps(str(item), ensure_ascii=False).replace("\x7f", "\\u007f")
