"""A store whose user dies, or which fails, at a chosen call: for loops over all calls of a command.

for deadly in itertools.count(1):
    dying = DyingStore(store, deadly, after=False, error=Killed)
    with contextlib.suppress(Killed):
        command(dying)
    if dying.calls < deadly:
        break  # it needed fewer calls than that: all have been tried
    forget_locks(store)
    ...  # look at what is in `store`
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgkeep.repository.store.base import Beginning, BlobStat, Store, StoreFailed, TempFile


class Killed(BaseException):
    """The process dies: not even its handlers run."""


@dataclass
class DyingStore:
    """A store that fails, or whose user dies, at the n-th call, before or after its effect."""

    inner: Store
    deadly: int
    after: bool
    error: type[BaseException]
    calls: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def address(self) -> str:
        return self.inner.address

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 1

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._call("put", name, parts)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._call("create", name, parts)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        content: bytes = self._call("get", name, start, length)
        return content

    def beginning(self, name: str, most: int) -> Beginning:
        found: Beginning = self._call("beginning", name, most)
        return found

    def stat(self, name: str) -> BlobStat:
        found: BlobStat = self._call("stat", name)
        return found

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        found: Iterator[BlobStat] = self._call("list", prefix)
        return found

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def secure(self, prefix: str) -> None:
        self._call("secure", prefix)

    def free_space(self) -> int | None:
        return None

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        return []

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
        kind = self.error if issubclass(self.error, StoreFailed) else StoreFailed
        return kind(self.url, method, "injected")


def forget_locks(store: Store, cluster: str = "main") -> None:
    """Remove locks left behind: this process, which lives, is in them; the dead would give way."""
    for blob in list(store.list(f"clusters/{cluster}/locks/")):
        store.delete(blob.name)
