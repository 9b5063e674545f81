"""Stop a backup at every call to the store: nothing incomplete is ever listed."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pgkeep.backup.backup import BackupOptions, run
from pgkeep.repository import catalog
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import BlobStat, StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from support.backups import FakeSource, contents, inline, page

FILES = {
    "PG_VERSION": b"18\n",
    **{f"base/5/{n}": page(0) + page(1) for n in range(16384, 16390)},
}


class Killed(BaseException):
    """The process dies: not even its handlers run."""


@dataclass
class DyingStore:
    """A store that fails, or whose user dies, at the n-th call, before or after its effect."""

    inner: MemoryStore
    deadly: int
    after: bool
    error: type[BaseException]
    calls: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.inner.url

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._call("put", name, parts)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._call("create", name, parts)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        content: bytes = self._call("get", name, start, length)
        return content

    def stat(self, name: str) -> BlobStat:
        found: BlobStat = self._call("stat", name)
        return found

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        found: Iterator[BlobStat] = self._call("list", prefix)
        return found

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def free_space(self) -> int | None:
        return None

    def _call(self, method: str, *arguments: Any) -> Any:
        self.calls += 1
        self.seen.append(f"{method} {arguments[0]}")
        if self.error is Killed and self.calls > self.deadly:
            raise Killed  # the dead do nothing
        if self.calls == self.deadly and not self.after:
            raise self._death(method)
        result = getattr(self.inner, method)(*arguments)
        if self.calls == self.deadly:
            raise self._death(method)
        return result

    def _death(self, method: str) -> BaseException:
        if self.error is Killed:
            return Killed()
        return StoreFailed(self.url, method, "injected")


def back_up(store: Any, repository: Repository) -> ClusterFolder:
    cluster = Repository(store, repository.id, None).cluster("main")
    run(FakeSource(dict(FILES)), cluster, BackupOptions(jobs=1), make_workers=inline(cluster))
    return cluster


@pytest.mark.parametrize("error", [Killed, StoreFailed])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_scenario_83_whatever_call_a_backup_dies_at(
    error: type[BaseException], after: bool
) -> None:
    for deadly in itertools.count(1):
        store = MemoryStore()
        repository = Repository.create(store, "none", None)
        first = back_up(store, repository)
        dying = DyingStore(store, deadly, after, error)
        with contextlib.suppress(error):
            back_up(dying, repository)
        if dying.calls < deadly:
            break  # it needed fewer calls than that: all have been tried
        # A lock left behind is this process's, which lives: the real one would be known as dead.
        for blob in list(store.list("clusters/main/locks/")):
            store.delete(blob.name)
        check(first, at_least=1, where=dying.seen[-1])
        check(back_up(store, repository), at_least=2, where=dying.seen[-1])
    assert deadly > 30


def check(cluster: ClusterFolder, at_least: int, where: str) -> None:
    """Everything that is listed can be read back whole."""
    found = catalog.backups(cluster)
    assert found.unreadable == (), where
    assert len(found.backups) >= at_least, where
    for backup in found.backups:
        assert contents(cluster, backup.id) == {**FILES, "global/pg_control": b"control" * 100}
        archive = cluster.wal(backup.generation.id)
        for number in range(backup.first_segment.number, backup.last_segment.number + 1):
            assert archive.has(backup.first_segment._replace(number=number).name), where
