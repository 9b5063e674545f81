"""Threads that send. Sending waits for networks and disks, so processes would gain nothing.

Memory: each thread holds one object, 33 MiB for nearly every pack, 64 MiB at most (held.py), and
what one chunk or block inflates to; the store may hold as much again while it sends.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final

from pgkeep.replicate.plan import Send
from pgkeep.replicate.send import Sent

_TICK_S: Final = 0.2  # how often the owner looks after its locks while threads send


class Threads:
    """A pool for a whole copy. Leaving the `with` block waits for what is on its way."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self.stopped = threading.Event()  # set when nobody wants to wait for a turn any more
        self._pool = ThreadPoolExecutor(jobs, "copy") if jobs > 1 else None

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def carry_out(
        self, sends: Iterable[Send], work: Callable[[Send], Sent], tick: Callable[[], None]
    ) -> Iterator[Sent]:
        """Yield what becomes of each, as it ends; raise the first thing that `work` raises."""
        if self._pool is None:
            for send in sends:
                yield work(send)
                tick()
            return
        remaining, running = iter(sends), set[Future[Sent]]()
        while True:
            for send in islice(remaining, 2 * self._jobs - len(running)):
                running.add(self._pool.submit(work, send))
            if not running:
                return
            done, running = wait(running, _TICK_S, FIRST_COMPLETED)
            tick()
            for future in done:
                yield future.result()
