"""Sees what becomes of the files in the directory that pg_dump writes into.

Of that directory (pg_backup_directory.c): `toc.dat` is the archive's table of contents, and the
caller's. `blobs.toc` and `blobs_*.toc`, the lists of large objects, are opened to append to them:
they are read when pg_dump has ended. Every other file is written once, from front to back.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import Backlog
from pgkeep.logical.capture.inotify import DirectoryWatch

CONTENTS: Final = "toc.dat"
_APPENDED: Final = ".toc"
_NO_WATCH_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM)


class Follower:
    """Keeps a backlog up to date. Close it in the end."""

    def __init__(self, directory: Path, backlog: Backlog) -> None:
        """`directory` need not be there yet."""
        self._directory = os.fspath(directory)
        self._backlog = backlog
        self._watch: DirectoryWatch | None = None

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def waitable(self) -> Sequence[int]:
        """Return what is readable when files were made or closed."""
        return [self._watch.fileno()] if self._watch is not None else []

    def look(self) -> bool:
        """Enter files that were made, closed, or have grown; tell whether there were any."""
        begun = self._watch is None
        watch = self._watch or self._begin()
        if watch is None:
            return False
        news = begun
        while events := watch.read():
            news = True
            for name, closed in events:
                self._note(name, closed=closed)
            if any(not name for name, _ in events):
                # The events of what is seen now are read before any of it can be gone.
                self._scan()
        return self._grown() or news

    def end(self) -> None:
        """Enter all that is there: nobody writes any more. Raise what `look` does."""
        self.look()
        with suppress(FileNotFoundError):
            self._scan(written=False)
        for name, _ in list(self._backlog.writing()):
            self._backlog.close(name, self._size(name))

    def _begin(self) -> DirectoryWatch | None:
        """Begin to watch, if the directory is there."""
        try:
            self._watch = DirectoryWatch(self._directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _aborted(error, self._directory) from error
        self._scan()
        return self._watch

    def _note(self, name: str, *, closed: bool) -> None:
        if not name or name == CONTENTS or name.endswith(_APPENDED):
            return
        if closed and self._backlog.is_open(name):
            self._backlog.close(name, self._size(name))
        elif not closed and name not in self._backlog:
            self._backlog.create(name)

    def _scan(self, *, written: bool = True) -> None:
        """Look at every file; if somebody writes, only those that nobody has open are closed."""
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name == CONTENTS or (written and entry.name.endswith(_APPENDED)):
                    continue
                if entry.name not in self._backlog:
                    self._backlog.create(entry.name)
                open_here = self._backlog.is_open(entry.name)
                if open_here and not (written and _is_written(entry.path)):
                    self._backlog.close(entry.name, self._size(entry.name))

    def _grown(self) -> bool:
        grown = [self._backlog.grow(n, self._size(n)) for n, _ in list(self._backlog.writing())]
        return any(grown)

    def _size(self, name: str) -> int:
        path = f"{self._directory}/{name}"
        try:
            return os.stat(path).st_size
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise CaptureAborted(
                f"{path} cannot be read: {why}",
                "somebody removes files there while pg_dump writes them: give another --scratch",
            ) from error


def _is_written(path: str) -> bool:
    """Tell whether anybody may have a file open for writing: then there are no read leases."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:  # somebody has, or this file system has no leases
        return True
    finally:
        os.close(file)
    return False


def _aborted(error: OSError, directory: str) -> CaptureAborted:
    why = f"{directory} cannot be watched: {(error.strerror or str(error)).lower()}"
    if error.errno in _NO_WATCH_LEFT:
        advice = "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl -w)"
        return CaptureAborted(why, advice)
    return CaptureAborted(why)
