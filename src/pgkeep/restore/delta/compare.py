"""What one worker does with one task of a delta restore: compare, fetch what differs, write that.

A chunk of a whole copy is compared by its id, so nothing is fetched for what is right already. Of
an overlay the id tells nothing about single pages: those are fetched and compared.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from pgkeep.repository.manifest.tables import CHUNK_LIMIT, Array
from pgkeep.repository.seal import Sealer
from pgkeep.restore.writing.copy import (
    NO_LIMIT,
    FileWriter,
    NewFiles,
    Written,
    reserve,
    told,
    write_all,
)
from pgkeep.restore.writing.layout import Part
from pgkeep.restore.writing.tasks import Task, only
from pgkeep.workers.throttle import SharedRate

_PAGE: Final = 8192  # what is written at least; larger blocks consist of these


class DeltaWriter:
    """Brings the parts of tasks to what the backup holds. One per worker."""

    def __init__(
        self, writer: FileWriter, files: "OldFiles", sealer: Sealer, rate: SharedRate = NO_LIMIT
    ) -> None:
        """`files` are those that `writer` writes to."""
        self._writer: Final = writer
        self._files: Final = files
        self._sealer: Final = sealer
        self._rate: Final = rate
        self._buffer: Final = memoryview(bytearray(CHUNK_LIMIT))

    def write(self, task: Task) -> Written:
        """Compare and write all parts of `task`. Raise CannotWrite, or what reading raises."""
        self._files.begin()
        whole = (task.start == 0) & (task.length == task.chunks.plain[task.chunk])
        wanted = np.ones(len(task.chunk), bool)
        compared = 0
        for owner, pieces in _by_part(task):
            part = task.parts[owner]
            descriptor = self._files.open_first(part, hole=not len(pieces))
            if part.path not in self._files.fresh:
                compared += int(task.length[pieces].sum())
                with told("read", part.path):
                    for piece in pieces[whole[pieces]].tolist():
                        wanted[piece] = self._differs(task, descriptor, piece)
            if wanted[pieces].any():
                os.close(descriptor)  # and opened again when its chunks come
            else:
                self._files.settle(part, descriptor)
        rest = only(task, wanted)
        done = self._writer.write(rest)
        done = replace(done, size=task.size, compared=compared)
        done = replace(done, fetched=int(rest.chunks.sealed.sum(dtype=np.int64)))
        return self._counted(task, done)

    def _differs(self, task: Task, descriptor: int, piece: int) -> bool:
        """Tell whether the local bytes of a whole chunk are not those of the backup."""
        here = self._buffer[: int(task.length[piece])]
        self._rate.take(len(here))
        read = os.preadv(descriptor, [here], int(task.position[piece]))
        wanted: bytes = task.chunks.id[task.chunk[piece]].tobytes()
        return read < len(here) or self._sealer.chunk_id(here) != wanted

    def _counted(self, task: Task, done: Written) -> Written:
        shared = len(task.parts) == 1 and task.size < task.parts[0].size
        if shared:
            return replace(done, shared=next(iter(self._files.changed), ""))
        return replace(done, files=len(self._files.changed))


class OldFiles:
    """Files that are there already, perhaps: only pages that differ are written."""

    def __init__(self, *, chown: bool, sync: bool) -> None:
        self._new: Final = NewFiles(chown=chown, sync=sync)
        self._sync: Final = sync
        self._chown: Final = chown
        self.fresh: Final[set[str]] = set()  # made or filled from nothing by this task
        self.changed: Final[set[str]] = set()

    def begin(self) -> None:
        """Forget the task before."""
        self.fresh.clear()
        self.changed.clear()

    def open_first(self, part: Part, *, hole: bool) -> int:
        """Open a file and give it its size; `hole` says that all of it shall be zeros."""
        with told("open", part.path):
            descriptor = self._open(part.path)
            try:
                self._resize(part, descriptor, hole=hole)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

    def open(self, part: Part) -> int:
        with told("open", part.path):
            return self._open(part.path)

    def open_empty(self, part: Part) -> int:
        return self.open_first(part, hole=True)

    def put(self, part: Part, descriptor: int, content: memoryview, position: int) -> int:
        written = 0
        with told("write", part.path):
            if part.path in self.fresh:
                write_all(descriptor, content, position)
                return len(content)
            here = os.pread(descriptor, len(content), position)
            for start, end in differing_runs(here, content):
                write_all(descriptor, content[start:end], position + start)
                written += end - start
        if written:
            self.changed.add(part.path)
        return written

    def finish(self, part: Part, descriptor: int) -> None:
        self._new.finish(part, descriptor)

    def settle(self, part: Part, descriptor: int) -> None:
        """Give mode and owner to a file of which nothing had to be written, and close it."""
        with told("finish", part.path):
            try:
                status = os.fstat(descriptor)
                if status.st_mode & 0o7777 != part.mode:
                    os.fchmod(descriptor, part.mode)
                if self._chown and (status.st_uid, status.st_gid) != (part.uid, part.gid):
                    os.fchown(descriptor, part.uid, part.gid)
                if self._sync:
                    # What a killed server wrote is perhaps in memory only, right as it is.
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _open(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    def _resize(self, part: Part, descriptor: int, *, hole: bool) -> None:
        status = os.fstat(descriptor)
        right = status.st_size == part.size
        # Some file systems keep a tiny file's content without a block.
        filled = status.st_blocks or 0 < part.size < _PAGE
        if hole and (filled or not right):
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, part.size)
            self.changed.add(part.path)
        elif not right:
            os.ftruncate(descriptor, part.size)
            self.changed.add(part.path)
            if status.st_size == 0:
                self.fresh.add(part.path)
                reserve(descriptor, part.size)


def differing_runs(here: bytes, content: memoryview) -> Iterator[tuple[int, int]]:
    """Yield the ranges of `content`, of whole pages, that differ from what is here."""
    size = len(content)
    if len(here) < size:
        yield 0, size
        return
    pages = size // _PAGE
    ours = np.frombuffer(here, np.uint64, pages * _PAGE // 8).reshape(pages, _PAGE // 8)
    theirs = np.frombuffer(content, np.uint64, pages * _PAGE // 8).reshape(pages, _PAGE // 8)
    differ: Array = (ours != theirs).any(axis=1)
    if size % _PAGE:
        differ = np.append(differ, here[pages * _PAGE :] != content[pages * _PAGE :])
    edges = np.flatnonzero(np.diff(np.concatenate(([False], differ, [False])).astype(np.int8)))
    for first, end in edges.reshape(-1, 2).tolist():
        yield first * _PAGE, min(end * _PAGE, size)


def _by_part(task: Task) -> Iterator[tuple[int, Array]]:
    """Yield every part with its pieces, in the order in which they lie in the file."""
    order = np.lexsort((task.position, task.part))
    first = np.searchsorted(task.part[order], np.arange(len(task.parts) + 1)).tolist()
    for owner in range(len(task.parts)):
        yield owner, order[first[owner] : first[owner + 1]]
