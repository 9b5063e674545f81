"""Decode transaction, restore point and checkpoint records, thousands at a time.

Works on a stream of WAL from which the page headers are gone: see wal_records.py, which also
names the sources.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgkeep.model.lsn import Lsn
from pgkeep.postgres import crc32c

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Positions = NDArray[np.uint64]

# XLogRecord: u32 length, u32 xid, u64 previous, u8 flags, u8 resource manager, 2 bytes, u32 CRC
_HEADER: Final = 24
_CHECKED_HEADER: Final = 20
_RM_XLOG, _RM_XACT = 0, 1
_SHUTDOWN_CHECKPOINT, _ONLINE_CHECKPOINT, _RESTORE_POINT = 0x00, 0x10, 0x70
_SWITCH: Final = 0x40
_HAS_INFO: Final = 0x80  # XLOG_XACT_HAS_INFO
_HAS_DATABASE, _HAS_SUBXACTS, _HAS_FILES, _HAS_INVALIDATIONS = 1, 2, 4, 8
_HAS_TWO_PHASE, _HAS_STATISTICS = 16, 256
_ORIGIN, _TOP_XID, _LONG_DATA, _SHORT_DATA = 253, 252, 254, 255
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST_TIME: Final = 250_000_000_000_000_000  # µs, the year 9922: later ones are damage
_FEW: Final = 24  # below this many records plain Python is faster than numpy


class Kind(IntEnum):
    """How a transaction ended. The numbers are xl_info's."""

    COMMIT = 0x00
    PREPARE = 0x10
    ABORT = 0x20
    COMMIT_PREPARED = 0x30
    ABORT_PREPARED = 0x40

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def ends(self) -> bool:
        """Tell whether recovery_target_time and _xid can stop here: all but PREPARE."""
        return self is not Kind.PREPARE


class Transaction(NamedTuple):
    """The record that ends a transaction, or prepares it."""

    lsn: Lsn  # where the record begins: what recovery_target_lsn compares
    end: Lsn
    xid: int  # the top-level transaction, 32 bits; for prepared ones, of the prepared
    kind: Kind
    time: datetime
    subxacts: tuple[int, ...] = ()


class RestorePoint(NamedTuple):
    lsn: Lsn
    end: Lsn
    name: str  # bytes that are no UTF-8 come as surrogates
    time: datetime


class Checkpoint(NamedTuple):
    lsn: Lsn
    end: Lsn
    redo: Lsn
    time: datetime  # whole seconds
    shutdown: bool


@dataclass(frozen=True, slots=True)
class Records:
    """Where records begin in a stream, and where they begin and end in WAL."""

    offsets: Offsets
    lsn: Positions
    end: Positions

    def only(self, which: NDArray[np.bool_] | Offsets) -> "Records":
        return Records(self.offsets[which], self.lsn[which], self.end[which])


@dataclass(frozen=True, slots=True)
class Transactions:
    """Transactions as columns in WAL order: a segment may hold a hundred thousand."""

    lsn: Positions
    end: Positions
    xid: NDArray[np.uint32]
    kind: Bytes
    time_us: NDArray[np.int64]  # since 2000-01-01 UTC
    subxacts: dict[int, tuple[int, ...]]  # by lsn

    def __len__(self) -> int:
        return len(self.lsn)

    def __getitem__(self, index: int) -> Transaction:
        lsn = int(self.lsn[index])
        return Transaction(
            Lsn(lsn),
            Lsn(int(self.end[index])),
            int(self.xid[index]),
            Kind(int(self.kind[index])),
            to_time(int(self.time_us[index])),
            self.subxacts.get(lsn, ()),
        )

    def __iter__(self) -> Iterator[Transaction]:
        for index in range(len(self)):
            yield self[index]

    def only(self, which: NDArray[np.bool_]) -> "Transactions":
        return Transactions(
            self.lsn[which],
            self.end[which],
            self.xid[which],
            self.kind[which],
            self.time_us[which],
            self.subxacts,
        )

    def followed_by(self, later: "Transactions") -> "Transactions":
        return Transactions(
            np.concatenate((self.lsn, later.lsn)),
            np.concatenate((self.end, later.end)),
            np.concatenate((self.xid, later.xid)),
            np.concatenate((self.kind, later.kind)),
            np.concatenate((self.time_us, later.time_us)),
            {**self.subxacts, **later.subxacts},
        )

    def first_after(self, time: datetime, *, inclusive: bool) -> int | None:
        """Return where recovery_target_time would stop: before the first end past `time`."""
        target = to_microseconds(time)
        past = self.time_us > target if inclusive else self.time_us >= target
        found = np.flatnonzero(past & (self.kind != Kind.PREPARE))
        return int(found[0]) if len(found) else None

    def with_xid(self, xid: int) -> int | None:
        """Return the end of a top-level transaction; a 64-bit id's epoch is ignored."""
        same = self.xid == np.uint32(xid & 0xFFFFFFFF)
        found = np.flatnonzero(same & (self.kind != Kind.PREPARE))
        return int(found[0]) if len(found) else None


