"""Loads tables and large objects of a dump into a database that has them, empty."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final

import numpy as np

from pgkeep.logical.load.copying import Loaded, Piece
from pgkeep.logical.load.plan import Unit, cuts, plan_units, workers
from pgkeep.logical.load.reading import read_rows
from pgkeep.logical.load.tables import CannotLoad, TableData
from pgkeep.logical.load.workers import Source, Task, do_tasks
from pgkeep.progress import Progress
from pgkeep.repository.chunks import ChunkReader
from pgkeep.repository.manifest.tables import ChunkTable, Tables
from pgkeep.repository.repository import ClusterFolder
from pgkeep.workers.throttle import SharedRate

NO_LIMIT: Final = SharedRate(None)
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
    fresh: bool = True  # tables were made just now: nobody else uses them, none is emptied else
    disable_triggers: bool = False  # for tables that have some
    rate: SharedRate = NO_LIMIT  # of sending, for all workers together


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was loaded."""

    rows: Mapping[int, int]  # by the dump id of the table's data
    bytes: int
    duration_s: float


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
    sizes = [table.size for table in request.tables]
    jobs = workers(sum(sizes), request.jobs)
    progress.phase("loading tables", sum(sizes))
    tasks = _Tasks(request)
    tally = _Tally(request, progress, told)
    units = plan_units(sizes, jobs)
    for results in do_tasks(tasks.make(units), _source(request), jobs, tally.running):
        for loaded in results:
            tally.count(loaded, last=tasks.ended(loaded))
    return LoadResult(tally.rows, tally.bytes, clock() - begun)


class _Tally:
    """Counts what is loaded."""

    def __init__(
        self, request: LoadRequest, progress: Progress, told: Callable[[TableData, int], None]
    ) -> None:
        self.rows = dict[int, int]()
        self.bytes = 0
        self._tables = {table.dump_id: table for table in request.tables}
        self._encoding = request.encoding
        self._progress = progress
        self._told = told

    def count(self, loaded: Loaded, *, last: bool) -> None:
        """Note a piece; `last` says that its table is complete now."""
        self.bytes += loaded.bytes
        self.rows[loaded.dump_id] = self.rows.get(loaded.dump_id, 0) + loaded.rows
        self._progress.advance(self.bytes)
        if last:
            self._told(self._tables[loaded.dump_id], self.rows[loaded.dump_id])

    def running(self, sent: int, tasks: Iterable[Task]) -> None:
        """Show how far tasks are that have not ended."""
        self._progress.advance(self.bytes + sent)
        tables = (piece.table for task in tasks for piece in task.pieces[:1])
        names = dict.fromkeys(table.words(self._encoding) for table in islice(tables, _SHOWN))
        self._progress.detail(", ".join(names))


class _Tasks:
    """Makes tasks as they are needed: those of a million tables would fill the memory."""

    def __init__(self, request: LoadRequest) -> None:
        self._request = request
        self._left = dict[int, int]()  # pieces that are not loaded yet, by dump id
        sealer = request.cluster.repository.sealer()
        packs = request.files.pack
        self._reader = ChunkReader(request.cluster, sealer, packs, backup=request.dump_id)

    def make(self, units: Iterator[Unit]) -> Iterator[Task]:
        for unit in units:
            tables = [self._request.tables[index] for index in unit.tables]
            chunk_rows = list(map(self._chunks, tables))
            for table in tables:
                self._left[table.dump_id] = 1
            if unit.parts > 1:
                yield from self._parts(tables[0], chunk_rows[0], unit.parts)
                continue
            pieces = tuple(
                Piece(table, len(rows), 0, table.size, last=True)
                for table, rows in zip(tables, chunk_rows, strict=True)
            )
            yield Task(pieces, self._take([row for rows in chunk_rows for row in rows]))

    def ended(self, piece: Loaded) -> bool:
        """Tell whether this was the last piece of its table to be loaded."""
        self._left[piece.dump_id] -= 1
        return not self._left[piece.dump_id]

    def _chunks(self, table: TableData) -> range:
        number = self._request.files.find(table.file)
        size = -1 if number is None else int(self._request.files.file.size[number])
        if number is None or size != table.size:
            words = table.words(self._request.encoding)
            have = f"{size} bytes instead of {table.size}" if number is not None else "no such file"
            raise CannotLoad(f"table {words}", f"the dump has {have} as {table.file}")
        return self._request.files.chunk_rows(number)

    def _parts(self, table: TableData, rows: range, parts: int) -> Iterator[Task]:
        """Yield tasks for parts of a table, each of which begins with a row."""
        sizes = self._request.files.chunk.plain[rows.start : rows.stop].tolist()
        places = [self._next_row(table, rows, cut) for cut in cuts(sizes, parts)]
        edges = [0, *sorted({place for place in places if place < len(rows)}), len(rows)]
        self._left[table.dump_id] = len(edges) - 1
        start = 0
        for first, end in pairwise(edges):
            size = sum(sizes[first:end])
            piece = Piece(table, end - first, start, size, last=end == len(rows))
            yield Task((piece,), self._take(rows[first:end]))
            start += size

    def _next_row(self, table: TableData, rows: range, cut: int) -> int:
        """Return the first chunk from `cut` on that begins with a row: the one before ends one."""
        while cut < len(rows):
            what = f"table {table.words(self._request.encoding)}"
            before = self._take([rows[cut - 1]])
            content = b"".join(read_rows(self._reader, before, 0, what))
            # Hand-written data may have a line end within a row, behind a backslash.
            if content.endswith(b"\n") and not content.endswith(b"\\\n"):
                break
            cut += 1
        return cut

    def _take(self, rows: Sequence[int]) -> ChunkTable:
        return self._request.files.chunk.take(np.asarray(rows, np.int64))


def _source(request: LoadRequest) -> Source:
    repository = request.cluster.repository
    return Source(
        url=repository.store.url,
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
    )
