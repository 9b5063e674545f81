"""A store in memory, for tests: as strict as a real one, and gone with the process."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from pgkeep.repository.store.base import (
    Beginning,
    BlobExists,
    BlobMissing,
    BlobStat,
    ShortRead,
    TempFile,
)
from pgkeep.repository.store.blob_names import check_name, check_prefix


class MemoryStore:
    """Blobs in a dictionary, under the same contract as any other. See base.Store."""

    def __init__(self, name: str = "", clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._clock = clock
        self._blobs: dict[str, tuple[bytes, float]] = {}
        self._lock = Lock()

    @property
    def url(self) -> str:
        return f"memory:{self._name}"

    @property
    def address(self) -> str:
        return self.url

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 1

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        check_name(name)
        self._blobs[name] = (b"".join(parts), self._clock())

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        check_name(name)
        content = b"".join(parts)
        with self._lock:
            if name in self._blobs:
                raise BlobExists(self.url, name)
            self._blobs[name] = (content, self._clock())

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        content, _ = self._found(name)
        end = len(content) if length is None else start + length
        if max(start, end) > len(content):
            raise ShortRead(self.url, name, max(start, end), len(content))
        return content[start:end]

    def beginning(self, name: str, most: int) -> Beginning:
        content, _ = self._found(name)
        return Beginning(content[:most], len(content))

    def stat(self, name: str) -> BlobStat:
        content, modified = self._found(name)
        return BlobStat(name, len(content), modified)

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        check_prefix(prefix)
        names = sorted(self._blobs)
        for name in names[bisect_left(names, prefix) :]:
            if not name.startswith(prefix):
                return
            found = self._blobs.get(name)
            if found is not None:
                yield BlobStat(name, len(found[0]), found[1])

    def delete(self, name: str) -> None:
        check_name(name)
        self._blobs.pop(name, None)

    def secure(self, prefix: str) -> None:
        check_prefix(prefix)

    def free_space(self) -> int | None:
        return None

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:  # noqa: ARG002
        return []  # nothing outlives its writer

    def _found(self, name: str) -> tuple[bytes, float]:
        check_name(name)
        found = self._blobs.get(name)
        if found is None:
            raise BlobMissing(self.url, name)
        return found
