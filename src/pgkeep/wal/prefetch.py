"""Fetch the next segments before recovery asks for them, in a process of its own.

It outlives the command that started it, keeps the spool filled while recovery takes from it, and
ends by itself. Whatever goes wrong, it ends without a word: recovery then fetches that segment
itself, and says what there is to say.
"""

import os
import time
from contextlib import suppress

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final
from pgkeep.model.segment import Segment
from pgkeep.repository.wal_archive import WalArchive
from pgkeep.wal.fetch import segment_blocks
from pgkeep.wal.spool import Spool

AHEAD: Final = 8  # segments: a second of replay, at the speed of a fast disk
AHEAD_BYTES: Final = 256 << 20  # fewer of them where segments are large
ROOM: Final = 1 << 30  # bytes that stay free on the data directory's disk
IDLE_S: Final = 5.0  # then recovery has paused or ended; the next fetch starts another one
_GLANCE_S: Final = 0.01
_NICENESS: Final = 5  # behind the server, which has the use of what is fetched
_POSTGRESQL: Final = (b"postgres\n", b"postmaster\n")


def prefetch(archive: WalArchive, spool: Spool, segment: str, size: int) -> None:
    """Start a process that fetches what follows `segment`, unless one is at work. Never fails."""
    ahead = min(AHEAD, AHEAD_BYTES // size)
    if ahead == 0 or _adopted_by_postgresql():
        return
    try:
        lock = spool.lock()
        if lock is not None:
            _detached(archive, spool, Segment.parse(segment, size), ahead, lock)
            os.close(lock)
    except (OSError, PgkeepError):
        pass  # the segment that was asked for is in place: nothing else matters


def fill(archive: WalArchive, spool: Spool, done: Segment, ahead: int, lock: int) -> None:
    """Keep the segments after `done` ready until nobody takes any, or the spool is removed.

    Raise OSError and the store's errors.
    """
    try:
        _fill(archive, spool, done, ahead, lock)
    finally:
        if spool.is_gone(lock):
            spool.remove()  # what was put there while the server removed it


def _fill(archive: WalArchive, spool: Spool, done: Segment, ahead: int, lock: int) -> None:
    spool.keep_only([])  # what is there is not ours, or of a process that died
    following = _after(done)
    made: list[str] = []
    patience = time.monotonic() + IDLE_S
    while not spool.is_gone(lock) and time.monotonic() < patience:
        ready = spool.ready()
        taken = [name for name in made if name not in ready]
        if taken:
            patience = time.monotonic() + IDLE_S
            # WAL is read in order: what lies before the last one taken was fetched another way.
            made = [name for name in made if name > taken[-1]]
            spool.keep_only(made)
        if len(made) >= ahead:
            time.sleep(_GLANCE_S)
            continue
        if spool.free_space() < ROOM + following.size:
            return
        spool.put(following.name, segment_blocks(archive, following.name))
        made.append(following.name)
        following = _after(following)


def _after(segment: Segment) -> Segment:
    return segment._replace(number=segment.number + 1)


def _detached(archive: WalArchive, spool: Spool, done: Segment, ahead: int, lock: int) -> None:
    """Run fill() in a process that neither PostgreSQL nor a terminal waits for."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()  # PostgreSQL signals its children's groups when it shuts down
        if os.fork() == 0:
            _let_go(lock)
            fill(archive, spool, done, ahead, lock)
    finally:
        os._exit(0)  # whatever happened: this copy of the command must not go on


def _let_go(lock: int) -> None:
    """Keep nothing that others wait for: the server's log, a directory, the processor."""
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (*range(3), lock):
            with suppress(OSError):  # the listing's own
                os.close(int(name))
    os.nice(_NICENESS)


def _adopted_by_postgresql() -> bool:
    """Tell whether orphans become the postmaster's children, as in a container without an init.

    It takes a child of its own that was killed for a crash, and ends every session
    (postmaster.c: CleanupBackend).
    """
    try:
        with open("/proc/1/comm", "rb") as file:
            return file.read(16) in _POSTGRESQL
    except OSError:
        return False