@dataclass(frozen=True, slots=True)
class Found:
    """What a stream told. `broken` is where the first damaged record begins."""

    transactions: Transactions
    restore_points: tuple[RestorePoint, ...]
    checkpoints: tuple[Checkpoint, ...]
    broken: Lsn | None = None

    def followed_by(self, later: "Found") -> "Found":
        return Found(
            self.transactions.followed_by(later.transactions),
            self.restore_points + later.restore_points,
            self.checkpoints + later.checkpoints,
            later.broken if self.broken is None else self.broken,
        )

    def before(self, end: Lsn) -> "Found":
        return Found(
            self.transactions.only(self.transactions.lsn < np.uint64(end)),
            tuple(p for p in self.restore_points if p.lsn < end),
            tuple(c for c in self.checkpoints if c.lsn < end),
            self.broken,
        )


def to_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def is_switch(stream: Bytes, offset: int) -> bool:
    """Tell whether this record ends its segment early (XLOG_SWITCH)."""
    return bool(stream[offset + 17] == _RM_XLOG and stream[offset + 16] & 0xF0 == _SWITCH)


def interesting(offsets: Offsets, stream: Bytes) -> Offsets:
    """Return which of these records end transactions, are restore points or checkpoints."""
    maybe = np.flatnonzero(stream.take(offsets + 17) <= _RM_XACT)
    chosen = offsets[maybe]
    return maybe[_is_transaction(chosen, stream) | _is_landmark(chosen, stream)]


def decode(records: Records, stream: Bytes, major: int) -> Found:
    """Decode `interesting` records of a stream whose length is a multiple of 8, or one record."""
    lengths = _u32(stream, records.offsets)
    right = record_checksums(records, stream, lengths) == _u32(stream, records.offsets + 20)
    chosen = _is_transaction(records.offsets, stream)
    transactions, sane = _transactions(records.only(chosen), stream, lengths[chosen], major)
    right[np.flatnonzero(chosen)[~sane]] = False
    points: list[RestorePoint] = []
    checkpoints: list[Checkpoint] = []
    for index in np.flatnonzero(right & ~chosen):
        event = _landmark(records, int(index), stream, int(lengths[index]))
        if isinstance(event, RestorePoint):
            points.append(event)
        elif isinstance(event, Checkpoint):
            checkpoints.append(event)
        else:
            right[index] = False
    if right.all():
        return Found(transactions, tuple(points), tuple(checkpoints))
    broken = Lsn(int(records.lsn[np.argmin(right)]))
    return Found(transactions, tuple(points), tuple(checkpoints), broken).before(broken)


def _is_transaction(offsets: Offsets, stream: Bytes) -> NDArray[np.bool_]:
    # 0x50 assigns subtransactions, 0x60 invalidates caches
    ends = stream[offsets + 16] & 0x70 <= Kind.ABORT_PREPARED
    return np.asarray((stream[offsets + 17] == _RM_XACT) & ends)


def _is_landmark(offsets: Offsets, stream: Bytes) -> NDArray[np.bool_]:
    what = stream[offsets + 16] & 0xF0
    wanted = np.isin(what, (_SHUTDOWN_CHECKPOINT, _ONLINE_CHECKPOINT, _RESTORE_POINT))
    return np.asarray((stream[offsets + 17] == _RM_XLOG) & wanted)


def _transactions(
    records: Records, stream: Bytes, lengths: Offsets, major: int
) -> tuple[Transactions, NDArray[np.bool_]]:
    """Decode what all transaction records have; also return which of them make sense."""
    flags = stream[records.offsets + 16]
    kinds = flags & np.uint8(0x70)
    ends = records.offsets + lengths
    data = _data_offsets(records.offsets, stream)
    # PREPARE begins with magic, length, xid, database: xl_xact_prepare
    times_at = data + np.where(kinds == Kind.PREPARE, 16, 0)
    sane = times_at + 8 <= ends
    times = _i64(stream, np.where(sane, times_at, 0))
    sane &= np.abs(times) < _LATEST_TIME
    times[~sane] = 0
    found = Transactions(
        records.lsn,
        records.end,
        _u32(stream, records.offsets + 4).astype(np.uint32),
        kinds,
        times,
        {},
    )
    detailed = np.flatnonzero(sane & (flags & _HAS_INFO != 0) & (kinds != Kind.PREPARE))
    for index in detailed:
        details = _details(stream[data[index] + 8 : ends[index]], major)
        if details is None:
            sane[index] = False
            continue
        subxacts, two_phase_xid = details
        if subxacts:
            found.subxacts[int(records.lsn[index])] = subxacts
        if two_phase_xid:
            found.xid[index] = two_phase_xid
    return found, sane


