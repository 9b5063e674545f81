"""The worker processes of backup, restore and verify: how they begin, and that they end with us.

Processes, not threads: numpy's small kernels and AES-GCM hold the GIL (docs/architecture.md). They
come from a fork server, because forking a process that has threads is not safe; what `preload`
names is imported there once and shared by all workers' memory.
"""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Final

from pgkeep.workers import counting

_TOO_MANY: Final = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)  # files, or processes


def make_pool(
    jobs: int,
    initializer: Callable[..., None],
    initargs: tuple[Any, ...] = (),
    preload: Sequence[str] = (),
) -> ProcessPoolExecutor:
    """Return a pool of `jobs` workers, each of which has run `initializer(*initargs)`.

    A worker that dies makes every waiting future raise BrokenProcessPool. Use it in a `with` and
    cancel what waits when something fails: leaving the block waits for what runs.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pgkeep.workers.pool", *preload])
    given = (counting.share(jobs), initializer, initargs)
    return ProcessPoolExecutor(jobs, context, _begin, given)


@contextmanager
def enough_workers(jobs: int, kind: Callable[[str, str], Exception]) -> Iterator[None]:
    """Raise `kind(why, advice)` where the system has no files or processes left for workers.

    Put it around everything that submits work to a pool: processes begin there.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _TOO_MANY:
            raise
        why = f"{jobs} worker processes could not be started: {(error.strerror or '').lower()}"
        advice = "raise the limit (ulimit -n, ulimit -u), or give fewer --jobs"
        raise kind(why, advice) from error


@contextmanager
def light_main() -> Iterator[None]:
    """Keep processes that begin now from importing our __main__: the whole command line.

    Processes begin when work is submitted and none is idle: submit within this.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def default_jobs() -> int:
    """Return one worker per core that this process may use."""
    return len(os.sched_getaffinity(0))


def die_with_parent() -> None:
    """End this worker when the process that wants its work is gone: no orphan goes on writing.

    The kernel's PR_SET_PDEATHSIG would not do: a worker's parent is the fork server, and that
    lives as long as its workers do.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _begin(
    share: counting.Share, initializer: Callable[..., None], initargs: tuple[Any, ...]
) -> None:
    die_with_parent()
    counting.sit(share)
    # Ctrl-C reaches the whole process group; the main process decides what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    initializer(*initargs)
