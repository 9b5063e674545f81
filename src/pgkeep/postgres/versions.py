"""What differs between the PostgreSQL versions that pgkeep knows. Light: WAL commands read it."""

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, NamedTuple


class UnsupportedVersion(PgkeepError):
    """A PostgreSQL version that pgkeep does not know well enough to keep safe."""

    code = "unsupported-postgresql"
    exit_status = 45

    found: str  # where the version was met: a path, a server
    version: str

    def __str__(self) -> str:
        return f"cannot handle {self.found}: it belongs to PostgreSQL {self.version}"

    @property
    def hint(self) -> str:
        return f"this pgkeep keeps PostgreSQL {MIN_MAJOR} to {MAX_MAJOR}; look for a newer pgkeep"


def major_of(version: str) -> int:
    """Return the major version of '18.6', '18beta1' or '9.6.24' (9); 0 when there is none."""
    digits = ""
    for character in version:
        if not (character.isascii() and character.isdigit()):
            break
        digits += character
    return int(digits or 0)


class Version(NamedTuple):
    """One major version. Sources: catversion.h, pg_control.h, xlog_internal.h (XLOG_PAGE_MAGIC)."""

    major: int
    catalog_version: int
    control_version: int
    wal_magic: int

    @property
    def start_function(self) -> str:
        return "pg_backup_start" if self.major >= 15 else "pg_start_backup"

    @property
    def stop_function(self) -> str:
        return "pg_backup_stop" if self.major >= 15 else "pg_stop_backup"

    @property
    def start_call(self) -> str:
        """SQL with parameters label, fast. Never an exclusive backup, which 14 makes by default."""
        return (
            "SELECT pg_backup_start(%s, %s)"
            if self.major >= 15
            else "SELECT pg_start_backup(%s, %s, false)"
        )

    @property
    def stop_call(self) -> str:
        """SQL that ends the backup without waiting for the archive: lsn, labelfile, spcmapfile."""
        return (
            "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)"
            if self.major >= 15
            else "SELECT lsn, labelfile, spcmapfile FROM pg_stop_backup(false, false)"
        )

    @property
    def has_summaries(self) -> bool:
        """Tell whether pg_wal/summaries exists (WAL summarizer)."""
        return self.major >= 17

    @property
    def has_stats_temp_directory(self) -> bool:
        return self.major <= 14

    @property
    def tablespace_folder(self) -> str:
        """The directory inside a tablespace that holds this version's files."""
        return f"PG_{self.major}_{self.catalog_version}"


VERSIONS: Final = {
    version.major: version
    for version in (
        Version(14, 202107181, 1300, 0xD10D),
        Version(15, 202209061, 1300, 0xD110),
        Version(16, 202307071, 1300, 0xD113),
        Version(17, 202406281, 1700, 0xD116),
        Version(18, 202506291, 1800, 0xD118),
    )
}
SUPPORTED: Final = tuple(VERSIONS)
MIN_MAJOR: Final = SUPPORTED[0]
MAX_MAJOR: Final = SUPPORTED[-1]

# known by name so that a refusal can name them
_OTHER_MAGIC: Final = {0xD101: 12, 0xD106: 13, 0xD121: 19}


def version(major: int, found: str) -> Version:
    """Return what is known of a major version. Raise UnsupportedVersion, naming `found`."""
    known = VERSIONS.get(major)
    if known is None:
        raise UnsupportedVersion(found, str(major))
    return known


def major_of_wal_magic(magic: int) -> int | None:
    """Return the major version that writes this WAL page magic, supported or not."""
    for known in VERSIONS.values():
        if known.wal_magic == magic:
            return known.major
    return _OTHER_MAGIC.get(magic)


def major_of_number(server_version_num: int) -> int:
    """Return 18 for 180003."""
    return server_version_num // 10000
