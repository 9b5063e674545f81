"""Joins what a backup stored with what it takes over from its parent. Pure: columns in, tables out.

Every file has at most one layer of its own: a whole copy, or an overlay on the parent's layers.
"""

from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple

import numpy as np

from pgkeep.repository.manifest.tables import (
    Array,
    ChunkTable,
    FileTable,
    LayerTable,
    PackTable,
    PageTable,
    Tables,
    starts,
)

_BATCH: Final = 1 << 20  # rows that are put together at a time
OF_PARENT: Final = 1 << 31  # added to a pack's number: it is a row of the parent's pack table


@dataclass(frozen=True, slots=True)
class OwnLayers:
    """What this backup stored: counts per entry, chunks and pages in the order of the entries."""

    chunks: Array  # per entry
    pages: Array  # per entry; 0 for a whole copy
    chunk: ChunkTable  # its packs are rows of `pack`, or of the parent's and OF_PARENT
    block: Array
    pack: PackTable


@dataclass(frozen=True, slots=True)
class Taken:
    """What comes from the parent, per entry."""

    row: Array  # in the parent's file table; -1: nothing
    size: Array  # bytes of the file as it was listed
    base_only: Array  # the first layer alone


class Moved(NamedTuple):
    """Chunks of the parent that were copied out of mostly dead packs."""

    row: Array  # in the parent's chunk table
    pack: Array  # rows of OwnLayers.pack
    offset: Array


def assemble(
    files: FileTable, own: OwnLayers, taken: Taken, parent: Tables, moved: Moved
) -> Tables:
    """Return the tables of the new backup; `files` lacks nothing but sizes and layers."""
    # Where nothing could be read, nothing replaces the parent's overlays: they stay.
    taken = replace(taken, base_only=taken.base_only & (own.pages > 0))
    size = _sizes(own, taken, parent)
    own, taken = _promoted(own, taken, size)
    kept = np.zeros(len(files), np.int64)
    with_parent = np.flatnonzero((taken.row >= 0) & (size > 0))
    kept[with_parent] = np.where(
        taken.base_only[with_parent], 1, parent.file.layers[taken.row[with_parent]]
    )
    layers = kept + (own.chunks > 0)
    owner = np.repeat(np.arange(len(files)), layers)
    place = np.arange(len(owner)) - starts(layers)[owner]
    is_own = place >= kept[owner]
    source = np.where(is_own, 0, parent.file.layer_start[taken.row[owner]] + place)
    joined = _Joined(is_own, owner, source)
    chunk_count = joined.counts(parent.layer.chunks, own.chunks)
    page_count = joined.counts(parent.layer.pages, own.pages)
    chunk_rows = joined.rows(chunk_count, parent.layer.chunk_start, starts(own.chunks))
    page_rows = joined.rows(page_count, parent.layer.page_start, starts(own.pages))
    chunk, pack = _chunks(own, parent, moved, chunk_rows)
    block = page_rows.gather(parent.page.block, own.block)
    columns = {f.name: getattr(files, f.name) for f in fields(files)}
    columns |= {"size": size.astype(np.uint64), "layers": layers.astype(np.uint32)}
    layer = LayerTable(chunk_count.astype(np.uint32), page_count.astype(np.uint32))
    return Tables(FileTable(**columns), layer, PageTable(block), chunk, pack)


class _Rows(NamedTuple):
    """Rows of the parent's table with our own behind it, as stretches."""

    first: Array
    counts: Array
    parents: int  # rows of the parent's table

    def gather(self, parents: Array, own: Array) -> Array:
        """Return a column, row by row. In batches: the rows of a large cluster fill the memory."""
        ends = starts(self.counts)
        result = np.empty(int(ends[-1]), parents.dtype)
        low = 0
        while low < len(self.counts):
            high = max(low + 1, int(np.searchsorted(ends, ends[low] + _BATCH, "right")) - 1)
            begin = self.first[low:high] - ends[low:high]
            rows = np.repeat(begin, self.counts[low:high]) + np.arange(ends[low], ends[high])
            ours = rows >= self.parents
            part = result[ends[low] : ends[high]]
            part[~ours], part[ours] = parents[rows[~ours]], own[rows[ours] - self.parents]
            low = high
        return result


class _Joined(NamedTuple):
    """The layers of the new backup, each one either of its own or the parent's."""

    is_own: Array
    owner: Array  # the entry
    source: Array  # the parent's layer

    def counts(self, parents: Array, own: Array) -> Array:
        found = own[self.owner].astype(np.int64)
        found[~self.is_own] = parents[self.source[~self.is_own]]
        return found

    def rows(self, counts: Array, parent_start: Array, own_start: Array) -> _Rows:
        """Return the rows of all layers, in the parent's table with our own behind it."""
        first = own_start[self.owner] + parent_start[-1]
        first[~self.is_own] = parent_start[self.source[~self.is_own]]
        return _Rows(first, counts, int(parent_start[-1]))


