"""Takes what pg_dump writes into the repository while it writes, in bounded space.

The files of its directory are read as they grow and taken off the disk at once; when pg_dump is too
far ahead, it is stopped until the workers have caught up.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from subprocess import Popen
from types import TracebackType
from typing import Final, NamedTuple, Self

from pgkeep.logical.capture.backlog import CapturedFile, CapturedFiles
from pgkeep.logical.capture.process_group import ProcessGroup
from pgkeep.logical.capture.run import Run
from pgkeep.logical.capture.scratch_space import WANTED
from pgkeep.logical.capture.storing import StorerSetup
from pgkeep.logical.capture.workers import InlineWorker, ProcessWorkers, Workers
from pgkeep.repository.manifest.builder import StoredChunks
from pgkeep.repository.packs.known import KnownChunks
from pgkeep.repository.seal import Key
from pgkeep.units import MIB
from pgkeep.workers.throttle import SharedRate

_BEAT_S: Final = 0.5
_WORTH_PROCESSES: Final = 32 * MIB  # starting them takes as long as storing this much


class CaptureSetup(NamedTuple):
    """Where chunks go, which are known, and how much may be used. Holds the key: never printed."""

    store: str  # url
    repository: str  # id
    key: Key | None
    cluster: str
    level: int = 1  # of zstd
    tag: bytes = b""  # of the packs' ids (repository/packs/pack_ids.py); none: they tell nothing
    known: KnownChunks = KnownChunks()
    rate: int = 0  # bytes that are read in a second at most; 0: no limit
    nice: int = 0
    ionice: str = ""
    limit: int = WANTED  # bytes that pg_dump may be ahead

    def for_workers(self) -> StorerSetup:
        return StorerSetup(
            store=self.store,
            repository=self.repository,
            key=self.key,
            cluster=self.cluster,
            level=self.level,
            tag=self.tag,
            known=self.known,
            rate=SharedRate(self.rate),
        )


def _nothing(*_: str) -> None:
    pass


class Capture:
    """Stores what one pg_dump after the other writes. A context manager; not for several threads.

    Begins in the process of its owner; `jobs` processes of its own are started when there is enough
    to do. Nothing that it stored may be relied on before `finish`.
    """

    def __init__(
        self, setup: CaptureSetup, jobs: int, note: Callable[[str], None] = _nothing
    ) -> None:
        """`note` is told what the user should know."""
        self._setup = setup
        self._worker_setup = setup.for_workers()
        self._jobs = jobs
        self._note = note
        self._noted = False
        self._storer = self._worker_setup.open()
        self._inline = InlineWorker(self._storer)
        self._processes: ProcessWorkers | None = None
        self._run: Run | None = None
        self._read = 0  # bytes, by runs that have ended
        self._next = 0  # number of a file
        self._beaten = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._processes is not None:
            self._processes.end()
            self._processes = None

    def run(
        self,
        process: "Popen[bytes]",
        directory: Path,
        first_number: int,
        advance: Callable[[int], None],
        beat: Callable[[], None],
    ) -> CapturedFiles:
        """Store all files but toc.dat that `process` writes into `directory`, and remove them.

        Returns when the process has ended and everything is read. If it ended badly, returns at
        once, and the directory is removed. The files have the numbers from `first_number` on, in
        either case: no other files may be given them. `advance` is told the bytes read so far,
        `beat` is called every second. The process must lead a process group of its own; whatever
        is raised, the group is dead by then and the directory removed.
        """
        self._demand_new(first_number)
        with (
            ProcessGroup(process, directory) as group,
            closing(Run(group, directory, first_number, self._setup.limit)) as run,
        ):
            self._run = run
            while not run.step(workers := self._workers(run)):
                advance(run.backlog.read)
                self._beat(beat)
                run.wait(workers)
            advance(run.backlog.read)
        self._run = None
        self._read += run.backlog.read
        self._next = first_number + len(run.backlog.files)
        if not (run.holes.possible or self._noted):
            self._noted = True
            self._note(
                f"{directory.parent} gives back no room within a file: it must hold the largest "
                "tables whole while they are dumped"
            )
        return run.backlog.files

    def current(self) -> Sequence[tuple[str, int]]:
        """Return the files that are being written now, and how much of each was read."""
        return list(self._run.backlog.writing()) if self._run is not None else []

    def store(self, number: int, pieces: Iterable[bytes]) -> CapturedFile:
        """Store content of our own as the file with this number. Its `path` is empty."""
        self._demand_new(number)
        self._next = number + 1
        return self._storer.store(number, pieces)

    def finish(self, beat: Callable[[], None] = _nothing) -> list[StoredChunks]:
        """Return what was stored: from now on it is durable."""
        stored = self._storer.finish()
        if self._processes is not None:
            stored += self._processes.finish(beat)
        return stored

    def _workers(self, run: Run) -> Workers:
        """Return who is to store. Takes a third of a second when processes are started."""
        seen = self._read + run.backlog.read + run.backlog.size
        # Who waits for a rate or a slow store must not be who looks after pg_dump.
        if self._processes is None and (seen >= _WORTH_PROCESSES or self._setup.rate):
            run.take_answers(self._inline)
            nice, ionice = self._setup.nice, self._setup.ionice
            self._processes = ProcessWorkers(
                self._worker_setup, self._jobs, nice=nice, ionice=ionice
            )
        return self._processes or self._inline

    def _beat(self, beat: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self._beaten >= _BEAT_S:
            self._beaten = now
            beat()

    def _demand_new(self, number: int) -> None:
        # What a failed run stored has numbers too: given again, two files would become one.
        if number < self._next:
            raise ValueError(f"file number {number} was given before; the next is {self._next}")
