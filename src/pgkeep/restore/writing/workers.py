"""The processes that write a restored cluster, and the same work done in our own process."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Final, NamedTuple

from pgkeep.repository.manifest.tables import PackTable
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Key
from pgkeep.repository.store.base import Store
from pgkeep.restore.delta.compare import DeltaWriter, OldFiles
from pgkeep.restore.writing.copy import NO_LIMIT, CannotWrite, FileWriter, NewFiles, Written
from pgkeep.restore.writing.tasks import Task
from pgkeep.workers.pool import enough_workers, light_main, make_pool
from pgkeep.workers.throttle import SharedRate


class Source(NamedTuple):
    """All that a worker needs to read a backup's chunks. Holds the key: never shown or logged."""

    url: str
    repository_id: str
    key: Key | None
    cluster: str
    backup: str
    packs: PackTable
    sync: bool  # every file by itself
    delta: bool = False  # compare with what is there, and write what differs
    rate: SharedRate = NO_LIMIT  # of comparing and writing, for all workers together

    def worker(self, store: Store | None = None) -> "_Worker":
        """Return a worker; without a store it opens its own."""
        store = store or open_metered(self.url)
        repository = Repository(store, self.repository_id, self.key)
        cluster, sealer = repository.cluster(self.cluster), repository.sealer()
        reader = ChunkReader(cluster, sealer, self.packs, backup=self.backup)
        chown = os.geteuid() == 0
        if self.delta:
            files = OldFiles(chown=chown, sync=self.sync)
            whole = FileWriter(reader, files, self.rate)
            return _Worker(DeltaWriter(whole, files, sealer, self.rate), repository.store)
        files_made = NewFiles(chown=chown, sync=self.sync)
        return _Worker(FileWriter(reader, files_made, self.rate), repository.store)


class _Worker(NamedTuple):
    """One process's part of the work."""

    writer: FileWriter | DeltaWriter
    store: Store

    def write(self, task: Task) -> Written:
        """Carry out a task, and tell which objects had to be read from another copy."""
        written = self.writer.write(task)
        notes = self.store.union.drain_notes() if self.store.union is not None else ()
        return replace(written, notes=notes) if notes else written


def write_tasks(
    tasks: Iterable[Task], source: Source, jobs: int, store: Store | None = None
) -> Iterator[Written]:
    """Carry out `tasks` with `jobs` processes; yield results as they come.

    One is this process, which can use the `store` that is open already.

    Raise what the first failing task raised; the others are given up.
    """
    if jobs <= 1:
        yield from map(source.worker(store).write, tasks)
        return
    pool = make_pool(jobs, _begin, (source,), preload=[__name__])
    remaining, running = iter(tasks), set[Future[Written]]()
    try:
        while True:
            # few tasks wait, so that their tables don't fill the memory
            with light_main(), enough_workers(jobs, _cannot_start):
                while len(running) < 2 * jobs and (task := next(remaining, None)):
                    running.add(pool.submit(_write, task))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        why = "a worker process was killed, perhaps because memory ran out"
        raise CannotWrite("all files", "write", why) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cannot_start(why: str, advice: str) -> CannotWrite:
    return CannotWrite("all files", "write", f"{why}: {advice}")


_workers: Final[list[_Worker]] = []  # of a worker process: one, made at its beginning


def _begin(source: Source) -> None:
    _workers.append(source.worker())


def _write(task: Task) -> Written:
    return _workers[0].write(task)
