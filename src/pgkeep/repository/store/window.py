"""Reads one blob from front to back in large pieces."""

from pgkeep.light_typing import Final
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import Store

AHEAD: Final = 8 << 20  # bytes


class Window:
    """Ranges of one blob, read ahead in large pieces."""

    def __init__(self, store: Store, name: str, size: int, beginning: bytes = b"") -> None:
        """`beginning` is what has been read of it already."""
        self._store = store
        self._name = name
        self._size = size
        self._start = 0
        self._held = memoryview(beginning)

    def take(self, start: int, length: int, where: str) -> memoryview:
        if start + length > self._size:
            raise Damaged(where, f"a block at byte {start} would end behind the object")
        if start < self._start or start + length > self._start + len(self._held):
            ahead = min(max(length, AHEAD), self._size - start)
            self._held = memoryview(self._store.get(self._name, start, ahead))
            self._start = start
        return self._held[start - self._start : start - self._start + length]
