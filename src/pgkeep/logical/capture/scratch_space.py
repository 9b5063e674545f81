"""Where pg_dump writes to while its files are read: little room, and best of all in memory."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.logical.capture.process_group import watchdog
from pgkeep.server.processes import free_memory
from pgkeep.units import MIB

WANTED: Final = 256 * MIB  # bytes that pg_dump may be ahead: seconds of a fast one
_LEAST: Final = 32 * MIB  # a part for each of some workers, and what is not cut yet of some files
_MEMORY: Final = "/dev/shm"  # noqa: S108  # we make a directory of our own in it


class NoScratchSpace(PgkeepError):
    """There is no room for what pg_dump writes until it is read."""

    code = "no-scratch-space"
    exit_status = 234

    directory: str
    why: str

    def __str__(self) -> str:
        return f"no dump was made: {self.directory} cannot take pg_dump's files: {self.why}"

    @property
    def hint(self) -> str:
        return (
            f"give a directory with {2 * WANTED // MIB} MiB free with --scratch, or as scratch in "
            "the configuration; it is needed only while a dump is made"
        )


class Place(NamedTuple):
    """A directory that may be used."""

    directory: str
    free: int  # bytes


class ScratchSpace(NamedTuple):
    """A directory of our own."""

    directory: Path
    limit: int  # bytes that may lie in it, more or less


@contextmanager
def scratch_space(given: str = "", wanted: int = WANTED) -> Iterator[ScratchSpace]:
    """Make a directory, below `given` if that is not empty, and remove it in the end.

    It is removed as well when this process is killed. Raise NoScratchSpace.
    """
    try:
        places = [_place(given)] if given else _places()
        place, limit = choose(places, wanted)
        directory = Path(tempfile.mkdtemp(prefix="pgkeep-dump-", dir=place))  # for us alone: 0700
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NoScratchSpace(given or tempfile.gettempdir(), why) from error
    shell = watchdog(None, [directory])
    try:
        yield ScratchSpace(directory, limit)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shell.end()


def choose(places: Sequence[Place], wanted: int) -> tuple[str, int]:
    """Return the first place with plenty of room, else the last one, and how much to use of it."""
    for place in places:
        if place.free >= 2 * wanted:
            return place.directory, wanted
    last = places[-1]
    limit = last.free // 2
    if limit < _LEAST:
        need, have = 2 * _LEAST // MIB, last.free // MIB
        raise NoScratchSpace(last.directory, f"it has {have} MiB free, {need} MiB are needed")
    return last.directory, limit


def _places() -> list[Place]:
    on_disk = _place(tempfile.gettempdir())
    if not _is_tmpfs(_MEMORY):
        return [on_disk]
    in_memory = _place(_MEMORY)
    return [in_memory._replace(free=min(in_memory.free, free_memory())), on_disk]


def _place(directory: str) -> Place:
    """Raise OSError."""
    found = os.statvfs(directory)
    if not os.path.isdir(directory):
        raise NotADirectoryError(0, "it is not a directory")
    return Place(directory, found.f_bavail * found.f_frsize)


def _is_tmpfs(directory: str) -> bool:
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            fields = [line.split() for line in mounts]
    except OSError:
        return False
    return any(field[1:3] == [directory, "tmpfs"] for field in fields)
