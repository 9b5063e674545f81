"""The processes that load tables and large objects, and the same work in our own process."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, get_context
from typing import Any, Final, NamedTuple

from pgkeep.logical.load import large_objects
from pgkeep.logical.load.copying import CopyLoader, Loaded, Piece, PieceLoader, load_piece
from pgkeep.logical.load.inserts import InsertLoader
from pgkeep.logical.load.large_objects import Filled, ObjectsTask, fill
from pgkeep.logical.load.masking import MaskLoader
from pgkeep.logical.load.reading import read_rows
from pgkeep.logical.load.tables import CannotLoad
from pgkeep.logical.load.tasks import AnyTask, Task
from pgkeep.logical.load.wire import NO_TRIGGERS, Refused, Wire
from pgkeep.logical.masks.plan import MaskPlan
from pgkeep.repository.manifest.tables import ChunkTable, PackTable
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Key
from pgkeep.units import MIB
from pgkeep.workers.pool import enough_workers, light_main, make_pool
from pgkeep.workers.throttle import SharedRate

_POLL_S: Final = 0.2  # how often progress is looked at
_TELL: Final = 4 * MIB  # likewise, where there are no other processes
_AHEAD: Final = 2  # tasks for each worker that are made before it needs them


class Source(NamedTuple):
    """All that a worker needs. Holds the key and the connection string: never shown or logged."""

    url: str
    repository_id: str
    key: Key | None
    cluster: str
    dump: str
    packs: PackTable
    conninfo: str
    encoding: str
    fresh: bool
    disable_triggers: bool
    rate: SharedRate
    masks: MaskPlan | None
    ahead: bool  # there are processors to spare for reading while rows are sent


Done = list[Loaded] | Filled
Running = Callable[[int, Iterable[AnyTask]], None]


class Counters:
    """How much each running task has sent, seen by all processes; and whether to stop.

    A task has a place of its own, so that no lock is needed.
    """

    def __init__(self, places: int, told: Callable[[int], None] | None = None) -> None:
        """`told` hears the sum whenever it grows, if all tasks run in our own process."""
        context = get_context("forkserver")
        self._sent: Any = context.RawArray("q", places)
        self._stop: Any = context.RawValue("b", 0)
        self._told = told

    def place(self, index: int) -> Callable[[int], None]:
        """Return what a task calls with the bytes that it sent."""

        def add(count: int) -> None:
            before = self._sent[index]
            self._sent[index] += count
            if self._told is not None and before // _TELL != self._sent[index] // _TELL:
                self._told(self.total())

        return add

    def clear(self, index: int) -> None:
        self._sent[index] = 0

    def total(self) -> int:
        return sum(self._sent)

    def stop(self) -> None:
        self._stop.value = 1

    def stopped(self) -> bool:
        return bool(self._stop.value)


class _Connected(NamedTuple):
    wire: Wire
    plain: CopyLoader
    inserts: InsertLoader
    masked: MaskLoader | None = None


class Worker:
    """Does one task after the other over one connection."""

    def __init__(self, source: Source, counters: Counters) -> None:
        self._source = source
        self._counters = counters
        self._loaders: _Connected | None = None
        repository = Repository(open_metered(source.url), source.repository_id, source.key)
        cluster, sealer = repository.cluster(source.cluster), repository.sealer()
        self._reader = ChunkReader(cluster, sealer, source.packs, backup=source.dump)

    def do(self, task: AnyTask, place: int) -> Done:
        """Raise CannotLoad, CannotConnect, Stopped, or what reading raises."""
        sent = self._limited(self._counters.place(place))
        try:
            if isinstance(task, ObjectsTask):
                chunks = self._read(task.chunks, large_objects.WHAT)
                return fill(self._connected().wire, task, chunks, sent)
            return self._load(task, sent)
        except BaseException:
            # Whatever it was: the other end may be in the middle of a COPY.
            self.close()
            raise

    def _load(self, task: Task, sent: Callable[[int], None]) -> list[Loaded]:
        names = [piece.table.words(self._source.encoding) for piece in task.pieces]
        what = f"table {names[0]}" + (f" or {len(names) - 1} others" if len(names) > 1 else "")
        chunks = self._read(task.chunks, what)
        encoding = self._source.encoding
        self._connected()
        return [
            load_piece(piece, chunks, self._loader(piece), encoding=encoding, sent=sent)
            for piece in task.pieces
        ]

    def _read(self, chunks: ChunkTable, what: str) -> Iterator[bytes]:
        return read_rows(self._reader, chunks, what, ahead=self._source.ahead)

    def _limited(self, sent: Callable[[int], None]) -> Callable[[int], None]:
        def told(count: int) -> None:
            sent(count)
            self._source.rate.take(count, self._counters.stopped)

        return told

    def _loader(self, piece: Piece) -> PieceLoader:
        masks = self._source.masks
        loaders = self._connected()
        masked = masks is not None and piece.table.dump_id in masks.tables
        if masked and loaders.masked:
            return loaders.masked
        return loaders.inserts if piece.table.as_inserts else loaders.plain

    def _connected(self) -> "_Connected":
        if self._loaders is None:
            source = self._source
            try:
                wire = Wire.open(source.conninfo, source.encoding, self._counters.stopped)
                self._loaders = _Connected(
                    wire,
                    CopyLoader(wire, source.encoding, fresh=source.fresh),
                    InsertLoader(wire, source.encoding),
                )
                if source.disable_triggers:
                    wire.run(NO_TRIGGERS.encode())
                if source.masks is not None:
                    masked = MaskLoader(wire, source.encoding, source.masks)
                    self._loaders = self._loaders._replace(masked=masked)
            except Refused as no:
                why = f"the session cannot be prepared: {no.why}"
                raise CannotLoad("the dump's data", why, no.sqlstate, no.context) from no
        return self._loaders

    def close(self) -> None:
        if self._loaders is not None:
            self._loaders.wire.close()
            self._loaders = None


def warm_up() -> None:
    """Begin to import what workers need, in a process beside: half a second of other work hides it.

    Call it before the tables are made. Nothing depends on it.
    """
    get_context("forkserver").set_forkserver_preload(["pgkeep.workers.pool", __name__])
    with light_main():
        forkserver.ensure_running()


def do_tasks(
    tasks: Iterator[AnyTask], source: Source, jobs: int, running: Running
) -> Iterator[Done]:
    """Carry out `tasks` with `jobs` processes (one: in this process); yield results as they come.

    `running` hears the bytes that unfinished tasks have sent, and which those are. Raise what the
    first failing task raised; all others are stopped, with what they have begun.
    """
    if jobs > 1:
        yield from _in_processes(tasks, source, jobs, running)
        return
    in_hand = list[AnyTask]()
    counters = Counters(1, lambda sent: running(sent, in_hand))
    worker = Worker(source, counters)
    try:
        for task in tasks:
            in_hand[:] = [task]
            done = worker.do(task, 0)
            counters.clear(0)
            yield done
    finally:
        worker.close()


def _in_processes(
    tasks: Iterator[AnyTask], source: Source, jobs: int, running: Running
) -> Iterator[Done]:
    free = list(range(_AHEAD * jobs))
    counters = Counters(len(free))
    pool = make_pool(jobs, _begin, (source, counters), preload=[__name__])
    waiting = dict[Future[Done], tuple[AnyTask, int]]()
    try:
        while True:
            with light_main(), enough_workers(jobs, _cannot_start):
                while free and (task := next(tasks, None)):
                    place = free.pop()
                    waiting[pool.submit(_do, task, place)] = (task, place)
            if not waiting:
                break
            done, _ = wait(waiting, _POLL_S, FIRST_COMPLETED)
            for future in done:
                result = future.result()
                _, place = waiting.pop(future)
                counters.clear(place)
                free.append(place)
                yield result
            running(counters.total(), (task for task, _ in waiting.values()))
    except BrokenProcessPool as error:
        why = "a worker process was killed, perhaps because memory ran out"
        raise CannotLoad("the dump's data", why) from error
    finally:
        counters.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _cannot_start(why: str, advice: str) -> CannotLoad:
    return CannotLoad("the dump's data", f"{why}: {advice}")


_workers: Final[list[Worker]] = []  # of a worker process: one, made at its beginning


def _begin(source: Source, counters: Counters) -> None:
    _workers.append(Worker(source, counters))


def _do(task: AnyTask, place: int) -> Done:
    return _workers[0].do(task, place)
