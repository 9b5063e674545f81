"""CRC-32C (Castagnoli), which PostgreSQL puts over pg_control, WAL records and more.

Source: pg_crc32c_sb8.c. No compiled implementation is among the dependencies; what pgkeep checks
is small, or many small things at once.
"""

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # reflected


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


TABLE: Final = _table()  # by byte


def crc32c(content: bytes | memoryview, crc: int = 0) -> int:
    """Return the CRC-32C of something small (10 MB/s). `crc` continues an earlier one."""
    crc ^= 0xFFFFFFFF
    table = TABLE
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
