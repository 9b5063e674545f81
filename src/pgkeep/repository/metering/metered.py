"""A store that counts what is asked of it. The counts are its process's and its workers'."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pgkeep.repository.metering.traffic import Traffic
from pgkeep.repository.store.base import Beginning, BlobStat, Store, TempFile
from pgkeep.units import MIB
from pgkeep.workers import counting

if TYPE_CHECKING:
    from pgkeep.repository.store.copies import Copies

_PUTS, _GETS, _LISTS, _STATS, _DELETES, _SENT, _RECEIVED = range(7)
_PAGE: Final = 1000  # what services list per request
_WHOLE: Final = 64 * MIB  # larger blobs go in parts of a quarter of this
_AROUND: Final = 4  # requests beside the parts: begin, complete, copy to its name, remove the copy


class Metered:
    """Counts, and leaves everything else to the store that it wraps. See base.Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._row = counting.row(store.url)

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

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._count_put(parts)
        self._store.put(name, parts)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self._count_put(parts)
        self._store.create(name, parts)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        self._row.add(_GETS, 1)
        content = self._store.get(name, start, length)
        self._row.add(_GETS, 0, _RECEIVED, len(content))
        return content

    def beginning(self, name: str, most: int) -> Beginning:
        self._row.add(_GETS, 1)
        found = self._store.beginning(name, most)
        self._row.add(_GETS, 0, _RECEIVED, len(found.content))
        return found

    def stat(self, name: str) -> BlobStat:
        self._row.add(_STATS, 1)
        return self._store.stat(name)

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        for number, blob in enumerate(self._store.list(prefix)):
            if number % _PAGE == 0:
                self._row.add(_LISTS, 1)
            yield blob

    def delete(self, name: str) -> None:
        self._row.add(_DELETES, 1)
        self._store.delete(name)

    def secure(self, prefix: str) -> None:
        self._store.secure(prefix)

    def free_space(self) -> int | None:
        return self._store.free_space()

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        self._row.add(_LISTS, 1)
        return self._store.sweep_temp(older_than, now)

    def _count_put(self, parts: Sequence[bytes | memoryview]) -> None:
        # Counted before it is done: what fails half-way is paid for, too.
        size = sum(memoryview(part).nbytes for part in parts)
        requests = 1 if size <= _WHOLE else _AROUND + -(-size // (_WHOLE // 4))
        self._row.add(_PUTS, requests, _SENT, size)


def counter(url: str) -> Callable[[str], None]:
    """Return what counts requests beside a store's own (object locks), by the verb of each."""
    row = counting.row(url)
    kinds = {"look": _GETS, "lock": _PUTS, "write": _PUTS, "see": _LISTS, "list": _LISTS}
    return lambda verb: row.add(kinds.get(verb, _STATS), 1)


def traffic(url: str) -> Traffic:
    """Return what this process and its workers have asked of the store of that name."""
    return Traffic(*counting.total(url)[: len(Traffic._fields)])
