"""Make the reference pages that follow from the code: errors, configuration, commands.

    python tools/docs.py            write docs/errors.md, docs/configuration.md, docs/commands.md
    python tools/docs.py --check    say which are out of date; exit status 1 if any is

Between the markers of a page everything is made; the text around them is written by hand.
"""

import importlib
import inspect
import json
import os
import pkgutil
import sys
import types
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

import pgkeep
from pgkeep.config.sections import (
    ClusterConfig,
    ClusterDrillConfig,
    DrillCheckConfig,
    DrillConfig,
    DumpConfig,
    RetentionConfig,
    SandboxConfig,
)
from pgkeep.config.service import (
    AlertsConfig,
    ChannelConfig,
    ObjectivesConfig,
    ScheduleConfig,
    ServiceConfig,
)
from pgkeep.config.whole import Config
from pgkeep.config_reader import Option, describe, options
from pgkeep.errors import PgkeepError
from pgkeep.repository.store.access import PricesConfig, RepositoryConfig
from pgkeep.units import Duration, Size, format_duration, format_size

DOCS: Final = Path(__file__).parent.parent / "docs"
BEGIN: Final = "<!-- made by tools/docs.py from here -->"
END: Final = "<!-- to here -->"
_MOMENT: Final = datetime(2026, 1, 15, 15, 47, 21, tzinfo=UTC)


def main(arguments: list[str]) -> int:
    pages = {
        "errors.md": errors_page,
        "configuration.md": options_page,
        "commands.md": commands_page,
    }
    stale = []
    for name, make in pages.items():
        path = DOCS / name
        old = path.read_text()
        new = renewed(old, make())
        if new == old:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(new)
    for name in stale:
        sys.stdout.write(f"{name} {'is out of date' if '--check' in arguments else 'written'}\n")
    return 1 if stale and "--check" in arguments else 0


def renewed(page: str, made: str) -> str:
    """Return the page with what stands between its markers replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"a page has lost its markers: {page[:60]!r}")
    return f"{before}{BEGIN}\n\n{made.strip()}\n\n{END}{after}"


# errors


def error_classes() -> list[type[PgkeepError]]:
    """Return every error that pgkeep can raise, by exit status."""
    for module in pkgutil.walk_packages(pgkeep.__path__, "pgkeep."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[type[PgkeepError]] = set()
    waiting: list[type[PgkeepError]] = [PgkeepError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.startswith("pgkeep."):
                found.add(kind)
    return sorted(found, key=lambda kind: (kind.exit_status, kind.code))


def example(kind: type[PgkeepError]) -> PgkeepError:
    """Return an error of this class whose facts are their own names: to show its sentences."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: placeholder(name, hints[name]) for name in kind._fields()})


