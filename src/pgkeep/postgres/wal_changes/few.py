"""The records that are looked at one by one, because they are few.

Pure. Source: storage_xlog.h, standbydefs.h, pg_control.h, dbcommands_xlog.h, tablespace.h,
heapam_xlog.h, htup_details.h, bufpage.h; heap.c (RemoveAttributeById) names dropped columns.
"""

import re
import struct
from typing import Final, NamedTuple

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import (
    BadRecord,
    BlockReference,
    Locator,
    block_references,
    page_of,
)

_DROPPED_COLUMN: Final = re.compile(rb"\.{8}pg\.dropped\.(\d{1,5})\.{8}")
_RM_XLOG: Final = 0
_NAME_AT, _NAME_SIZE = 4, 64  # attname in pg_attribute's row, behind attrelid


class Made(NamedTuple):
    """A file was made for a relation."""

    lsn: Lsn
    xid: int
    locator: Locator
    fork: int


class Locked(NamedTuple):
    """A relation was locked against everybody, as dropping and emptying it need."""

    lsn: Lsn
    xid: int
    database: int
    oid: int


class DroppedColumn(NamedTuple):
    lsn: Lsn
    xid: int
    database: int
    oid: int  # of the table; 0: the record leaves it out
    number: int  # pg_attribute.attnum


class RowOfDatabase(NamedTuple):
    """A row of pg_database was deleted, or changed in place as DROP DATABASE does first."""

    lsn: Lsn
    xid: int
    place: tuple[int, int]  # block and line
    deleted: bool


class DroppedFolder(NamedTuple):
    """The files of a database, or a tablespace, were removed at once: no commit can be awaited."""

    lsn: Lsn
    xid: int
    database: int  # 0: a tablespace
    tablespaces: tuple[int, ...]


class Running(NamedTuple):
    """Which transaction is next: younger ones begin behind this."""

    lsn: Lsn
    next_xid: int


def made(record: bytes, lsn: Lsn, major: int) -> Made | None:
    data = _data(record, major)
    if len(data) < 16:
        return None
    tablespace, database, file, fork = struct.unpack_from("<IIIi", data)
    return Made(lsn, _xid(record), (tablespace, database, file), fork)


def locked(record: bytes, lsn: Lsn, major: int) -> list[Locked]:
    data = _data(record, major)
    if len(data) < 4:
        return []
    count = min(struct.unpack_from("<i", data)[0], (len(data) - 4) // 12)
    found = (struct.unpack_from("<III", data, 4 + 12 * n) for n in range(count))
    return [Locked(lsn, xid, database, oid) for xid, database, oid in found]


def running(record: bytes, lsn: Lsn, major: int) -> Running | None:
    """Read which transaction is next: of a snapshot of those that run, or a shutdown."""
    data = _data(record, major)
    at = 24 if record[17] == _RM_XLOG else 12  # CheckPoint.nextXid, xl_running_xacts.nextXid
    return Running(lsn, struct.unpack_from("<I", data, at)[0]) if len(data) >= at + 4 else None


def dropped_database(record: bytes, lsn: Lsn, major: int) -> DroppedFolder | None:
    data = _data(record, major)
    if len(data) < 8:
        return None
    database, count = struct.unpack_from("<Ii", data)
    count = max(0, min(count, (len(data) - 8) // 4))
    tablespaces = struct.unpack_from(f"<{count}I", data, 8)
    return DroppedFolder(lsn, _xid(record), database, tablespaces)


def dropped_tablespace(record: bytes, lsn: Lsn, major: int) -> DroppedFolder | None:
    data = _data(record, major)
    if len(data) < 4:
        return None
    return DroppedFolder(lsn, _xid(record), 0, (struct.unpack_from("<I", data)[0],))


def row_of_database(record: bytes, lsn: Lsn, major: int, *, deleted: bool) -> RowOfDatabase | None:
    """Read a change of pg_database's row; the line stands behind the xid of a deletion."""
    blocks, data = _parts(record, major)
    at = 4 if deleted else 0
    if not blocks or len(data) < at + 2:
        return None
    (line,) = struct.unpack_from("<H", data, at)
    return RowOfDatabase(lsn, _xid(record), (blocks[0].block, line), deleted)


def dropped_column(record: bytes, lsn: Lsn, major: int) -> DroppedColumn | None:
    """Tell whether an update of pg_attribute's row made a column a dropped one.

    The new row is in the record, but for what it shares with the old one, or in the whole page.
    """
    blocks, data = _parts(record, major)
    if not blocks:
        return None
    database, xid = blocks[0].locator[1], _xid(record)
    row = _new_row(blocks[0], data)
    if row is None:
        match = _DROPPED_COLUMN.search(record)
        return DroppedColumn(lsn, xid, database, 0, int(match[1])) if match else None
    match = _DROPPED_COLUMN.match(row[_NAME_AT : _NAME_AT + _NAME_SIZE])
    if match is None:
        return None
    return DroppedColumn(lsn, xid, database, struct.unpack_from("<I", row)[0], int(match[1]))


def _new_row(block: BlockReference, data: bytes) -> bytes | None:
    """Return the row that an update wrote into a page that the record holds whole."""
    if block.image is None or len(data) < 14:
        return None
    try:
        page = page_of(block.image)
    except BadRecord:
        return b""  # cannot be told
    (line,) = struct.unpack_from("<H", data, 12)
    (pointer,) = struct.unpack_from("<I", page, min(20 + 4 * line, len(page) - 4))
    start, length = pointer & 0x7FFF, pointer >> 17
    row = page[start : start + length]
    return row[row[22] :] if len(row) > 22 else b""


def _parts(record: bytes, major: int) -> tuple[list[BlockReference], bytes]:
    try:
        return block_references(record, major)
    except BadRecord:
        return [], b""


def _data(record: bytes, major: int) -> bytes:
    return _parts(record, major)[1]


def _xid(record: bytes) -> int:
    return int.from_bytes(record[4:8], "little")
