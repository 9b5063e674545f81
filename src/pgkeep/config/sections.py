"""The sections of pgkeep.toml about clusters: backups, dumps, drills, what is kept."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from pgkeep.config.options import Options
from pgkeep.config.service import ObjectivesConfig, ScheduleConfig
from pgkeep.config_reader import Secret
from pgkeep.units import Duration, Rate, Size


class RetentionConfig(Options, frozen=True, kw_only=True):
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


class CleaningConfig(Options, frozen=True, kw_only=True):
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


class DrillCheckConfig(Options, frozen=True, kw_only=True):
    """A query of your own that every drill of this cluster asks the restored copy."""

    query: Annotated[
        str,
        Meta(
            description="SQL, run in a read-only transaction by a superuser of the copy.",
            examples=["SELECT count(*) FROM shop.orders"],
        ),
    ]
    database: Annotated[str, Meta(description="Where it is asked.", examples=["shop"])] = "postgres"
    expect: Annotated[
        str,
        Meta(
            description="What it must return: a value of its first column and row, a comparison "
            "with it, `rows` or `no rows`.",
            examples=["> 1000"],
        ),
    ] = "rows"
    words: Annotated[
        str,
        Meta(
            description="What it means when the answer is another one.",
            examples=["orders are missing"],
        ),
    ] = ""


class ClusterDrillConfig(Options, frozen=True, kw_only=True):
    """What drills of this cluster look for."""

    may_be_empty: Annotated[
        list[str],
        Meta(
            description="Tables whose absence or emptiness is no fault, although there were rows "
            "before: DATABASE.SCHEMA.TABLE, with `*` for any part of a name.",
            examples=[["shop.public.queue", "*.staging.*"]],
        ),
    ] = []
    checks: tuple[DrillCheckConfig, ...] = ()


class ClusterConfig(Options, frozen=True, kw_only=True):
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
    drill: ClusterDrillConfig = ClusterDrillConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    objectives: ObjectivesConfig = ObjectivesConfig()


class DumpConfig(Options, frozen=True, kw_only=True):
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


class SandboxConfig(Options, frozen=True, kw_only=True):
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


class DrillConfig(Options, frozen=True, kw_only=True):
    """Restore tests: `pgkeep drill`."""

    directory: Annotated[
        str,
        Meta(
            description="Where drills restore: a folder with room for a whole cluster. Empty: "
            "where all sandboxes are.",
            examples=["/srv/drills"],
        ),
    ] = ""
    amcheck: Annotated[
        Literal["full", "quick", "never"],
        Meta(
            description="How far pg_amcheck goes. quick: each table and B-tree by itself. full: "
            "also whether every row is in every index, which takes longer."
        ),
    ] = "full"
    read_all: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="Whether a drill reads all data once, by pg_dump. auto: unless the cluster "
            "is larger than read_limit."
        ),
    ] = "auto"
    read_limit: Annotated[
        Size,
        Meta(description="For auto: the largest cluster that is read.", examples=["1TB"]),
    ] = Size(100 << 30)
    query_timeout: Annotated[
        Duration,
        Meta(description="How long a query of `checks` may take.", examples=["1h"]),
    ] = Duration(600)
    keep: Annotated[
        Duration,
        Meta(
            description="How long reports stay; `pgkeep expire` removes older ones, never the "
            "newest that passed.",
            examples=["400d"],
        ),
    ] = Duration(400 * 86400)
