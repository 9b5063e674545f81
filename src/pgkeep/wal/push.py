"""Archive one WAL file: what archive_command does."""

import os
import stat

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import BinaryIO, Final
from pgkeep.model.wal_file import kind_of
from pgkeep.postgres.wal_header import HEADER_SIZE, NotWal, check_segment
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.wal_archive import PushResult
from pgkeep.wal.identity import (
    GenerationUnclear,
    NotArchivable,
    UnknownGeneration,
    generation_of,
    identifier_beside,
)

_TEXT_LIMIT: Final = 1 << 20  # bytes; histories and backup labels have a few lines
_BACKUP_BEGINS: Final = b"START WAL LOCATION: "  # xlogbackup.c: build_backup_content


class PushUnreadable(PgkeepError):
    """The file to archive cannot be read."""

    code = "wal-unreadable"
    exit_status = 71

    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot archive {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return f"PostgreSQL starts this in its data directory; here it is {os.getcwd()}"


def push(
    cluster: ClusterFolder,
    path: str,
    *,
    generation: str | None = None,
    level: int = 1,
    known: tuple[str, ...] | None = None,
) -> PushResult:
    """Archive the file at `path`, relative to the data directory; return once it is durable.

    Nothing is stored unless the file is what its name says, and of a generation that the
    repository knows: those it knows are listed now, unless they are `known` from before. The same
    content again is success; other content raises WalConflict.
    """
    name = os.path.basename(path)
    kind = kind_of(name)
    if not kind:
        raise NotArchivable(name)
    try:
        known = tuple(cluster.generation_ids()) if known is None else known
        with open(path, "rb") as file:
            if kind in ("segment", "partial"):
                generation = _generation_of_segment(cluster, name, file, known)
            else:
                _check_text(kind, name, file)
                generation = _generation_of_text(cluster, path, generation, known)
            return cluster.wal(generation).push(name, file, level=level)
    except OSError as error:
        # The store has errors of its own: what comes as an OSError is about this file.
        raise PushUnreadable(path, error.strerror or str(error)) from error


def _generation_of_segment(
    cluster: ClusterFolder, name: str, file: BinaryIO, known: tuple[str, ...]
) -> str:
    """Return the generation that a segment's first page names, which must be a known one."""
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise NotWal(name, "it is not a regular file")
    header = check_segment(name, os.pread(file.fileno(), HEADER_SIZE, 0), found.st_size)
    generation = f"{header.major}-{header.system_identifier}"
    if generation not in known:
        raise _unknown(cluster, name, generation, known)
    return generation


def _generation_of_text(
    cluster: ClusterFolder, path: str, generation: str | None, known: tuple[str, ...]
) -> str:
    """Return the generation of a file that doesn't say it: that of the directory it lies in."""
    name = os.path.basename(path)
    if generation is not None and generation not in known:
        raise _unknown(cluster, name, generation, known)
    identifier = identifier_beside(path)
    if identifier is not None:
        found = generation_of(identifier, known)
        if found is None or generation not in (None, found):
            raise _unknown(cluster, name, f"-{identifier}", known)
        return found
    if generation is not None:
        return generation
    if not known:
        raise _unknown(cluster, name, "", known)
    if len(known) > 1:
        raise GenerationUnclear(f"archive {name}", cluster.name, known)
    return known[0]


def _unknown(
    cluster: ClusterFolder, name: str, found: str, known: tuple[str, ...]
) -> UnknownGeneration:
    return UnknownGeneration(f"archive {name}", found, cluster.name, cluster.store.url, known)


def _check_text(kind: str, name: str, file: BinaryIO) -> None:
    """Refuse a history that can't be followed, or what is no backup history at all."""
    content = file.read(_TEXT_LIMIT + 1)
    if len(content) > _TEXT_LIMIT:
        raise NotWal(name, f"it has more than {_TEXT_LIMIT} bytes")
    if kind == "history":
        from pgkeep.model.timeline import History

        # Reasons may hold a restore point's name in any encoding; only the numbers matter here.
        History.parse(int(name[:8], 16), content.decode(errors="replace"))
    elif not content.startswith(_BACKUP_BEGINS):
        raise NotWal(name, "it is no backup history file")
