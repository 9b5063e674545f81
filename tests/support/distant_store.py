"""Stores that are far away, as far as their users can tell: several calls are under way at once."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pgkeep.backup.copying.copy import Copier, CopierSetup, make_copier
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import StoreFull
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.memory import MemoryStore
from support.wait import wait_for


class DistantStore(MemoryStore):
    """A store in memory that says it is far. `on_create` runs before each blob is stored."""

    def __init__(self, on_create: Callable[[], object] = lambda: None) -> None:
        super().__init__("distant")
        self.most_held = 0  # bytes under way at once
        self._held = 0
        self._on_create = on_create
        self._counting = threading.Lock()

    @property
    def calls_at_once(self) -> int:
        return 4

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, parts))
        with self._counting:
            self._held += size
            self.most_held = max(self.most_held, self._held)
        self._on_create()
        super().create(name, parts)
        with self._counting:
            self._held -= size


class WaitingStore(LocalStore):
    """A store of worker processes that stores nothing before there is a file `go`."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._go = Path(root).with_name("go")

    @property
    def calls_at_once(self) -> int:
        return 4

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        wait_for(self._go.exists)
        if self._go.read_text() == "full":
            raise StoreFull(self.url, f"create {name}", "no room")
        super().create(name, parts)


class WaitingSetup(CopierSetup):
    """What a worker needs that stores into a WaitingStore."""

    def open(self) -> Copier:
        store = WaitingStore(os.path.abspath(self.store))
        return make_copier(Repository(store, self.repository, self.key).cluster(self.cluster), self)
