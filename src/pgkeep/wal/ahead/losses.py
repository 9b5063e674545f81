"""WAL that was given up so that the server could go on: noted first, mended as soon as possible.

pg_wal/pgkeep-lost has a line for each file: its name, when, and why. It is durable before
PostgreSQL hears that the file may go, and goes itself when a newer backup has made the chain whole
again. pg_wal is in no backup, so no restored server takes another's losses for its own.
"""

import os
from collections.abc import Iterable, Sequence

from pgkeep.light_typing import NamedTuple
from pgkeep.model.wal_file import LOST, kind_of
from pgkeep.repository.store.durable import replace_file, sync_folder


class Lost(NamedTuple):
    """A file that is not archived, and never will be if it is a segment."""

    file: str
    at: int  # seconds since 1970, UTC
    why: str


class Losses:
    """The note in `pg_wal`. One process writes it at a time: who holds the lock of the acks."""

    def __init__(self, pg_wal: str) -> None:
        self._folder = pg_wal
        self._path = os.path.join(pg_wal, LOST)

    def add(self, files: Iterable[str], at: int, why: str) -> None:
        """Note durably that files are given up. Raise OSError: then they must not be."""
        reason = " ".join(why.split())
        lines = "".join(f"{file}\t{at}\t{reason}\n" for file in files).encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        note = os.open(self._path, flags, 0o600)
        try:
            if os.write(note, lines) < len(lines):
                raise OSError(28, os.strerror(28))  # ENOSPC: a line that is cut off is no note
            os.fsync(note)
        finally:
            os.close(note)
        sync_folder(self._folder)

    def read(self) -> list[Lost]:
        """Return what is noted; nothing when there is no note. Raise OSError."""
        try:
            with open(self._path, encoding="utf-8", errors="replace") as note:
                rows = [line.rstrip("\n").split("\t", 2) for line in note]
        except FileNotFoundError:
            return []
        return [
            Lost(row[0], int(row[1]), row[2])
            for row in rows
            if len(row) == 3 and kind_of(row[0]) and row[1].isdecimal()
        ]

    def forget(self, mended: Sequence[Lost]) -> None:
        """Take out what a newer backup has made harmless. Raise OSError."""
        left = [lost for lost in self.read() if lost not in mended]
        if left:
            lines = [f"{lost.file}\t{lost.at}\t{lost.why}\n".encode() for lost in left]
            replace_file(self._path, lines)
        else:
            os.unlink(self._path)
            sync_folder(self._folder)
