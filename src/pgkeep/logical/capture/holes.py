"""Takes off the disk what was read of files that are still written: holes in their beginning."""

import ctypes
import errno
import os
from mmap import PAGESIZE
from pathlib import Path
from typing import Final

from pgkeep.logical.capture.aborted import CaptureAborted

_KEEP_SIZE_PUNCH_HOLE: Final = 0x03  # linux/falloc.h
_IMPOSSIBLE: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Holes:
    """Punches holes into the files of one directory. Close it in the end."""

    def __init__(self, directory: Path) -> None:
        self.possible = True  # False: this file system gives back room of whole files only
        self._directory = directory
        # Kept open to the end of each: closing a file that we could write to looks like pg_dump
        # closing it (IN_CLOSE_WRITE).
        self._files: dict[str, int] = {}

    def punch(self, name: str, begin: int, end: int) -> None:
        """Give back the room of all whole pages up to `end`; those up to `begin` are given back.

        Raise CaptureAborted.
        """
        begin, end = begin // PAGESIZE * PAGESIZE, end // PAGESIZE * PAGESIZE
        if begin >= end or not self.possible:
            return
        try:
            if name not in self._files:
                path = self._directory / name
                self._files[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            _deallocate(self._files[name], begin, end - begin)
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                why = (error.strerror or str(error)).lower()
                raise CaptureAborted(
                    f"{self._directory / name} cannot be cut off: {why}"
                ) from error
            self.possible = False

    def forget(self, name: str) -> None:
        """Let go of a file that is removed."""
        file = self._files.pop(name, None)
        if file is not None:
            os.close(file)

    def close(self) -> None:
        for name in list(self._files):
            self.forget(name)


def _deallocate(file: int, begin: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    place = ctypes.c_longlong(begin)
    if libc.fallocate(file, _KEEP_SIZE_PUNCH_HOLE, place, ctypes.c_longlong(length)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
