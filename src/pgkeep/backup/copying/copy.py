"""What one worker does with one task: read, check pages, cut into chunks, seal, pack.

Everything passes through one buffer that is read into, checked and sealed from in place. Small
files share it, so that the page check always has many pages to work on at once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final, NamedTuple

import numpy as np

from pgkeep.backup.copying.moving import Mover
from pgkeep.backup.copying.page_check import BadPage, PageCheck, PageRun
from pgkeep.backup.copying.stage import PageStage
from pgkeep.backup.copying.work import ChangedPages, Copied, Reading, Work
from pgkeep.backup.incremental.attempts import Adopted
from pgkeep.backup.plan import CHUNK
from pgkeep.backup.source import BackupAborted, OpenFile, Reader
from pgkeep.postgres.pages import PAGE_SIZE, page_lsns
from pgkeep.repository import seal
from pgkeep.repository.manifest.builder import ChunkLog
from pgkeep.repository.manifest.tables import Array
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.pack import PackWriter, Placed, StoredPack
from pgkeep.repository.packs.pack_ids import pack_id
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key, Sealer
from pgkeep.repository.store.distance.write_behind import WriteBehind
from pgkeep.units import MIB
from pgkeep.workers.throttle import SharedRate

BUFFER: Final = 4 * MIB  # one read; page checks run at full speed from 2 MiB on
NO_LIMIT: Final = SharedRate(None)
_FIRST_LSN: Final = MIB  # no WAL was ever written before: the smallest segment (xlog.c)


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
    tag: bytes  # of the packs' ids
    adopted: Adopted = Adopted()
    rate: SharedRate = NO_LIMIT  # of reading, for all workers together
    nice: int = 0
    ionice: str = ""

    def open(self) -> "Copier":
        repository = Repository(open_metered(self.store), self.repository, self.key)
        cluster = repository.cluster(self.cluster)
        return make_copier(cluster, self)


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies tasks, one after the other. Not for several threads."""

    reader: Reader
    pages: PageCheck
    sealer: Sealer
    cluster: ClusterFolder
    store: WriteBehind  # that of `cluster`
    buffer: memoryview
    tag: bytes
    adopted: Adopted
    rate: SharedRate

    def copy(
        self, work: Work, advance: Callable[[int], None], stopped: Callable[[], bool]
    ) -> Copied:
        """Copy everything in `work`; its packs are durable after settle().

        Raise BackupAborted soon after `stopped`, and what reader and store raise.
        """
        if work.moves is not None:
            return Mover(self.cluster, self.sealer).move(work.moves, self._new_packs())
        task = _Task(self.sealer, self._new_packs(), self.adopted)
        for window in self._windows(work.readings, task.gone):
            if stopped():
                raise BackupAborted("it was stopped")
            task.bad_pages += self.pages.check(self.buffer, _page_runs(window), work.start_lsn)
            for filled in window:
                task.take(filled, self.buffer)
            read = sum(filled.length for filled in window)
            advance(read)
            self.rate.take(read, stopped)
        return task.finish()

    def settle(self) -> None:
        """Return when everything that was copied is durable. Raise what the store raises.

        Once after the last task, not after each: a distant store would be waited for every time.
        """
        self.store.settle()

    def _new_packs(self) -> PackWriter:
        return PackWriter(self.cluster, self.sealer, new_id=lambda _: pack_id(self.tag))

    def _windows(self, readings: Sequence[Reading], gone: list[int]) -> Iterator[list[_Filled]]:
        """Fill the buffer again and again; what was yielded is overwritten by the next."""
        window = _Window()
        for reading in readings:
            opened = self.reader.open(
                reading.path, reading.start, reading.end, sparse=_is_sparse(reading)
            )
            if opened is None:
                if reading.start == 0:
                    gone.append(reading.entry)
                continue
            with opened as file:
                for position, end in _ranges(reading, file.size):
                    yield from self._fill(window, reading, file, position, end)
        if window.filled:
            yield window.filled

    def _fill(
        self, window: "_Window", reading: Reading, file: OpenFile, position: int, end: int
    ) -> Iterator[list[_Filled]]:
        """Read a stretch of a file into the window, yielding it each time that it is full."""
        step = PAGE_SIZE if _is_sparse(reading) else CHUNK
        while position < end:
            length = min(end - position, BUFFER - window.used)
            if length < end - position:
                length -= length % step
            if length:
                room = self.buffer[window.used : window.used + length]
                got = _read(file, room, position)
                window.add(reading, position, got)
                position += got
                if got < length:
                    return  # it was truncated; what was read is kept
            if window.used == BUFFER or not length:
                yield window.filled
                window.clear()


