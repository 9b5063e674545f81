"""The config: one tree of frozen models that declares every option of pgkeep.toml.

pgkeep.config_file finds and parses the file; this module turns the parsed table into a `Config` or
stops, naming file, line and key. docs/configuration.md is made from these declarations by
tools/docs.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pgkeep.config_reader import Reader, Secret
from pgkeep.repository.names import BadName, cluster_prefix
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.units import Duration, Rate, Size


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


class SandboxConfig(_Options, frozen=True, kw_only=True):
    """Where backups are restored only to be looked at: `pgkeep drill`, `pgkeep undo`."""

    directory: Annotated[
        str,
        Meta(
            description="A folder on a file system with room for the whole cluster and the WAL to "
            "replay. Each sandbox is a folder in it, removed at the end. Empty: $TMPDIR, else "
            "/var/tmp.",
            examples=["/srv/scratch"],
        ),
    ] = ""


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
    retention: dict[str, RetentionConfig] = {}  # by repository, where it is not the clusters'
    dump: DumpConfig = DumpConfig()
    sandbox: SandboxConfig = SandboxConfig()


def read_config(table: Mapping[str, Any], file: str, text: str = "") -> Config:
    """Return the config that a parsed `file` holds, or raise BadConfig (`text` tells the line)."""
    reader = Reader(file, text)
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


def _check_repositories(reader: Reader, config: Config, *, single: bool) -> None:
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
        if repository.lock_ahead > repository.lock_maximum:
            why = "is longer than lock_maximum"
            raise reader.error((section, "lock_ahead"), why, "make it shorter")
        names.append(name)
    known = ", ".join(filter(None, names)) or "none that has a name"
    for name in config.retention:
        if name not in names:
            raise reader.error(("retention", name), "names no repository", f"there is {known}")
    for wanted in config.write:
        if wanted not in names or not wanted:
            raise reader.error(("write",), f"names no repository: {wanted!r}", f"there is {known}")


def _check_archiving(reader: Reader, path: tuple[str, ...], cluster: ClusterConfig) -> None:
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
