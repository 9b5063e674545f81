"""Whose WAL is this? Segments say so themselves; for the rest the data directory is asked."""

import os

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final

_IDENTIFIER_SIZE: Final = 8  # pg_control.h: ControlFileData begins with system_identifier


class NotArchivable(PgkeepError):
    """A file that PostgreSQL never hands to archive_command, by its name."""

    code = "not-archivable"
    exit_status = 70

    name: str

    def __str__(self) -> str:
        return f"cannot handle {self.name!r}: it is not the name of a WAL file"

    @property
    def hint(self) -> str:
        return "the archive takes segments, .partial, .history and .backup files, as %p names them"


class UnknownGeneration(PgkeepError):
    """WAL of a system identifier or version that the repository doesn't know for this cluster."""

    code = "unknown-generation"
    exit_status = 73

    what: str  # 'archive 000000010000000000000007'
    found: str  # '18-7710983248089545577'; only the identifier where the version is not known
    cluster: str
    repository: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        if not self.known:
            return f"cannot {self.what}: cluster {self.cluster} is not set up in {self.repository}"
        return (
            f"cannot {self.what}: it belongs to {_spell(self.found)}, and cluster {self.cluster} "
            f"in {self.repository} is {' and '.join(map(_spell, self.known))}"
        )

    @property
    def hint(self) -> str:
        if not self.known:
            return f"set it up with: pgkeep --cluster {self.cluster} init"
        return (
            "was this server upgraded or initialised again? then: pgkeep "
            f"--cluster {self.cluster} init. Is it a copy of another one? then set archive_mode "
            "= off here, or give it a cluster name of its own"
        )


class GenerationUnclear(PgkeepError):
    """A file doesn't say to which server it belongs, and nothing else does."""

    code = "generation-unclear"
    exit_status = 74

    what: str
    cluster: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"cannot {self.what}: cluster {self.cluster} has WAL of {len(self.known)} servers "
            f"({', '.join(self.known)}), and no data directory here tells which is meant"
        )

    @property
    def hint(self) -> str:
        return "run it in the data directory, as PostgreSQL does, or add --generation ID"


class ControlUnreadable(PgkeepError):
    """The data directory's pg_control is there and doesn't tell whose it is."""

    code = "control-unreadable"
    exit_status = 75

    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot tell which server this is from {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return "let the user that runs pgkeep-wal read the data directory"


def identifier_beside(path: str) -> int | None:
    """Return the system identifier of the data directory whose pg_wal holds `path`, if it does.

    The two folders are cut off the path as it is written: pg_wal is often a symlink.
    """
    control = os.path.join(os.path.dirname(os.path.dirname(path)), "global", "pg_control")
    try:
        with open(control, "rb") as file:
            content = file.read(_IDENTIFIER_SIZE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ControlUnreadable(control, error.strerror or str(error)) from error
    identifier = int.from_bytes(content, "little")
    if len(content) < _IDENTIFIER_SIZE or identifier == 0:
        raise ControlUnreadable(control, "it is damaged")
    return identifier


def generation_of(identifier: int, known: tuple[str, ...]) -> str | None:
    """Return the known generation of a system identifier; no two versions share one."""
    for generation in known:
        if generation.rpartition("-")[2] == str(identifier):
            return generation
    return None


def _spell(generation: str) -> str:
    major, _, identifier = generation.rpartition("-")
    version = f" (PostgreSQL {major})" if major else ""
    return f"system identifier {identifier}{version}"
