"""Segments that were fetched ahead of recovery, in a folder of pg_wal. docs/wal-archiving.md.

Under a segment's own name there is only ever the whole, checked, synced segment: restore_command
takes it with a rename and asks nobody. One process at a time writes here: who holds the lock.
"""

import fcntl
import os
import time
from collections.abc import Iterable
from contextlib import suppress

from pgkeep.light_typing import Final
from pgkeep.model.wal_file import kind_of
from pgkeep.repository.store.durable import write_temp

_LOCK: Final = "lock"
_TEMP_MARK: Final = ".part-"
_PATIENCE: Final = 3.0  # seconds for a segment that is on its way, perhaps from a distant store
_GLANCE: Final = 0.001  # seconds


class Spool:
    """The folder `name` beside `destination`, which may not be there."""

    def __init__(self, destination: str, name: str) -> None:
        self.folder = os.path.join(os.path.dirname(os.path.abspath(destination)), name)

    def take(self, segment: str, destination: str) -> bool:
        """Move a segment that lies ready, or is just being written, to its place, if there is one.

        The server makes the new name durable itself (xlogarchive.c: KeepFileRestoredFromArchive).
        """
        patience = time.monotonic() + _PATIENCE
        while True:
            coming = self._is_coming(segment)  # asked first: it may be there a moment later
            try:
                os.rename(self._path(segment), destination)
            except OSError:
                if not coming or time.monotonic() > patience:
                    return False
            else:
                return True
            time.sleep(_GLANCE)

    def lock(self) -> int | None:
        """Make the folder and return its lock, held while that descriptor is open; None if taken.

        Raise OSError.
        """
        with suppress(FileExistsError):
            os.mkdir(self.folder, 0o700)
        return self._try_lock(os.O_RDWR | os.O_CREAT)

    def is_gone(self, lock: int) -> bool:
        """Tell whether somebody removed the folder's content, as at the end of recovery."""
        return os.fstat(lock).st_nlink == 0

    def ready(self) -> list[str]:
        """Return the segments that lie ready, in order. Raise OSError."""
        return sorted(name for name in os.listdir(self.folder) if kind_of(name) == "segment")

    def put(self, segment: str, blocks: Iterable[bytes]) -> None:
        """Write a segment and give it its name. Only for who holds the lock.

        Raise OSError, and what `blocks` raises.
        """
        temp = self._path(self._temp(segment))
        try:
            write_temp(temp, blocks)  # content before name: the name alone is trusted
            os.rename(temp, self._path(segment))
        finally:
            self._unlink(temp)

    def remove(self) -> None:
        """Remove the folder with all that is in it. Raise OSError."""
        for name in os.listdir(self.folder):
            self._unlink(self._path(name))
        os.rmdir(self.folder)

    def keep_only(self, segments: Iterable[str], coming: Iterable[str] = ()) -> None:
        """Remove all segments but these and those that this process is writing.

        What dead processes began goes, too. Only for who holds the lock. Raise OSError.
        """
        kept = {*segments, *coming, *map(self._temp, coming), _LOCK}
        for name in os.listdir(self.folder):
            if name not in kept:
                self._unlink(self._path(name))

    def free_space(self) -> int:
        room = os.statvfs(self.folder)
        return room.f_bavail * room.f_frsize

    def _is_coming(self, segment: str) -> bool:
        """Tell whether a living process is writing this segment."""
        try:
            written = any(n.startswith(segment + _TEMP_MARK) for n in os.listdir(self.folder))
            lock = self._try_lock(os.O_RDWR) if written else -1
        except OSError:
            return False
        if lock is None:
            return True
        if lock >= 0:
            os.close(lock)
        return False

    def _try_lock(self, flags: int) -> int | None:
        lock = os.open(self._path(_LOCK), flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _temp(self, segment: str) -> str:
        return f"{segment}{_TEMP_MARK}{os.getpid()}"

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _unlink(self, path: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(path)
