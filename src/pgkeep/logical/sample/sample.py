"""Makes a sample of a database that has its rows, but no constraints and indexes yet."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, Self

from pgkeep.logical.load.wire import Wire
from pgkeep.logical.sample import statements
from pgkeep.logical.sample.choose import (
    SCRATCH,
    Chooser,
    count_kept,
    find_relations,
    rows_of,
    run,
    told,
    words,
)
from pgkeep.logical.sample.plan import (
    Family,
    Relation,
    SamplePlan,
    plan_sample,
)
from pgkeep.postgres.archive.sql import ForeignKey, Name, always_quoted
from pgkeep.progress import Progress

_SETTINGS: Final = "SET work_mem = '128MB'; SET maintenance_work_mem = '256MB'; SET jit = off"
_COLUMNS: Final = """
SELECT attname FROM pg_catalog.pg_attribute
WHERE attrelid = {} AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """What a sample is made of."""

    conninfo: str  # with the database
    encoding: str  # of the archive
    share: float  # of each table's rows: 0.1
    rows: Mapping[Name, int]  # of the tables that were loaded
    foreign_keys: Sequence[ForeignKey]  # that the database is going to have
    seed: int = 0  # another one gives another sample
    jobs: int = 1


class SampledTable(NamedTuple):
    """What is left of a table."""

    table: str
    before: int
    kept: int
    referenced: int  # of those kept, only because others reference them
    note: str = ""


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What a sample holds."""

    share: float
    seed: int
    tables: tuple[SampledTable, ...]
    duration_s: float

    @property
    def before(self) -> int:
        return sum(table.before for table in self.tables)

    @property
    def kept(self) -> int:
        return sum(table.kept for table in self.tables)


def make_sample(
    request: SampleRequest, progress: Progress, *, clock: Callable[[], float] = time.monotonic
) -> SampleReport:
    """Remove all rows that are not in the sample; every key that held still does.

    Call it when rows are loaded and before there are keys, indexes or triggers. Raise CannotSample
    or CannotConnect; the database is fit for nothing but dropping then.
    """
    begun = clock()
    with told(""), closing(_open(request)) as wire:
        plan = plan_sample(
            find_relations(wire), request.rows, request.foreign_keys, share=request.share,
            seed=request.seed,
        )  # fmt: skip
        Chooser(wire, request.encoding, plan).choose(progress)
        kept = count_kept(wire, request.encoding, plan)
        tables = _rewrite(request, plan, kept, progress)
        run(wire, f"DROP SCHEMA {always_quoted(SCRATCH)} CASCADE")
    return SampleReport(request.share, request.seed, tuple(tables), clock() - begun)


def _rewrite(
    request: SampleRequest,
    plan: SamplePlan,
    kept: Mapping[int, tuple[int, int]],
    progress: Progress,
) -> list[SampledTable]:
    """Leave in every table what is to be kept, several at a time."""
    leaves = [(family, leaf) for family in plan.families for leaf in family.leaves]
    progress.phase("removing rows", sum(family.rows for family in plan.families), "rows")
    found = dict[int, SampledTable]()
    done = 0

    def one(family: Family, leaf: Relation) -> SampledTable:
        before = request.rows.get(leaf.name, 0)
        name = words(leaf.name, request.encoding)
        listed = kept.get(leaf.oid, (0, 0)) if family.linked else None
        if family.whole or not before or (listed and listed[0] == before):
            return SampledTable(name, before, before, 0, family.why_whole)
        with told(name), sessions.use() as wire:
            count = _rewrite_one(wire, family, leaf, plan)
        return SampledTable(name, before, count, listed[1] if listed else 0)

    with _Sessions(request) as sessions, ThreadPoolExecutor(max(request.jobs, 1)) as pool:
        running = {pool.submit(one, *leaf): place for place, leaf in enumerate(leaves)}
        try:
            for future in as_completed(running):
                table = found[running[future]] = future.result()
                done += table.before
                progress.advance(done)
        finally:
            sessions.stop()
            pool.shutdown(cancel_futures=True)
    return [found[place] for place in range(len(leaves)) if found[place].before]


def _rewrite_one(wire: Wire, family: Family, leaf: Relation, plan: SamplePlan) -> int:
    columns = [row[0] for row in rows_of(wire, _COLUMNS.format(leaf.oid))]
    place = (leaf.oid, leaf.name)
    aside = statements.set_aside(SCRATCH, family, place, columns, plan)
    back = statements.put_back(leaf.name, columns)
    run(wire, f"BEGIN; {aside}")
    count = run(wire, back)
    run(wire, "COMMIT")
    return count


class _Sessions:
    """Connections that threads take turns with."""

    def __init__(self, request: SampleRequest) -> None:
        self._request = request
        self._stop = threading.Event()
        self._idle = SimpleQueue[Wire]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get().close()

    def stop(self) -> None:
        """Make whatever runs give up."""
        self._stop.set()

    @contextmanager
    def use(self) -> Iterator[Wire]:
        try:
            wire = self._idle.get_nowait()
        except Empty:
            wire = _open(self._request, self._stop.is_set)
        try:
            yield wire
        except BaseException:
            wire.close()
            raise
        self._idle.put(wire)


def _open(request: SampleRequest, stopped: Callable[[], bool] = lambda: False) -> Wire:
    wire = Wire.open(request.conninfo, request.encoding, stopped)
    try:
        wire.run(_SETTINGS.encode())
    except BaseException:
        wire.close()
        raise
    return wire
