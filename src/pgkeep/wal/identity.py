"""Whose WAL is this? Segments say so themselves; for the rest the data directory is asked."""

import os

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final

_STATE_AT: Final = 16  # its member state, of the enum DBState
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
    content = _control_beside(path)
    return None if content is None else int.from_bytes(content[:_IDENTIFIER_SIZE], "little")


def _control_beside(path: str) -> bytes | None:
    control = os.path.join(os.path.dirname(os.path.dirname(path)), "global", "pg_control")
    try:
        with open(control, "rb") as file:
            content = file.read(_STATE_AT + 4)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ControlUnreadable(control, error.strerror or str(error)) from error
    if len(content) < _IDENTIFIER_SIZE or not any(content[:_IDENTIFIER_SIZE]):
        raise ControlUnreadable(control, "it is damaged")
    return content


def state_beside(path: str) -> int | None:
    """Return the DBState of the data directory whose pg_wal holds `path`; None if none does."""
    content = _control_beside(path)
    if content is None:
        return None
    return int.from_bytes(content[_STATE_AT : _STATE_AT + 4], "little")


def generation_of(identifier: int, known: tuple[str, ...]) -> str | None:
    """Return the known generation of a system identifier; no two versions share one."""
    for generation in known:
        if generation.rpartition("-")[2] == str(identifier):
            return generation
    return None
