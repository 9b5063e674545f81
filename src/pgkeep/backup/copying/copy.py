"""What one worker does with one task: read, check pages, cut into chunks, seal, pack.

Everything passes through one buffer that is read into, checked and sealed from in place. Small
files share it, so that the page check always has many pages to work on at once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final, NamedTuple

from pgkeep.backup.copying.page_check import BadPage, PageCheck, PageRun
from pgkeep.backup.plan import CHUNK
from pgkeep.backup.source import BackupAborted, OpenFile, Reader
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository import seal
from pgkeep.repository.manifest.builder import ChunkLog, StoredChunks
from pgkeep.repository.pack import PackWriter
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key, Sealer
from pgkeep.repository.store.open import open_store
from pgkeep.repository.store.write_behind import WriteBehind
from pgkeep.units import MIB

BUFFER: Final = 4 * MIB  # one read; page checks run at full speed from 2 MiB on


class Reading(NamedTuple):
    """One file, or part of one, to be copied."""

    entry: int  # its place in the listing
    path: str
    first_block: int | None  # of the file within its relation; None when it has no pages
    start: int = 0
    end: int | None = None  # None: up to its size when it is opened


class Work(NamedTuple):
    """A task with all that a worker needs to know to do it."""

    readings: Sequence[Reading]
    start_lsn: int  # pages changed since are not judged: WAL will write them again


class Copied(NamedTuple):
    """What a worker made of a task. All packs named in it are durable."""

    stored: StoredChunks
    gone: Sequence[int]  # entries that had vanished before their beginning was read
    bad_pages: Sequence[BadPage]


class _Filled(NamedTuple):
    """A stretch of a file in the buffer."""

    reading: Reading
    position: int  # in the file; a multiple of CHUNK
    begin: int  # in the buffer; a multiple of the page size
    length: int


class CopierSetup(NamedTuple):
    """All that a process needs to become a worker. Holds the key: it is sent, never printed."""

    store: str  # url
    repository: str  # id
    key: Key | None
    cluster: str
    level: int
    reader: Reader
    checksums: bool

    def open(self) -> "Copier":
        repository = Repository(open_store(self.store), self.repository, self.key)
        cluster = repository.cluster(self.cluster)
        return make_copier(cluster, self.reader, checksums=self.checksums, level=self.level)


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies tasks, one after the other. Not for several threads."""

    reader: Reader
    pages: PageCheck
    sealer: Sealer
    cluster: ClusterFolder
    store: WriteBehind  # that of `cluster`
    buffer: memoryview

    def copy(
        self, work: Work, advance: Callable[[int], None], stopped: Callable[[], bool]
    ) -> Copied:
        """Copy everything in `work`; return when its packs are durable.

        Raise BackupAborted soon after `stopped`, and what reader and store raise.
        """
        gone: list[int] = []
        bad_pages: list[BadPage] = []
        log, packs = ChunkLog(), PackWriter(self.cluster, self.sealer)
        for window in self._windows(work.readings, gone):
            if stopped():
                raise BackupAborted("it was stopped")
            bad_pages += self.pages.check(self.buffer, _page_runs(window), work.start_lsn)
            for filled in window:
                self._store(filled, log, packs)
            advance(sum(filled.length for filled in window))
        stored = log.finish(packs.finish())
        # The packs are durable before anybody hears of what is in them.
        self.store.settle()
        return Copied(stored, gone, bad_pages)

    def _windows(self, readings: Sequence[Reading], gone: list[int]) -> Iterator[list[_Filled]]:
        """Fill the buffer again and again; what was yielded is overwritten by the next."""
        window: list[_Filled] = []
        used = 0
        for reading in readings:
            opened = self.reader.open(reading.path, reading.start, reading.end)
            if opened is None:
                if reading.start == 0:
                    gone.append(reading.entry)
                continue
            with opened as file:
                position = reading.start
                end = file.size if reading.end is None else reading.end
                while position < end:
                    length = min(end - position, BUFFER - used)
                    if length < end - position:
                        length -= length % CHUNK
                    if length:
                        got = _read(file, self.buffer[used : used + length], position)
                        window.append(_Filled(reading, position, used, got))
                        used += -(-got // PAGE_SIZE) * PAGE_SIZE
                        position += got
                        if got < length:
                            break  # it was truncated; what was read is kept
                    if used == BUFFER or not length:
                        yield window
                        window, used = [], 0
        if window:
            yield window

    def _store(self, filled: _Filled, log: ChunkLog, packs: PackWriter) -> None:
        """Cut a stretch into chunks and seal those that this task has not stored yet."""
        for offset in range(0, filled.length, CHUNK):
            begin = filled.begin + offset
            plain = self.buffer[begin : begin + min(CHUNK, filled.length - offset)]
            name = self.sealer.chunk_id(plain)
            placed = packs.find(name)  # empty databases are copies of each other
            if placed is None:
                placed = packs.add(self.sealer.seal(seal.CHUNK, plain, id=name))
            log.add(filled.reading.entry, filled.position + offset, placed, len(plain))


def make_copier(
    cluster: ClusterFolder,
    reader: Reader,
    *,
    checksums: bool,
    level: int,
    sleep: Callable[[float], None] = time.sleep,
) -> Copier:
    """Return a copier that stores what it reads in `cluster`."""
    repository, store = cluster.repository, WriteBehind(cluster.store)
    return Copier(
        reader=reader,
        pages=PageCheck(reader, checksums=checksums, sleep=sleep),
        sealer=repository.sealer(level),
        cluster=Repository(store, repository.id, repository.key).cluster(cluster.name),
        store=store,
        buffer=memoryview(mmap(-1, BUFFER)),  # mapped: it begins where a page of memory begins
    )


def _read(file: OpenFile, into: memoryview, position: int) -> int:
    """Fill `into`; return less only where the file ends."""
    done = 0
    while done < len(into):
        got = file.read_into(into[done:], position + done)
        if got == 0:
            break
        done += got
    return done


def _page_runs(window: Sequence[_Filled]) -> list[PageRun]:
    """Return the stretches that consist of pages; a tail that is no whole page is not judged."""
    return [
        PageRun(
            entry=filled.reading.entry,
            path=filled.reading.path,
            begin=filled.begin,
            pages=filled.length // PAGE_SIZE,
            position=filled.position,
            first_block=filled.reading.first_block + filled.position // PAGE_SIZE,
        )
        for filled in window
        if filled.reading.first_block is not None and filled.length >= PAGE_SIZE
    ]
