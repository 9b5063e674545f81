"""What one worker does: reads parts of files, cuts them, stores the chunks that nobody has yet."""

import os
from collections.abc import Iterable
from mmap import mmap
from pathlib import Path
from typing import Final, NamedTuple

from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import LARGEST, TAIL, CapturedFile, Taken, Task
from pgkeep.logical.capture.chunking import cut
from pgkeep.repository import seal
from pgkeep.repository.manifest.builder import ChunkLog, StoredChunks
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.pack import PackWriter
from pgkeep.repository.packs.known import KnownChunks
from pgkeep.repository.packs.pack_ids import pack_id
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key
from pgkeep.units import MIB
from pgkeep.workers.throttle import SharedRate

_MOST_CHUNKS: Final = 200_000  # new ones that are remembered at a time: 60 MiB, of 25 GiB
_PIECES: Final = 4 * MIB  # of content of our own that are cut together
NO_LIMIT: Final = SharedRate(None)


class StorerSetup(NamedTuple):
    """All that a process needs to become a worker. Holds the key: it is sent, never printed."""

    store: str  # url
    repository: str  # id
    key: Key | None
    cluster: str
    level: int = 1  # of zstd
    tag: bytes = b""  # of the packs' ids; none: they tell nothing
    known: KnownChunks = KnownChunks()
    rate: SharedRate = NO_LIMIT  # of reading, for all workers together

    def open(self) -> "Storer":
        repository = Repository(open_metered(self.store), self.repository, self.key)
        return Storer(repository.cluster(self.cluster), self)


class _Cut(NamedTuple):
    """Chunks of a file in memory."""

    number: int
    position: int  # of the first one in the file
    content: memoryview
    ends: list[int]


class Storer:
    """Stores chunks in packs of full size, whatever files they are of. Not for several threads."""

    def __init__(
        self, cluster: ClusterFolder, setup: StorerSetup, most_chunks: int = _MOST_CHUNKS
    ) -> None:
        self._most_chunks = most_chunks
        self._cluster = cluster
        self._sealer = cluster.repository.sealer(setup.level)
        self._setup = setup
        self._buffer = memoryview(mmap(-1, LARGEST))  # of pages, and used only as far as need be
        self._cuts: list[_Cut] = []
        self._stored: list[StoredChunks] = []
        self._start()

    def read(self, task: Task, directory: Path) -> list[Taken]:
        """Read a task's parts and cut them; remove files that were read to their end.

        `seal` must follow before anything else. Between the two the next part of a file may go to
        another worker. Raise CaptureAborted.
        """
        taken, used = [], 0
        for part in task:
            path = f"{directory}/{part.name}"
            content = self._buffer[used : used + part.end - part.begin]
            used += len(content)
            try:
                _read(path, part.begin, content)
                if part.final:
                    # Before it is stored: a dump that fails is begun anew, its snapshot is gone.
                    os.unlink(path)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise CaptureAborted(f"{path} cannot be read: {why}") from error
            found = cut(content, final=part.final)
            self._cuts.append(_Cut(part.number, part.begin, content, found.ends))
            end = found.ends[-1] if found.ends else 0
            tail = bytes(content[max(0, end - TAIL) : end])
            taken.append(Taken(part.begin + end, found.lines, tail))
        return taken

    def seal(self) -> None:
        """Store what was read. It is durable when `finish` has returned.

        With a limited rate this takes as long as that wants. Raises what the store raises.
        """
        cuts, self._cuts = self._cuts, []
        for found in cuts:
            self._store(found)
        self._setup.rate.take(sum(len(found.content) for found in cuts))

    def store(self, number: int, pieces: Iterable[bytes]) -> CapturedFile:
        """Store content that comes in pieces as one file."""
        held, size, lines, tail = bytearray(), 0, 0, b""
        for piece in pieces:
            held += piece
            tail = (tail + piece[-TAIL:])[-TAIL:]
            if len(held) >= _PIECES:
                found = cut(held, final=False)
                self._store(_Cut(number, size, memoryview(held), found.ends))
                lines += found.lines
                size += found.ends[-1]
                held = held[found.ends[-1] :]
        found = cut(held, final=True)
        self._store(_Cut(number, size, memoryview(held), found.ends))
        return CapturedFile(number, "", size + len(held), lines + found.lines, tail)

    def finish(self) -> list[StoredChunks]:
        """Store what is left; return all that was stored since the last time. It is durable now."""
        self._end()
        stored, self._stored = self._stored, []
        self._start()
        return stored

    def _store(self, found: "_Cut") -> None:
        """Enter consecutive chunks of a file, and seal those that are stored nowhere yet."""
        begin = 0
        for end in found.ends:
            plain = found.content[begin:end]
            name = self._sealer.chunk_id(plain)
            known = self._setup.known.find(name)
            if known is not None:
                self._log.add_known(found.number, found.position + begin, known, len(plain))
            else:
                placed = self._packs.find(name)
                if placed is None:
                    placed = self._packs.add(self._sealer.seal(seal.CHUNK, plain, id=name))
                    self._count += 1
                self._log.add(found.number, found.position + begin, placed, len(plain))
            self._rows += 1
            begin = end
        if self._count >= self._most_chunks:
            self._end()
            self._start()

    def _start(self) -> None:
        tag = self._setup.tag
        new_id = (lambda _: pack_id(tag)) if tag else os.urandom
        self._packs = PackWriter(self._cluster, self._sealer, new_id=new_id)
        self._log = ChunkLog()
        self._count = self._rows = 0

    def _end(self) -> None:
        packs = self._packs.finish()
        if self._rows:
            self._stored.append(self._log.finish(packs))


def _read(path: str, begin: int, content: memoryview) -> None:
    """Fill `content` from a file. Raise OSError."""
    done = 0
    # Not for writing: closing it again would look like pg_dump closing it.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while done < len(content):
            got = os.preadv(file, [content[done:]], begin + done)
            if not got:
                raise OSError(0, "it became shorter")
            done += got
    finally:
        os.close(file)
