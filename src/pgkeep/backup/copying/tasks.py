"""Turns the fate of every file into work for the copiers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pgkeep.backup.copying.work import ChangedPages, Moves, Reading, Work
from pgkeep.backup.incremental.base import Base
from pgkeep.backup.incremental.changes import NOTHING, Fate
from pgkeep.backup.plan import LARGEST, LARGEST_SCAN, CopyPlan, FileToCopy, Task, plan_copy
from pgkeep.backup.source import Listing
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository.manifest.tables import Array, PackTable
from pgkeep.repository.pack import Placed
from pgkeep.units import KIB, MIB

_READ_WHOLE: Final = frozenset({Fate.WHOLE, Fate.SCAN})
_OPENING: Final = 32 * KIB  # opening a file takes as long as reading that much
_MOVED: Final = 64 * MIB  # stored bytes that one task carries


@dataclass(frozen=True, slots=True)
class Tasks:
    """All work of one backup, told to the copiers bit by bit."""

    listing: Listing
    base: Base | None
    start_lsn: int

    def plan(self, jobs: int) -> CopyPlan:
        return plan_copy(list(self._files()), jobs, LARGEST_SCAN if self.base else LARGEST)

    def total(self, plan: CopyPlan) -> int:
        """Return the bytes to be handled, and something for each file."""
        moved = 0
        if self.base is not None:
            moved = int(self.base.tables.chunk.sealed[self.base.moving].sum(dtype=np.int64))
        return plan.size + moved + plan.files * _OPENING

    def works(self, plan: CopyPlan) -> Iterator[Work]:
        """Yield what carries out `plan`, and what is to be moved."""
        if self.base is not None:
            for moves in _moves(self.base):
                yield Work([], self.start_lsn, moves)
        for task in plan.tasks:
            yield Work(list(self._readings(task)), self.start_lsn)

    def _files(self) -> Iterator[FileToCopy]:
        """Yield the files to be read. Empty relations need not: what grows is in the WAL."""
        listing = self.listing
        for index, (size, first_block) in enumerate(
            zip(listing.sizes, listing.first_blocks, strict=True)
        ):
            fate = self._fate(index)
            if fate is Fate.PAGES:
                yield FileToCopy(index, len(self._blocks(index)) * PAGE_SIZE, splittable=True)
            elif fate in _READ_WHOLE and (size or first_block < 0):
                yield FileToCopy(index, size, splittable=first_block >= 0)

    def _fate(self, index: int) -> Fate:
        return Fate(self.base.changes.fate[index]) if self.base else Fate.WHOLE

    def _blocks(self, index: int) -> Array:
        return self.base.changes.blocks.get(index, NOTHING) if self.base else NOTHING

    def _readings(self, task: Task) -> Iterator[Reading]:
        if task.part is not None:
            yield self._reading(*task.part)
        for entry in task.files:
            yield self._reading(entry)

    def _reading(self, entry: int, start: int = 0, end: int | None = None) -> Reading:
        listing, fate, blocks = self.listing, self._fate(entry), self._blocks(entry)
        path, first_block = listing.paths[entry], listing.first_blocks[entry]
        first = None if first_block < 0 else first_block
        if fate is Fate.WHOLE:
            return Reading(entry, path, first, start, end, known=self._known(entry))
        if fate is Fate.PAGES:
            part = blocks[start // PAGE_SIZE : None if end is None else end // PAGE_SIZE]
            changed = ChangedPages(part, None)
            return Reading(entry, path, first, start, listing.sizes[entry], changed)
        assert self.base is not None
        low = np.searchsorted(blocks, start // PAGE_SIZE)
        high = len(blocks) if end is None else np.searchsorted(blocks, end // PAGE_SIZE)
        changed = ChangedPages(blocks[low:high], int(self.base.parent.start_lsn))
        return Reading(entry, path, first, start, end or listing.sizes[entry], changed)

    def _known(self, entry: int) -> Mapping[bytes, Placed] | None:
        """Return where the parent's chunks of a file lie: it may hold the same again."""
        if self.base is None or self.base.changes.row[entry] < 0:
            return None
        tables = self.base.tables
        layers = tables.file.layer_start[int(self.base.changes.row[entry]) :][:2]
        rows = range(*tables.layer.chunk_start[layers].tolist())
        chunks, found = tables.chunk, {}
        for row in rows:
            pack = int(chunks.pack[row])
            if pack not in self.base.lost:
                placed = Placed(
                    chunks.id[row].tobytes(), pack, int(chunks.offset[row]), int(chunks.sealed[row])
                )
                found[placed.id] = placed
        return found


def _moves(base: Base) -> Iterator[Moves]:
    """Yield what is to be moved in portions; equal chunks stay together."""
    tables, rows = base.tables, base.moving
    sealed = np.cumsum(tables.chunk.sealed[rows], dtype=np.int64)
    start = 0
    while start < len(rows):
        done = int(sealed[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(sealed, done + _MOVED, "right")))
        while end < len(rows) and _same_place(base, int(rows[end - 1]), int(rows[end])):
            end += 1
        yield _portion(base, rows[start:end])
        start = end


def _portion(base: Base, rows: Array) -> Moves:
    chunks = base.tables.chunk.take(rows)
    used, chunks.pack[:] = np.unique(chunks.pack, return_inverse=True)
    pack = base.tables.pack
    return Moves(rows, chunks, PackTable(pack.id[used], pack.size[used]))


def _same_place(base: Base, one: int, other: int) -> bool:
    chunk = base.tables.chunk
    return bool(chunk.pack[one] == chunk.pack[other] and chunk.offset[one] == chunk.offset[other])
