"""Where the files of a dump are cut into chunks: at row ends that the content itself chooses. Pure.

A row that is inserted, changed or deleted must not move the borders behind it, or every chunk
behind it would be new. So a border is where a hash of the rows' own bytes says so, and never at a
position. In COPY's text format every row ends with a line feed, and no other byte of it is one
(COPY, "Text Format"). What has no rows (large objects, giant values) is cut in the same way behind
bytes of one kind.

Changing anything here makes the next dump of everybody store everything again.
"""

from bisect import bisect_left
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from pgkeep.repository.manifest.tables import CHUNK_LIMIT, Array
from pgkeep.units import KIB

LEAST: Final = 32 * KIB  # but for a file's last chunk: smaller ones cost more than they save
_STEP: Final = 96 * KIB  # behind LEAST, the bytes to the next border on average: 128 KiB a chunk
_LARGE: Final = LEAST - KIB  # a row of this size ends a chunk: where it began may be out of sight
_FAR: Final = 512 * KIB  # from here on any row end will do: one chunk of 150 gets as far
_LINE_FEED: Final = 0x0A
# What stands in for line feeds where there are none: '7' behind one of '37c' in hex, and so on;
# one of about a hundred bytes in whatever is no constant.
_KIND_MASK: Final = 0x1F
_KIND: Final = 0x17
_BEFORE_MASK: Final = 0x03

_HALF: Final = 32  # bytes of a row that are looked at, at its beginning and at its end
_MULTIPLIER: Final = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd
_HALF_WORDS: Final = _HALF // 8
_POWERS: Final = np.array(
    [pow(_MULTIPLIER, power, 1 << 64) for power in range(1, 2 * _HALF_WORDS + 1)], np.uint64
)
_BATCH: Final = 8192  # rows hashed at a time: what is in hand stays in the processor's cache
_CHANCE: Final = np.uint64((1 << 32) // _STEP)  # of a row, in 2^-32 for each of its bytes
_ALWAYS: Final = np.uint64(1 << 32)


class Cut(NamedTuple):
    """Chunks from the beginning of some content on."""

    ends: list[int]  # of each; what lies behind the last one belongs to a chunk not yet complete
    lines: int  # line feeds in all these chunks


def cut(content: bytes | bytearray | memoryview, *, final: bool) -> Cut:
    """Cut what lies in memory of a file, from the beginning of a chunk on.

    `final` says that the file ends where `content` does. In whatever pieces a file comes, its
    borders are the same. CHUNK_LIMIT bytes or more always give a chunk.
    """
    if len(content) <= LEAST:  # most of a million small tables: nothing to be found in them
        lines = bytes(content).count(b"\n") if final else 0
        return Cut([len(content)] if final and content else [], lines)
    whole = _Content(content)
    ends: list[int] = []
    start = 0
    while start < whole.size:
        end = whole.next_border(start)
        if end is None:
            if not final:
                break
            end = whole.size
        ends.append(end)
        start = end
    return Cut(ends, int(np.searchsorted(whole.rows.ends, start, "right")))


class _Ends(NamedTuple):
    """Where chunks may end, rising: behind some byte."""

    ends: Array
    chosen: list[int]  # those that the content makes borders, if they are LEAST from the last one

    def first(self, start: int) -> int | None:
        """Return the border of a chunk that begins at `start`."""
        index = bisect_left(self.chosen, start + LEAST)
        if index < len(self.chosen) and self.chosen[index] < start + _FAR:
            return self.chosen[index]
        far = int(np.searchsorted(self.ends, start + _FAR))
        if far < len(self.ends) and self.ends[far] <= start + CHUNK_LIMIT:
            return int(self.ends[far])
        return None

    def last(self, start: int) -> int | None:
        """Return the last possible end of a chunk for which `first` knew none."""
        index = int(np.searchsorted(self.ends, start + _FAR)) - 1
        if index >= 0 and self.ends[index] >= start + LEAST:
            return int(self.ends[index])
        return None


class _Content:
    """Bytes of a file that are in memory."""

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self.size: Final = len(content)
        self._bytes = np.frombuffer(content, np.uint8)

    def next_border(self, start: int) -> int | None:
        """Return the end of the chunk at `start`; None if the bytes at hand do not tell it.

        Whatever lies behind CHUNK_LIMIT never matters, nor does anything before `start`.
        """
        border = self.rows.first(start)
        if border is not None:
            return border
        if self.size - start < CHUNK_LIMIT:
            return None
        # The row that follows is too large for a chunk. Let it begin one, so that the rows before
        # end with theirs: a restore hands out work at such borders.
        return self.rows.last(start) or self.others.first(start) or start + CHUNK_LIMIT

    @cached_property
    def rows(self) -> _Ends:
        return self._ends(self._bytes == _LINE_FEED)

    @cached_property
    def others(self) -> _Ends:
        """Found only where a row is too large for a chunk."""
        kinds = (self._bytes & np.uint8(_KIND_MASK)) == _KIND
        before = (self._bytes & np.uint8(_BEFORE_MASK)) == _BEFORE_MASK
        kinds[1:] &= before[:-1]
        return self._ends(kinds)

    def _ends(self, behind: Array) -> _Ends:
        ends = np.flatnonzero(behind) + 1
        chosen: list[int] = []
        # No chunk ends earlier; and what is hashed lies within the chunk, wherever that begins.
        first = int(np.searchsorted(ends, LEAST))
        for low in range(first, len(ends), _BATCH):
            batch = ends[low : low + _BATCH]
            before = ends[low - 1 : low - 1 + len(batch)] if low else np.append(0, batch[:-1])
            chosen += batch[self._chosen(before, batch)].tolist()
        return _Ends(ends, chosen)

    def _chosen(self, begins: Array, ends: Array) -> Array:
        """Tell which rows end a chunk: as many for each megabyte, however long the rows are.

        64 bytes decide: the first and last 32 of a row, or the last 64 when it is short. Rows that
        are all alike are all chosen, or none: then chunks end at LEAST or _FAR, and are alike.
        """
        length = (ends - begins).astype(np.uint64)
        mixed = length * np.uint64(_MULTIPLIER)
        mixed += self._hash(np.minimum(begins, ends - 2 * _HALF), _POWERS[:_HALF_WORDS])
        mixed += self._hash(ends - _HALF, _POWERS[_HALF_WORDS:])
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(_MULTIPLIER)
        chance = np.where(length < _LARGE, length * _CHANCE, _ALWAYS)
        chosen: Array = (mixed >> np.uint64(32)) < chance
        return chosen

    def _hash(self, places: Array, powers: Array) -> Array:
        """Return a hash of the _HALF bytes at each place."""
        # As one item of 32 bytes: taking the words one by one takes three times as long.
        words = self._windows[places].view("<u8").reshape(-1, _HALF_WORDS)
        found: Array = words @ powers
        return found

    @cached_property
    def _windows(self) -> Array:
        """Every stretch of _HALF bytes, by its place."""
        return np.ndarray(self.size - _HALF + 1, f"V{_HALF}", self._bytes, 0, (1,))
