"""Blocks compressed by LZ4, as wal_compression = lz4 stores pages.

Pure. Source: lz4_Block_format.md. No library: a page is small, and few of them are read.
"""

from typing import Final

_SHORTEST: Final = 4  # bytes of a copy


def decompress(content: bytes, size: int) -> bytes:
    """Return the at most `size` bytes that a block holds. Raise ValueError."""
    plain, at = bytearray(), 0
    while at < len(content):
        token, at = content[at], at + 1
        count, at = _length(content, at, token >> 4)
        plain += content[at : at + count]
        at += count
        if at >= len(content):
            break  # the last sequence has no copy
        back = int.from_bytes(content[at : at + 2], "little")
        count, at = _length(content, at + 2, token & 0x0F)
        if not 0 < back <= len(plain) or len(plain) + count + _SHORTEST > size:
            raise ValueError("a copy from outside, or too long")
        start = len(plain) - back
        for index in range(start, start + count + _SHORTEST):  # it may overlap itself
            plain.append(plain[index])
    return bytes(plain)


def _length(content: bytes, at: int, short: int) -> tuple[int, int]:
    """Return a length, and where it ends: 15 goes on in bytes until one below 255."""
    length = short
    while short == 15:
        if at >= len(content):
            raise ValueError("it ends within a length")
        length, at = length + content[at], at + 1
        if content[at - 1] < 255:
            break
    return length, at
