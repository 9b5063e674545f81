"""CRC-32C of megabytes: a summary of a busy server is too long for one byte at a time.

Pure. The content is laid out as columns of equal length whose CRCs are computed side by side by
numpy, then joined: appending zeros to a message multiplies its CRC by a matrix over bits (zlib's
crc32_combine does the same). 180 MB/s, against 12.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pgkeep.postgres import crc32c as small

_LARGE: Final = 8 << 10  # below, the preparations take longer than they save
_STRETCH: Final = 4 << 20  # laid out at once, so that memory stays bounded
_TABLE: Final = np.array(small.TABLE, np.uint32)
_PAIRS: Final = np.arange(1 << 16, dtype=np.uint32)  # likewise by two bytes, after two rounds
for _ in range(2):
    _PAIRS[:] = _TABLE[_PAIRS & np.uint32(0xFF)] ^ (_PAIRS >> np.uint32(8))
_BITS: Final = np.uint32(1) << np.arange(32, dtype=np.uint32)

Words = NDArray[np.uint32]


def crc32c(content: memoryview) -> int:
    """Return the CRC-32C of any number of bytes."""
    crc = 0
    for start in range(0, len(content), _STRETCH):
        crc = _continued(content[start : start + _STRETCH], crc)
    return crc


def _continued(content: memoryview, crc: int) -> int:
    size = len(content)
    if size < _LARGE:
        return small.crc32c(content, crc)
    columns = 1 << (size.bit_length() // 2)  # a power of two, about the root of the size
    length = size // columns & ~1
    whole = columns * length
    crc = _join(_columns(content[:whole], columns, length, crc), length)
    return small.crc32c(content[whole:], crc)


def _columns(content: memoryview, columns: int, length: int, crc: int) -> Words:
    """Return the CRC of each column, as if only the first one continued a message."""
    rows = np.ascontiguousarray(np.frombuffer(content, "<u2").reshape(columns, length // 2).T)
    crcs = np.zeros(columns, np.uint32)
    crcs[0] = crc ^ 0xFFFFFFFF
    for row in rows:
        crcs = _PAIRS[crcs.astype(np.uint16) ^ row] ^ (crcs >> np.uint32(16))
    return crcs


def _join(crc: Words, length: int) -> int:
    """Return the CRC of the columns one after the other: neighbours are joined, then pairs..."""
    matrix = _zeros(length)
    while len(crc) > 1:
        crc = _apply(matrix, crc[0::2]) ^ crc[1::2]
        matrix = _apply(matrix, matrix)
    return int(crc[0]) ^ 0xFFFFFFFF


def _zeros(count: int) -> Words:
    """Return what `count` zero bytes make of each of the 32 bits of a CRC."""
    power = _TABLE[_BITS & np.uint32(0xFF)] ^ (_BITS >> np.uint32(8))  # of one zero byte
    matrix = _BITS.copy()
    while count:
        if count & 1:
            matrix = _apply(power, matrix)
        power = _apply(power, power)
        count >>= 1
    return matrix


def _apply(matrix: Words, vectors: Words) -> Words:
    set_bits = (vectors[:, None] & _BITS) != 0
    chosen: Words = np.where(set_bits, matrix, np.uint32(0))
    applied: Words = np.bitwise_xor.reduce(chosen, axis=1)
    return applied
