"""Rows that transactions deleted, updated and inserted, by relation.

Pure. Source: heapam_xlog.h (xl_heap_delete, xl_heap_multi_insert).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pgkeep.postgres.wal_changes.batch import (
    ROWS,
    U32,
    Batch,
    Class,
    FirstBlocks,
    first_blocks,
    own_data,
)
from pgkeep.postgres.wal_decode import Offsets, Positions

FIRST_OID: Final = 16384  # FirstNormalObjectId: what has a smaller number, initdb made
_IS_SUPER, _IS_PARTITION_MOVE = 0x08, 0x10  # XLH_DELETE_...
_LITTLE_FLAGS: Final = 7  # where the flags stand in xl_heap_delete

_LUT: Final = np.zeros(256, np.bool_)
_LUT[list(ROWS)] = True


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What each (sub)transaction did to each relation, as columns."""

    xid: U32
    tablespace: U32
    database: U32
    file: U32
    deleted: U32
    updated: U32  # a row that moved to another partition is one of these, where it was
    inserted: U32
    pages: U32  # written whole

    def __len__(self) -> int:
        return len(self.xid)

    def only(self, which: NDArray[np.bool_] | Offsets) -> "RowCounts":
        return RowCounts(*(getattr(self, name)[which] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class RowRecords:
    """The records that change rows or write pages, one by one."""

    index: Offsets  # into the batch
    classes: NDArray[np.uint8]
    blocks: FirstBlocks
    count: U32  # rows of each
    moved: NDArray[np.bool_]  # deleted here, to go on in another partition


def row_records(batch: Batch, classes: NDArray[np.uint8]) -> RowRecords:
    """Return the records of a batch that change rows."""
    index = np.flatnonzero(_LUT[classes])
    offsets, kinds = batch.offsets[index], classes[index]
    blocks = first_blocks(batch, offsets)
    count = np.ones(len(index), np.uint32)
    moved = np.zeros(len(index), np.bool_)
    several = np.flatnonzero(kinds == Class.MULTI_INSERT)
    if len(several):
        at = own_data(batch, offsets[several], blocks.behind[several]) + 2
        count[several] = _u16(batch, at)
    deletes = np.flatnonzero(kinds == Class.DELETE)
    if len(deletes):
        at = own_data(batch, offsets[deletes], blocks.behind[deletes]) + _LITTLE_FLAGS
        flags = batch.content[np.minimum(at, len(batch.content) - 1)]
        moved[deletes] = flags & _IS_PARTITION_MOVE != 0
        count[deletes[flags & _IS_SUPER != 0]] = 0  # a speculative row that was never seen
    return RowRecords(index, kinds, blocks, count, moved)


def count_rows(xid: U32, rows: RowRecords) -> RowCounts:
    """Add up the records by transaction and relation."""
    blocks = rows.blocks
    first = xid[rows.index].astype(np.uint64) << np.uint64(32) | blocks.file
    second = blocks.database.astype(np.uint64) << np.uint64(32) | blocks.tablespace
    order, starts = _groups(first, second)
    first, second = first[order][starts], second[order][starts]

    def total(which: NDArray[np.bool_]) -> U32:
        if not len(starts):
            return np.zeros(0, np.uint32)
        return np.add.reduceat(np.where(which, rows.count, 0)[order], starts).astype(np.uint32)

    kinds = rows.classes
    low = np.uint64(0xFFFFFFFF)
    return RowCounts(
        (first >> np.uint64(32)).astype(np.uint32),
        (second & low).astype(np.uint32),
        (second >> np.uint64(32)).astype(np.uint32),
        (first & low).astype(np.uint32),
        total((kinds == Class.DELETE) & ~rows.moved),
        total((kinds == Class.UPDATE) | rows.moved),
        total((kinds == Class.INSERT) | (kinds == Class.MULTI_INSERT)),
        total(kinds == Class.PAGE),
    )


def _groups(first: Positions, second: Positions) -> tuple[Offsets, Offsets]:
    """Return an order in which equal pairs stand together, and where each kind begins.

    Most neighbours in WAL are equal when there is much of it, and then nothing is sorted.
    """
    if not len(first):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = _begins(first, second)
    if len(starts) > 1:
        heads = np.lexsort((second[starts], first[starts]))
        lengths = np.diff(np.append(starts, len(first)))
        order = _ranges(starts[heads], lengths[heads])
        return order, _begins(first[order], second[order])
    return np.arange(len(first)), starts


def _begins(first: Positions, second: Positions) -> Offsets:
    differs = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return np.concatenate(([0], np.flatnonzero(differs) + 1))


def _ranges(starts: Offsets, lengths: Offsets) -> Offsets:
    """Return the numbers of all ranges, one after the other."""
    ends = np.cumsum(lengths)
    found: Offsets = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    return found


def _u16(batch: Batch, offsets: Offsets) -> U32:
    inside = np.clip(offsets, 0, len(batch.content) - 2)
    low, high = batch.content[inside], batch.content[inside + 1]
    found: U32 = low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(8)
    return found
