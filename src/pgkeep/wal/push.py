"""Archive one WAL file: what archive_command does."""

import os
import stat

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import BinaryIO, Final, NamedTuple
from pgkeep.model.wal_file import kind_of
from pgkeep.postgres.wal_header import HEADER_SIZE, NotWal, check_segment
from pgkeep.repository.claims.writers import Writer, claim, refusal, take_over, this_server
from pgkeep.repository.repository import ClusterFolder, UnknownGeneration
from pgkeep.repository.wal_archive import PushResult
from pgkeep.wal.identity import (
    GenerationUnclear,
    NotArchivable,
    generation_of,
    identifier_beside,
    state_beside,
)

_TEXT_LIMIT: Final = 1 << 20  # bytes; histories and backup labels have a few lines
# A standby hands on what its primary wrote (archive_mode = always): pg_control.h, DBState.
_RECOVERING: Final = (2, 5)  # DB_SHUTDOWNED_IN_RECOVERY, DB_IN_ARCHIVE_RECOVERY
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


class Rights(NamedTuple):
    """What the config says of who may archive."""

    server_name: str = ""  # of this server, instead of its host's
    may_take_over: tuple[str, ...] = ()  # servers that go on archiving after a failover


def push(
    cluster: ClusterFolder,
    path: str,
    *,
    generation: str | None = None,
    level: int = 1,
    rights: Rights = Rights(),  # noqa: B008 - it is never changed
) -> PushResult:
    """Archive the file at `path`, relative to the data directory; return once it is durable.

    Nothing is stored unless the file is what its name says, of a generation that the repository
    knows, and of the server that archives it. The same content again is success; other content
    raises WalConflict.
    """
    name = os.path.basename(path)
    kind = kind_of(name)
    if not kind:
        raise NotArchivable(name)
    try:
        with open(path, "rb") as file:
            archiving = cluster.archiving()
            known = archiving.generation_ids
            if kind in ("segment", "partial"):
                generation = _generation_of_segment(cluster, known, name, file)
            else:
                _check_text(kind, name, file)
                generation = _generation_of_text(cluster, known, name, path, generation)
            _demand_writer(cluster, generation, archiving.writers.get(generation), path, rights)
            return cluster.wal(generation).push(name, file, level=level)
    except OSError as error:
        # The store has errors of its own: what comes as an OSError is about this file.
        raise PushUnreadable(path, error.strerror or str(error)) from error


def _demand_writer(
    cluster: ClusterFolder, generation: str, writer: Writer | None, path: str, rights: Rights
) -> None:
    """Raise NotTheWriter unless the server whose file this is may archive."""
    directory = os.path.dirname(os.path.dirname(path)) or "."
    state = state_beside(path)
    if state is None:
        return  # a file from elsewhere, which a person archives by hand
    server = this_server(directory, rights.server_name)
    timeline = int(os.path.basename(path)[:8], 16)
    if writer is None:
        claim(cluster, generation, server, timeline)
    elif writer.token != server.token and state not in _RECOVERING:
        if server.host not in rights.may_take_over or timeline <= writer.timeline:
            name = os.path.basename(path)
            raise refusal(cluster, generation, server, f"archive {name}")
        take_over(cluster, generation, server, timeline)


def _generation_of_segment(
    cluster: ClusterFolder, known: tuple[str, ...], name: str, file: BinaryIO
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
    cluster: ClusterFolder, known: tuple[str, ...], name: str, path: str, generation: str | None
) -> str:
    """Return the generation of a file that doesn't say it: that of the directory it lies in."""
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
