"""Acknowledgements: which WAL files are safe in the repository, as a shell can tell.

pg_wal/NAME/ASKER/FILE is a second name (a hard link) of pg_wal/FILE, given once the repository has
it. archive_command compares the two with `test -ef`. So an acknowledgement is of this very file: a
copy of the data directory has other files, a server that writes a segment of that name once more
writes another one. And it is for one asker, the archiver process, and ends with it. pg_wal is in no
backup. FILE.failed says why a file could not be archived; FILE.asked, that somebody waits for it.
"""

import fcntl
import os
from contextlib import suppress

from pgkeep.light_typing import Final, NamedTuple
from pgkeep.model.wal_file import LOST, kind_of

_LOCK: Final = "lock"
_NEW: Final = ".new"
_FAILED: Final = ".failed"
_ASKED: Final = ".asked"
_SAID: Final = "said"
_LIMIT: Final = 1 << 16  # bytes of a failure's text


class Refusal(NamedTuple):
    """Why a file is not archived, as the process that tried has put it."""

    status: int
    message: str
    hint: str


class Acks:
    """The acknowledgements beside the files in `pg_wal`; `place` is 'NAME/ASKER'."""

    def __init__(self, pg_wal: str, place: str) -> None:
        name, _, asker = place.partition("/")
        self.place = place
        self.asker = int(asker)
        self.pg_wal = os.path.abspath(pg_wal)
        self.status_folder = os.path.join(self.pg_wal, "archive_status")
        self._folder = os.path.join(self.pg_wal, name)
        self._here = os.path.join(self._folder, asker)

    def prepare(self) -> None:
        """Make the asker's folder, and void what was acknowledged to another. Raise OSError."""
        with suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        with suppress(FileExistsError):
            os.mkdir(self._here, 0o700)
        for other in os.listdir(self._folder):
            if other.isdecimal() and int(other) != self.asker:
                _remove_folder(os.path.join(self._folder, other))

    def lock(self) -> int | None:
        """Return the lock, held while that descriptor is open; None if it is taken.

        Raise OSError.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(os.path.join(self._folder, _LOCK), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def is_gone(self, lock: int) -> bool:
        """Tell whether this place is of no use any more: removed, or its asker has ended."""
        if os.fstat(lock).st_nlink == 0 or not os.path.isdir(self._here):
            return True
        try:
            os.kill(self.asker, 0)
        except ProcessLookupError:
            return True
        return False

    # Files

    def ready(self) -> list[str]:
        """Return the files that PostgreSQL wants archived, in no order. Raise OSError."""
        marked = (n[:-6] for n in os.listdir(self.status_folder) if n.endswith(".ready"))
        return [file for file in marked if kind_of(file)]

    def wants(self, file: str) -> bool:
        return os.path.exists(os.path.join(self.status_folder, f"{file}.ready"))

    def has_losses(self) -> bool:
        """Tell whether WAL was given up, and there is no backup yet that was made after it."""
        return os.path.exists(os.path.join(self.pg_wal, LOST))

    def path(self, file: str) -> str:
        return os.path.join(self.pg_wal, file)

    def has(self, file: str) -> bool:
        """Tell whether this very file is acknowledged."""
        try:
            return os.path.samefile(self.path(file), self._at(file))
        except OSError:
            return False

    def add(self, file: str, seen: os.stat_result) -> bool:
        """Acknowledge a file that was `seen` so before it was archived; False if it has changed.

        Raise OSError.
        """
        new = self._at(file + _NEW)
        _unlink(new)
        os.link(self.path(file), new)
        try:
            now = os.stat(new)
            if _identity(now) != _identity(seen):
                return False
            os.rename(new, self._at(file))
        finally:
            _unlink(new)  # rename() leaves it where both are names of one file already
        _unlink(self._at(file + _FAILED))
        return True

    def void(self) -> None:
        """Take back all acknowledgements. Only for who holds the lock. Raise OSError."""
        for entry in os.listdir(self._here):
            if kind_of(entry):
                _unlink(self._at(entry))

    def keep_only(self, files: frozenset[str]) -> set[str]:
        """Forget what is said of all other files; return those that are acknowledged.

        Only for who holds the lock. Raise OSError.
        """
        acknowledged = set()
        for entry in os.listdir(self._here):
            file = entry
            for end in (_NEW, _FAILED, _ASKED):
                file = file.removesuffix(end)
            if file in files and file == entry and self.has(file):
                acknowledged.add(file)
            elif file not in files or file == entry:
                _unlink(self._at(entry))
        return acknowledged

    # Failures

    def refuse(self, file: str, refusal: Refusal) -> None:
        """Say why a file could not be archived. Raise OSError."""
        text = "\n".join((str(refusal.status), refusal.message, refusal.hint))
        new = self._at(file + _FAILED + _NEW)
        with open(new, "w", encoding="utf-8", errors="replace") as opened:
            opened.write(text[:_LIMIT])
        os.rename(new, self._at(file + _FAILED))

    def refusal(self, file: str) -> Refusal | None:
        """Return why a file could not be archived since somebody asked; None if it is not so."""
        try:
            with open(self._at(file + _FAILED), encoding="utf-8") as opened:
                status, message, hint = [*opened.read(_LIMIT).split("\n", 2), "", ""][:3]
            return Refusal(int(status), message, hint)
        except (OSError, ValueError):
            return None

    def last_refusal(self) -> Refusal | None:
        """Return the youngest failure of any file. Raise OSError."""
        entries = os.scandir(self._here)
        failed = [(e.stat().st_mtime, e.name) for e in entries if e.name.endswith(_FAILED)]
        return self.refusal(max(failed)[1].removesuffix(_FAILED)) if failed else None

    def ask(self, file: str) -> None:
        """Have a file tried at once, whatever failed before. Raise OSError."""
        _unlink(self._at(file + _FAILED))
        os.close(os.open(self._at(file + _ASKED), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def is_heard(self, file: str) -> bool:
        """Tell whether somebody has taken note of ask(), as a pusher does at once."""
        return not os.path.exists(self._at(file + _ASKED))

    def asked(self) -> list[str]:
        """Return, once, the files that somebody asked for. Raise OSError."""
        found = [n.removesuffix(_ASKED) for n in os.listdir(self._here) if n.endswith(_ASKED)]
        for file in found:
            _unlink(self._at(file + _ASKED))
        return found

    def say(self, text: str) -> None:
        """Leave a line for the server's log, to the next push that writes there."""
        with (
            suppress(OSError),
            open(os.path.join(self._folder, _SAID), "a", encoding="utf-8") as opened,
        ):
            opened.write(text.replace("\n", " ")[:_LIMIT] + "\n")

    def said(self) -> list[str]:
        """Return, once, what the server's log is to be told."""
        path = os.path.join(self._folder, _SAID)
        try:
            os.rename(path, path + _NEW)
            with open(path + _NEW, encoding="utf-8", errors="replace") as opened:
                lines = opened.read().splitlines()
        except OSError:
            return []
        return [*dict.fromkeys(lines)]  # the same of many files is said once

    def changes(self) -> tuple[int, int]:
        """Return what is another pair when files became ready or were asked for. Raise OSError."""
        return os.stat(self.status_folder).st_mtime_ns, os.stat(self._here).st_mtime_ns

    def _at(self, entry: str) -> str:
        return os.path.join(self._here, entry)


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _remove_folder(folder: str) -> None:
    with suppress(FileNotFoundError):
        for entry in os.listdir(folder):
            _unlink(os.path.join(folder, entry))
        os.rmdir(folder)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
