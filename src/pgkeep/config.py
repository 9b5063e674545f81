"""The config: one tree of frozen models that declares every option of pgkeep.toml.

pgkeep.config_file finds and parses the file; this module turns the parsed table into a `Config` or
stops, naming file, line and key. docs/configuration.md is made from these declarations by
tools/docs.
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
from pgkeep.repository.names import BadName, cluster_prefix
from pgkeep.repository.store.access import RepositoryConfig
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


class _Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file."""


class RetentionConfig(_Options, frozen=True, kw_only=True):
    """What must stay restorable: `pgkeep expire` removes the rest."""

    window: Annotated[
        Duration,
        Meta(description="Any second of this long can be restored.", examples=["14d"]),
    ] = Duration(0)
    daily: Annotated[int, Meta(ge=0, description="Beyond it, one backup a day for so many.")] = 0
    weekly: Annotated[int, Meta(ge=0, description="One a week for so many weeks.")] = 0
    monthly: Annotated[int, Meta(ge=0, description="One a month for so many months.")] = 0
    yearly: Annotated[int, Meta(ge=0, description="One a year for so many years.")] = 0
    minimum: Annotated[
        int, Meta(ge=1, description="Never fewer backups than this, whatever the rules say.")
    ] = 2


class CleaningConfig(_Options, frozen=True, kw_only=True):
    """How a backup keeps the repository small and restores quick. docs/architecture.md has why."""

    overlays: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="A file is stored whole again when the pages stored since its last whole "
            "copy come to this many percent of it.",
        ),
    ] = 50
    live: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="A pack of which a backup uses less than this many percent is left: what "
            "is used of it is copied into new packs. 0: never.",
        ),
    ] = 50


class ClusterConfig(_Options, frozen=True, kw_only=True):
    """One PostgreSQL cluster: NAME is its folder in the repository."""

    conninfo: Annotated[
        Secret,
        Meta(
            description="How to connect: a libpq connection string or postgresql:// address. Leave "
            "passwords to ~/.pgpass or a service file.",
            examples=["host=/var/run/postgresql dbname=postgres"],
        ),
    ] = Secret("")
    data_directory: Annotated[
        str,
        Meta(
            description="Where this host sees the data directory, if not where the server says.",
            examples=["/srv/pgdata"],
        ),
    ] = ""
    pg_bin: Annotated[
        str,
        Meta(
            description="The folder with PostgreSQL's programs, if they are in no usual place.",
            examples=["/opt/postgresql/18/bin"],
        ),
    ] = ""
    server_name: Annotated[
        str,
        Meta(
            description="What this server is called in the archive, instead of its host's name. "
            "Needed where the host's name changes from start to start, as in many containers.",
            examples=["db1"],
        ),
    ] = ""
    may_take_over: Annotated[
        list[str],
        Meta(
            description="The servers (hosts, or their server_name) that go on archiving by "
            "themselves when they are promoted. Any other must be told to: `pgkeep wal take-over`.",
            examples=[["db1", "db2"]],
        ),
    ] = []
    jobs: Annotated[
        int,
        Meta(ge=0, le=256, description="Worker processes of a backup or restore; 0: one per core."),
    ] = 0
    wal_timeout: Annotated[
        Duration,
        Meta(
            description="How long a backup goes on waiting for its WAL while none arrives in the "
            "repository.",
            examples=["30min"],
        ),
    ] = Duration(600)
    archive: Annotated[
        Literal["sync", "ahead"],
        Meta(
            description="How `pgkeep init` has the server archive. sync: file by file. ahead: as "
            "soon as several wait, a process beside the server pushes them in parallel."
        ),
    ] = "ahead"
    archive_jobs: Annotated[
        int,
        Meta(
            ge=1, le=64, description="WAL files pushed ahead at once, up to 64 MiB of memory each."
        ),
    ] = 4
    on_archive_failure: Annotated[
        Literal["protect-chain", "protect-database"],
        Meta(
            description="When WAL cannot be archived for long: keep it until the server stops for "
            "want of room, or give up what exceeds archive_backlog_limit. See wal-archiving.md."
        ),
    ] = "protect-chain"
    archive_backlog_limit: Annotated[
        Size,
        Meta(
            description="For protect-database: how much WAL may wait, within pg_wal's room.",
            examples=["20GB"],
        ),
    ] = Size(0)
    rate: Annotated[
        Rate,
        Meta(
            description="The most that all workers together read per second. Empty: no limit.",
            examples=["200MB/s"],
        ),
    ] = Rate(0)
    nice: Annotated[
        int, Meta(ge=0, le=19, description="How far workers step back for CPU time, as nice(1).")
    ] = 0
    ionice: Annotated[
        Literal["", "best-effort", "idle"],
        Meta(
            description="How far workers step back for the disk, as ionice(1): best-effort is its "
            "lowest level, idle waits for everybody."
        ),
    ] = ""
    cleaning: CleaningConfig = CleaningConfig()
    retention: RetentionConfig = RetentionConfig()


