"""Gathers changed pages of one file until they fill a chunk."""

from collections.abc import Callable
from typing import Final

import numpy as np

from pgkeep.backup.plan import CHUNK
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository.manifest.tables import Array

_PAGES: Final = CHUNK // PAGE_SIZE

Store = Callable[[int, Array, memoryview], None]  # the file, its blocks, and the pages themselves


class PageStage:
    """Holds up to a chunk of pages. Pages of one file must come in rising order, and together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pages = np.empty((_PAGES, PAGE_SIZE), np.uint8)
        self._blocks = np.empty(_PAGES, np.uint32)
        self._held = 0
        self._entry = -1

    def add(self, entry: int, blocks: Array, pages: Array) -> None:
        """Take these pages of a file: `pages` has a row for each of `blocks`."""
        if entry != self._entry:
            self.flush()
            self._entry = entry
        start = 0
        while start < len(blocks):
            count = min(len(blocks) - start, _PAGES - self._held)
            held = slice(self._held, self._held + count)
            self._pages[held] = pages[start : start + count]
            self._blocks[held] = blocks[start : start + count]
            self._held += count
            start += count
            if self._held == _PAGES:
                self.flush()

    def flush(self) -> None:
        """Store what is held."""
        if self._held:
            pages = self._pages[: self._held].reshape(-1)
            self._store(self._entry, self._blocks[: self._held], pages.data)
            self._held = 0
