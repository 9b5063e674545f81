"""The processes that store what pg_dump writes: they live as long as the whole dump.

Each fills packs of its own over all files and databases. A task is sent to whoever is idle, so no
queue is in between that could hide that somebody died. Its answer comes when the parts are read and
cut; then others can go on with their files, while the worker seals what it read.
"""

import multiprocessing
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from pgkeep.errors import PgkeepError
from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import Taken, Task
from pgkeep.logical.capture.storing import Storer, StorerSetup
from pgkeep.repository.manifest.builder import StoredChunks
from pgkeep.workers import counting
from pgkeep.workers.pool import die_with_parent, enough_workers, light_main
from pgkeep.workers.throttle import step_back

_GRACE_S: Final = 5.0  # for workers to come to the end of a task, before they are killed
_TICK_S: Final = 0.5  # how often the owner looks after its other duties meanwhile

Answer = tuple[Task, list[Taken]]  # one for each part


class Workers(Protocol):
    """Whoever stores."""

    def free(self) -> bool:
        """Tell whether a task can be given now."""
        ...

    def busy(self) -> bool:
        """Tell whether anybody has something to do."""
        ...

    def give(self, task: Task, directory: Path) -> None: ...

    def answers(self) -> Iterator[Answer]:
        """Yield the answers that are there. Raise what a worker raised."""
        ...

    def waitable(self) -> Sequence[int] | None:
        """Return what is readable when there is an answer; None when there is one already."""
        ...


class InlineWorker:
    """Stores in the caller's own process: for small dumps. Meanwhile nobody looks at pg_dump."""

    def __init__(self, storer: Storer) -> None:
        self._storer = storer
        self._answers: list[Answer] = []

    def free(self) -> bool:
        return not self._answers

    def busy(self) -> bool:
        return bool(self._answers)

    def give(self, task: Task, directory: Path) -> None:
        self._answers.append((task, self._storer.read(task, directory)))
        self._storer.seal()

    def answers(self) -> Iterator[Answer]:
        while self._answers:
            yield self._answers.pop()

    def waitable(self) -> Sequence[int] | None:
        return None if self._answers else ()


class _Worker:
    """One process, as its owner knows it."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.task: Task = ()  # that is not answered
        self.busy = False

    def send(self, order: "Task | _Order", directory: Path | None = None) -> None:
        try:
            self.pipe.send((order, directory))
        except OSError as error:
            raise _died() from error

    def receive(self) -> Any:
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise _died() from error
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Order(NamedTuple):
    """What is asked of a worker beside its tasks."""

    finish: bool


class ProcessWorkers:
    """`jobs` processes. Call `end` whatever happens."""

    def __init__(self, setup: StorerSetup, jobs: int, *, nice: int, ionice: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pgkeep.workers.pool", __name__])
        self._workers: list[_Worker] = []
        self._ready = select.poll()
        share = counting.share(jobs)
        try:
            with light_main(), enough_workers(jobs, CaptureAborted):
                for _ in range(jobs):
                    ours, theirs = context.Pipe()
                    arguments = (theirs, setup, nice, ionice, share)
                    process = context.Process(target=_serve, args=arguments, daemon=True)
                    self._workers.append(_Worker(process, ours))
                    self._ready.register(ours, select.POLLIN)
                    process.start()
                    theirs.close()  # else its end would never be noticed
        except BaseException:
            self.end()
            raise

    def free(self) -> bool:
        return not all(worker.busy for worker in self._workers)

    def busy(self) -> bool:
        return any(worker.busy for worker in self._workers)

    def give(self, task: Task, directory: Path) -> None:
        worker = next(worker for worker in self._workers if not worker.busy)
        worker.send(task, directory)
        worker.task, worker.busy = task, True

    def answers(self) -> Iterator[Answer]:
        # Also from those that are idle: they say nothing unless they died.
        for file, _ in self._ready.poll(0):
            worker = next(worker for worker in self._workers if worker.pipe.fileno() == file)
            taken: list[Taken] | None = worker.receive()
            if taken is None:
                worker.busy = False
            else:
                yield worker.task, taken

    def waitable(self) -> Sequence[int]:
        return [worker.pipe.fileno() for worker in self._workers]

    def finish(self, beat: Callable[[], None]) -> list[StoredChunks]:
        """Return what all of them stored, when it is durable."""
        for worker in self._workers:
            worker.send(_Order(finish=True))
        stored: list[StoredChunks] = []
        for worker in self._workers:
            answer = None
            while answer is None:  # to the last task, which is sealed now
                while not worker.pipe.poll(_TICK_S):
                    beat()
                answer = worker.receive()
            stored += answer
        return stored

    def end(self) -> None:
        """End all of them, whatever they are doing."""
        for worker in self._workers:
            worker.pipe.close()  # they see the end of it when they ask for more
        begun = [worker.process for worker in self._workers if worker.process.pid is not None]
        deadline = time.monotonic() + _GRACE_S
        for process in begun:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:  # stuck in the store
                process.kill()
                process.join()
        self._workers.clear()


def _died() -> CaptureAborted:
    why = "a worker process was killed, perhaps because memory ran out"
    return CaptureAborted(why, "look into dmesg, then run it again with --jobs 1")


def _serve(
    pipe: Connection, setup: StorerSetup, nice: int, ionice: str, share: counting.Share
) -> None:
    """Do what is asked until nobody asks any more."""
    die_with_parent()
    counting.sit(share)
    # Ctrl-C reaches the whole process group; the owner decides what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        step_back(nice, ionice)
        storer = setup.open()
        while True:
            order, directory = pipe.recv()
            if isinstance(order, _Order):
                pipe.send(storer.finish())
            else:
                pipe.send(storer.read(order, directory))
                storer.seal()
                pipe.send(None)
    except EOFError:
        return
    except Exception as error:  # an error reaches the owner, and it alone says what becomes of it
        if not isinstance(error, PgkeepError):
            error.add_note(traceback.format_exc())
        _send_error(pipe, error)


def _send_error(pipe: Connection, error: Exception) -> None:
    try:
        pipe.send(error)
    except OSError:
        return  # nobody wants to know
    except Exception:  # it cannot be pickled
        pipe.send(CaptureAborted(f"a worker process failed: {error!r}"))
