"""What a manifest tells of its backup beside the tables: docs/formats/manifest.md.

Kept as JSON with ASCII escapes by the standard library, because paths may hold bytes that are no
UTF-8 and msgspec writes no lone surrogates; msgspec then checks every type and range.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn

FORMAT: Final = 1

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
U32 = Annotated[int, Meta(ge=0, lt=1 << 32)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]  # refuses infinity and NaN as well
Moment = Annotated[datetime, Meta(tz=True)]


class BadFacts(ValueError):
    """What is wrong with facts, to follow 'its facts'; the manifest's reader says where."""


class Tablespace(Struct, frozen=True):
    oid: U32
    path: str  # where its symlink pointed, or pg_tblspc/<oid> for one inside PGDATA


class Database(Struct, frozen=True):
    oid: U32
    name: str
    encoding: str = ""
    collate: str = ""
    ctype: str = ""
    collation_version: str = ""


class Extension(Struct, frozen=True):
    database: str
    name: str
    version: str


class ConfigFile(Struct, frozen=True):
    """A configuration file kept outside PGDATA, stored as pgkeep_config/<name>."""

    name: str
    path: str  # where it was


class CorruptPage(Struct, frozen=True):
    """A page that failed its checksum while it was copied."""

    path: str
    block: U32  # of the relation's fork, not of the file
    relation: str = ""  # 'shop.orders' where the catalog could tell


class Reuse(Struct, frozen=True, kw_only=True):
    """What an incremental backup took over from its parent, and how it knew what had changed.

    Bytes are of the cluster unless said otherwise. Nothing here is needed to restore.
    """

    parent: str  # its id; it may be deleted by now
    parent_lsn: str  # its start: pages changed since were read again
    method: str  # 'summaries': WAL summaries named the pages; 'lsn': the pages' own LSNs did
    reason: str = ""  # why not by summaries, where the server has them
    unchanged_files: Count = 0  # same size, times and inode: not read at all
    unchanged_bytes: Count = 0
    paged_files: Count = 0  # of which only changed pages were stored
    paged_bytes: Count = 0  # their size
    changed_pages: Count = 0  # stored as overlays
    whole_files: Count = 0  # read whole
    whole_bytes: Count = 0
    whole_reasons: dict[str, Count] = {}  # why: 'new', 'due for a whole copy' ... and how many
    maps_left_out: Count = 0  # visibility maps that could be ahead of kept pages
    known_bytes: Count = 0  # of those, chunks that were stored already
    moved_bytes: Count = 0  # stored bytes carried out of mostly dead packs


class Facts(Struct, frozen=True, kw_only=True):
    """Everything about a backup except its tables. Unknown fields of later versions are skipped."""

    format: Annotated[int, Meta(ge=1)] = FORMAT
    id: str
    cluster: str
    type: BackupType = BackupType.FULL
    label: str = ""
    generation: Generation
    server_version: str  # '18.6'
    timeline: Annotated[int, Meta(ge=1, lt=1 << 32)]
    start_lsn: str
    stop_lsn: str
    checkpoint_lsn: str = ""  # the checkpoint record that backup_label names
    started_at: Moment
    stopped_at: Moment
    backup_label: str
    tablespace_map: str = ""
    history: str = ""  # the timeline's history file; '' on timeline 1
    tablespaces: tuple[Tablespace, ...] = ()
    settings: dict[str, str] = {}  # those that recovery needs, as the server showed them
    databases: tuple[Database, ...] = ()
    extensions: tuple[Extension, ...] = ()
    config_files: tuple[ConfigFile, ...] = ()
    users: dict[
        str, U32
    ] = {}  # owners' names on the source host, to their numbers in the file table
    groups: dict[str, U32] = {}
    checksums: bool = False
    corrupt: tuple[CorruptPage, ...] = ()  # may be cut short: corrupt_pages is the true count
    corrupt_pages: Count = 0
    source_host: str = ""
    data_directory: str = ""
    data_directory_mode: Annotated[int, Meta(ge=0, le=0o7777)] = 0o700
    pgkeep_version: str = ""
    files: Count = 0  # regular files; this, size and packs are set by ManifestBuilder
    size: Count = 0  # their bytes
    packs: Count = 0
    read: Count = 0  # bytes read from the cluster
    stored: Count = 0  # bytes this backup added to the repository
    duration_s: Seconds = 0.0
    listed_ns: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0  # when files were listed: our clock
    reuse: Reuse | None = None  # None: everything was read and stored
    resumed_bytes: Count = 0  # plain bytes found in packs of an interrupted attempt

    def backup(self) -> Backup:
        """Return the backup as lists, plans and coverage see it."""
        return Backup(
            id=BackupId(self.id),
            type=self.type,
            generation=self.generation,
            timeline=self.timeline,
            start_lsn=Lsn.parse(self.start_lsn),
            stop_lsn=Lsn.parse(self.stop_lsn),
            started_at=self.started_at.astimezone(UTC),
            stopped_at=self.stopped_at.astimezone(UTC),
            label=self.label,
            files=self.files,
            size=self.size,
            stored=self.stored,
            corrupt_pages=self.corrupt_pages,
            checksums=self.checksums,
            parent=BackupId(self.reuse.parent) if self.reuse else None,
        )


def facts_to_json(facts: Struct) -> Any:
    """Return what `json.dumps` can write; a `..._facts_from_json` reads it."""
    return to_builtins(facts)


def facts_from_json(value: Any) -> Facts:
    """Check every field. Raise BadFacts."""
    try:
        facts = convert(value, Facts)
        _check(facts)
    except (ValidationError, PgkeepError) as error:
        raise BadFacts(f"hold a wrong value: {error}") from error
    except OverflowError as error:  # in UTC a time would be before year 1 or after 9999
        raise BadFacts(f"hold a time out of range: {error}") from error
    return facts


def dump_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def load_json(content: bytes) -> Any:
    """Parse JSON of unknown origin. Raise BadFacts, also for NaN, deep nesting and huge numbers."""
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadFacts("are nested too deeply") from error
    except ValueError as error:
        raise BadFacts(f"are no JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _check(facts: Facts) -> None:
    backup = facts.backup()
    if facts.checkpoint_lsn:
        Lsn.parse(facts.checkpoint_lsn)
    generation = facts.generation
    if backup.stop_lsn < backup.start_lsn:
        raise BadFacts(f"end at {facts.stop_lsn}, before their start at {facts.start_lsn}")
    limits = {
        "WAL segment size": (generation.segment_size, 1 << 20, 1 << 30),
        "block size": (generation.block_size, 1 << 10, 1 << 15),
    }
    for name, (value, least, most) in limits.items():
        if not least <= value <= most or value & (value - 1):
            raise BadFacts(f"tell of a {name} of {value} bytes")
    if not 0 < generation.segment_blocks < 1 << 32 or not 0 < generation.major < 1000:
        raise BadFacts("tell of an impossible major version or number of blocks")
    if not 0 < generation.system_identifier < 1 << 64:
        raise BadFacts(f"tell of the system identifier {generation.system_identifier}")
