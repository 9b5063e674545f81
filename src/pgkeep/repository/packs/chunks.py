"""Reads chunks back: neighbours in one request, every byte checked before it is handed out."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np

from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.repository.manifest.tables import Array, ChunkTable, PackTable
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import CHUNK, Damaged, FormatTooNew, Sealer, WrongKey, read_header
from pgkeep.repository.store.base import BlobMissing, ShortRead, Store
from pgkeep.units import KIB, MIB

WINDOW: Final = 8 * MIB  # bytes of one request: keeps a store busy, and is all that lies in memory
GAP: Final = 64 * KIB  # reading this much in vain costs less than another request
_BATCH: Final = 8192  # rows that become Python numbers at a time


class PackMissing(PgkeepError):
    """A pack that a backup needs is gone from the repository."""

    code = "pack-missing"
    exit_status = 32

    backup: str
    pack: str
    store: str
    file: str

    def __str__(self) -> str:
        first = f" (needed for {self.file})" if self.file else ""
        return (
            f"backup {self.backup} cannot be restored whole: {self.pack}{first} "
            f"is missing from {self.store}"
        )

    @property
    def hint(self) -> str:
        return (
            "bring the object back from another copy of the repository, or restore an older backup "
            "and more WAL; take a new full backup now"
        )


class ChunkRead(NamedTuple):
    """One request: a range of a pack and the chunks in it."""

    pack: int
    offset: int
    length: int
    rows: list[int]


def plan_reads(chunks: ChunkTable, window: int = WINDOW, gap: int = GAP) -> Iterator[ChunkRead]:
    """Yield requests that fetch every chunk once, by pack and offset, in at most `window` bytes."""
    current: ChunkRead | None = None
    for row, pack, offset, length in _in_order(chunks):
        end = offset + length
        if (
            current is not None
            and pack == current.pack
            and offset <= current.offset + current.length + gap
            and end <= current.offset + window
        ):
            current.rows.append(row)
            current = current._replace(length=max(current.length, end - current.offset))
            continue
        if current is not None:
            yield current
        current = ChunkRead(pack, offset, length, [row])
    if current is not None:
        yield current


class ChunkReader:
    """Reads chunks of one backup. One per thread; holds a few requests' bytes in memory."""

    def __init__(
        self, cluster: ClusterFolder, sealer: Sealer, packs: PackTable, *, backup: str
    ) -> None:
        self._cluster = cluster
        self._sealer = sealer
        self._packs = packs
        self._backup = backup

    def read(
        self, chunks: ChunkTable, file_of: Callable[[int], str] = lambda _: ""
    ) -> Iterator[tuple[int, bytes]]:
        """Yield each row of `chunks` with its plain bytes, in reading order (see `plan_reads`).

        `file_of` gives the file that a row belongs to; it is called for errors only. Raises
        PackMissing, Damaged and what the store raises; a chunk that is yielded is what was backed
        up.
        """
        for request, content in self._fetched(plan_reads(chunks), file_of):
            yield from self._open(request, memoryview(content), chunks, file_of)

    def _fetched(
        self, requests: Iterator[ChunkRead], file_of: Callable[[int], str]
    ) -> Iterator[tuple[ChunkRead, bytes]]:
        """Yield what is asked for in its order; of a distant store more is asked for meanwhile.

        So many windows lie in memory as the store has reads at once.
        """
        at_once = self._cluster.store.calls_at_once
        if at_once == 1:
            yield from ((request, self._fetch(request, file_of)) for request in requests)
            return
        with ThreadPoolExecutor(at_once, "pgkeep-read") as pool:
            under_way: deque[tuple[ChunkRead, Future[bytes]]] = deque()
            try:
                for request in requests:
                    under_way.append((request, pool.submit(self._fetch, request, file_of)))
                    if len(under_way) == at_once:
                        done, content = under_way.popleft()
                        yield done, content.result()
                while under_way:
                    done, content = under_way.popleft()
                    yield done, content.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _open(
        self,
        request: ChunkRead,
        content: memoryview,
        chunks: ChunkTable,
        file_of: Callable[[int], str],
    ) -> Iterator[tuple[int, bytes]]:
        plain, last = b"", -1
        for row in request.rows:
            offset, length = int(chunks.offset[row]), int(chunks.sealed[row])
            if offset != last:  # equal chunks are stored once
                start = offset - request.offset
                sealed = content[start : start + length]
                try:
                    plain = self._unseal(sealed, chunks, row)
                except Damaged as error:
                    damaged = self._damaged(request.pack, offset, file_of(row), error.why)
                    plain = self._elsewhere(damaged, request.pack, chunks, row)
                except (FormatTooNew, WrongKey) as error:  # or bits of its header are flipped
                    plain = self._elsewhere(error, request.pack, chunks, row)
                last = offset
            yield row, plain

    def _unseal(self, sealed: memoryview, chunks: ChunkTable, row: int) -> bytes:
        plain: bytes = self._sealer.unseal(CHUNK, sealed, "a chunk")
        # An intact chunk is not enough: it must be the one that was backed up.
        if read_header(sealed, "a chunk").id != chunks.id[row].tobytes():
            raise Damaged("a chunk", "another chunk is there than the one in the manifest")
        if len(plain) != chunks.plain[row]:
            raise Damaged("a chunk", "its length is not the one in the manifest")
        return plain

    def _elsewhere(self, flaw: PgkeepError, pack: int, chunks: ChunkTable, row: int) -> bytes:
        """Return a chunk from another copy of the repository, or raise what is wrong with it."""
        union, name = self._cluster.store.union, self._name(pack)
        if union is None:
            raise flaw

        def read(store: Store) -> bytes:
            sealed = store.get(name, int(chunks.offset[row]), int(chunks.sealed[row]))
            try:
                return self._unseal(memoryview(sealed), chunks, row)
            except Damaged as error:
                raise Damaged(f"{name} in {store.url}", error.why) from error

        return union.intact(read)

    def _fetch(self, request: ChunkRead, file_of: Callable[[int], str]) -> bytes:
        store = self._cluster.repository.store
        try:
            return store.get(self._name(request.pack), request.offset, request.length)
        except BlobMissing as error:
            file = file_of(request.rows[0])
            raise PackMissing(self._backup, error.name, error.store, file) from error
        except ShortRead as error:
            why = f"it was cut off at byte {error.size}"
            file = file_of(request.rows[0])
            raise self._damaged(request.pack, request.offset, file, why) from error

    def _damaged(self, pack: int, offset: int, file: str, why: str) -> Damaged:
        of_file = f"{file} of " if file else ""
        where = f"{of_file}backup {self._backup} ({self._name(pack)} at byte {offset})"
        return Damaged(where, why)

    def _name(self, pack: int) -> str:
        return names.pack(self._cluster.name, self._packs.name(pack))


def _in_order(chunks: ChunkTable) -> Iterator[tuple[int, int, int, int]]:
    order: Array = np.lexsort((chunks.offset, chunks.pack))
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        columns = (rows, chunks.pack[rows], chunks.offset[rows], chunks.sealed[rows])
        yield from zip(*(column.tolist() for column in columns), strict=True)
