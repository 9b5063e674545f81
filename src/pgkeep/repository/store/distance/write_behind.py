"""A store that lets its user go on while packs are written: disks wait, processors needn't."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from pgkeep.repository.store.base import Beginning, BlobStat, Store, TempFile
from pgkeep.units import MIB

if TYPE_CHECKING:
    from pgkeep.repository.store.copies import Copies


_HELD: Final = 34 * MIB  # bytes on their way together: one full pack, or many small ones


class WriteBehind:
    """create() returns at once; settle() returns when all that was created is durable.

    Of a distant store several blobs are on their way at a time, as long as together they are no
    larger than one full pack: no more than that is held in memory for them. What went wrong is
    raised by the next create() or by settle(): before that, nothing may refer to the blobs. Not for
    several threads.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._most = store.calls_at_once
        self._writers = ThreadPoolExecutor(self._most, "pgkeep-write-behind")
        self._on_their_way: deque[tuple[int, Future[None]]] = deque()  # with their sizes

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def address(self) -> str:
        return self._store.address

    @property
    def union(self) -> "Copies | None":
        return self._store.union

    @property
    def calls_at_once(self) -> int:
        return self._store.calls_at_once

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        size = sum(memoryview(part).nbytes for part in parts)
        while not self._has_room(size):
            self._settle_oldest()
        writing = self._writers.submit(self._store.create, name, parts)
        self._on_their_way.append((size, writing))

    def settle(self) -> None:
        """Wait for what is on its way, and raise what the store raised: the first, if several."""
        failed: BaseException | None = None
        while self._on_their_way:
            try:
                self._settle_oldest()
            except Exception as error:  # the others must not be on their way any more, either
                failed = failed or error
        if failed is not None:
            raise failed

    def _has_room(self, size: int) -> bool:
        while self._on_their_way and self._on_their_way[0][1].done():
            self._settle_oldest()
        if not self._on_their_way:
            return True
        held = sum(other for other, _ in self._on_their_way)
        return len(self._on_their_way) < self._most and held + size <= _HELD

    def _settle_oldest(self) -> None:
        _, writing = self._on_their_way.popleft()
        writing.result()

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._store.put(name, parts)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self._store.get(name, start, length)

    def beginning(self, name: str, most: int) -> Beginning:
        return self._store.beginning(name, most)

    def stat(self, name: str) -> BlobStat:
        return self._store.stat(name)

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def secure(self, prefix: str) -> None:
        self._store.secure(prefix)

    def free_space(self) -> int | None:
        return self._store.free_space()

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        return self._store.sweep_temp(older_than, now)
