"""Writes WAL as a server would: records cut into pages, pages into segments."""

import struct

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.crc32c import crc32c
from pgkeep.postgres.versions import VERSIONS

MIB = 1 << 20
PAGE = 8192
XLOG, XACT, HEAP = 0, 1, 10
COMMIT, PREPARE, ABORT, COMMIT_PREPARED, HAS_INFO = 0x00, 0x10, 0x20, 0x30, 0x80


class WalWriter:
    """Collects records from the beginning of segment `number` on."""

    def __init__(self, major: int = 18, size: int = MIB, number: int = 1, timeline: int = 1):
        self.magic = VERSIONS[major].wal_magic
        self.size, self.timeline = size, timeline
        self.start = self.at = number * size
        self.content = bytearray()
        self.previous = 0
        self.ends: list[int] = []

    def add(self, manager: int, info: int, data: bytes, xid: int = 0) -> Lsn:
        """Write a record with nothing but data; return where it begins."""
        if len(data) < 256:
            body = struct.pack("<BB", 255, len(data)) + data
        else:
            body = struct.pack("<BI", 254, len(data)) + data
        return self.raw(manager, info, body, xid)

    def raw(self, manager: int, info: int, body: bytes, xid: int = 0) -> Lsn:
        self._page_header(0)
        lsn = Lsn(self.at)
        head = struct.pack("<IIQBBxx", 24 + len(body), xid, self.previous, info, manager)
        self.previous = int(lsn)
        self._write(head + struct.pack("<I", crc32c(head, crc32c(body))) + body)
        self.ends.append(self.at)
        return lsn

    def commit(self, xid: int, time_us: int, kind: int = COMMIT) -> Lsn:
        return self.add(XACT, kind, struct.pack("<q", time_us), xid)

    def restore_point(self, name: str, time_us: int) -> Lsn:
        return self.add(XLOG, 0x70, struct.pack("<q64s", time_us, name.encode()))

    def checkpoint(self, redo: int, seconds: int, *, shutdown: bool = False) -> Lsn:
        data = struct.pack("<Q56xq8x", redo, seconds)
        return self.add(XLOG, 0x00 if shutdown else 0x10, data)

    def switch(self) -> Lsn:
        lsn = self.raw(XLOG, 0x40, b"")
        self._zeros_to_segment_end()
        return lsn

    def fill(self, room: int) -> None:
        """Write other records until exactly `room` bytes, a multiple of 8, are left."""
        while (left := self.size - self.at % self.size - room) > PAGE // 2:
            self.raw(HEAP, 0, b"\x01" * 1000)
        self.raw(HEAP, 0, b"\x01" * (left - 24))

    def segments(self) -> list[tuple[Segment, bytes]]:
        """Return all segments, the last one filled up with zeros."""
        content = bytes(self.content) + bytes(-len(self.content) % self.size)
        return [
            (
                Segment(self.timeline, (self.start + offset) // self.size, self.size),
                content[offset : offset + self.size],
            )
            for offset in range(0, len(content), self.size)
        ]

    def _write(self, record: bytes) -> None:
        record += bytes(-len(record) % 8)
        unaligned = len(record)
        while record:
            if self.at % PAGE == 0:
                (total,) = struct.unpack_from("<I", self._head, 0)
                self._page_header(total - (unaligned - len(record)))
            else:
                self._head = record[:4] if len(record) == unaligned else self._head
            room = PAGE - self.at % PAGE
            self._put(record[:room])
            record = record[room:]

    _head = bytes(4)

    def _page_header(self, left: int) -> None:
        if self.at % PAGE:
            return
        first = self.at % self.size == 0
        flags = (1 if left else 0) | (2 if first else 0)
        header = struct.pack("<HHIQI4x", self.magic, flags, self.timeline, self.at, left)
        self._put(header + (struct.pack("<QII", 42, self.size, PAGE) if first else b""))

    def _put(self, content: bytes) -> None:
        self.content += content
        self.at += len(content)

    def _zeros_to_segment_end(self) -> None:
        self._put(bytes(-self.at % self.size))
