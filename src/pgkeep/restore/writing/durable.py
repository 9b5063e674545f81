"""Makes thousands of new files durable at once.

One fsync for each of 11,000 files took longer than writing them (5.7 s of 13 s for 3.5 GB). Linux
has syncfs(2) for this, which PostgreSQL uses as well (recovery_init_sync_method, initdb
--sync-method); since 5.8 it reports what could not be written since its descriptor was opened.
"""

import ctypes
import os
import platform
import re
from collections.abc import Iterable
from typing import Final

from pgkeep.restore.writing.copy import told

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_REPORTING: Final = (5, 8)  # the Linux from which syncfs tells of errors


def can_sync_at_once() -> bool:
    """Tell whether `FileSystems` can be used; else every file needs an fsync of its own."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    recent = found is not None and (int(found[1]), int(found[2])) >= _REPORTING
    return platform.system() == "Linux" and recent and hasattr(_LIBC, "syncfs")


class FileSystems:
    """The file systems that a restore writes to. Open it before the first byte is written."""

    def __init__(self, directories: Iterable[str]) -> None:
        self._open: Final[dict[int, tuple[str, int]]] = {}  # by device
        for directory in directories:
            device = os.stat(directory).st_dev
            if device not in self._open:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                self._open[device] = (directory, os.open(directory, flags))

    def sync(self) -> None:
        """Make durable what has been written. Raise CannotWrite when something is not."""
        for directory, descriptor in self._open.values():
            with told("sync", directory):
                if _LIBC.syncfs(descriptor) != 0:
                    error = ctypes.get_errno()
                    raise OSError(error, os.strerror(error))

    def close(self) -> None:
        for _, descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
