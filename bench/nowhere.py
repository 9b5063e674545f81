"""A store that takes packs and forgets them. Workers import it: it cannot be where `main` is."""

from collections.abc import Iterator, Sequence

from pgkeep.backup.copying.copy import Copier, CopierSetup, make_copier
from pgkeep.backup.copying.workers import ProcessWorkers
from pgkeep.repository.metering.metered import Metered
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import Beginning, BlobStat, Store, TempFile
from pgkeep.repository.store.local import LocalStore


class NullStore:
    """Takes packs and keeps nothing of them; all else is read back, so a directory has it."""

    def __init__(self, kept: Store) -> None:
        self._kept = kept

    @property
    def url(self) -> str:
        return f"null:{self._kept.url}"

    @property
    def address(self) -> str:
        return self._kept.address

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 4  # as a bucket

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._kept.put(name, parts)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        if "/packs/" not in name:
            self._kept.create(name, parts)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self._kept.get(name, start, length)

    def beginning(self, name: str, most: int) -> Beginning:
        return self._kept.beginning(name, most)

    def stat(self, name: str) -> BlobStat:
        return self._kept.stat(name)

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        return self._kept.list(prefix)

    def delete(self, name: str) -> None:
        self._kept.delete(name)

    def secure(self, prefix: str) -> None:
        self._kept.secure(prefix)

    def free_space(self) -> int | None:
        return None

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        return self._kept.sweep_temp(older_than, now)


class _NullSetup(CopierSetup):
    """What a worker needs whose packs go nowhere."""

    def open(self) -> Copier:
        store = Metered(NullStore(LocalStore(self.store)))
        return make_copier(Repository(store, self.repository, self.key).cluster(self.cluster), self)


def null_workers(setup: CopierSetup, jobs: int) -> ProcessWorkers:
    return ProcessWorkers(_NullSetup(*setup), jobs)
