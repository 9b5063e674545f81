"""What one worker does with one task: read chunks, check them, write files.

`cp -r` is the yard-stick: a chunk is written by one pwrite of up to 1 MiB.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from pgkeep.errors import PgkeepError
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.restore.writing.layout import Part
from pgkeep.restore.writing.tasks import Task
from pgkeep.units import MIB
from pgkeep.workers.throttle import SharedRate

NO_LIMIT: Final = SharedRate(None)
_MOST_OPEN: Final = 128  # files at once, per worker
_LARGE: Final = MIB
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_FROM, _TO_END = ctypes.c_int64(0), ctypes.c_int64(0)
_START_WRITING: Final = 2  # SYNC_FILE_RANGE_WRITE: a hint, whose failure means nothing


class CannotWrite(PgkeepError):
    """A file of the restored cluster could not be written or made durable."""

    code = "restore-write-failed"
    exit_status = 91

    path: str
    action: str  # 'write', 'sync', ...
    why: str

    def __str__(self) -> str:
        return (
            f"the restore is not complete and its directory cannot be started: "
            f"cannot {self.action} {self.path}: {self.why}"
        )

    @property
    def hint(self) -> str:
        return (
            "the backup is unharmed: mend the cause, then run the restore again with --delta, "
            "or remove the directory first"
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What a task has written; of a delta restore, what it compared as well."""

    size: int  # bytes of the files, or of the range of one
    compared: int = 0  # bytes that were there and read
    rewritten: int = 0  # bytes written
    fetched: int = 0  # bytes read from the repository
    files: int = 0  # of which something was written; a file that several tasks share is in `shared`
    shared: str = ""
    notes: tuple[str, ...] = ()  # of objects that were read from another copy


class Files(Protocol):
    """How the files of a restore are opened, filled and finished."""

    def open(self, part: Part) -> int: ...

    def open_empty(self, part: Part) -> int:
        """Open a file that is all zeros, or empty; it needs nothing put into it."""
        ...

    def put(self, part: Part, descriptor: int, content: memoryview, position: int) -> int:
        """Return how many bytes had to be written."""
        ...

    def finish(self, part: Part, descriptor: int) -> None:
        """Give the file its mode and owner, and close it."""
        ...


class Pieces:
    """The pieces of a task as Python numbers, found by their chunk."""

    def __init__(self, task: Task) -> None:
        columns = (task.part, task.position, task.start, task.length)
        self._task: Final = task
        self._rows: Final[list[tuple[int, int, int, int]]] = list(
            zip(*(column.tolist() for column in columns), strict=True)
        )
        rows = np.arange(len(task.chunks) + 1)
        self._first: Final[list[int]] = np.searchsorted(task.chunk, rows).tolist()

    def of_chunk(self, row: int) -> list[tuple[int, int, int, int]]:
        """Return part, position, start and length of each piece of a chunk."""
        return self._rows[self._first[row] : self._first[row + 1]]

    def path_of(self, row: int) -> str:
        """Return the first file that needs a chunk."""
        owner = self._rows[self._first[row]][0]
        return self._task.parts[owner].path


class FileWriter:
    """Writes the parts of tasks. One per worker."""

    def __init__(self, reader: ChunkReader, files: Files, rate: SharedRate = NO_LIMIT) -> None:
        self._reader: Final = reader
        self._files: Final = files
        self._rate: Final = rate
        self._open: dict[int, int] = {}  # descriptors of unfinished parts of the task

    def write(self, task: Task) -> Written:
        """Write all parts of `task`. Raise CannotWrite, or what reading raises.

        Every chunk's id is checked by the reader before a byte of it is written.
        """
        try:
            return self._write(task)
        finally:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()

    def _write(self, task: Task) -> Written:
        left = np.bincount(task.part, minlength=len(task.parts)).tolist()
        pieces, rewritten, files = Pieces(task), 0, self._files
        for owner, wanted in enumerate(left):
            if not wanted:
                files.finish(task.parts[owner], files.open_empty(task.parts[owner]))
        for row, content in self._reader.read(task.chunks, pieces.path_of):
            plain = memoryview(content)
            for owner, position, start, length in pieces.of_chunk(row):
                part, descriptor = task.parts[owner], self._descriptor(task, owner)
                self._rate.take(length)
                rewritten += files.put(part, descriptor, plain[start : start + length], position)
                left[owner] -= 1
                if not left[owner]:
                    files.finish(part, self._open.pop(owner))
        return Written(task.size, rewritten=rewritten)

    def _descriptor(self, task: Task, owner: int) -> int:
        """Return the open file of a part. Equal chunks are stored once, so parts interleave."""
        descriptor = self._open.get(owner)
        if descriptor is None:
            if len(self._open) >= _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))  # opened again when needed
            descriptor = self._open[owner] = self._files.open(task.parts[owner])
        return descriptor


class NewFiles:
    """Files of a directory that was empty when the restore began."""

    def __init__(self, *, chown: bool, sync: bool) -> None:
        """`sync` makes every file durable at once; else durable.py does it for all together."""
        self._sync: Final = sync
        self._chown: Final = chown

    def open(self, part: Part) -> int:
        with told("create", part.path):
            # No O_EXCL: parts of one large file are written by several workers.
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(part.path, flags, 0o600)
            try:
                reserve(descriptor, part.size)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

    def open_empty(self, part: Part) -> int:
        with told("create", part.path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(part.path, flags, 0o600)
            if part.size:
                os.ftruncate(descriptor, part.size)  # all of it is a hole
            return descriptor

    def put(self, part: Part, descriptor: int, content: memoryview, position: int) -> int:
        with told("write", part.path):
            write_all(descriptor, content, position)
        return len(content)

    def finish(self, part: Part, descriptor: int) -> None:
        """Give the file its mode and owner, and let its way to the disk begin."""
        with told("finish", part.path):
            try:
                os.fchmod(descriptor, part.mode)
                if self._chown:
                    os.fchown(descriptor, part.uid, part.gid)
                if self._sync:
                    os.fsync(descriptor)
                elif part.size >= _LARGE:
                    # It need not wait for the end: what is under way then is what takes time.
                    _LIBC.sync_file_range(descriptor, _FROM, _TO_END, _START_WRITING)
            finally:
                os.close(descriptor)


def reserve(descriptor: int, size: int) -> None:
    """Give a file its size and room on disk where that pays. Raise OSError when there is none."""
    if size < _LARGE:
        return
    # A fifth quicker than growing with every write. The system call itself, because
    # posix_fallocate writes into the file where a file system has no such thing.
    failed = _LIBC.fallocate(descriptor, 0, _FROM, ctypes.c_int64(size))
    if failed and ctypes.get_errno() == errno.ENOSPC:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_all(descriptor: int, left: memoryview, position: int) -> None:
    """Write at a position, however many calls that takes."""
    while left:
        written = os.pwrite(descriptor, left, position)
        position += written
        left = left[written:]


@contextmanager
def told(action: str, path: str) -> Iterator[None]:
    """Say what could not be done when the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(path, action, error.strerror or str(error)) from error
