"""The processes that read. They die with their owner; the owner only gathers what they found.

Memory, in MiB: 60 for the owner, the fork server and what all share; for each worker 45: 30 of its
own, a window of 8 and what a chunk takes on its way. For the owner of large repositories besides,
at the bytes level, 32 bytes a chunk (a TiB has a million of them) and one manifest at a time, of
40 bytes a chunk and 200 a file. Measured with two workers: 107 in all on 2 GB, of which 342 MiB
were stored; 300 for the owner beside a manifest of 2 million chunks.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key
from pgkeep.verify.content import Checker, PackCheck, PackFound, WalCheck, WalFound
from pgkeep.verify.plan import Manner
from pgkeep.workers.pool import enough_workers, light_main, make_pool
from pgkeep.workers.throttle import SharedRate, step_back

_TICK_S: Final = 0.2  # how often the owner looks after its other duties while workers read

Check = PackCheck | WalCheck
Found = PackFound | WalFound


class VerifyAborted(PgkeepError):
    """A verify came to no end, and so proves nothing. Nothing was recorded."""

    code = "verify-aborted"
    exit_status = 232

    why: str
    advice: str

    def __str__(self) -> str:
        return f"cannot verify, nothing was proven and nothing recorded: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class Source(NamedTuple):
    """All that a worker needs to read a cluster's objects. Holds the key: never shown or logged."""

    url: str
    repository_id: str
    key: Key | None
    cluster: str

    @classmethod
    def of(cls, cluster: ClusterFolder) -> "Source":
        repository = cluster.repository
        return cls(repository.store.address, repository.id, repository.key, cluster.name)

    def open(self) -> ClusterFolder:
        return Repository(open_metered(self.url), self.repository_id, self.key).cluster(
            self.cluster
        )


def carry_out(
    tasks: Iterable[list[Check]], cluster: ClusterFolder, manner: Manner, tick: Callable[[], None]
) -> Iterator[Found]:
    """Yield what the tasks find, as it comes; `tick` is called often meanwhile.

    Raise VerifyAborted, or what the store raises.
    """
    if manner.inline:
        checker = Checker(cluster, SharedRate(manner.rate).take)
        for task in tasks:
            for check in task:
                yield _look(checker, check)
                tick()
        return
    stop = multiprocessing.get_context("forkserver").RawValue("b", 0)
    setup = _Setup(Source.of(cluster), SharedRate(manner.rate), manner, stop)
    pool = make_pool(manner.jobs, _begin, (setup,), preload=[__name__])
    remaining, running = iter(tasks), set[Future[list[Found]]]()
    try:
        while True:
            # few tasks wait, so that their tables don't fill the memory
            with enough_workers(manner.jobs, VerifyAborted), light_main():
                while len(running) < 2 * manner.jobs and (task := next(remaining, [])):
                    running.add(pool.submit(_carry_out, task))
            if not running:
                break
            done, running = wait(running, _TICK_S, FIRST_COMPLETED)
            tick()
            for future in done:
                yield from future.result()
    except BrokenProcessPool as error:
        why = "a worker process was killed, perhaps because memory ran out"
        advice = "look into dmesg, then run it again with --jobs 1"
        raise VerifyAborted(why, advice) from error
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)


def _look(checker: Checker, check: Check) -> Found:
    if isinstance(check, PackCheck):
        return checker.pack(check)
    return checker.wal(check)


class _Setup(NamedTuple):
    """What a worker is given when it begins."""

    source: Source
    rate: SharedRate
    manner: Manner
    stop: Any  # 1: the owner has given up, nobody waits for his turn any more


_setup: Final[list[_Setup]] = []  # of a worker process, set at its beginning
_checkers: Final[list[Checker]] = []  # made by the first task: there an error finds its way home


def _begin(setup: _Setup) -> None:
    step_back(setup.manner.nice, setup.manner.ionice)
    _setup.append(setup)


def _carry_out(task: list[Check]) -> list[Found]:
    setup = _setup[0]
    if not _checkers:

        def take(count: int) -> None:
            setup.rate.take(count, lambda: bool(setup.stop.value))

        _checkers.append(Checker(setup.source.open(), take))
    return [_look(_checkers[0], check) for check in task if not setup.stop.value]
