"""What a server tells of itself and its cluster."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

from pgkeep.model.cluster import Generation

# What a restored server must match before it recovers (docs: hot-standby administration).
HOT_STANDBY_SETTINGS: Final = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
# Kept with every backup, for the restore on another machine.
RECOVERY_SETTINGS: Final = (
    *HOT_STANDBY_SETTINGS,
    "wal_level",
    "data_checksums",
    "TimeZone",
    "log_timezone",
    "shared_preload_libraries",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "log_directory",
    "unix_socket_directories",
    "ssl",
    "ssl_cert_file",
    "ssl_key_file",
    "huge_pages",
    "shared_buffers",
    "lc_messages",
)


@dataclass(frozen=True, slots=True)
class Database:
    """One database, with all that decides whether its indexes sort right elsewhere."""

    oid: int
    name: str
    encoding: str
    collate: str
    ctype: str
    provider: str  # 'libc', 'icu', 'builtin'
    locale: str  # of icu and builtin; '' for libc
    collation_version: str  # recorded when it was created; '' when unknown
    actual_version: str  # of the libraries the server runs with; '' before 15
    connectable: bool


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension installed in a database."""

    database: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Tablespace:
    """A tablespace outside the data directory, or inside it (path below pg_tblspc)."""

    oid: int
    name: str
    path: str


class Identity(NamedTuple):
    """Which cluster this is, and in which state: the row of IDENTITY."""

    system_identifier: int
    in_recovery: bool
    control_timeline: int  # as of the last checkpoint or restartpoint
    wal_timeline: str | None  # in hexadecimal, of the WAL being written; None in recovery
    checksum_version: int
    is_superuser: bool
    role: str
    database: str
    clock: datetime
    started_at: datetime

    @property
    def timeline(self) -> int:
        # After a promotion the control file tells the old timeline until the next checkpoint.
        if self.wal_timeline is not None:
            return int(self.wal_timeline, 16)
        return self.control_timeline


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server and its cluster, as seen at one moment."""

    identity: Identity
    settings: Mapping[str, str]  # all that the role may see, in their base units
    included_files: tuple[str, ...]  # those that set anything, with config_file and its like
    databases: tuple[Database, ...]
    extensions: tuple[Extension, ...]  # of the connected database
    tablespaces: tuple[Tablespace, ...]

    @property
    def system_identifier(self) -> int:
        return self.identity.system_identifier

    @property
    def in_recovery(self) -> bool:
        return self.identity.in_recovery

    @property
    def timeline(self) -> int:
        return self.identity.timeline

    @property
    def clock(self) -> datetime:
        """The server's time when it was asked."""
        return self.identity.clock

    @property
    def data_checksums(self) -> bool:
        return self.identity.checksum_version != 0

    @property
    def version(self) -> str:
        """'18.6', without a packager's additions."""
        return self.settings["server_version"].split()[0]

    @property
    def version_num(self) -> int:
        return int(self.settings["server_version_num"])

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def generation(self) -> Generation:
        return Generation(
            self.system_identifier,
            self.major,
            self.segment_size,
            self.block_size,
            int(self.settings["segment_size"]),
        )

    @property
    def segment_size(self) -> int:
        return int(self.settings["wal_segment_size"])

    @property
    def block_size(self) -> int:
        return int(self.settings["block_size"])

    @property
    def data_directory(self) -> str:
        return self.settings["data_directory"]

    @property
    def wal_level(self) -> str:
        return self.settings["wal_level"]

    @property
    def archive_mode(self) -> str:
        return self.settings["archive_mode"]

    @property
    def archive_command(self) -> str:
        """Empty when none is set; the server shows '(disabled)' while archive_mode is off."""
        command = self.settings["archive_command"]
        return "" if command == "(disabled)" else command

    @property
    def archive_library(self) -> str:
        return self.settings.get("archive_library", "")

    @property
    def archive_timeout(self) -> int:
        """Seconds; 0: segments are archived only when they are full."""
        return int(self.settings["archive_timeout"])

    @property
    def full_page_writes(self) -> bool:
        return self.settings["full_page_writes"] == "on"

    @property
    def summarize_wal(self) -> bool:
        return self.settings.get("summarize_wal") == "on"

    @property
    def timezone(self) -> str:
        """The server's own zone, whatever this session uses."""
        return self.settings["TimeZone"]

    @property
    def log_directory(self) -> str:
        return self.settings["log_directory"]

    @property
    def stats_temp_directory(self) -> str:
        """Where 14 keeps statistics while it runs; later versions have no such setting."""
        return self.settings.get("stats_temp_directory", "")

    @property
    def archiving(self) -> bool:
        """Tell whether the server hands its WAL to anybody."""
        return self.archive_mode != "off" and bool(self.archive_command or self.archive_library)

    def config_files(self) -> dict[str, str]:
        """Return every configuration file: 'config_file', 'hba_file', ..., 'include_1' -> path."""
        named = {
            name: self.settings[name]
            for name in ("config_file", "hba_file", "ident_file")
            if self.settings.get(name)
        }
        auto = posixpath.join(self.data_directory, "postgresql.auto.conf")
        others = [p for p in self.included_files if p not in {*named.values(), auto}]
        return {**named, **{f"include_{n}": path for n, path in enumerate(others, start=1)}}

    def outside_files(self) -> dict[str, str]:
        """Return the configuration files that a copy of the data directory does not contain."""
        inside = posixpath.normpath(self.data_directory) + "/"
        return {
            name: path
            for name, path in self.config_files().items()
            if not posixpath.normpath(path).startswith(inside)
        }

    def recovery_settings(self) -> dict[str, str]:
        """Return the settings that a restore needs to know, as the server shows them."""
        return {name: self.settings[name] for name in RECOVERY_SETTINGS if name in self.settings}