class _Window:
    """What is in the buffer."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.filled: list[_Filled] = []
        self.used = 0

    def add(self, reading: Reading, position: int, length: int) -> None:
        self.filled.append(_Filled(reading, position, self.used, length))
        self.used += -(-length // PAGE_SIZE) * PAGE_SIZE


class _Task:
    """What becomes of one task's windows."""

    def __init__(self, sealer: Sealer, packs: PackWriter, adopted: Adopted) -> None:
        self._sealer = sealer
        self._packs = packs
        self._adopted = adopted
        self._log = ChunkLog()
        self._stage = PageStage(self._store_pages)
        self.gone: list[int] = []
        self.bad_pages: list[BadPage] = []
        self._read = self._known = self._resumed = 0

    def take(self, filled: _Filled, buffer: memoryview) -> None:
        """Store what is to be stored of a stretch."""
        self._read += filled.length
        if filled.reading.changed is None:
            self._store_whole(filled, buffer)
            return
        whole = filled.length // PAGE_SIZE
        content = np.frombuffer(buffer, np.uint8, whole * PAGE_SIZE, filled.begin)
        pages = content.reshape(whole, PAGE_SIZE)
        chosen = _changed(filled, content, whole, filled.reading.changed)
        first = filled.position // PAGE_SIZE
        self._stage.add(filled.reading.entry, first + chosen, pages[chosen])

    def finish(self) -> Copied:
        self._stage.flush()
        stored = self._log.finish(self._packs.finish())
        return Copied(stored, self.gone, self.bad_pages, self._read, self._known, self._resumed)

    def _store_whole(self, filled: _Filled, buffer: memoryview) -> None:
        """Cut a stretch into chunks, and seal those that are stored nowhere yet."""
        reading = filled.reading
        for offset in range(0, filled.length, CHUNK):
            begin = filled.begin + offset
            plain = buffer[begin : begin + min(CHUNK, filled.length - offset)]
            position, name = filled.position + offset, self._sealer.chunk_id(plain)
            known = reading.known.get(name) if reading.known else None
            if known is not None:
                self._known += len(plain)
                self._log.add_known(reading.entry, position, known, len(plain))
                continue
            placed, adopted = self._place(name, plain)
            self._log.add(reading.entry, position, placed, len(plain))
            if adopted is not None:
                self._log.note_adopted(adopted)

    def _store_pages(self, entry: int, blocks: Array, pages: memoryview) -> None:
        placed, adopted = self._place(self._sealer.chunk_id(pages), pages)
        self._log.add_pages(entry, blocks, placed, len(pages))
        if adopted is not None:
            self._log.note_adopted(adopted)

    def _place(self, name: bytes, plain: memoryview) -> tuple[Placed, StoredPack | None]:
        """Return where a chunk lies, storing it if need be, and the attempt's pack that had it."""
        placed = self._packs.find(name)  # empty databases are copies of each other
        if placed is not None:
            return placed, None
        found = self._adopted.find(name) if len(self._adopted) else None
        if found is not None:
            self._resumed += len(plain)
            return found[1], found[0]
        return self._packs.add(self._sealer.seal(seal.CHUNK, plain, id=name)), None


def make_copier(
    cluster: ClusterFolder, setup: CopierSetup, sleep: Callable[[float], None] = time.sleep
) -> Copier:
    """Return a copier that stores what it reads in `cluster`."""
    repository, store = cluster.repository, WriteBehind(cluster.store)
    return Copier(
        reader=setup.reader,
        pages=PageCheck(setup.reader, checksums=setup.checksums, sleep=sleep),
        sealer=repository.sealer(setup.level),
        cluster=Repository(store, repository.id, repository.key).cluster(cluster.name),
        store=store,
        buffer=memoryview(mmap(-1, BUFFER)),  # mapped: it begins where a page of memory begins
        tag=setup.tag,
        adopted=setup.adopted,
        rate=setup.rate,
    )


def _is_sparse(reading: Reading) -> bool:
    """Tell whether pages here and there are read, not a stretch."""
    return reading.changed is not None and reading.changed.since is None


def _ranges(reading: Reading, size: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a file that are to be read."""
    if reading.changed is None or reading.changed.since is not None:
        yield reading.start, size if reading.end is None else reading.end
        return
    blocks = reading.changed.blocks.astype(np.int64)
    breaks = np.flatnonzero(np.diff(blocks) != 1) + 1
    first = blocks[np.concatenate(([0], breaks))] * PAGE_SIZE
    last = blocks[np.concatenate((breaks - 1, [len(blocks) - 1]))] * PAGE_SIZE
    yield from zip(first.tolist(), (last + PAGE_SIZE).tolist(), strict=True)


def _changed(filled: _Filled, content: Array, pages: int, changed: ChangedPages) -> Array:
    """Return which pages of a stretch are to be stored, counted from its beginning.

    Without a real LSN a page was never logged, or is empty, or is damaged: no LSN vouches for it.
    """
    if changed.since is None:
        return np.arange(pages)
    lsns = page_lsns(content.data)
    chosen = (lsns >= np.uint64(changed.since)) | (lsns < np.uint64(_FIRST_LSN))
    first = filled.position // PAGE_SIZE
    low, high = np.searchsorted(changed.blocks, (first, first + pages))
    chosen[changed.blocks[low:high].astype(np.int64) - first] = True
    return np.flatnonzero(chosen)


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
