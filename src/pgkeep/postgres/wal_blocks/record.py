"""One WAL record: the blocks that it refers to, and the pages that it holds.

Pure. Source: xlogrecord.h, xlogreader.c (DecodeXLogRecord, RestoreBlockImage), 14 to 18.
"""

import struct
import sys
from typing import Final, NamedTuple

from pgkeep.postgres.wal_blocks import lz4

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAGE_SIZE: Final = 8192
HEADER_SIZE: Final = 24  # XLogRecord

_SHORT_DATA, _LONG_DATA, _ORIGIN, _TOP_XID = 255, 254, 253, 252
_MOST_BLOCKS: Final = 32  # XLR_MAX_BLOCK_ID
_FORK, _HAS_IMAGE, _SAME_RELATION = 0x0F, 0x10, 0x80
_HOLE: Final = 0x01  # BKPIMAGE_HAS_HOLE

Locator = tuple[int, int, int]  # tablespace, database, filenode


class BadRecord(ValueError):
    """A record that is not what a server writes."""


class Image(NamedTuple):
    """A page as a record holds it: without its hole, perhaps compressed."""

    content: bytes
    hole_offset: int
    hole_length: int
    method: str  # '', 'pglz', 'lz4' or 'zstd'
    applied: bool  # False: there only to be compared with


class BlockReference(NamedTuple):
    locator: Locator
    fork: int
    block: int
    image: Image | None


def locator_bytes(locator: Locator) -> bytes:
    """Return how a relation stands in every record that refers to it."""
    return struct.pack("<III", *locator)


def block_references(record: bytes, major: int) -> tuple[list[BlockReference], bytes]:
    """Return the blocks that a whole record refers to, and its own data. Raise BadRecord."""
    try:
        return _parse(record, major)
    except (struct.error, IndexError) as error:
        raise BadRecord("its headers are cut off") from error


class _Header(NamedTuple):
    """A block's header; its image stands behind all headers."""

    locator: Locator
    fork: int
    block: int
    data_length: int
    image: Image | None  # still without content
    image_length: int


def _parse(record: bytes, major: int) -> tuple[list[BlockReference], bytes]:
    headers: list[_Header] = []
    at, following, own = HEADER_SIZE, 0, 0
    while len(record) - at > following:
        kind = record[at]
        if kind == _SHORT_DATA:
            own, at = record[at + 1], at + 2
            break
        if kind == _LONG_DATA:
            own, at = struct.unpack_from("<I", record, at + 1)[0], at + 5
            break
        if kind == _ORIGIN:
            at += 3
        elif kind == _TOP_XID:
            at += 5
        elif kind <= _MOST_BLOCKS:
            header, at = _block_header(record, at, headers[-1:], major)
            headers.append(header)
            following += header.data_length + header.image_length
        else:
            raise BadRecord(f"it holds a part of unknown kind {kind}")
    if at + following + own != len(record):
        raise BadRecord("its parts do not fill it")
    found = []
    for header in headers:
        image, end = header.image, at + header.image_length
        if image is not None:
            image = image._replace(content=record[at:end])
        found.append(BlockReference(header.locator, header.fork, header.block, image))
        at = end + header.data_length
    return found, record[at:]


def _block_header(record: bytes, at: int, before: list[_Header], major: int) -> tuple[_Header, int]:
    """Return the header at `at`, and where what follows it begins."""
    flags, data_length = struct.unpack_from("<BH", record, at + 1)
    at += 4
    image, length = None, 0
    if flags & _HAS_IMAGE:
        length, offset, info = struct.unpack_from("<HHB", record, at)
        at += 5
        method, hole = _method(info, major), PAGE_SIZE - length
        if method:
            hole = 0
            if info & _HOLE:
                (hole,) = struct.unpack_from("<H", record, at)
                at += 2
        image = Image(b"", offset, hole, method, bool(info & _applied_bit(major)))
    if not flags & _SAME_RELATION:
        locator: Locator = struct.unpack_from("<III", record, at)
        at += 12
    elif before:
        locator = before[0].locator
    else:
        raise BadRecord("its first block belongs to no relation")
    (block,) = struct.unpack_from("<I", record, at)
    return _Header(locator, flags & _FORK, block, data_length, image, length), at + 4


def _method(info: int, major: int) -> str:
    """Return how an image is compressed."""
    if major < 15:
        return "pglz" if info & 0x02 else ""
    return next((name for bit, name in _METHODS if info & bit), "")


_METHODS: Final = ((0x04, "pglz"), (0x08, "lz4"), (0x10, "zstd"))


def _applied_bit(major: int) -> int:
    return 0x04 if major < 15 else 0x02


def page_of(image: Image) -> bytes:
    """Return the page as it was when the record was made, its checksum not set. Raise BadRecord."""
    kept = PAGE_SIZE - image.hole_length
    if kept < 0 or image.hole_offset > kept:
        raise BadRecord("the hole of its page is impossible")
    content = image.content
    if image.method == "pglz":
        content = _pglz(content, kept)
    elif image.method == "zstd":
        try:
            content = zstd.decompress(content)
        except zstd.ZstdError as error:
            raise BadRecord(f"its page cannot be decompressed: {error}") from error
    elif image.method:
        try:
            content = lz4.decompress(content, kept)
        except ValueError as error:
            raise BadRecord(f"its page cannot be decompressed: {error}") from error
    if len(content) != kept:
        raise BadRecord("its page has the wrong length")
    at = image.hole_offset
    return content[:at] + bytes(image.hole_length) + content[at:]


def _pglz(content: bytes, size: int) -> bytes:
    """Decompress what pg_lzcompress.c wrote: a control byte tells for 8 items, copy or literal."""
    plain, at = bytearray(), 0
    while at < len(content) and len(plain) < size:
        control, at = content[at], at + 1
        for bit in range(8):
            if at >= len(content) or len(plain) >= size:
                break
            if not control >> bit & 1:
                plain.append(content[at])
                at += 1
                continue
            if at + 1 >= len(content):
                raise BadRecord("its page cannot be decompressed")
            length = (content[at] & 0x0F) + 3
            back = (content[at] & 0xF0) << 4 | content[at + 1]
            at += 2
            if length == 18:  # longer ones have one more byte
                if at >= len(content):
                    raise BadRecord("its page cannot be decompressed")
                length, at = length + content[at], at + 1
            if not 0 < back <= len(plain):
                raise BadRecord("its page cannot be decompressed")
            for _ in range(min(length, size - len(plain))):
                plain.append(plain[-back])
    return bytes(plain)
