"""A WAL summary file: for each fork of a relation, the blocks that changed.

Pure. Source: blkreftable.c; little endian. The file is: a magic number (4 bytes); entries; 24 zero
bytes; the CRC-32C of all before it. An entry is

    offset  size  what
    0       4     tablespace
    4       4     database, 0 for shared relations
    8       4     filenode; 0 stands for a whole database directory that was created or dropped
    12      4     fork: 0 main, 1 fsm, 2 vm, 3 init
    16      4     limit block, 0xFFFFFFFF for none: the fork was created, truncated or dropped, and
                  what was known of blocks from this one on counts no more
    20      4     number of chunks, of 65536 blocks each
    24      2     for each chunk: its usage
            2     for each chunk, usage times: a block, counted from the chunk's first, in no order.
                  A usage of 4096 means a bitmap instead, least significant bit first.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgkeep.postgres.wal_summary.checksum import crc32c

CHUNK_BLOCKS: Final = 65536
BITMAP: Final = 4096  # the usage of a chunk that is a bitmap: of this many 16-bit words

_MAGIC: Final = 0x652B137B
_ENTRY: Final = struct.Struct("<IIIiII")
_END: Final = bytes(_ENTRY.size)
_TAIL: Final = _ENTRY.size + 4
_NO_LIMIT: Final = 0xFFFFFFFF
_MOST_CHUNKS: Final = 1 << 16  # block numbers have 32 bits
_LAST_FORK: Final = 3


class BadSummary(ValueError):
    """A WAL summary that is damaged, or of a format we do not know."""


class SummaryEntry(NamedTuple):
    """What a summary tells of one fork."""

    tablespace: int
    database: int
    number: int  # the filenode; 0: all of the database's directory
    fork: int
    limit: int | None
    usage: tuple[int, ...]  # of each chunk
    content: memoryview  # what follows the usages: the chunks, one after the other

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """Yield each used chunk's number and bytes; BITMAP words of them are a bitmap."""
        at = 0
        for number, used in enumerate(self.usage):
            if used:
                yield number, self.content[at : at + 2 * used]
                at += 2 * used

    def blocks(self) -> NDArray[np.uint32]:
        """Return the changed blocks, counted over the fork, in order."""
        found = [
            offsets_in(content).astype(np.uint32) + np.uint32(number * CHUNK_BLOCKS)
            for number, content in self.chunks()
        ]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint32)


def offsets_in(chunk: memoryview) -> NDArray[np.uint16]:
    """Return the blocks of a chunk, counted from its first."""
    if len(chunk) == 2 * BITMAP:
        return bits_in(np.frombuffer(chunk, np.uint8))
    return np.frombuffer(chunk, "<u2")


def bits_in(bitmap: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the numbers of the bits that are set."""
    return np.flatnonzero(np.unpackbits(bitmap, bitorder="little")).astype(np.uint16)


def read_summary(content: bytes, where: str) -> list[SummaryEntry]:
    """Read a whole file; entries refer to its bytes. `where` names it in BadSummary."""
    if len(content) < 4 + _TAIL or content[:4] != _MAGIC.to_bytes(4, "little"):
        raise BadSummary(f"{where} is no WAL summary")
    view = memoryview(content)
    stored = int.from_bytes(content[-4:], "little")
    if crc32c(view[:-4]) != stored:
        raise BadSummary(f"{where} is damaged: its checksum is wrong")
    if view[-_TAIL:-4] != _END:
        raise BadSummary(f"{where} is damaged: it has no end")
    return list(_entries(view[4:-_TAIL], where))


def _entries(view: memoryview, where: str) -> Iterator[SummaryEntry]:
    at = 0
    while at < len(view):
        if len(view) - at < _ENTRY.size:
            raise BadSummary(f"{where} is damaged: an entry is cut off")
        tablespace, database, number, fork, limit, chunks = _ENTRY.unpack_from(view, at)
        at += _ENTRY.size
        if chunks > _MOST_CHUNKS or not 0 <= fork <= _LAST_FORK or len(view) - at < 2 * chunks:
            raise BadSummary(f"{where} is damaged: an entry of relation {number} is impossible")
        usage = struct.unpack_from(f"<{chunks}H", view, at)
        at += 2 * chunks
        size = 2 * sum(usage)
        if len(view) - at < size or (chunks and max(usage) > BITMAP):
            raise BadSummary(f"{where} is damaged: the blocks of relation {number} are cut off")
        yield SummaryEntry(
            tablespace,
            database,
            number,
            fork,
            None if limit == _NO_LIMIT else limit,
            usage,
            view[at : at + size],
        )
        at += size
