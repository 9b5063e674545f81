"""Which chunks are carried out of mostly dead packs. Pure.

A pack dies when the last manifest that names it is gone. What little of it is still in use would
keep all of it, so the backup that finds it mostly unused copies those chunks into packs of its own.
The small packs of many small backups are gathered into large ones likewise.
"""

from typing import Final

import numpy as np

from pgkeep.repository.manifest.tables import Array, Tables, starts
from pgkeep.units import KIB, MIB

_PACKS: Final = 8192  # looked at together
_WORTH_WHILE: Final = 64 * KIB  # of smaller packs the table of contents is a good part
_SMALL: Final = MIB
_MOST_SMALL: Final = 256  # small packs of one backup; one more, and all of them become one


def live_chunks(tables: Tables, files: Array, base_only: Array) -> Array:
    """Tell for each chunk of the parent whether the new backup takes it over.

    `files` are rows of the file table whose layers are taken over; of those that `base_only` tells
    it is the first layer alone.
    """
    layers = np.where(
        base_only, np.minimum(1, tables.file.layers[files]), tables.file.layers[files]
    )
    first = tables.file.layer_start[files]
    rows = np.repeat(first - starts(layers)[:-1], layers) + np.arange(int(layers.sum()))
    # +1 where a live layer begins, -1 behind its end: the running sum is 1 inside.
    edges = np.zeros(len(tables.chunk) + 1, np.int8)
    np.add.at(edges, tables.layer.chunk_start[rows], 1)
    np.add.at(edges, tables.layer.chunk_start[rows + 1], -1)
    live: Array = np.cumsum(edges[:-1], dtype=np.int8) > 0
    return live


def chunks_to_move(
    tables: Tables, live: Array, least_percent: int, lost: frozenset[int] = frozenset()
) -> Array:
    """Return the live chunks of packs of which less than that is live, in reading order (0: none).

    Equal chunks are stored once: all their rows are returned, and lie side by side.
    """
    used = _used(tables, live)
    size = tables.pack.size.astype(np.float64)
    dead = (used > 0) & (used * 100 < least_percent * size) & (size >= _WORTH_WHILE)
    small = (used > 0) & (size < _SMALL)
    if np.count_nonzero(small) > _MOST_SMALL and least_percent:
        dead |= small
    dead[list(lost)] = False
    return _in_order(tables, np.flatnonzero(live & dead[tables.chunk.pack]))


def _used(tables: Tables, live: Array) -> Array:
    """Return how many bytes of each pack are live; some packs at a time, to save memory."""
    used = np.zeros(len(tables.pack))
    for start in range(0, len(used), _PACKS):
        here = (tables.chunk.pack >= start) & (tables.chunk.pack < start + _PACKS)
        rows = _in_order(tables, np.flatnonzero(live & here))
        pack, offset = tables.chunk.pack[rows], tables.chunk.offset[rows]
        first = np.ones(len(rows), bool)
        first[1:] = (pack[1:] != pack[:-1]) | (offset[1:] != offset[:-1])
        used += np.bincount(pack[first], tables.chunk.sealed[rows[first]], len(used))
    return used


def _in_order(tables: Tables, rows: Array) -> Array:
    order: Array = rows[np.lexsort((tables.chunk.offset[rows], tables.chunk.pack[rows]))]
    return order
