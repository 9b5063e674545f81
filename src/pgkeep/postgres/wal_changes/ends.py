"""What the record of a commit says beside its time: files and statistics that went, OIDs changed.

Pure. Source: xact.h (xl_xact_commit and what ParseCommitRecord reads), sinval.h; 14 to 18.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from pgkeep.postgres.wal_blocks.record import Locator

_DATABASE, _SUBXACTS, _FILES, _INVALIDATIONS, _STATISTICS = 1, 2, 4, 8, 256
_RELCACHE: Final = -2  # SHAREDINVALRELCACHE_ID
_OF_RELATION: Final = 2  # PGSTAT_KIND_RELATION


class Details(NamedTuple):
    """The parts of a commit that tell of relations."""

    files: tuple[Locator, ...] = ()  # removed at the commit
    dropped: tuple[tuple[int, int], ...] = ()  # database and OID of relations; from 15 on
    changed: tuple[tuple[int, int], ...] = ()  # database and OID of those whose definition changed


NOTHING: Final = Details()


def details_of(data: bytes, major: int) -> Details:
    """Read the own data of a commit that has more than a time; what is damaged is nothing."""
    try:
        return _parse(data, major)
    except struct.error:
        return NOTHING


def _parse(data: bytes, major: int) -> Details:
    (parts,) = struct.unpack_from("<I", data, 8)
    at = 12 + (8 if parts & _DATABASE else 0)
    found = NOTHING
    if parts & _SUBXACTS:
        at += 4 + 4 * _count(data, at)
    if parts & _FILES:
        count = _count(data, at)
        files = _rows("<III", data, at + 4, count)
        found = found._replace(files=tuple((a, b, c) for a, b, c in files))
        at += 4 + 12 * count
    if parts & _STATISTICS:
        count = _count(data, at)
        layout = "<III4x" if major >= 18 else "<III"
        rows = _rows(layout, data, at + 4, count)
        dropped = tuple((db, oid) for kind, db, oid in rows if kind == _OF_RELATION)
        found = found._replace(dropped=dropped)
        at += 4 + struct.calcsize(layout) * count
    if parts & _INVALIDATIONS:
        messages = _rows("<b3xII4x", data, at + 4, _count(data, at))
        changed = dict.fromkeys((db, oid) for id, db, oid in messages if id == _RELCACHE)
        found = found._replace(changed=tuple(changed))
    return found


def _count(data: bytes, at: int) -> int:
    (count,) = struct.unpack_from("<I", data, at)
    return int(count)


def _rows(layout: str, data: bytes, at: int, count: int) -> Iterator[tuple[int, int, int]]:
    for index in range(count):
        yield struct.unpack_from(layout, data, at + index * struct.calcsize(layout))
