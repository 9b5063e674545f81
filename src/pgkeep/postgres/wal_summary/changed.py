"""What several WAL summaries together tell: the blocks of each relation that may have changed.

Pure. Only main forks count: the others are copied whole (their changes are not all in WAL).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgkeep.postgres.layout import Fork, RelationFile
from pgkeep.postgres.wal_summary.content import (
    BITMAP,
    CHUNK_BLOCKS,
    SummaryEntry,
    bits_in,
)

_SPARE: Final = 64  # blocks that a chunk takes before it looks for repeated ones
_NONE: Final = np.empty(0, np.uint32)

Relation = tuple[int, int, int]  # tablespace, database, filenode


class Changed(NamedTuple):
    """What changed in one segment file of a relation's main fork."""

    recreated: bool  # all of it, even what looks unchanged
    limit: int | None  # likewise from this block on, counted within the file
    blocks: NDArray[np.uint32]  # besides these: below the limit, sorted, within the file


class ChangedBlocks:
    """The union of summaries, added in order of LSN.

    It takes two to four bytes for each changed block, at most 16 KiB for each 512 MiB of a
    relation, and about 600 bytes for each relation.
    """

    def __init__(self) -> None:
        self._relations: dict[Relation, _Relation] = {}
        self._recreated: set[tuple[int, int]] = set()

    @property
    def databases_recreated(self) -> frozenset[tuple[int, int]]:
        """(tablespace, database) of directories that were created, copied or dropped whole."""
        return frozenset(self._recreated)

    def add(self, summary: Iterable[SummaryEntry]) -> None:
        """Add one summary. It must not begin before those that were added already."""
        for entry in summary:
            if entry.fork:
                continue
            if not entry.number:
                self._recreated.add((entry.tablespace, entry.database))
                continue
            key = (entry.tablespace, entry.database, entry.number)
            relation = self._relations.get(key)
            if relation is None:
                relation = self._relations[key] = _Relation()
            relation.add(entry)

    def of(self, file: RelationFile, segment_blocks: int) -> Changed:
        """Return what changed in a file of a main fork."""
        assert file.fork is Fork.MAIN
        if (file.tablespace, file.database) in self._recreated:
            return Changed(True, 0, _NONE)
        relation = self._relations.get((file.tablespace, file.database, file.number))
        if relation is None:
            return Changed(False, None, _NONE)
        first = file.first_block(segment_blocks)
        limit = relation.limit
        if limit is not None and limit <= first:
            return Changed(True, 0, _NONE)
        upto = first + segment_blocks
        cut = limit is not None and limit < upto
        blocks = relation.blocks(first, limit if cut and limit is not None else upto)
        return Changed(False, limit - first if cut and limit is not None else None, blocks)


class _Relation:
    """The main fork of one relation."""

    __slots__ = ("_chunks", "limit")

    def __init__(self) -> None:
        self.limit: int | None = None
        self._chunks: dict[int, _Chunk] = {}

    def add(self, entry: SummaryEntry) -> None:
        if entry.limit is not None and (self.limit is None or entry.limit < self.limit):
            self.limit = entry.limit
            # Whatever is there now from the limit on is taken: those blocks need no list.
            for number in [n for n in self._chunks if n * CHUNK_BLOCKS >= entry.limit]:
                del self._chunks[number]
        for number, content in entry.chunks():
            if self.limit is not None and number * CHUNK_BLOCKS >= self.limit:
                break
            chunk = self._chunks.get(number)
            if chunk is None:
                chunk = self._chunks[number] = _Chunk()
            chunk.add(content)

    def blocks(self, first: int, upto: int) -> NDArray[np.uint32]:
        """Return the changed blocks from `first` to before `upto`, counted from `first`."""
        found = []
        for number in range(first // CHUNK_BLOCKS, (upto - 1) // CHUNK_BLOCKS + 1):
            chunk = self._chunks.get(number)
            if chunk is not None:
                # As signed numbers, because a chunk may begin before the file does.
                found.append(chunk.offsets().astype(np.int64) + (number * CHUNK_BLOCKS - first))
        if not found:
            return _NONE
        blocks = np.concatenate(found)
        return blocks[(blocks >= 0) & (blocks < upto - first)].astype(np.uint32)


class _Chunk:
    """Changed blocks among 65536: a list while it is short, then a bitmap of 8 KiB."""

    __slots__ = ("_bits", "_known", "_raw")

    def __init__(self) -> None:
        self._raw = bytearray()  # 16-bit offsets, in any order, repeated ones too
        self._known = 0  # how many different ones _raw held when it was looked at last
        self._bits: NDArray[np.uint8] | None = None  # offsets that are not in _raw

    def add(self, content: memoryview) -> None:
        if len(content) == 2 * BITMAP:
            bits = np.frombuffer(content, np.uint8)
            self._bits = bits.copy() if self._bits is None else self._bits | bits
            return
        self._raw += content
        if len(self._raw) > 4 * self._known + 2 * _SPARE:
            self._settle()

    def offsets(self) -> NDArray[np.uint16]:
        """Return the changed blocks in order, counted from the chunk's first."""
        self._settle()
        return self._listed() if self._bits is None else bits_in(self._bits)

    def _settle(self) -> None:
        """Drop repeated offsets; make a bitmap of what is no longer short as a list."""
        listed = np.unique(self._listed())
        if self._bits is None and len(listed) < BITMAP // 2:
            self._raw = bytearray(listed.tobytes())
            self._known = len(listed)
            return
        flags = np.zeros(CHUNK_BLOCKS, np.uint8)
        flags[listed] = 1
        bits = np.packbits(flags, bitorder="little")
        self._bits = bits if self._bits is None else self._bits | bits
        self._raw = bytearray()
        # As many may wait again before they are worth another look.
        self._known = BITMAP // 2

    def _listed(self) -> NDArray[np.uint16]:
        # A copy: a view would forbid the bytearray to grow.
        return np.array(np.frombuffer(self._raw, "<u2"))
