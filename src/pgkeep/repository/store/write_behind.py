"""A store that lets its user go on while a pack is written: disks wait, processors needn't."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pgkeep.repository.store.base import BlobStat, Store, TempFile

if TYPE_CHECKING:
    from pgkeep.repository.store.copies import Copies


class WriteBehind:
    """create() returns at once; settle() returns when all that was created is durable.

    One blob is on its way at a time, so no more than one is held in memory for it. What went wrong
    is raised by the next create() or by settle(): before that, nothing may refer to the blobs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writer = ThreadPoolExecutor(1, "pgkeep-write-behind")
        self._on_its_way: Future[None] | None = None

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
    def reads_at_once(self) -> int:
        return self._store.reads_at_once

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self.settle()
        self._on_its_way = self._writer.submit(self._store.create, name, parts)

    def settle(self) -> None:
        """Wait for what is on its way, and raise what the store raised."""
        writing, self._on_its_way = self._on_its_way, None
        if writing is not None:
            writing.result()

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._store.put(name, parts)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self._store.get(name, start, length)

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
