"""Records as columns: what every one of them is about, thousands at a time.

Pure. Source: xlogrecord.h (XLogRecord, XLogRecordBlockHeader), heapam_xlog.h, rmgrlist.h; 14 to 18.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pgkeep.postgres.wal_decode import Bytes, Offsets, Positions

U32 = NDArray[np.uint32]

_HEADER: Final = 24
_HAS_IMAGE: Final = 0x10
_ORIGIN, _TOP_XID, _LONG_DATA, _SHORT_DATA = 253, 252, 254, 255


class Class(IntEnum):
    """What a record does, as far as it is looked at."""

    OTHER = 0
    DELETE = 1
    UPDATE = 2
    INSERT = 3
    MULTI_INSERT = 4
    PAGE = 5  # a page written whole: how indexes and VACUUM FULL fill files
    ROW_INPLACE = 6
    END = 7  # of a transaction
    FILE = 8  # made
    DATABASE = 9  # files of one dropped
    TABLESPACE = 10  # dropped
    LOCK = 11  # AccessExclusive
    RUNNING = 12  # which transactions run, or that none does


ROWS: Final = (Class.DELETE, Class.UPDATE, Class.INSERT, Class.MULTI_INSERT, Class.PAGE)


def _classes(major: int) -> NDArray[np.uint8]:
    """Return the class by resource manager and info, as the two bytes stand in a record."""
    found = np.zeros(1 << 16, np.uint8)
    rows = {0x00: Class.INSERT, 0x10: Class.DELETE, 0x20: Class.UPDATE, 0x40: Class.UPDATE}
    for info in range(256):
        what = info & 0x70
        found[10 << 8 | info] = {**rows, 0x70: Class.ROW_INPLACE}.get(what, Class.OTHER)
        if what == 0x50:
            found[9 << 8 | info] = Class.MULTI_INSERT
        if what in (0x00, 0x20, 0x30, 0x40):
            found[1 << 8 | info] = Class.END
        whole = info & 0xF0
        if whole == 0x00:  # XLOG_CHECKPOINT_SHUTDOWN
            found[info] = Class.RUNNING
        if whole in (0xA0, 0xB0):  # XLOG_FPI_FOR_HINT, XLOG_FPI
            found[info] = Class.PAGE
        if whole == 0x10:
            found[2 << 8 | info] = Class.FILE
            found[5 << 8 | info] = Class.TABLESPACE
            found[8 << 8 | info] = Class.RUNNING
        if whole == (0x20 if major >= 15 else 0x10):
            found[4 << 8 | info] = Class.DATABASE
        if whole == 0x00:
            found[8 << 8 | info] = Class.LOCK
            found[15 << 8 | info] = Class.PAGE  # XLOG_SEQ_LOG: a sequence's only one
    return found


_CLASSES: Final = {old: _classes(major) for old, major in ((True, 14), (False, 15))}


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole records in WAL order, and the bytes that they stand in.

    Records begin at multiples of 8 of `content`; `words` are its 32-bit numbers.
    """

    content: Bytes
    words: U32
    offsets: Offsets
    lsn: Positions
    end: Positions
    major: int

    @property
    def xid(self) -> U32:
        found: U32 = self.words[(self.offsets >> 2) + 1]
        return found

    def classes(self) -> Bytes:
        kinds = self.words[(self.offsets >> 2) + 4] & np.uint32(0xFFFF)
        found: Bytes = _CLASSES[self.major < 15][kinds]
        return found

    def record(self, index: int) -> bytes:
        """Return one record as it stands in WAL, page headers left out."""
        start = int(self.offsets[index])
        return self.content[start : start + int(self.words[start >> 2])].tobytes()


@dataclass(frozen=True, slots=True)
class FirstBlocks:
    """The first block that records refer to; `behind` is where its header ends."""

    tablespace: U32
    database: U32
    file: U32
    behind: Offsets


def first_blocks(batch: Batch, offsets: Offsets) -> FirstBlocks:
    """Return the relations of records that have a first block, as all of heap's have."""
    words = batch.words
    at = offsets >> 2
    most = len(words) - 1  # damaged records may be too short to have a block
    # id, flags, u16 length of data; then, with an image, u16 length, u16 hole, u8 info
    flags = words[np.minimum(at + 6, most)] >> np.uint32(8) & np.uint32(0xFF)
    parts = [words[np.minimum(at + 7 + n, most)] for n in range(3)]
    behind = offsets + _HEADER + 20
    with_image = np.flatnonzero(flags & _HAS_IMAGE)
    if len(with_image):
        chosen = offsets[with_image]
        starts = chosen + _image_headers(batch, chosen)
        for n, part in enumerate(parts):
            part[with_image] = _unaligned(batch.content, starts + 4 * n)
        behind[with_image] = starts + 16
    return FirstBlocks(parts[0], parts[1], parts[2], behind)


def _image_headers(batch: Batch, offsets: Offsets) -> Offsets:
    """Return how far behind a record's beginning the relation stands, behind an image's header."""
    info = batch.content[np.minimum(offsets + _HEADER + 8, len(batch.content) - 1)]
    compressed = info & (0x02 if batch.major < 15 else 0x1C)
    longer = (compressed != 0) & (info & 0x01 != 0)  # BKPIMAGE_HAS_HOLE
    return np.where(longer, _HEADER + 11, _HEADER + 9)


def own_data(batch: Batch, offsets: Offsets, behind: Offsets) -> Offsets:
    """Return where the own data of records with one block begin: they stand at the very end."""
    content, last = batch.content, len(batch.content) - 5
    at = behind + np.where(content[np.minimum(behind, last)] == _ORIGIN, 3, 0)
    at = at + np.where(content[np.minimum(at, last)] == _TOP_XID, 5, 0)
    at = np.minimum(at, last)
    mark = content[at]
    length = np.where(
        mark == _SHORT_DATA,
        content[at + 1],
        np.where(mark == _LONG_DATA, _unaligned(content, at + 1), 0),
    ).astype(np.int64)
    ends = offsets + batch.words[offsets >> 2].astype(np.int64)
    # a damaged one may say anything
    found: Offsets = np.clip(ends - length, 0, len(content) - 1)
    return found


def _unaligned(content: Bytes, offsets: Offsets) -> U32:
    """Return the 32-bit numbers at any offsets."""
    inside = np.clip(offsets, 0, len(content) - 4)
    found: U32 = content[inside[:, None] + np.arange(4)].view("<u4").ravel()
    return found
