"""Writes WAL summaries as the server does (blkreftable.c), for tests."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from pgkeep.postgres.crc32c import crc32c


@dataclass
class Told:
    """What a summary shall tell of one fork."""

    number: int
    fork: int = 0
    limit: int | None = None
    blocks: set[int] = field(default_factory=set, repr=False)  # may be thousands
    database: int = 1
    tablespace: int = 1663


def write_summary(told: Iterable[Told]) -> bytes:
    content = struct.pack("<I", 0x652B137B) + b"".join(map(_entry, told)) + bytes(24)
    return content + struct.pack("<I", crc32c(content))


def _entry(told: Told) -> bytes:
    chunks: dict[int, list[int]] = {}
    for block in sorted(told.blocks):
        chunks.setdefault(block >> 16, []).append(block & 0xFFFF)
    usage, body = [], b""
    for number in range(max(chunks, default=-1) + 1):
        offsets = chunks.get(number, [])
        if len(offsets) >= 4096:
            bitmap = bytearray(8192)
            for offset in offsets:
                bitmap[offset >> 3] |= 1 << (offset & 7)
            usage.append(4096)
            body += bitmap
        else:
            usage.append(len(offsets))
            body += struct.pack(f"<{len(offsets)}H", *offsets)
    limit = 0xFFFFFFFF if told.limit is None else told.limit
    head = (told.tablespace, told.database, told.number, told.fork, limit, len(usage))
    return struct.pack("<IIIiII", *head) + struct.pack(f"<{len(usage)}H", *usage) + body
