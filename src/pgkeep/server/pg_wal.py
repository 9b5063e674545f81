"""What a server's pg_wal says of its archiving, without asking the server."""

import os
import time
from contextlib import suppress

from pgkeep.model.wal_file import LOST, kind_of
from pgkeep.model.wal_room import WalRoom, wal_rate


def look_at_pg_wal(data_directory: str) -> WalRoom | None:
    """Return the state of pg_wal; None when we may not look, as on another host."""
    pg_wal = os.path.join(data_directory, "pg_wal")
    try:
        marks = os.listdir(os.path.join(pg_wal, "archive_status"))
        disk = os.statvfs(pg_wal)
    except OSError:
        return None
    waiting = [mark[:-6] for mark in marks if mark.endswith(".ready") and kind_of(mark[:-6])]
    # A mark beside it says that a segment was finished; without one it may be an old name's.
    sizes, finished = {}, []
    for mark in marks:
        file = mark.rpartition(".")[0]
        if kind_of(file):
            with suppress(FileNotFoundError):
                found = os.stat(os.path.join(pg_wal, file))
                sizes[file] = found.st_size
                if kind_of(file) == "segment":
                    finished.append(found.st_mtime)
    held = sum(sizes.get(file, 0) for file in waiting)
    rate = wal_rate(finished, max(sizes.values(), default=0), time.time())
    free = disk.f_bavail * disk.f_frsize
    return WalRoom(len(waiting), held, free, rate, _given_up(pg_wal))


def _given_up(pg_wal: str) -> int:
    """Count the lines of the note about it: wal/ahead/losses.py."""
    try:
        with open(os.path.join(pg_wal, LOST), "rb") as note:
            return sum(1 for _ in note)
    except OSError:
        return 0
