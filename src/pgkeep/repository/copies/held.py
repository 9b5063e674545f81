"""One object of a store, held so that the bytes that were checked are the bytes that are sent.

Up to 64 MiB are in memory: any pack, any segment of up to 64 MiB. Of a larger object only the
hashes of its pieces are kept, and it is read once more when it is sent; then a piece that reads
otherwise than before is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, overload

from blake3 import blake3

from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import (
    Beginning,
    BlobMissing,
    BlobStat,
    ShortRead,
    Store,
    StoreFailed,
    TempFile,
)
from pgkeep.units import MIB

KEPT: Final = 64 * MIB
PIECE: Final = 8 * MIB  # of one request


class Held:
    """A store that gives out one object of another store, and takes nothing.

    Whatever can check an object in a store can check this one. For one thread.
    """

    def __init__(
        self, store: Store, name: str, take: Callable[[int], object] = lambda _: None
    ) -> None:
        """Read it, if it is kept. `take` is called before so many bytes are read.

        Raise BlobMissing, ShortRead or what else the store raises.
        """
        self._store, self.name, self._take = store, name, take
        self._stat = store.stat(name)
        self._hashes: list[bytes | None] = [None] * -(-self.size // PIECE)
        self._kept: list[bytes] = []
        self._last: tuple[int, bytes] = (-1, b"")
        if self.size <= KEPT:
            self._kept = [self._read(number) for number in range(len(self._hashes))]

    @property
    def size(self) -> int:
        return self._stat.size

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def address(self) -> str:
        return self._store.address

    @property
    def union(self) -> None:
        """Return None: what is damaged here must not be read elsewhere."""

    @property
    def calls_at_once(self) -> int:
        return 1

    @property
    def parts(self) -> Sequence[bytes]:
        """The object as a store takes it. Raise Damaged when it is no longer what was checked."""
        return _Parts(self)

    def piece(self, number: int) -> bytes:
        """Return bytes from `number` times PIECE on."""
        if self._kept:
            return self._kept[number]
        if self._last[0] != number:
            self._last = number, self._read(number)
        return self._last[1]

    @property
    def pieces(self) -> int:
        return len(self._hashes)

    def is_in(self, store: Store) -> bool:
        """Read the object of this name in another store; tell whether it is the same one."""
        try:
            if store.stat(self.name).size != self.size:
                return False
            for number, wanted in enumerate(self._hashes):
                start = number * PIECE
                there = store.get(self.name, start, min(PIECE, self.size - start))
                if blake3(there).digest() != wanted:
                    return False
        except (BlobMissing, ShortRead):
            return False
        return True

    # The store's methods. Those that write take what they refuse.

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if name != self.name:
            return self._store.get(name, start, length)
        end = self.size if length is None else start + length
        if max(start, end) > self.size:
            raise ShortRead(self.url, name, max(start, end), self.size)
        found = []
        for number in range(start // PIECE, -(-end // PIECE)):
            begin = number * PIECE
            found.append(memoryview(self.piece(number))[max(0, start - begin) : end - begin])
        return b"".join(found)

    def beginning(self, name: str, most: int) -> Beginning:
        if name != self.name:
            return self._store.beginning(name, most)
        return Beginning(self.get(name, 0, min(most, self.size)), self.size)

    def stat(self, name: str) -> BlobStat:
        return self._stat if name == self.name else self._store.stat(name)

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        return self._store.list(prefix)

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:  # noqa: ARG002
        raise self._refusal(f"write {name}")

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:  # noqa: ARG002
        raise self._refusal(f"create {name}")

    def delete(self, name: str) -> None:
        raise self._refusal(f"delete {name}")

    def secure(self, prefix: str) -> None:
        raise self._refusal(f"sync {prefix}")

    def free_space(self) -> int | None:
        return 0

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:  # noqa: ARG002
        return ()

    def _refusal(self, action: str) -> StoreFailed:
        return StoreFailed(self.url, action, "it is only read from here")

    def _read(self, number: int) -> bytes:
        start = number * PIECE
        length = min(PIECE, self.size - start)
        self._take(length)
        content = self._store.get(self.name, start, length)
        found = blake3(content).digest()
        if self._hashes[number] not in (None, found):
            where = f"{self.name} in {self.url}"
            raise Damaged(where, f"from byte {start} on it reads otherwise than a moment ago")
        self._hashes[number] = found
        return content


class _Parts(Sequence[bytes]):
    """The pieces of an object, read when they are asked for unless they are kept."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def __len__(self) -> int:
        return self._held.pieces

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._held.piece(index)
