"""How the copying of a backup is divided among workers. Pure.

What is kept for the whole backup is a few numbers a task; the rows of a task are worked out when a
worker is ready for it, so that the plan of many terabytes fits in little memory.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from pgkeep.repository.manifest.tables import Array, ChunkTable, Placements
from pgkeep.restore.writing.layout import CONTROL, Layout, Part
from pgkeep.units import MIB

_LARGEST: Final = 128 * MIB  # of one task
_SMALLEST: Final = 4 * MIB
_TASKS_PER_WORKER: Final = 12  # so that the last ones to finish wait little
_MOST_FILES: Final = 2048  # in one task: creating that many takes as long as 128 MiB


class Task(NamedTuple):
    """What a worker does at one go: pieces of chunks to write into files.

    The pieces are parallel columns, those of each chunk side by side. A part without pieces is a
    file of nothing but zeros, or an empty one.
    """

    parts: Sequence[Part]
    chunks: ChunkTable  # each once, however many pieces it serves
    chunk: Array  # per piece: index into chunks, rising
    part: Array  # index into parts
    position: Array  # in the file, bytes
    start: Array  # in the plain chunk, bytes
    length: Array
    size: int


class _Outline(NamedTuple):
    """A task to be: some files whole, or a range of one."""

    first: int  # index into the plan's order of files
    end: int
    low: int  # bytes of the file; for whole files 0
    high: int | None  # None: whole files
    size: int


class TaskPlan:
    """All tasks of a restore, the largest first so that all workers end together.

    Files whose chunks lie side by side in a pack come together, so that packs are read in long
    ranges. Iterating makes the tasks one by one.
    """

    def __init__(self, layout: Layout, jobs: int) -> None:
        self._layout: Final = layout
        numbers = layout.files()
        hollow = layout.without_content(numbers)
        self._filled: Final = _in_pack_order(layout, numbers[~hollow])
        self._empty: Final = numbers[hollow]
        self.files: Final = len(numbers)
        self.size: Final = int(layout.tables.file.size[self._filled].sum(dtype=np.uint64))
        share = self.size // (jobs * _TASKS_PER_WORKER) // MIB * MIB  # of whole chunks, usually
        limit = max(_SMALLEST, min(_LARGEST, share))
        sizes = layout.tables.file.size[self._filled].tolist()
        self._outlines: Final = sorted(_outlines(sizes, limit), key=lambda o: -o.size)
        self._last: tuple[int, Placements] | None = None  # of the file that was divided last

    def __len__(self) -> int:
        return len(self._outlines) + -(-len(self._empty) // _MOST_FILES)

    def __iter__(self) -> Iterator[Task]:
        for outline in self._outlines:
            yield self._task(outline)
        for first in range(0, len(self._empty), _MOST_FILES):
            files = self._empty[first : first + _MOST_FILES]
            yield _make(self._layout, files, _nothing())

    def _task(self, outline: _Outline) -> Task:
        files = self._filled[outline.first : outline.end]
        if outline.high is None:
            return _make(self._layout, files, _placements(self._layout, files))
        placed = self._placements_of(int(files[0]))
        # By where pieces begin, so that each is in one range only.
        inside = (placed.position >= outline.low) & (placed.position < outline.high)
        # A part without pieces would be taken for a file of zeros.
        files = files if inside.any() else files[:0]
        return _make(self._layout, files, Placements(*(column[inside] for column in placed)))

    def _placements_of(self, file: int) -> Placements:
        if self._last is None or self._last[0] != file:
            self._last = file, _placements(self._layout, np.array([file]))
        return self._last[1]


def control_task(layout: Layout) -> Task | None:
    """Return the task that writes pg_control, or None when the backup has none."""
    number = layout.tables.find(CONTROL)
    if number is None or layout.tables.file.size[number] == 0:
        return None
    files = np.array([number])
    return _make(layout, files, _placements(layout, files))


def _in_pack_order(layout: Layout, files: Array) -> Array:
    """Return files, none of them empty, by where their first chunks are stored."""
    tables = layout.tables
    row = tables.layer.chunk_start[tables.file.layer_start[files]]
    ordered: Array = files[np.lexsort((tables.chunk.offset[row], tables.chunk.pack[row]))]
    return ordered


def _outlines(sizes: Sequence[int], limit: int) -> Iterator[_Outline]:
    """Yield outlines of at most `limit` bytes: files together, and ranges of large ones."""
    first, held = 0, 0
    for index, size in enumerate(sizes):
        if index > first and (held + size > limit or index - first >= _MOST_FILES):
            yield _Outline(first, index, 0, None, held)
            first, held = index, 0
        if size > limit:
            for low in range(0, size, limit):
                high = min(low + limit, size)
                yield _Outline(index, index + 1, low, high, high - low)
            first, held = index + 1, 0
            continue
        held += size
    if first < len(sizes):
        yield _Outline(first, len(sizes), 0, None, held)


def _placements(layout: Layout, files: Array) -> Placements:
    return layout.tables.placements(files, layout.block_size)


def _make(layout: Layout, files: Array, placed: Placements) -> Task:
    """Return the task that writes these pieces of these files."""
    rows, chunk = np.unique(placed.row, return_inverse=True)
    order = np.argsort(chunk, kind="stable")
    by_number = np.argsort(files)
    part = by_number[np.searchsorted(files, placed.file, sorter=by_number)]
    return Task(
        [layout.part(layout.tables.entry(number)) for number in files.tolist()],
        layout.tables.chunk.take(rows),
        chunk[order],
        part[order],
        placed.position[order],
        placed.start[order],
        placed.length[order],
        int(placed.length.sum()),
    )


def _nothing() -> Placements:
    return Placements(*(np.zeros(0, np.int64) for _ in Placements._fields))


def only(task: Task, wanted: Array) -> Task:
    """Return a task of some pieces of another one, given as a mask, and of no other parts."""
    rows, chunk = np.unique(task.chunk[wanted], return_inverse=True)
    owners, part = np.unique(task.part[wanted], return_inverse=True)
    length = task.length[wanted]
    return Task(
        [task.parts[owner] for owner in owners.tolist()],
        task.chunks.take(rows),
        chunk,
        part,
        task.position[wanted],
        task.start[wanted],
        length,
        int(length.sum()),
    )
