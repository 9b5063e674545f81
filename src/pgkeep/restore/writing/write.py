"""Puts a restored cluster on disk, in an order that leaves nothing startable when it stops halfway.

The marker comes first and global/pg_control last: no server starts without that file, and nobody
takes a directory with that marker for a whole one. Everything else is durable before pg_control is
written.
"""

import contextlib
import fcntl
import os
from typing import Final

from pgkeep.restore.preflight import TargetNotEmpty, TargetUnsafe
from pgkeep.restore.writing.copy import told
from pgkeep.restore.writing.durable import FileSystems, can_sync_at_once
from pgkeep.restore.writing.layout import Layout
from pgkeep.traces import MARKER


class Tree:
    """The directory trees of one restore."""

    def __init__(self, layout: Layout, *, chown: bool) -> None:
        self._layout: Final = layout
        self._target: Final = layout.target_dir
        self._chown: Final = chown
        self._directories: Final = dict(layout.directories())
        self._file_systems: FileSystems | None = None
        self._held: int | None = None  # the target directory, open and locked

    def begin(self, marker: str, *, over: bool = False) -> None:
        """Make the target directory and say in it that a restore is under way.

        `over` allows it to be full. Raise TargetUnsafe when another restore is at work in it.
        """
        _make(self._target)
        self._hold()
        # Before anything else: from here on, whoever finds the directory is told what it is, and
        # of two restores at once only one goes on.
        if over:
            self._mark(marker)
        else:
            self._claim(marker)
        _sync(self._target)
        _sync(os.path.dirname(self._target))

    def disable(self) -> None:
        """Take pg_control away: no server starts here before the restore is whole."""
        folder = os.path.join(self._target, "global")
        with told("remove", folder), contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "pg_control"))
            _sync(folder)

    def unmark(self) -> None:
        """Take the marker away again: nothing has been changed."""
        with told("remove", MARKER):
            os.unlink(os.path.join(self._target, MARKER))

    def _hold(self) -> None:
        with told("open", self._target):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._held = os.open(self._target, flags)
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                why = "another restore is at work in it"
                raise TargetUnsafe(self._target, why, "wait for it, or end it") from None
            except OSError:
                return  # a file system without locks

    def _mark(self, marker: str) -> None:
        """Put the marker there whole, or leave the one that is there: it tells which cluster."""
        path = os.path.join(self._target, MARKER)
        with told("create", path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(f"{path}.new", flags, 0o600), "wb") as file:
                file.write(marker.encode())
                file.flush()
                os.fsync(file.fileno())
            os.rename(f"{path}.new", path)

    def _claim(self, marker: str) -> None:
        path = os.path.join(self._target, MARKER)
        with told("create", path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(marker.encode())
                file.flush()
                os.fsync(file.fileno())
            others = sorted(set(os.listdir(self._target)) - {MARKER})
            if others:  # it was empty when it was checked
                os.unlink(path)
                raise TargetNotEmpty(self._target, f"it is not empty any more ({others[0]})")

    def make_directories(self) -> None:
        """Make all directories, for our eyes only until they are complete."""
        for move in self._layout.moves:
            _make(move.new)
        roots = [self._target, *(move.new for move in self._layout.moves)]
        if can_sync_at_once():
            # Before the files: an error is told of what is written after this only.
            self._file_systems = FileSystems(roots)
        # Links before what is in them: a delta restore knows by them which places are its own.
        self._make_links()
        for path in self._directories:
            _make(path)

    def _make_links(self) -> None:
        """Link the tablespaces. The server makes the links again from tablespace_map."""
        for path, target in self._layout.links():
            _make(os.path.dirname(path))
            with told("link", path):
                if not os.path.islink(path) or os.readlink(path) != target:
                    os.symlink(target, path)

    def read(self, name: str) -> str:
        """Return the text of a restored file; '' when the backup has none."""
        path = os.path.join(self._target, name)
        with told("read", path):
            try:
                with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                    return file.read()
            except FileNotFoundError:
                return ""

    def write(self, name: str, text: str, like: str = "") -> None:
        """Write a small file of the target directory, with mode and owner of the file `like`."""
        path = os.path.join(self._target, name)
        with told("write", path):
            mode, owner = 0o600, self._owner
            if like:
                status = os.stat(os.path.join(self._target, like))
                mode, owner = status.st_mode & 0o777, (status.st_uid, status.st_gid)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(text.encode(errors="surrogateescape"))
                file.flush()
                os.fchmod(file.fileno(), mode)
                if self._chown:
                    os.fchown(file.fileno(), *owner)
                os.fsync(file.fileno())

    @property
    def syncs_at_once(self) -> bool:
        """Tell whether files need no fsync of their own."""
        return self._file_systems is not None

    def close(self) -> None:
        """Let go of what is open, however the restore ended."""
        if self._file_systems is not None:
            self._file_systems.close()
        if self._held is not None:
            os.close(self._held)

    def make_durable(self) -> None:
        """Give all directories their modes and owners, and make everything durable."""
        mode = self._layout.mode
        roots = [self._target, *(move.new for move in self._layout.moves)]
        # Bottom up: a directory that is complete may become one that we cannot write to.
        for path, entry in reversed(self._directories.items()):
            _finish(path, entry.mode & 0o777, self._layout.owners.of(entry), chown=self._chown)
        for root in reversed(roots):
            _finish(root, mode, self._owner, chown=self._chown)
        if self._file_systems is not None:
            self._file_systems.sync()
        else:
            for path in self._directories:
                _sync(path)
        for root in roots:
            _sync(root)
            _sync(os.path.dirname(root))

    def end(self) -> None:
        """Take the marker away: the restore is whole."""
        # pg_control must have its name for good before the marker has lost its own.
        _sync(os.path.join(self._target, "global"))
        path = os.path.join(self._target, MARKER)
        with told("remove", path):
            os.unlink(path)
        _sync(self._target)

    @property
    def _owner(self) -> tuple[int, int]:
        """The owner of what is in no backup: as of the directories beside it."""
        entry = self._directories.get(os.path.join(self._target, "global"))
        return self._layout.owners.of(entry) if entry else (os.geteuid(), os.getegid())


def _make(path: str) -> None:
    """Make a directory and those above it that are missing; an empty one may be there."""
    with told("create", path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


def _finish(path: str, mode: int, owner: tuple[int, int], *, chown: bool) -> None:
    with told("finish", path):
        if chown:
            os.chown(path, *owner)
        os.chmod(path, mode)


def _sync(path: str) -> None:
    with told("sync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