def _data_offsets(offsets: Offsets, stream: Bytes) -> Offsets:
    """Return where the records' own data begin; past the stream for records without any."""
    at, last = offsets + _HEADER, len(stream) - 1
    at = at + np.where(stream[np.minimum(at, last)] == _ORIGIN, 3, 0)
    at = at + np.where(stream[np.minimum(at, last)] == _TOP_XID, 5, 0)
    mark = stream[np.minimum(at, last)]
    nothing = len(stream) + _HEADER
    return np.where(mark == _SHORT_DATA, at + 2, np.where(mark == _LONG_DATA, at + 5, nothing))


def _details(data: Bytes, major: int) -> tuple[tuple[int, ...], int] | None:
    """Return the subtransactions and the prepared transaction's id; None if damaged.

    xinfo says which parts follow, in this order: database, subtransactions, files, statistics,
    invalidations (of commits), the prepared transaction.
    """
    content = data.tobytes()
    statistics = 16 if major >= 18 else 12
    try:
        (parts,) = struct.unpack_from("<I", content)
        at = 4 + (8 if parts & _HAS_DATABASE else 0)
        subxacts: tuple[int, ...] = ()
        if parts & _HAS_SUBXACTS:
            (count,) = struct.unpack_from("<I", content, at)
            if count > len(content) // 4:
                return None
            subxacts = struct.unpack_from(f"<{count}I", content, at + 4)
            at += 4 + 4 * count
        if not parts & _HAS_TWO_PHASE:
            return subxacts, 0
        for part, size in (
            (_HAS_FILES, 12), (_HAS_STATISTICS, statistics), (_HAS_INVALIDATIONS, 16),
        ):  # fmt: skip
            if parts & part:
                (count,) = struct.unpack_from("<I", content, at)
                at += 4 + size * count
        return subxacts, int(struct.unpack_from("<I", content, at)[0])
    except struct.error:
        return None


def _landmark(
    records: Records, index: int, stream: Bytes, length: int
) -> RestorePoint | Checkpoint | None:
    """Decode a restore point or a checkpoint; None if damaged."""
    offset = int(records.offsets[index])
    lsn, end = Lsn(int(records.lsn[index])), Lsn(int(records.end[index]))
    at = int(_data_offsets(np.array([offset]), stream)[0])
    content = stream[at : offset + length].tobytes()
    what = int(stream[offset + 16]) & 0xF0
    if len(content) < 72:
        return None
    if what == _RESTORE_POINT:
        (time,) = struct.unpack_from("<q", content)
        name = content[8:72].partition(b"\0")[0].decode(errors="surrogateescape")
        return RestorePoint(lsn, end, name, to_time(time)) if abs(time) < _LATEST_TIME else None
    redo, seconds = struct.unpack_from("<Q56xq", content)  # CheckPoint.redo and .time
    if not 0 <= seconds < 1 << 37:
        return None
    time = datetime.fromtimestamp(seconds, UTC)
    return Checkpoint(lsn, end, Lsn(redo), time, what == _SHUTDOWN_CHECKPOINT)


def record_checksums(records: Records, stream: Bytes, lengths: Offsets) -> NDArray[np.uint32]:
    """Return what the records' CRCs must be: over the data first, then the header before it."""
    crc = np.full(len(lengths), 0xFFFFFFFF, np.uint32)
    order = np.argsort(-lengths, kind="stable")  # so that those still in work stand in front
    offsets, left = records.offsets[order], lengths[order] - _HEADER
    partial = _advance(crc, stream, offsets + _HEADER, left)
    done = _advance(partial, stream, offsets, np.full(len(left), _CHECKED_HEADER))
    result = np.empty_like(done)
    result[order] = done ^ np.uint32(0xFFFFFFFF)
    return result


def _advance(
    crc: NDArray[np.uint32], stream: Bytes, offsets: Offsets, lengths: Offsets
) -> NDArray[np.uint32]:
    """Take each record's bytes into its CRC; `lengths` must fall."""
    table = np.array(crc32c.TABLE, np.uint32)
    step, active = 0, int(np.count_nonzero(lengths > 0))
    while active >= _FEW:
        now = crc[:active]
        byte = now.astype(np.uint8) ^ stream.take(offsets[:active] + step)
        now = table.take(byte) ^ (now >> np.uint32(8))
        crc[:active] = now
        step += 1
        active -= int(np.count_nonzero(lengths[:active] <= step))
    for index in range(active):
        start, end = int(offsets[index]) + step, int(offsets[index] + lengths[index])
        rest = stream[start:end].tobytes()
        crc[index] = crc32c.crc32c(rest, int(crc[index]) ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc


def _u32(stream: Bytes, offsets: Offsets) -> Offsets:
    """Return the 32-bit numbers at offsets that are multiples of 4."""
    return stream[: len(stream) // 4 * 4].view("<u4")[offsets // 4].astype(np.int64)


def _i64(stream: Bytes, offsets: Offsets) -> NDArray[np.int64]:
    """Return the 64-bit numbers at any offsets."""
    inside = np.minimum(offsets, max(len(stream) - 8, 0))
    return stream[inside[:, None] + np.arange(8)].view("<i8").ravel()