def _sizes(own: OwnLayers, taken: Taken, parent: Tables) -> Array:
    """Return each file's size: what was read of it, or what its layers make up."""
    plain = starts(own.chunk.plain)[starts(own.chunks)]
    size = np.diff(plain)
    overlaid = taken.row >= 0
    size[overlaid] = taken.size[overlaid]
    before = np.zeros(len(size), np.int64)
    before[overlaid] = parent.file.size[taken.row[overlaid]]
    held = np.where(taken.base_only, np.minimum(before, _base_bytes(taken, parent)), before)
    # A file that became shorter while it was read lacks pages, or the page that makes its overlay.
    # What is missing was cut off after the backup began, and WAL cuts it off again.
    for entry in np.flatnonzero(overlaid & (size > held)).tolist():
        size[entry] = _reached(own, entry, int(held[entry]), int(size[entry]))
    bare = overlaid & (size < before) & (size > 0) & (own.pages == 0)
    size[bare] = before[bare]
    return size


def _base_bytes(taken: Taken, parent: Tables) -> Array:
    """Return what the first layer of the parent holds of each file of which it alone is taken."""
    found = np.zeros(len(taken.row), np.int64)
    entries = np.flatnonzero(taken.base_only & (taken.row >= 0))
    layer = parent.file.layer_start[taken.row[entries]]
    plain = starts(parent.chunk.plain)[parent.layer.chunk_start]
    found[entries] = plain[layer + 1] - plain[layer]
    return found


def _reached(own: OwnLayers, entry: int, held: int, wanted: int) -> int:
    """Return how far the pages behind those that the parent holds reach without a gap."""
    start = starts(own.pages)
    blocks = own.block[start[entry] : start[entry + 1]]
    page = _page_size(own, entry)
    if not page:
        return held
    beyond = blocks[blocks >= held // page]
    whole = np.count_nonzero(beyond == held // page + np.arange(len(beyond)))
    return min(wanted, held + int(whole) * page)


def _page_size(own: OwnLayers, entry: int) -> int:
    start = starts(own.chunks)
    stored = int(own.chunk.plain[start[entry] : start[entry + 1]].sum(dtype=np.int64))
    return stored // int(own.pages[entry]) if own.pages[entry] else 0


def _promoted(own: OwnLayers, taken: Taken, size: Array) -> tuple[OwnLayers, Taken]:
    """Turn overlays that hold every page of their file into whole copies."""
    stored = np.diff(starts(own.chunk.plain)[starts(own.chunks)])
    begin = starts(own.pages)
    # Pages rise, so as many as the file has, the last one being its last, are all of them.
    full = np.flatnonzero((own.pages > 0) & (stored == size))
    last = own.block[begin[full + 1] - 1] + 1 == own.pages[full]
    whole = np.zeros(len(size), bool)
    whole[full[last]] = True
    if not whole.any():
        return own, taken
    pages = np.where(whole, 0, own.pages)
    block = own.block[~np.repeat(whole, own.pages)]
    row = np.where(whole, -1, taken.row)
    return (
        OwnLayers(own.chunks, pages, own.chunk, block, own.pack),
        Taken(row, taken.size, taken.base_only),
    )


def _chunks(
    own: OwnLayers, parent: Tables, moved: Moved, rows: _Rows
) -> tuple[ChunkTable, PackTable]:
    """Return the chunks at `rows` of both tables joined, and the packs that they lie in."""
    packs = len(parent.pack)
    parents_pack, parents_offset = parent.chunk.pack, parent.chunk.offset
    if len(moved.row):
        parents_pack, parents_offset = parents_pack.copy(), parents_offset.copy()
        parents_pack[moved.row] = packs + moved.pack
        parents_offset[moved.row] = moved.offset
    known = own.chunk.pack >= OF_PARENT
    own_pack = np.where(known, own.chunk.pack - np.uint32(OF_PARENT), own.chunk.pack + packs)
    pack = rows.gather(parents_pack, own_pack)
    used = np.zeros(packs + len(own.pack), bool)
    used[pack] = True
    number = np.cumsum(used, dtype=np.uint32) - np.uint32(1)
    columns = {
        name: rows.gather(getattr(parent.chunk, name), getattr(own.chunk, name))
        for name in ("id", "sealed", "plain")
    }
    offset = rows.gather(parents_offset, own.chunk.offset)
    ids = np.concatenate([parent.pack.id, own.pack.id])[used]
    sizes = np.concatenate([parent.pack.size, own.pack.size])[used]
    return ChunkTable(offset=offset, pack=number[pack], **columns), PackTable(ids, sizes)
