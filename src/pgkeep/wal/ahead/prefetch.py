"""Fetch the next segments before recovery asks for them, several at once, in a process of its own.

It outlives the command that started it, keeps the spool filled while recovery takes from it, and
ends by itself. Whatever goes wrong, it ends without a word: recovery then fetches that segment
itself, and says what there is to say. A segment that it doesn't find is no end of WAL.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, Final
from pgkeep.model.segment import Segment
from pgkeep.repository.wal_archive import WalArchive
from pgkeep.wal.ahead import detach
from pgkeep.wal.ahead.spool import Spool
from pgkeep.wal.fetch import segment_blocks

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pgkeep.wal.main import Call

AHEAD: Final = 8  # segments: a second of replay, at the speed of a fast disk
AHEAD_BYTES: Final = 256 << 20  # fewer of them where segments are large
# At once. From a store that takes 50 ms for each of a segment's three or four requests these are
# 20 segments a second, more than a server replays; each holds 8 MiB of a segment.
WORKERS: Final = 4
ROOM: Final = 1 << 30  # bytes that stay free on the data directory's disk
IDLE_S: Final = 5.0  # then recovery has paused or ended; the next fetch starts another one
_GLANCE_S: Final = 0.01


def prefetch(call: "Call", generation: str, spool: Spool, size: int) -> None:
    """Start a process that fetches what follows `call`'s segment, unless one works. Never fails."""
    if min(AHEAD, AHEAD_BYTES // size) == 0 or detach.adopted_by_postgresql():
        return
    name, destination = call.operands
    words = [*detach.origin(call._replace(generation=generation)), f"--spool={call.spool}"]
    words += ["fetch-ahead", "--", name, os.path.abspath(destination), str(size)]
    try:
        lock = spool.lock()
        if lock is not None:
            detach.start(words, lock)
            os.close(lock)
    except OSError:
        pass  # the segment that was asked for is in place: nothing else matters


def fetch_ahead(call: "Call") -> None:
    """Be the process that prefetch() starts. Raise OSError and the store's errors."""
    from pgkeep.wal.place import to_read

    name, destination, size = call.operands
    done = Segment.parse(name, int(size))
    archives = []
    for candidate in to_read(call).each:
        with suppress(PgkeepError):  # another may have all that is needed
            archives.append(candidate().cluster.wal(call.generation or ""))
    spool = Spool(destination, call.spool)
    detach.leave_folder()
    fill(archives, spool, done, min(AHEAD, AHEAD_BYTES // done.size), call.lock)


def fill(
    archives: Sequence[WalArchive], spool: Spool, done: Segment, ahead: int, lock: int
) -> None:
    """Keep the segments after `done` ready until nobody takes any, or the spool is removed.

    Each comes from the first of `archives` that has it intact.

    Raise OSError and the store's errors.
    """
    try:
        _Filling(archives, spool, done, ahead).run(lock)
    finally:
        if spool.is_gone(lock):
            spool.remove()  # what was put there while the server removed it


class _Filling:
    """The segments that lie ready or are on their way."""

    def __init__(
        self, archives: Sequence[WalArchive], spool: Spool, done: Segment, ahead: int
    ) -> None:
        self._archives = archives
        self._spool = spool
        self._following = _after(done)
        self._ahead = ahead
        self._made: list[str] = []
        self._coming: dict[str, Future[None]] = {}

    def run(self, lock: int) -> None:
        from concurrent.futures import ThreadPoolExecutor, wait

        self._spool.keep_only([])  # what is there is not ours, or of a process that died
        patience = time.monotonic() + IDLE_S
        with ThreadPoolExecutor(WORKERS, "fetch") as workers:
            while not self._spool.is_gone(lock) and time.monotonic() < patience:
                if self._notice_taken():
                    patience = time.monotonic() + IDLE_S
                while self._has_room():
                    name = self._following.name
                    self._coming[name] = workers.submit(self._fetch, name)
                    self._following = _after(self._following)
                if not (self._coming or self._made):
                    return  # no room on the disk
                wait(self._coming.values(), _GLANCE_S) if self._coming else time.sleep(_GLANCE_S)
                self._collect()

    def _has_room(self) -> bool:
        if len(self._coming) >= WORKERS or len(self._made) + len(self._coming) >= self._ahead:
            return False
        needed = (len(self._coming) + 1) * self._following.size
        return self._spool.free_space() >= ROOM + needed

    def _fetch(self, name: str) -> None:
        """Fetch from the first archive that has it intact."""
        failed: PgkeepError | None = None
        for archive in self._archives:
            try:
                return self._spool.put(name, segment_blocks(archive, name))
            except PgkeepError as error:
                failed = failed or error
        raise failed or FileNotFoundError(name)

    def _notice_taken(self) -> bool:
        """Forget what recovery took, and what it has passed."""
        ready = self._spool.ready()
        taken = [name for name in self._made if name not in ready]
        if taken:
            # WAL is read in order: what lies before the last one taken was fetched another way.
            self._made = [name for name in self._made if name > taken[-1]]
            self._spool.keep_only(self._made, self._coming)
        return bool(taken)

    def _collect(self) -> None:
        """Note what has come. Raise the error of the first segment that hasn't."""
        for name in [name for name, future in self._coming.items() if future.done()]:
            error = self._coming[name].exception()
            if error is not None:
                self._end_before(name)
                raise error
            del self._coming[name]
            self._made = sorted([*self._made, name])

    def _end_before(self, name: str) -> None:
        """Keep what comes before a segment that can't be had: recovery will end or stop there."""
        from concurrent.futures import wait

        wait(self._coming.values())
        before = [n for n, f in self._coming.items() if n < name and f.exception() is None]
        with suppress(OSError):
            self._spool.keep_only([*(n for n in self._made if n < name), *before])


def _after(segment: Segment) -> Segment:
    return segment._replace(number=segment.number + 1)