class DumpConfig(_Options, frozen=True, kw_only=True):
    """Logical backups: `pgkeep dump`."""

    lock_wait: Annotated[
        Duration,
        Meta(
            description="How long a dump waits for tables that others have locked.",
            examples=["20s"],
        ),
    ] = Duration(60)
    scratch: Annotated[
        str,
        Meta(
            description="Where what pg_dump writes passes through on its way into the repository: "
            "a folder on a file system that can punch holes (ext4, xfs, btrfs, tmpfs). It takes a "
            "quarter of a GiB, whatever the size of the database. Empty: /dev/shm if there is "
            "room, else the system's folder for temporary files.",
            examples=["/srv/scratch"],
        ),
    ] = ""
    masks: Annotated[
        dict[str, Any],
        Meta(
            description="How columns are made unreadable by `pgkeep dump restore --masked`: "
            "`[dump.masks]` with a line for each column, see masked-copies.md.",
        ),
    ] = {}


class Config(_Options, frozen=True, kw_only=True):
    """The whole file."""

    repository: tuple[RepositoryConfig, ...]
    write: Annotated[
        list[str],
        Meta(
            description="The repositories that get every backup, dump and WAL segment, by name. "
            "Empty: each goes to the first that works, in the order of this file.",
            examples=[["local", "offsite"]],
        ),
    ] = []
    timezone: Annotated[
        str,
        Meta(
            description="In which zone times are shown and times without a zone are read: a name "
            "like Europe/Berlin. Empty: the zone of the session.",
            examples=["Europe/Berlin"],
        ),
    ] = ""
    clusters: dict[str, ClusterConfig] = {}
    dump: DumpConfig = DumpConfig()


def read_config(table: Mapping[str, Any], file: str, text: str = "") -> Config:
    """Return the config that a parsed `file` holds, or raise BadConfig (`text` tells the line)."""
    reader = _Reader(file, text)
    config = reader.section(Config, table, ())
    for name in config.clusters:
        try:
            cluster_prefix(name)
        except BadName as error:
            raise reader.error(("clusters", name), "is no name for a cluster", error.hint) from None
    _check_repositories(reader, config, single=isinstance(table["repository"], Mapping))
    for name, cluster in config.clusters.items():
        _check_archiving(reader, ("clusters", name), cluster)
    if config.timezone and not _is_zone(config.timezone):
        why = f"is no time zone: {config.timezone!r}"
        raise reader.error(("timezone",), why, "write a name like Europe/Berlin or UTC")
    return config


def _check_repositories(reader: "_Reader", config: Config, *, single: bool) -> None:
    names: list[str] = []
    for number, repository in enumerate(config.repository, 1):
        section = "repository" if single else f"repository[{number}]"
        if repository.passphrase_file and repository.passphrase_command:
            key = (section, "passphrase_command")
            raise reader.error(key, "is set, and passphrase_file too", "keep one of the two")
        name = repository.name
        if name or len(config.repository) > 1:
            try:
                cluster_prefix(name)
            except BadName as error:
                why = f"is no name for a repository: {name!r}" if name else "is missing"
                raise reader.error((section, "name"), why, error.hint) from None
        if name and name in names:
            why = f"is taken: repository[{names.index(name) + 1}] is {name!r} too"
            raise reader.error((section, "name"), why, "give each its own")
        names.append(name)
    for wanted in config.write:
        if wanted not in names or not wanted:
            known = ", ".join(filter(None, names)) or "none that has a name"
            raise reader.error(("write",), f"names no repository: {wanted!r}", f"there is {known}")


def _check_archiving(reader: "_Reader", path: tuple[str, ...], cluster: ClusterConfig) -> None:
    """Giving WAL up takes a limit, and somebody who makes up for it."""
    if cluster.on_archive_failure == "protect-chain":
        if cluster.archive_backlog_limit:
            why = "is for protect-database alone"
            raise reader.error((*path, "archive_backlog_limit"), why, "leave it out")
        return
    key = (*path, "on_archive_failure")
    if not cluster.archive_backlog_limit:
        raise reader.error(key, "needs archive_backlog_limit", 'write how much may wait: "20GB"')
    if cluster.archive == "sync":
        raise reader.error(key, 'needs archive = "ahead"', "only a pusher gives WAL up")


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


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


class _Reader:
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
