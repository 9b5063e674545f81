"""Carries what a dump uses of mostly dead packs into new ones, so that the old ones can go.

A dump names the packs of older dumps: a pack would stay for the sake of its last chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pgkeep.repository.manifest.assemble import OF_PARENT
from pgkeep.repository.manifest.builder import StoredChunks
from pgkeep.repository.manifest.tables import Array, ChunkTable, PackTable, Tables
from pgkeep.repository.pack import PackWriter, StoredPack
from pgkeep.repository.packs.moving import Mover
from pgkeep.repository.repository import ClusterFolder

_LIVE: Final = 0.5  # of a pack's bytes; below that its chunks move on
_OFFSET_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was stored, with known chunks where they lie now."""

    stored: tuple[StoredChunks, ...]
    moved: int = 0  # sealed bytes
    notes: tuple[str, ...] = ()


def clean(
    cluster: ClusterFolder, stored: Sequence[StoredChunks], parent: Tables, level: int
) -> Cleaned:
    """Move chunks out of packs of which less than half is used; the new packs are durable then."""
    used = _known_chunks(stored)
    chosen = used.take(np.flatnonzero(is_sparse(used, parent.pack)[used.pack]))
    if not len(chosen):
        return Cleaned(tuple(stored))
    sealer = cluster.repository.sealer(level)
    writer = PackWriter(cluster, sealer)
    moved = Mover(cluster, sealer).move(chosen, parent.pack, writer)
    packs = writer.finish()
    if not moved.rows:
        return Cleaned(tuple(stored), notes=tuple(moved.notes))
    rows = np.array(moved.rows, np.int64)
    place = _places(chosen.pack[rows], chosen.offset[rows])
    order = np.argsort(place)
    to_pack = np.array([placed.pack for placed in moved.placed], np.uint32)[order]
    to_offset = np.array([placed.offset for placed in moved.placed], np.uint32)[order]
    place = place[order]
    rewritten = tuple(_rewritten(one, place, to_pack, to_offset, packs) for one in stored)
    size = int(chosen.sealed[rows].sum(dtype=np.int64))
    return Cleaned(rewritten, size, tuple(moved.notes))


def is_sparse(used: ChunkTable, packs: PackTable) -> Array:
    """Tell of each pack whether less than half of it is used, but some of it."""
    live = np.bincount(used.pack, used.sealed, len(packs))
    sparse: Array = (live > 0) & (live < packs.size * _LIVE)
    return sparse


def _known_chunks(stored: Sequence[StoredChunks]) -> ChunkTable:
    """Return the parent's chunks that are used, each once; packs are rows of its pack table."""
    columns = {
        name: np.concatenate([one.column(name) for one in stored] or [np.zeros(0, kind)])
        for name, kind in (
            ("id", "V16"),
            ("pack", "<u4"),
            ("offset", "<u4"),
            ("sealed", "<u4"),
            ("plain", "<u4"),
        )
    }
    known = np.flatnonzero(columns["pack"] >= OF_PARENT)
    columns = {name: column[known] for name, column in columns.items()}
    columns["pack"] = columns["pack"] - np.uint32(OF_PARENT)
    _, first = np.unique(_places(columns["pack"], columns["offset"]), return_index=True)
    return ChunkTable(**{name: column[first] for name, column in columns.items()})


def _places(pack: Array, offset: Array) -> Array:
    places: Array = (pack.astype(np.uint64) << np.uint64(_OFFSET_BITS)) | offset
    return places


def _rewritten(
    one: StoredChunks, place: Array, to_pack: Array, to_offset: Array, packs: tuple[StoredPack, ...]
) -> StoredChunks:
    """Return what a worker stored, with the moved chunks in their new packs."""
    pack, offset = one.column("pack"), one.column("offset")
    known = np.flatnonzero(pack >= OF_PARENT)
    wanted = _places(pack[known] - np.uint32(OF_PARENT), offset[known])
    found = np.searchsorted(place, wanted)
    hit = (found < len(place)) & (place[np.minimum(found, len(place) - 1)] == wanted)
    return one.relocated(known[hit], to_pack[found[hit]], to_offset[found[hit]], packs)
