"""Bring one WAL file back: what restore_command does."""

import os
from collections.abc import Iterator
from contextlib import suppress

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, NamedTuple
from pgkeep.model.wal_file import kind_of
from pgkeep.postgres.wal_header import HEADER_SIZE, check_segment
from pgkeep.repository.repository import ClusterFolder, UnknownGeneration
from pgkeep.repository.store.durable import sync_folder, write_temp
from pgkeep.repository.wal_archive import WalArchive, WalMissing
from pgkeep.wal.identity import (
    GenerationUnclear,
    NotArchivable,
    generation_of,
    identifier_beside,
)

_TEMP_MARK: Final = ".pgkeep-"


class FetchNotWritable(PgkeepError):
    """A WAL file was found in the archive, but cannot be put where it is wanted."""

    code = "fetch-not-writable"
    exit_status = 79

    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return "the archive is fine: look at the space and the owner of the data directory"


class AlienSegment(PgkeepError):
    """An archived segment holds WAL of another server: somebody put it there."""

    code = "alien-segment"
    exit_status = 69

    file: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"cannot use the archived {self.file}: it is WAL of {self.found}, not {self.wanted}"

    @property
    def hint(self) -> str:
        return "remove that object from the repository and archive the right segment again"


class Fetched(NamedTuple):
    """The file is in its place."""

    archive: WalArchive  # where it came from, and what follows it will


class Missing(NamedTuple):
    """The archive answered that it has no such file."""

    note: str  # worth a line in the server's log; usually empty, because this is everyday


def fetch(
    cluster: ClusterFolder, name: str, destination: str, generation: str | None = None
) -> Fetched | Missing:
    """Put the archived file `name` at `destination`, atomically; Missing if there is none.

    Missing is only said when the repository is there and knows the generation. Whatever is put in
    place has had every block checked, and begins the segment that it is named for.
    """
    kind = kind_of(name)
    if not kind:
        raise NotArchivable(name)
    archive = cluster.wal(_generation(cluster, name, destination, generation))
    try:
        segment = kind in ("segment", "partial")
        blocks = segment_blocks(archive, name) if segment else archive.fetch(name)
    except WalMissing:
        return Missing(_worth_saying(archive, name) if kind == "segment" else "")
    _replace(destination, blocks)
    return Fetched(archive)


def segment_blocks(archive: WalArchive, name: str) -> Iterator[bytes]:
    """Return a segment block by block, as archive.fetch() does; raise if it is another's, too."""
    return _checked(archive, name, archive.fetch(name))


def _generation(cluster: ClusterFolder, name: str, destination: str, generation: str | None) -> str:
    """Return whose WAL is wanted; two sources of that knowledge must agree."""
    known = tuple(cluster.generation_ids())
    identifier = identifier_beside(destination)
    wanted = generation if generation is not None else f"-{identifier or ''}"
    if identifier is not None:
        found = generation_of(identifier, known)
        if found is not None and generation in (None, found):
            return found
        wanted = f"-{identifier}"
    elif generation is None and len(known) > 1:
        raise GenerationUnclear(f"fetch {name}", cluster.name, known)
    elif generation in known or (generation is None and known):
        return generation or known[0]
    raise UnknownGeneration(f"fetch {name}", wanted, cluster.name, cluster.store.url, known)


def _checked(archive: WalArchive, name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass on a segment's blocks; raise, at the latest at the end, if it is not that segment."""
    first = next(blocks, b"")
    header, size = first[:HEADER_SIZE], len(first)
    yield first
    for block in blocks:
        size += len(block)
        yield block
    found = check_segment(name, header, size)
    owner = f"{found.major}-{found.system_identifier}"
    if owner != archive.generation_id:
        raise AlienSegment(name, owner, archive.generation_id)


def _worth_saying(archive: WalArchive, name: str) -> str:
    """Return what a person should know about a missing segment, or ''.

    Recovery ends here without an error. That is right at the end of the archive, and a loss at a
    hole; but this may also be PostgreSQL looking beyond a target that lies before the hole, so
    it is told rather than refused.
    """
    following = f"{name[:16]}{int(name[16:], 16) + 1:08X}"
    if archive.has(following):
        return (
            f"{name} is missing from the archive although {following} is there: a hole in the WAL"
        )
    if archive.has(f"{name}.partial"):
        return (
            f"{name} was never archived whole; the unfinished {name}.partial is not used by itself"
        )
    return ""


def _replace(destination: str, blocks: Iterator[bytes]) -> None:
    folder, name = os.path.split(destination)
    temp = f"{destination}{_TEMP_MARK}{os.getpid()}"
    try:
        _remove_leftovers(folder or ".", f"{name}{_TEMP_MARK}")
        # Content before name: after a power cut PostgreSQL must not find half a file.
        write_temp(temp, blocks)
        os.rename(temp, destination)
        sync_folder(folder or ".")
    except OSError as error:
        # The store has errors of its own: what comes as an OSError is about the destination.
        raise FetchNotWritable(destination, error.strerror or str(error)) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temp)


def _remove_leftovers(folder: str, prefix: str) -> None:
    """Remove what a killed fetch left: a server restores one file at a time, so none is alive."""
    for entry in os.listdir(folder):
        if entry.startswith(prefix):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, entry))
