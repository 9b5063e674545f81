"""Chunks that are stored already, found by their ids. Small enough to be sent to every worker."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from pgkeep.repository.manifest.tables import Array, Tables
from pgkeep.repository.pack import Placed

_NO_KEYS: Final = np.zeros(0, np.uint64)
_NO_ROWS: Final = np.zeros(0, np.uint32)


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """Many ids, to be looked up: 16 bytes each."""

    high: Array = field(default_factory=lambda: _NO_KEYS)  # ids as two numbers, sorted by this one
    low: Array = field(default_factory=lambda: _NO_KEYS)

    @classmethod
    def of(cls, ids: Array) -> tuple[Self, Array]:
        """Return an index, and which of `ids` are at its places: of equal ones the first."""
        halves = np.frombuffer(ids.tobytes(), np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        halves = halves[order]
        new = np.ones(len(order), bool)
        new[1:] = (halves[1:] != halves[:-1]).any(axis=1)
        return cls(halves[new, 0].copy(), halves[new, 1].copy()), order[new]

    def __len__(self) -> int:
        return len(self.high)

    def find(self, chunk_id: bytes) -> int | None:
        """Return the place of an id."""
        if not len(self.high):
            return None
        high, low = np.frombuffer(chunk_id, np.uint64)
        place = int(self.high.searchsorted(high))
        while place < len(self.high) and self.high[place] == high:
            if self.low[place] == low:
                return place
            place += 1
        return None


@dataclass(frozen=True, slots=True)
class KnownChunks:
    """The chunks of a parent, by id: 28 bytes each."""

    index: ChunkIndex = field(default_factory=ChunkIndex)
    pack: Array = field(default_factory=lambda: _NO_ROWS)  # rows of the parent's pack table
    offset: Array = field(default_factory=lambda: _NO_ROWS)
    sealed: Array = field(default_factory=lambda: _NO_ROWS)

    @classmethod
    def of(cls, parent: Tables, lost: Set[int] = frozenset()) -> Self:
        """Return a manifest's chunks; not those in packs that are `lost`, rows of its table."""
        chunks = parent.chunk
        kept = np.flatnonzero(~np.isin(chunks.pack, list(lost)))
        index, places = ChunkIndex.of(chunks.id[kept])
        rows = kept[places]
        return cls(index, chunks.pack[rows], chunks.offset[rows], chunks.sealed[rows])

    def __len__(self) -> int:
        return len(self.index)

    def find(self, chunk_id: bytes) -> Placed | None:
        """Return where the parent has a chunk; its `pack` is a row of the parent's pack table."""
        place = self.index.find(chunk_id)
        if place is None:
            return None
        pack, offset = int(self.pack[place]), int(self.offset[place])
        return Placed(chunk_id, pack, offset, int(self.sealed[place]))
