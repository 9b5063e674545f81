"""The processes that copy. They die with their owner, stop when told, and say how far they are.

Memory, in MiB: 60 for the owner, the fork server and what all share; 0.3 for each thousand files
and 0.1 for each GiB of the cluster; and for each worker at most 110: 30 of its own, the buffer of
4, a pack of up to 33 being filled and another being written. Measured with two workers: 166 on
2.6 GB, 330 on 5 GB of which a sixth does not compress, with 300,000 small files.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, NamedTuple, Protocol, Self

from pgkeep.backup.copying.copy import Copier, CopierSetup
from pgkeep.backup.copying.work import Copied, Work
from pgkeep.backup.source import BackupAborted
from pgkeep.workers.pool import enough_workers, light_main, make_pool
from pgkeep.workers.throttle import step_back

_TICK_S: Final = 0.2  # how often the owner looks after its other duties while workers copy
_POLL_S: Final = 0.002  # how often a worker looks whether the others have settled
_GRACE_S: Final = 5.0  # for workers to notice that they should stop, before they are killed


class Workers(Protocol):
    """Whoever copies."""

    def copy(self, works: Iterable[Work], tick: Callable[[int], None]) -> Iterator[Copied]:
        """Yield the results as they come, calling `tick` often with the bytes read so far.

        Packs that results name are durable when there are no more results.
        """
        ...


class InlineWorkers:
    """Copies in the caller's own process: for tests, and where there is nothing to gain."""

    def __init__(self, copier: Copier) -> None:
        self._copier = copier
        self._read = 0

    def copy(self, works: Iterable[Work], tick: Callable[[int], None]) -> Iterator[Copied]:
        for work in works:
            yield self._copier.copy(work, self._advance, lambda: False)
            tick(self._read)
        self._copier.settle()

    def _advance(self, count: int) -> None:
        self._read += count


class _Shared(NamedTuple):
    """What owner and workers tell each other without sending anything."""

    stop: Any  # 1: give up
    taken: Any  # how many workers have a seat
    pids: Any  # by seat
    read: Any  # bytes, by seat: each worker writes only its own
    owing: Any  # by seat: 1 while what it has stored may not be durable


class ProcessWorkers:
    """`jobs` processes. Use as a context manager; leaving it ends them, whatever they are doing."""

    def __init__(self, setup: CopierSetup, jobs: int) -> None:
        self._jobs = jobs
        shared = multiprocessing.get_context("forkserver")
        self._shared = _Shared(
            stop=shared.RawValue("b", 0),
            taken=shared.Value("i", 0),
            pids=shared.RawArray("q", jobs),
            read=shared.RawArray("Q", jobs),
            owing=shared.RawArray("b", jobs),
        )
        self._pool = make_pool(jobs, _begin, (self._shared, setup), preload=[__name__])

    def __enter__(self) -> Self:
        try:
            with light_main(), enough_workers(self._jobs, BackupAborted):
                for _ in range(self._jobs):
                    self._pool.submit(_ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._shared.stop.value = 1
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and any(map(_alive, self._shared.pids)):
            time.sleep(0.01)
        for pid in filter(_alive, self._shared.pids):  # stuck in the store or on a dead disk
            os.kill(pid, signal.SIGKILL)

    def copy(self, works: Iterable[Work], tick: Callable[[int], None]) -> Iterator[Copied]:
        """Yield the results as they come. Raise BackupAborted when a worker is killed."""
        remaining = iter(works)
        running: set[Future[Copied]] = set()
        try:
            while True:
                # few tasks wait, so that their lists of files don't fill the memory
                with enough_workers(self._jobs, BackupAborted):
                    while len(running) < 2 * self._jobs and (work := next(remaining, None)):
                        running.add(self._pool.submit(_copy, work))
                if not running:
                    break
                done, running = wait(running, _TICK_S, FIRST_COMPLETED)
                tick(sum(self._shared.read))
                for future in done:
                    yield future.result()
            self._settle(tick)
        except BrokenProcessPool as error:
            why = "a worker process was killed, perhaps because memory ran out"
            raise BackupAborted(why, "look into dmesg, then run it again with --jobs 1") from error

    def _settle(self, tick: Callable[[int], None]) -> None:
        """Return when what all workers have stored is durable. Raise what the store raised."""
        with light_main(), enough_workers(self._jobs, BackupAborted):
            # One call for each process there can be. None takes a second one before all are done.
            settling = {self._pool.submit(_settle) for _ in range(self._jobs)}
        while settling:
            done, settling = wait(settling, _TICK_S, FIRST_COMPLETED)
            tick(sum(self._shared.read))
            for future in done:
                future.result()


def _alive(pid: int) -> bool:
    if not pid:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


class _Worker(NamedTuple):
    """What a worker process knows of itself."""

    shared: _Shared
    setup: CopierSetup
    seat: int


_self: list[_Worker | Copier] = []  # filled once, by _begin; the Copier by the first task


def _begin(shared: _Shared, setup: CopierSetup) -> None:
    """Take a seat."""
    with shared.taken.get_lock():
        seat = shared.taken.value
        shared.taken.value += 1
    shared.pids[seat] = os.getpid()
    step_back(setup.nice, setup.ionice)
    _self.append(_Worker(shared, setup, seat))


def _ready() -> None:
    """Do nothing: the process is up."""


def _copy(work: Work) -> Copied:
    worker = _self[0]
    assert isinstance(worker, _Worker)
    if len(_self) == 1:
        _self.append(worker.setup.open())  # here, where an error finds its way to the owner
    copier = _self[1]
    assert isinstance(copier, Copier)
    shared, seat = worker.shared, worker.seat
    shared.owing[seat] = 1

    def advance(count: int) -> None:
        shared.read[seat] += count

    return copier.copy(work, advance, lambda: bool(shared.stop.value))


def _settle() -> None:
    """Settle what this worker owes, and stay until no other one owes anything."""
    worker = _self[0]
    assert isinstance(worker, _Worker)
    shared = worker.shared
    try:
        if len(_self) > 1:
            copier = _self[1]
            assert isinstance(copier, Copier)
            copier.settle()
    finally:
        shared.owing[worker.seat] = 0
    while any(shared.owing) and not shared.stop.value:
        time.sleep(_POLL_S)
