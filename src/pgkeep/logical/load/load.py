"""Loads tables and large objects of a dump into a database that has them, empty."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, NamedTuple

from pgkeep.logical.load.copying import Loaded, Masked
from pgkeep.logical.load.large_objects import Filled, plan_objects
from pgkeep.logical.load.plan import plan_units, workers
from pgkeep.logical.load.tables import TableData
from pgkeep.logical.load.tasks import AnyTask, TaskMaker
from pgkeep.logical.load.workers import Done, Source, do_tasks
from pgkeep.logical.masks.plan import MaskedColumn, MaskPlan
from pgkeep.progress import Progress
from pgkeep.repository.manifest.tables import Tables
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder
from pgkeep.workers.pool import default_jobs
from pgkeep.workers.throttle import SharedRate

NO_LIMIT: Final = SharedRate(None)
_UNMASKED: Final = (
    "{} large objects were loaded AS THEY ARE: no mask applies to them; if they hold what must not "
    "be seen, drop the copy and restore without them"
)
_OBJECTS_PER_TABLE: Final = 16  # large objects that take as long to begin with as one table
_SHOWN: Final = 3  # tables in hand, in the progress


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What is loaded, from where, and how."""

    cluster: ClusterFolder
    dump_id: str
    files: Tables  # of the dump's manifest
    tables: Sequence[TableData]
    conninfo: str  # with the database
    encoding: str  # of the archive: its names' and its data's
    jobs: int
    large_objects: Sequence[str] = ()  # their tables of contents: '1/blobs.toc'
    fresh: bool = True  # tables were made just now: nobody else uses them, none is emptied else
    disable_triggers: bool = False  # for tables that have some
    masks: MaskPlan | None = None
    rate: SharedRate = NO_LIMIT  # of sending, for all workers together


class MaskedValues(NamedTuple):
    """What a mask did."""

    column: MaskedColumn
    values: int  # that were not NULL
    alike: int  # of these, the mask's value happens to be what it hides


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was loaded."""

    rows: Mapping[int, int]  # by the dump id of the table's data
    large_objects: int
    bytes: int
    duration_s: float
    masked: tuple[MaskedValues, ...] = ()
    notes: tuple[str, ...] = ()  # what the user must know


def load_tables(
    request: LoadRequest,
    progress: Progress,
    *,
    told: Callable[[TableData, int], None] = lambda _table, _rows: None,
    clock: Callable[[], float] = time.monotonic,
) -> LoadResult:
    """Load everything; `told` hears of each table that is there, with its rows.

    Raise CannotLoad with the table and the server's reason, CannotConnect, or what reading the
    repository raises. Tables are then loaded or not: the database is fit for nothing but dropping.
    """
    begun = clock()
    repository = request.cluster.repository
    packs = request.files.pack
    reader = ChunkReader(request.cluster, repository.sealer(), packs, backup=request.dump_id)
    tasks = TaskMaker(request.files, request.encoding, reader)
    objects = [tasks.find_objects(contents) for contents in request.large_objects]
    sizes = [table.size for table in request.tables]
    total = sum(sizes) + sum(map(tasks.size, objects))
    count = sum(len(found.oid) for found in objects)
    jobs = workers(total, len(sizes) + count // _OBJECTS_PER_TABLE, request.jobs)
    progress.phase("loading data", total)
    tally = _Tally(request, progress, told)
    every: list[Iterator[AnyTask]] = [tasks.of_tables(request.tables, plan_units(sizes, jobs))]
    every += (plan_objects(request.files, found) for found in objects)
    for done in do_tasks(chain.from_iterable(every), _source(request), jobs, tally.running):
        tally.count(done, tasks)
    return LoadResult(
        rows=tally.rows,
        large_objects=count,
        bytes=tally.bytes,
        duration_s=clock() - begun,
        masked=_masked(request.masks, tally.masked),
        notes=(_UNMASKED.format(count),) if request.masks and count else (),
    )


def _masked(plan: MaskPlan | None, counts: Mapping[int, Masked]) -> tuple[MaskedValues, ...]:
    columns = enumerate(plan.columns if plan else ())
    found = ((column, counts.get(number, Masked(number, 0, 0))) for number, column in columns)
    return tuple(MaskedValues(column, count.values, count.alike) for column, count in found)


class _Tally:
    """Counts what is loaded."""

    def __init__(
        self, request: LoadRequest, progress: Progress, told: Callable[[TableData, int], None]
    ) -> None:
        self.rows = dict[int, int]()
        self.masked = dict[int, Masked]()
        self.bytes = 0
        self._tables = {table.dump_id: table for table in request.tables}
        self._encoding = request.encoding
        self._progress = progress
        self._told = told

    def count(self, done: Done, tasks: TaskMaker) -> None:
        """Note the result of a task."""
        for loaded in [done] if isinstance(done, Filled) else done:
            self.bytes += loaded.bytes
            if isinstance(loaded, Loaded):
                self.rows[loaded.dump_id] = self.rows.get(loaded.dump_id, 0) + loaded.rows
                for count in loaded.masked:
                    before = self.masked.get(count.number, Masked(count.number, 0, 0))
                    self.masked[count.number] = before.plus(count)
                if tasks.ended(loaded):
                    self._told(self._tables[loaded.dump_id], self.rows[loaded.dump_id])
        self._progress.advance(self.bytes)

    def running(self, sent: int, tasks: Iterable[AnyTask]) -> None:
        """Show how far tasks are that have not ended."""
        self._progress.advance(self.bytes + sent)
        names = dict.fromkeys(task.words(self._encoding) for task in islice(tasks, _SHOWN))
        self._progress.detail(", ".join(names))


def _source(request: LoadRequest) -> Source:
    repository = request.cluster.repository
    return Source(
        url=repository.store.address,
        repository_id=repository.id,
        key=repository.key,
        cluster=request.cluster.name,
        dump=request.dump_id,
        packs=request.files.pack,
        conninfo=request.conninfo,
        encoding=request.encoding,
        fresh=request.fresh,
        disable_triggers=request.disable_triggers,
        rate=request.rate,
        masks=request.masks,
        ahead=default_jobs() > request.jobs,
    )
