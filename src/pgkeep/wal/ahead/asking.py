"""What archive_command does where a pusher works ahead: have it push, and wait for its answer.

Light: it runs for every file that is not acknowledged yet, and opens no repository.
"""

import os
import time
from collections.abc import Callable

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final
from pgkeep.wal.ahead.acks import Acks, Refusal

# Seconds. PostgreSQL counts the next try as a failure, and its shutdown waits for the command.
PATIENCE: Final = 5.0
_GLANCE: Final = 0.002  # seconds


class NotYetArchived(PgkeepError):
    """The pusher has not archived a file yet; PostgreSQL keeps it and asks again."""

    code = "wal-not-yet-archived"
    exit_status = 107

    file: str
    seconds: float
    waiting: int  # files that PostgreSQL wants archived, with this one
    trouble: str = ""  # what failed last, of another file

    def __str__(self) -> str:
        failed = f"; what failed last: {self.trouble}" if self.trouble else ""
        return (
            f"cannot say yet that {self.file} is archived: the pusher, with {self.waiting} files "
            f"to push, did not come to an end with it within {self.seconds:g} seconds{failed}"
        )

    @property
    def hint(self) -> str:
        return "nothing is lost; if it stays so, the store is slower than WAL comes: pgkeep check"


def ask(
    acks: Acks, file: str, start: Callable[[int], object], patience: float = PATIENCE
) -> Refusal | bool:
    """Return True once `file` is acknowledged, or why not; False if nobody is there to ask.

    Then the caller must archive it itself. `start` gets the lock and starts a pusher, if there is
    enough to do for one. Raise NotYetArchived.
    """
    try:
        return _ask(acks, file, start, patience)
    except OSError:
        return False  # no room or no right for acknowledgements: what is wanted is the archive


def _ask(acks: Acks, file: str, start: Callable[[int], object], patience: float) -> Refusal | bool:
    if acks.has(file):
        return True
    if not acks.wants(file):
        return False  # somebody archives it by hand
    acks.prepare()
    lock = acks.lock()
    if lock is not None:
        try:
            # A file at a time is archived faster than a pusher starts; but losses need one.
            if len(acks.ready()) < 2 and not acks.has_losses():
                return False
            acks.ask(file)
            start(lock)
        finally:
            os.close(lock)
    else:
        acks.ask(file)
    return _wait(acks, file, time.monotonic() + patience, patience)


def _wait(acks: Acks, file: str, until: float, patience: float) -> Refusal | bool:
    while True:
        alone = _is_free(acks)  # asked first: it may have answered as the last thing it did
        if acks.has(file):
            return True
        refusal = acks.refusal(file)
        if refusal is not None:
            return refusal
        if alone:
            return False
        if time.monotonic() >= until:
            if not acks.is_heard(file):
                return False  # it hangs, and must not keep WAL from being archived
            trouble = acks.last_refusal()
            said = "" if trouble is None else trouble.message
            raise NotYetArchived(file, patience, len(acks.ready()), said)
        time.sleep(_GLANCE)


def _is_free(acks: Acks) -> bool:
    """Tell whether no pusher works."""
    lock = acks.lock()
    if lock is None:
        return False
    os.close(lock)
    return True
