"""Reads local files for a backup, leaving the server's page cache as it was."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from pgkeep.backup.cache import mostly_absent, resident_pages
from pgkeep.backup.source import ReadFailed
from pgkeep.postgres.datadir import open_file
from pgkeep.units import MIB

_ADVISED: Final = MIB  # less than this is left to the kernel: advice would cost more than it saves


@dataclass(frozen=True, slots=True)
class FileReader:
    """Opens files below `root`, and those that live elsewhere by their full paths."""

    root: str
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def open(self, path: str, start: int = 0, end: int | None = None) -> "LocalFile | None":
        """Return the file, of which [start, end) will be read; None when it is gone.

        Raise Unreadable.
        """
        full = self.elsewhere.get(path) or f"{self.root}/{path}"
        descriptor = open_file(full)
        return None if descriptor is None else LocalFile(full, descriptor, start, end)


class LocalFile:
    """An open file. What the kernel had to fetch for us leaves its cache again when we are done."""

    def __init__(self, path: str, descriptor: int, start: int, end: int | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._start = start
        length = min(self.size, self.size if end is None else end) - start
        self._resident: bytes | None = None
        if length >= _ADVISED:
            self._resident = resident_pages(descriptor, start, length)
            os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_SEQUENTIAL)

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
        if mostly_absent(self._resident, offset - self._start, length):
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        return length
