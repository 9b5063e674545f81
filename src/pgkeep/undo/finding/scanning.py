"""Reads segments in worker processes, in order: fetched, unsealed and scanned there.

A segment's pieces are some megabytes of columns at most; a few tasks are on their way at a time.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Final, NamedTuple

from pgkeep.model.segment import Segment
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.postgres.wal_changes.piece import Catalogs
from pgkeep.postgres.wal_changes.scan import Stretch, scan
from pgkeep.postgres.wal_header import NotWal, WrongSegment
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.wal_archive import WalArchive
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.finding.wal import Line, Unreadable
from pgkeep.units import MIB
from pgkeep.verify.workers import Source
from pgkeep.workers.pool import enough_workers, light_main, make_pool

_TASK: Final = 32 * MIB  # of WAL: a quarter of a second
_WORTH: Final = 128 * MIB  # less is read sooner than processes begin


class Lost(NamedTuple):
    """A segment that is there and tells nothing."""

    segment: Segment
    why: str


Read = Stretch | Lost


class Setup(NamedTuple):
    """All that a worker needs. Holds the key: never shown or logged."""

    source: Source
    generation: str
    line: Line

    @classmethod
    def of(cls, cluster: ClusterFolder, generation: str, line: Line) -> "Setup":
        return cls(Source.of(cluster), generation, line)

    def open(self) -> WalArchive:
        return self.source.open().wal(self.generation)


def scanned(
    numbers: Sequence[int], setup: Setup, jobs: int, *, worth: int = _WORTH
) -> Iterator[Read]:
    """Yield what each segment tells, in the order of `numbers`. Raise what the store raises."""
    size = setup.line.segment_size
    if jobs <= 1 or len(numbers) * size < worth:
        archive = setup.open()
        for number in numbers:
            yield read_one(archive, setup.line, number)
        return
    step = max(1, _TASK // size)
    tasks = iter([numbers[at : at + step] for at in range(0, len(numbers), step)])

    def refused(why: str, advice: str) -> CannotUndo:
        return CannotUndo("look through WAL", why, advice)

    pool = make_pool(jobs, _begin, (setup,), preload=[__name__])
    running: deque[Future[list[Read]]] = deque()
    try:
        while True:
            with light_main(), enough_workers(jobs, refused):
                for task in islice(tasks, 2 * jobs - len(running)):
                    running.append(pool.submit(_carry_out, task))
            if not running:
                return
            yield from running.popleft().result()
    except BrokenProcessPool as error:
        why = "a worker process was killed, perhaps because memory ran out"
        raise refused(why, "look into dmesg, then run it again with --jobs 1") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_one(archive: WalArchive, line: Line, number: int) -> Read:
    """Read and scan one segment."""
    segment = line.segment(number)
    try:
        return scan(line.read(archive, number), segment, Catalogs())
    except (NotWal, Unreadable, UnsupportedVersion, WrongSegment) as error:
        return Lost(segment, str(error))


_setup: Final[list[Setup]] = []  # of a worker process, set at its beginning
_archives: Final[list[WalArchive]] = []  # opened by the first task: an error finds its way home


def _begin(setup: Setup) -> None:
    _setup.append(setup)


def _carry_out(numbers: Sequence[int]) -> list[Read]:
    if not _archives:
        _archives.append(_setup[0].open())
    return [read_one(_archives[0], _setup[0].line, number) for number in numbers]
