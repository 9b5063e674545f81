"""Which commands the API and the page may ask for, with which options and values. Pure.

A table of what is allowed, so that nothing else can be: an option that pgkeep gains is refused
until it stands here. What is not here on purpose reaches files, addresses or servers of the
asker's choice: --scratch, --html, --into, --pg-bin, --from, --filter, --dump FILE, --replace.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgkeep.api.asking import values
from pgkeep.api.asking.values import Bounds, Check
from pgkeep.api.errors import BadRequest

_MOST_WORDS: Final = 200
_JOBS: Final = values.number(1, 256)
_KINDS: Final = values.one_of(
    *("delete", "update", "truncate", "drop-table", "drop-matview", "drop-index"),
    *("drop-sequence", "drop-schema", "drop-database", "drop-tablespace", "drop-column"),
    *("drop", "rewrite"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command, and what may stand behind it."""

    words: tuple[str, ...]
    act: str  # of rights.NEEDS
    options: Mapping[str, Check] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    argument: Check | None = None
    most: int = 1  # arguments
    least: int = 0
    required: tuple[str, ...] = ()  # options
    always: tuple[str, ...] = ()  # flags that are put there: nobody sits at a job's terminal
    acts: Mapping[str, str] = field(default_factory=dict)  # flag or option -> the act it makes
    confirm: bool = False  # whether the cluster's name must be typed


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that may be run, as it is run."""

    words: tuple[str, ...]
    act: str
    confirm: bool
    target_directory: str = ""


# Not of undo: its preview recovers a copy and shows rows.
_PREVIEW: Final = {"--dry-run": "preview"}
_MOMENT: Final[Mapping[str, Check]] = {
    "--before": values.target,
    "--at": values.target,
    "--event": values.number(1, 10**9),
    "--backup": values.id,
}
_RETURNING: Final[Mapping[str, Check]] = {
    **_MOMENT,
    "--as": values.name,
    "--lock-timeout": values.duration,
}

COMMANDS: Final = (
    Command(
        ("backup",),
        "backup",
        {
            "--type": values.one_of("auto", "full", "incremental"),
            "--label": values.text,
            "--jobs": _JOBS,
            "--rate": values.rate,
        },
    ),
    Command(
        ("dump", "create"),
        "dump",
        {
            "--database": values.name,
            "--exclude-database": values.name,
            "--label": values.text,
            "--jobs": _JOBS,
            "--lock-wait": values.duration,
        },
        frozenset({"--all", "--schema-only"}),
    ),
    Command(
        ("dump", "restore"),
        "dump-restore",
        {
            "--name": values.name,
            "--database": values.name,
            "--table": values.table,
            "--sample": values.share,
            "--jobs": _JOBS,
        },
        frozenset({"--masked", "--no-owner", "--no-privileges", "--schema-only", "--dry-run"}),
        values.id_or_latest,
        least=1,
        required=("--name",),
        acts=_PREVIEW,
    ),
    Command(
        ("drill",),
        "drill",
        {
            "--to": values.drill_target,
            "--timeline": values.timeline,
            "--seed": values.name,
            "--jobs": _JOBS,
            "--rate": values.rate,
        },
        frozenset({"--exclusive", "--dump"}),
        values.id_or_latest,
    ),
    Command(
        ("verify",),
        "verify",
        {
            "--level": values.one_of("objects", "bytes"),
            "--sample": values.share,
            "--since": values.moment,
            "--jobs": _JOBS,
            "--rate": values.rate,
        },
        frozenset({"--repair"}),
        values.id,
        most=100,
    ),
    Command(
        ("check",),
        "check",
        {"--timeout": values.duration},
        frozenset({"--no-switch", "--store", "--321"}),
    ),
    Command(("census", "take"), "census"),
    Command(("checklist",), "check", flags=frozenset({"--record"})),
    Command(("point",), "point", flags=frozenset({"--wait"}), argument=values.name, least=1),
    Command(
        ("copy",),
        "copy",
        {
            "--to": values.repository,
            "--jobs": values.number(1, 64),
            "--rate": values.rate,
        },
        frozenset({"--policy", "--verify", "--dry-run"}),
        required=("--to",),
        acts=_PREVIEW,
    ),
    Command(
        ("pin",),
        "pin",
        {"--reason": values.text, "--until": values.until},
        frozenset({"--remove"}),
        values.id,
        least=1,
        acts={"--remove": "unpin"},
    ),
    Command(("alert", "test"), "alert-test", {"--channel": values.name}),
    Command(
        ("restore",),
        "restore",
        {
            "--target-dir": values.new_directory,
            "--to": values.target,
            "--timeline": values.timeline,
            "--action": values.one_of("promote", "pause", "shutdown"),
            "--database": values.name,
            "--port": values.number(1024, 65535),
            "--jobs": _JOBS,
            "--rate": values.rate,
        },
        frozenset({"--exclusive", "--accept-hole", "--start", "--dry-run"}),
        values.id,
        required=("--target-dir",),
        acts=_PREVIEW,
    ),
    Command(
        ("undo", "find"),
        "undo-find",
        {
            "--since": values.moment,
            "--until": values.moment,
            "--table": values.table,
            "--database": values.name,
            "--kind": _KINDS,
            "--min-rows": values.number(1, 10**12),
            "--jobs": _JOBS,
        },
    ),
    Command(
        ("undo", "table"),
        "undo",
        {**_RETURNING, "--merge": values.one_of("missing")},
        frozenset({"--into-place", "--dry-run"}),
        values.table,
        least=1,
        always=("--yes",),
        confirm=True,
    ),
    Command(
        ("undo", "rows"),
        "undo",
        {**_RETURNING, "--where": values.text},
        frozenset({"--dry-run"}),
        values.table,
        least=1,
        required=("--where",),
        always=("--yes",),
        # SQL of the asker's own, which a superuser of the copy and pgkeep's role then run.
        acts={"--where": "undo-by-sql"},
        confirm=True,
    ),
    Command(
        ("undo", "database"),
        "undo",
        {**_MOMENT, "--as": values.name, "--jobs": _JOBS},
        frozenset({"--dry-run"}),
        values.name,
        least=1,
        always=("--yes",),
        confirm=True,
    ),
    Command(
        ("undo", "sandbox"),
        "sandbox",
        {**_MOMENT, "--for": values.duration, "--database": values.name},
        required=("--for",),  # else it waits for Ctrl-C, which nobody can press
    ),
    Command(
        ("undo", "sandbox", "--stop"),
        "sandbox",
    ),
    Command(("expire",), "expire", flags=frozenset({"--dry-run"}), acts=_PREVIEW, confirm=True),
    Command(
        ("delete",),
        "delete",
        flags=frozenset({"--dry-run", "--last"}),
        argument=values.id,
        least=1,
        always=("--yes",),
        acts=_PREVIEW,
        confirm=True,
    ),
)


def check(words: Sequence[str], bounds: Bounds) -> Asked:
    """Return a command as it is run, if it may be asked for. Raise BadRequest."""
    command = _find(words)
    given = _read(command, list(words[len(command.words) :]))
    _check_counts(command, given)
    for option, value in given:
        why = _why_not(command, option, value, bounds)
        if why is not None:
            raise BadRequest(f"run {_title(command)}", f"{option or 'its argument'}: {why}")
    names = {option for option, _ in given}
    acts = [act for name, act in command.acts.items() if name in names]
    preview = "--dry-run" in names
    always = () if preview else tuple(flag for flag in command.always if flag not in names)
    said = tuple(_said(option, value) for option, value in given if option)
    arguments = tuple(value for option, value in given if not option and value is not None)
    return Asked(
        (*command.words, *arguments, *said, *always),
        acts[0] if acts else command.act,
        command.confirm and not preview,
        next((value or "" for option, value in given if option == "--target-dir"), ""),
    )


def _find(words: Sequence[str]) -> Command:
    fits = [c for c in COMMANDS if tuple(words[: len(c.words)]) == c.words]
    if not fits or len(words) > _MOST_WORDS:
        known = ", ".join(_title(command) for command in COMMANDS)
        asked = " ".join(words[:2])[:80] or "nothing"
        raise BadRequest(f"run {asked!r}", "it is no command of the service's", f"there is {known}")
    return max(fits, key=lambda command: len(command.words))


def _read(command: Command, rest: list[str]) -> list[tuple[str, str | None]]:
    """Split words into (option, value), (flag, None) and ('', argument)."""
    found: list[tuple[str, str | None]] = []
    given: Iterator[str] = iter(rest)
    for word in given:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            found.append(("", word))
        elif word in command.flags or word in command.always:
            found.append((word, None))
        elif name not in command.options:
            what = f"run {_title(command)}"
            takes = ", ".join([*command.options, *sorted(command.flags)]) or "none"
            raise BadRequest(what, f"it takes no {name[:80]!r} here", f"it takes {takes}")
        elif equals:
            found.append((name, value))
        else:
            found.append((name, next(given, "")))
    return found


def _check_counts(command: Command, given: Sequence[tuple[str, str | None]]) -> None:
    what, names = f"run {_title(command)}", [option for option, _ in given]
    missing = [option for option in command.required if option not in names]
    if missing:
        raise BadRequest(what, f"{missing[0]} is missing")
    most = command.most if command.argument else 0
    if not command.least <= names.count("") <= most:
        raise BadRequest(what, f"it takes {command.least} to {most} arguments")


def _why_not(command: Command, option: str, value: str | None, bounds: Bounds) -> str | None:
    if value is None:
        return None
    check = command.options[option] if option else command.argument
    assert check is not None
    if not value:
        return "it is empty"
    if value.startswith("-"):
        return "it begins with '-'"
    if not value.isprintable() or len(value.encode(errors="replace")) > values.LONGEST:
        return "it holds what cannot be typed, or is too long"
    return check(value, bounds)


def _said(option: str, value: str | None) -> str:
    # One word, so that no value can ever be read as an option.
    return option if value is None else f"{option}={value}"


def _title(command: Command) -> str:
    return " ".join(command.words)
