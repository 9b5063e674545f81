"""What the transactions in one piece of WAL did: columns for the many, tuples for the few.

Pure. Nothing is decided here: a piece neither knows which transactions began before it, nor names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import numpy as np

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_changes import few
from pgkeep.postgres.wal_changes.batch import U32, Batch, Class, first_blocks, own_data
from pgkeep.postgres.wal_changes.ends import Details, details_of
from pgkeep.postgres.wal_changes.rows import (
    FIRST_OID,
    RowCounts,
    RowRecords,
    count_rows,
    row_records,
)
from pgkeep.postgres.wal_decode import (
    Bytes,
    Kind,
    Offsets,
    Positions,
    Records,
    Transactions,
    decode,
)

PG_CLASS, PG_ATTRIBUTE, PG_NAMESPACE, PG_DATABASE = 1259, 1249, 2615, 1262
_KEPT_CATALOGS: Final = (PG_CLASS, PG_NAMESPACE)  # whose row counts tell something
_SAMPLES: Final = 16  # of a piece
_HAS_INFO: Final = 0x80  # XLOG_XACT_HAS_INFO

_T = TypeVar("_T")


class Seen(NamedTuple):
    """Where the first record here of each (sub)transaction begins."""

    xid: U32
    lsn: Positions


class Sample(NamedTuple):
    """A commit's time, and how many rows were changed since the sample before."""

    lsn: Lsn
    time_us: int
    rows: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of WAL without a gap inside."""

    start: Lsn
    end: Lsn
    rows: RowCounts
    seen: Seen
    ends: Transactions  # commits, aborts and prepares, in WAL order
    details: dict[int, Details]  # of commits, by where their records begin
    made: tuple[few.Made, ...] = ()
    locked: tuple[few.Locked, ...] = ()
    columns: tuple[few.DroppedColumn, ...] = ()
    database_rows: tuple[few.RowOfDatabase, ...] = ()
    folders: tuple[few.DroppedFolder, ...] = ()
    running: few.Running | None = None  # the first one
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Catalogs:
    """The files of catalogs that VACUUM FULL gave others than initdb did."""

    attributes: frozenset[int] = field(default=frozenset({PG_ATTRIBUTE}))
    databases: frozenset[int] = field(default=frozenset({PG_DATABASE}))


def piece_of(batch: Batch, start: Lsn, end: Lsn, catalogs: Catalogs) -> Piece:
    """Return what a batch of records tells."""
    classes, xid = batch.classes(), batch.xid
    rows = row_records(batch, classes)
    ends, details = _ends(batch, classes)

    def each(kind: Class, read: Callable[[bytes, Lsn, int], _T | None]) -> tuple[_T, ...]:
        return _read(batch, np.flatnonzero(classes == kind), read)

    locks = each(Class.LOCK, few.locked)
    running = np.flatnonzero(classes == Class.RUNNING)[:1]
    return Piece(
        start=start,
        end=end,
        rows=_kept(count_rows(xid, rows)),
        seen=_seen(xid, batch.lsn),
        ends=ends,
        details=details,
        made=each(Class.FILE, few.made),
        locked=tuple(lock for several in locks for lock in several),
        columns=_columns(batch, rows, catalogs),
        database_rows=_database_rows(batch, classes, rows, catalogs),
        folders=each(Class.DATABASE, few.dropped_database)
        + each(Class.TABLESPACE, few.dropped_tablespace),
        running=next(iter(_read(batch, running, few.running)), None),
        samples=_samples(batch, rows, ends),
    )


def _read(
    batch: Batch, indexes: Offsets, read: Callable[[bytes, Lsn, int], _T | None]
) -> tuple[_T, ...]:
    found = (
        read(batch.record(index), Lsn(int(batch.lsn[index])), batch.major)
        for index in indexes.tolist()
    )
    return tuple(one for one in found if one is not None)


def _kept(rows: RowCounts) -> RowCounts:
    """Leave out what nobody asks for: work without a transaction, and most of catalogs."""
    user = (rows.file >= FIRST_OID) & (rows.database != 0)
    return rows.only((rows.xid != 0) & (user | np.isin(rows.file, _KEPT_CATALOGS)))


def _seen(xid: U32, lsn: Positions) -> Seen:
    if not len(xid):
        return Seen(xid, lsn)
    starts = np.concatenate(([0], np.flatnonzero(xid[1:] != xid[:-1]) + 1))
    numbers, first = np.unique(xid[starts], return_index=True)
    known = numbers != 0
    return Seen(numbers[known], lsn[starts[first[known]]])


def _ends(batch: Batch, classes: Bytes) -> tuple[Transactions, dict[int, Details]]:
    """Return the ends of transactions, and what their commits say of relations."""
    index = np.flatnonzero(classes == Class.END)
    offsets = batch.offsets[index]
    records = Records(offsets, batch.lsn[index], batch.end[index])
    ends = decode(records, batch.content, batch.major).transactions
    info = batch.content[offsets + 16]
    commits = np.isin(info & 0x70, (Kind.COMMIT, Kind.COMMIT_PREPARED))
    detailed = np.flatnonzero(commits & (info & _HAS_INFO != 0))
    chosen = offsets[detailed]
    starts = own_data(batch, chosen, chosen + 24)
    stops = chosen + batch.words[chosen >> 2].astype(np.int64)
    details = {}
    for at, start, stop in zip(detailed.tolist(), starts.tolist(), stops.tolist(), strict=True):
        found = details_of(batch.content[start:stop].tobytes(), batch.major)
        if any(found):
            details[int(records.lsn[at])] = found
    return ends, details


def _columns(batch: Batch, rows: RowRecords, catalogs: Catalogs) -> tuple[few.DroppedColumn, ...]:
    found = np.isin(rows.blocks.file, list(catalogs.attributes)) & (rows.classes == Class.UPDATE)
    return _read(batch, rows.index[found], few.dropped_column)


def _database_rows(
    batch: Batch,
    classes: Bytes,
    rows: RowRecords,
    catalogs: Catalogs,
) -> tuple[few.RowOfDatabase, ...]:
    names = list(catalogs.databases)
    deleted = (rows.classes == Class.DELETE) & (rows.blocks.database == 0)
    deleted &= np.isin(rows.blocks.file, names)
    places = np.flatnonzero(classes == Class.ROW_INPLACE)
    blocks = first_blocks(batch, batch.offsets[places])
    places = places[(blocks.database == 0) & np.isin(blocks.file, names)]

    def read_deleted(record: bytes, lsn: Lsn, major: int) -> few.RowOfDatabase | None:
        return few.row_of_database(record, lsn, major, deleted=True)

    def read_changed(record: bytes, lsn: Lsn, major: int) -> few.RowOfDatabase | None:
        return few.row_of_database(record, lsn, major, deleted=False)

    found = _read(batch, rows.index[deleted], read_deleted)
    return tuple(sorted(found + _read(batch, places, read_changed)))


def _samples(batch: Batch, rows: RowRecords, ends: Transactions) -> tuple[Sample, ...]:
    """Return when rows were changed, by the commits behind them: nothing else has a time."""
    timed = np.flatnonzero(ends.kind != Kind.PREPARE)
    if not len(timed):
        return ()
    chosen = timed[np.unique(np.linspace(0, len(timed) - 1, _SAMPLES).astype(np.int64))]
    changed = (rows.classes <= Class.MULTI_INSERT) & (rows.blocks.file >= FIRST_OID)
    where = batch.lsn[rows.index[changed]]
    total = np.concatenate(([0], np.cumsum(rows.count[changed], dtype=np.int64)))
    until = total[np.searchsorted(where, ends.lsn[chosen])]
    until[-1] = total[-1]  # what follows the last commit belongs to it, for want of another
    steps = np.diff(np.concatenate(([0], until)))
    return tuple(
        Sample(Lsn(int(ends.lsn[at])), int(ends.time_us[at]), int(count))
        for at, count in zip(chosen.tolist(), steps.tolist(), strict=True)
    )