IDENTITY: Final[LiteralString] = """
SELECT (pg_control_system()).system_identifier,
       pg_is_in_recovery(),
       greatest((pg_control_checkpoint()).timeline_id,
                (pg_control_recovery()).min_recovery_end_timeline),
       CASE WHEN NOT pg_is_in_recovery()
            THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
       (pg_control_init()).data_page_checksum_version,
       current_setting('is_superuser') = 'on',
       current_user,
       current_database(),
       clock_timestamp(),
       pg_postmaster_start_time()
"""
# reset_val of TimeZone: the session has its own.
SETTINGS: Final[LiteralString] = """
SELECT name, CASE WHEN name = 'TimeZone' THEN reset_val ELSE setting END FROM pg_settings
"""
SOURCE_FILES: Final[LiteralString] = """
SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL ORDER BY 1
"""
# These two are for superusers unless granted; they also name files whose settings are overridden.
ALL_FILES: Final[LiteralString] = """
SELECT DISTINCT sourcefile FROM pg_file_settings WHERE sourcefile IS NOT NULL ORDER BY 1
"""
HBA_FILES: Final[LiteralString] = """
SELECT DISTINCT file_name FROM pg_hba_file_rules WHERE file_name IS NOT NULL
UNION SELECT DISTINCT file_name FROM pg_ident_file_mappings WHERE file_name IS NOT NULL ORDER BY 1
"""
EXTENSIONS: Final[LiteralString] = """
SELECT current_database(), extname, extversion FROM pg_extension ORDER BY 2
"""
TABLESPACES: Final[LiteralString] = """
SELECT oid, spcname, pg_tablespace_location(oid) FROM pg_tablespace
WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1
"""


def databases_query(major: int) -> LiteralString:
    """Return the query for Database rows: the catalog learned about collations step by step."""
    if major >= 17:
        columns: LiteralString = "datlocprovider, coalesce(datlocale, '')"
    elif major >= 15:
        columns = "datlocprovider, coalesce(daticulocale, '')"
    else:
        columns = "'c', ''"
    versions: LiteralString = (
        "coalesce(datcollversion, ''), coalesce(pg_database_collation_actual_version(oid), '')"
        if major >= 15
        else "'', ''"
    )
    before: LiteralString = (
        "SELECT oid, datname, pg_encoding_to_char(encoding), datcollate, datctype"
    )
    after: LiteralString = "datallowconn FROM pg_database ORDER BY oid"
    return ", ".join((before, columns, versions, after))


_PROVIDERS: Final = {"c": "libc", "i": "icu", "b": "builtin"}


def database(row: tuple[Any, ...]) -> Database:
    """Build a Database from a row of databases_query()."""
    oid, name, encoding, collate, ctype, provider, *rest = row
    return Database(oid, name, encoding, collate, ctype, _PROVIDERS.get(provider, provider), *rest)
