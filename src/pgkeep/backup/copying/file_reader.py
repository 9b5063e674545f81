"""Reads local files for a backup, leaving the server's page cache as it was.

A backup reads everything once. What it had to fetch from disk should leave the page cache again,
or it pushes out what production needs; what was there before must stay. mincore(2) tells the two
apart. For a file we neither own nor may write, Linux answers "all of it", and nothing is dropped.
"""

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from pgkeep.backup.source import ReadFailed
from pgkeep.postgres.datadir import open_file
from pgkeep.units import MIB

_ADVISED: Final = MIB  # less than this is left to the kernel: advice would cost more than it saves
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PROT_NONE: Final = 0  # the mapping is asked about, never touched
_MAP_SHARED: Final = 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value


@dataclass(frozen=True, slots=True)
class FileReader:
    """Opens files below `root`, and those that live elsewhere by their full paths."""

    root: str
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def open(
        self, path: str, start: int = 0, end: int | None = None, *, sparse: bool = False
    ) -> "LocalFile | None":
        """Return the file, of which [start, end) will be read; None when it is gone.

        `sparse` says that pages here and there will be read. Raise Unreadable.
        """
        full = self.elsewhere.get(path) or f"{self.root}/{path}"
        descriptor = open_file(full)
        if descriptor is None:
            return None
        advice = os.POSIX_FADV_RANDOM if sparse else os.POSIX_FADV_SEQUENTIAL
        return LocalFile(full, descriptor, start, end, advice)


class LocalFile:
    """An open file. What the kernel had to fetch for us leaves its cache again when we are done."""

    def __init__(
        self, path: str, descriptor: int, start: int, end: int | None, advice: int
    ) -> None:
        self._path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._start = start
        length = min(self.size, self.size if end is None else end) - start
        self._resident: bytes | None = None
        if length >= _ADVISED:
            self._resident = _resident_pages(descriptor, start, length)
            os.posix_fadvise(descriptor, start, length, advice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end of the file. Raise ReadFailed."""
        try:
            length = os.preadv(self._descriptor, [buffer], offset)
        except OSError as error:
            raise ReadFailed(self._path, offset, error.strerror or str(error)) from error
        if _mostly_absent(self._resident, offset - self._start, length):
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        return length


def _resident_pages(descriptor: int, start: int, length: int) -> bytes | None:
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


def _mostly_absent(resident: bytes | None, start: int, length: int) -> bool:
    """Tell whether less than half of a range was in memory before."""
    if resident is None:
        return False
    window = resident[start // _PAGE : -(-(start + length) // _PAGE)]
    # the low bit is the answer, the others are reserved (mincore(2)): Linux leaves them 0
    return window.count(1) * 2 < len(window)
