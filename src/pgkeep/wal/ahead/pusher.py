"""The pusher: archives what PostgreSQL has ready, several files at once, and acknowledges each.

One at a time per server: who holds the lock. It may die anywhere: a file that was stored and not
acknowledged is offered again, found to be there already, and acknowledged then.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.segment import BadSegmentName
from pgkeep.model.timeline import BadHistory
from pgkeep.postgres.wal_header import NotWal, WrongSegment, WrongWalSize
from pgkeep.repository.marker import NotARepository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.wal_archive import WalChanged, WalConflict
from pgkeep.wal.ahead.acks import Acks, Refusal
from pgkeep.wal.ahead.chain import Chain
from pgkeep.wal.ahead.plan import (
    Setback,
    Setbacks,
    choose,
    choose_to_spread,
    in_order_of_need,
    set_back,
)
from pgkeep.wal.push import PushUnreadable

IDLE_S: Final = 30.0  # then the next push that finds a backlog starts another one
LAST_S: Final = 10.0  # for what is under way when the server has ended
_GLANCE_S: Final = 0.005  # between two looks whether anything has changed
_RECHECK_S: Final = 1.0  # between two looks at what changes without a sign
_TICK_NS: Final = 20_000_000  # a folder may change twice within one tick of its file system's clock
# About the one file; after all other failures the store, or the whole set-up, is the suspect.
_OF_A_FILE: Final = (
    BadHistory,
    BadSegmentName,
    Damaged,
    NotWal,
    PushUnreadable,
    WalChanged,
    WalConflict,
    WrongSegment,
    WrongWalSize,
)
# Only these are a reason to give WAL up: who archives to a wrong place, or with a wrong key, can
# mend that at once.
_AWAY: Final = (StoreFailed, NotARepository)
_LOOKS: Final = 10  # at least so many times as long as a look at a long backlog took is not looked


class Pusher:
    """Archives `acks.pg_wal`'s files by `push`, which returns once the file it names is safe.

    `spread` brings a file to the repositories that work, while another one fails that must have it
    too: it is not acknowledged then, but it is in safety.

    The seam for a service: run() in a thread, with `goes_on` for a stop of its own.
    """

    def __init__(
        self,
        acks: Acks,
        push: Callable[[str], object],
        *,
        jobs: int,
        chain: Chain | None = None,
        spread: Callable[[str], None] | None = None,
    ) -> None:
        self._acks = acks
        self._push = push
        self._jobs = jobs
        self._chain = chain
        self._spread = spread
        self._spreading: set[str] = set()  # of `_busy`
        self._reached: set[str] = set()  # what is wherever it can be, until all work again
        self._trouble = ""
        self._given_up: set[str] = set()
        self._busy: dict[str, Future[None]] = {}
        self._failing: dict[str, Setback] = {}
        self._store: Setback | None = None
        self._needed: list[str] = []
        self._changes = (0, 0)
        self._next_look = 0.0

    def run(self, goes_on: Callable[[], bool], idle: float = IDLE_S) -> None:
        """Work until `goes_on` says no, or nothing was to be done for `idle` seconds.

        Raise OSError when the server's folders cannot be read or written.
        """
        workers = ThreadPoolExecutor(self._jobs, "push")
        try:
            self._work(workers, goes_on, idle)
            wait(self._busy.values(), LAST_S)
            self._collect()
        finally:
            workers.shutdown(wait=False, cancel_futures=True)  # a store may hang

    def _work(self, workers: ThreadPoolExecutor, goes_on: Callable[[], bool], idle: float) -> None:
        patience = time.monotonic() + idle
        recheck = 0.0
        while time.monotonic() < patience:
            if time.monotonic() >= recheck:
                if not goes_on():
                    return
                recheck = time.monotonic() + _RECHECK_S
                self._changes = (0, 0)  # not every file system tells of changes as it should
                if self._chain is not None and self._store is None:
                    self._chain.mend(time.monotonic())
            self._look()
            self._start(workers)
            mending = self._chain is not None and self._chain.is_mending
            if self._busy or self._needed or mending:
                patience = time.monotonic() + idle
            if self._busy:
                wait(self._busy.values(), _GLANCE_S, FIRST_COMPLETED)
            else:
                time.sleep(_GLANCE_S)
            self._collect()

    def _look(self) -> None:
        """Find out what is to be done, when there is a sign that it is something else."""
        now = time.monotonic()
        if now < self._next_look:
            return
        changes = self._acks.changes()
        if changes == self._changes:
            return
        fresh = time.time_ns() - max(changes) < _TICK_NS
        self._changes = (0, 0) if fresh else changes
        ready = frozenset(self._acks.ready())
        asked = self._acks.asked()
        acknowledged = self._acks.keep_only(ready)
        # PostgreSQL may be letting go of it: from now on it must not be read.
        self._given_up = {file for file in self._given_up if file in ready and file not in asked}
        self._needed = in_order_of_need(ready - acknowledged - self._given_up)
        for file in asked:
            self._ask(file, now)
        self._failing = {f: setback for f, setback in self._failing.items() if f in ready}
        self._reached &= ready
        # Long backlogs change with every file that is done, and take their time to look through.
        self._next_look = now + _LOOKS * (time.monotonic() - now)

    def _ask(self, file: str, now: float) -> None:
        """Somebody waits: PostgreSQL, which paces itself, or a person who has mended something."""
        given_up = False
        if self._store is not None and self._chain is not None and self._trouble:
            given_up = self._chain.give_up(file, self._needed, self._busy, self._trouble)
        if given_up:
            self._given_up.add(file)
            self._needed.remove(file)
            return
        self._failing.pop(file, None)
        if self._store is not None:
            self._store = self._store._replace(not_before=now)

    def _start(self, workers: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        setbacks = Setbacks(self._failing, self._store)
        needed = [file for file in self._needed if file not in self._spreading]
        busy = self._busy.keys() - self._spreading
        for file in choose(needed, busy, setbacks, now, self._jobs):
            self._busy[file] = workers.submit(self._archive, file)
        if self._store is not None and self._spread is not None:
            reached = self._reached
            for file in choose_to_spread(self._needed, self._busy, reached, self._jobs):
                self._spreading.add(file)
                self._busy[file] = workers.submit(self._spread, self._acks.path(file))

    def _archive(self, file: str) -> None:
        path = self._acks.path(file)
        try:
            seen = os.stat(path)
        except OSError as error:
            raise PushUnreadable(path, error.strerror or str(error)) from error
        self._push(path)
        # Only now: an acknowledgement says that the file is durably in the repository.
        if not self._acks.add(file, seen):
            raise WalChanged(file)

    def _collect(self) -> None:
        for file in [file for file, future in self._busy.items() if future.done()]:
            error = self._busy.pop(file).exception()
            if file in self._spreading:
                # What is wrong with a file is told when it is pushed everywhere.
                self._spreading.remove(file)
                self._reached.add(file)
                _demand_ours(error)
            elif error is None:
                self._store = None
                self._reached.clear()
                self._failing.pop(file, None)
                self._needed = [other for other in self._needed if other != file]
            elif self._acks.wants(file):
                self._failed(file, error)
            else:  # archived by another, and gone
                self._needed = [other for other in self._needed if other != file]

    def _failed(self, file: str, error: BaseException) -> None:
        _demand_ours(error)
        assert isinstance(error, PgkeepError)
        now = time.monotonic()
        if isinstance(error, _OF_A_FILE):
            self._failing[file] = set_back(self._failing.get(file), now, _chance())
        else:
            self._store = set_back(self._store, now, _chance())
            self._trouble = str(error) if isinstance(error, _AWAY) else ""
            self._reached.add(file)
        self._acks.refuse(file, Refusal(error.exit_status, str(error), error.hint))


def _demand_ours(error: BaseException | None) -> None:
    """Raise an error that is none of ours: a mistake in the program."""
    if error is not None and not isinstance(error, PgkeepError):
        raise error


def _chance() -> float:
    return os.urandom(1)[0] / 255