def placeholder(name: str, kind: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return placeholder(name, next(part for part in inner if part is not type(None)))
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return tuple(placeholder(name, part) for part in inner)
    if origin is not None and (origin in (list, tuple) or "Sequence" in str(origin)):
        return (tuple if origin is tuple else list)([placeholder(name, inner[0])])
    if origin is not None:
        return origin()
    supertype = getattr(kind, "__supertype__", None)
    if supertype is not None:
        return placeholder(name, supertype)
    if not isinstance(kind, type):
        return f"<{name}>"
    if issubclass(kind, Enum):
        return next(iter(kind))
    if issubclass(kind, bool):
        return False
    if issubclass(kind, str):
        return kind(f"<{name}>")
    if issubclass(kind, (int, float)):
        return kind(7)
    if issubclass(kind, datetime):
        return _MOMENT
    if hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return kind(*(placeholder(field, hints[field]) for field in kind._fields))
    return f"<{name}>"


def errors_page() -> str:
    blocks = []
    for kind in error_classes():
        shown = example(kind)
        lines = [
            f"### {kind.exit_status} `{kind.code}`",
            first_sentence(kind),
            f"> error: {_literal(str(shown))}",
        ]
        if shown.hint:
            lines.append(f"> hint: {_literal(shown.hint)}")
        blocks.append("\n\n".join(lines[:2]) + "\n\n" + "\n>\n".join(lines[2:]))
    return "\n\n".join(blocks)


def first_sentence(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _literal(text: str) -> str:
    """Return text as Markdown shows it, without what belongs to the machine that makes the page."""
    text = text.replace(os.getcwd(), "DIRECTORY") if os.getcwd() != "/" else text
    return text.replace("<", "&lt;").replace("*", "\\*").replace("\n", "<br>")


# configuration


def _retention() -> str:
    return (
        f"{first_sentence(RetentionConfig)} The second form, with the name of a [[repository]], "
        "says it for that one, instead of what its clusters say."
    )


def options_page() -> str:
    sections = (
        ("Top of the file", "", Config),
        ("[repository] or [[repository]]", first_sentence(RepositoryConfig), RepositoryConfig),
        ("[repository.prices]", first_sentence(PricesConfig), PricesConfig),
        ("[clusters.NAME]", first_sentence(ClusterConfig), ClusterConfig),
        ("[clusters.NAME.retention] or [retention.REPOSITORY]", _retention(), RetentionConfig),
        (
            "[clusters.NAME.drill]",
            first_sentence(ClusterDrillConfig),
            ClusterDrillConfig,
        ),
        (
            "[[clusters.NAME.drill.checks]]",
            first_sentence(DrillCheckConfig),
            DrillCheckConfig,
        ),
        ("[clusters.NAME.schedule]", inspect.getdoc(ScheduleConfig) or "", ScheduleConfig),
        ("[clusters.NAME.objectives]", first_sentence(ObjectivesConfig), ObjectivesConfig),
        ("[drill]", first_sentence(DrillConfig), DrillConfig),
        ("[dump]", first_sentence(DumpConfig), DumpConfig),
        ("[sandbox]", first_sentence(SandboxConfig), SandboxConfig),
        ("[service]", first_sentence(ServiceConfig), ServiceConfig),
        ("[alerts]", first_sentence(AlertsConfig), AlertsConfig),
        ("[[alerts.channels]]", first_sentence(ChannelConfig), ChannelConfig),
    )
    blocks = []
    for title, about, model in sections:
        rows = [_row(option) for option in options(model) if not _is_section(option)]
        blocks.append(f"## {title}\n\n{about}\n\n" + "\n\n".join(rows))
    return "\n\n".join(block.replace("\n\n\n", "\n") for block in blocks)


def _is_section(option: Option) -> bool:
    kind = option.kind
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    return (
        (origin is dict and inner[1] is not Any)
        or (origin is tuple)
        or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))
    )


def _row(option: Option) -> str:
    meta = option.meta
    about = meta.description if meta else ""
    examples = meta.examples if meta and meta.examples else []
    written = [json.dumps(value) for value in examples]
    shown = "".join(f" For example `{option.name} = {value}`." for value in written)
    return f"**`{option.name}`**: {describe(option)}; {_default(option)}. {about}{shown}"


def _default(option: Option) -> str:
    default = option.default
    if default is msgspec.NODEFAULT:
        return "must be given"
    if isinstance(default, Size):
        return f'default `"{format_size(default).replace(" ", "")}"`'
    if isinstance(default, bool):
        return f"default `{str(default).lower()}`"
    if isinstance(default, Duration):
        return f"default {format_duration(default) if default else 'none'}"
    if isinstance(default, str | dict) and not default:
        return "default none"
    return f"default `{default}`"


# commands


def commands_page() -> str:
    from pgkeep.cli.context import Context
    from pgkeep.cli.main import build_app

    root = typer.main.get_command(build_app(Context()))
    return "\n\n".join(_commands(root, "pgkeep"))


def _commands(command: Any, path: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    about = (command.help or "").strip()
    if inner is None or path == "pgkeep":
        title = "Global options" if path == "pgkeep" else f"`{path}`"
        words = "" if path == "pgkeep" else f"{about}\n\n"
        yield f"## {title}\n\n{words}{_usage(command, path)}"
    for name, child in (inner or {}).items():
        yield from _commands(child, f"{path} {name}")


def _usage(command: Any, path: str) -> str:
    rows = []
    words = [path]
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        named, about = parameter.get_help_record(typer.Context(command)) or ("", "")
        own = str(parameter.name).upper().replace("_", "-")
        if parameter.param_type_name == "argument":
            named = named.partition(" ")[0]
            words.append(named if parameter.required or "[" in named else f"[{named}]")
        named = named.replace("<str>", own).replace("<int range>", "N").replace("<int>", "N")
        rows.append(_cells(named.strip("[]"), about))
    usage = f"    {' '.join(words)}{' [OPTIONS]' if len(rows) >= len(words) else ''}"
    return "\n".join([usage, "", "| | |", "|---|---|", *rows]) if rows else usage


def _cells(name: str, about: str) -> str:
    name, about = (text.replace("|", "\\|") for text in (name, about))
    return f"| `{name}` | {about} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
