"""Which parts of a file the kernel holds in memory already.

A backup reads everything once. What it had to fetch from disk should leave the page cache again,
or it pushes out what production needs; what was there before must stay. mincore(2) tells the two
apart. For a file we neither own nor may write, Linux answers "all of it", and nothing is dropped.
"""

import ctypes
import os
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PROT_NONE: Final = 0  # the mapping is asked about, never touched
_MAP_SHARED: Final = 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value


def resident_pages(descriptor: int, start: int, length: int) -> bytes | None:
    """Return one byte per memory page, odd when it is in memory; None when that can't be told.

    `start` is a multiple of the memory page size.
    """
    address = _LIBC.mmap(None, length, _PROT_NONE, _MAP_SHARED, descriptor, start)
    if address == _MAP_FAILED:
        return None
    pages = ctypes.create_string_buffer(-(-length // _PAGE))
    failed = _LIBC.mincore(address, length, pages)
    _LIBC.munmap(address, length)
    return None if failed else pages.raw


def mostly_absent(resident: bytes | None, start: int, length: int) -> bool:
    """Tell whether less than half of a range was in memory before."""
    if resident is None:
        return False
    window = resident[start // _PAGE : -(-(start + length) // _PAGE)]
    # the low bit is the answer, the others are reserved (mincore(2)): Linux leaves them 0
    return window.count(1) * 2 < len(window)
