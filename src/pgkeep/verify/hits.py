"""Which files of a backup a damage hits: by path, by blocks and by database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pgkeep.postgres.layout import relation_of_path
from pgkeep.repository import names
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import Array, PackTable, Tables
from pgkeep.verify.content import BadPart

SHOWN: Final = 1000  # files of a backup that are described; all are counted

Damage = Mapping[str, Sequence[BadPart]]  # by the pack's object name


@dataclass(frozen=True, slots=True)
class FileHit:
    """A file of a backup that has lost something."""

    path: str
    size: int
    lost: int  # bytes
    ranges: tuple[tuple[int, int], ...]  # of bytes in the file: start and end
    blocks: tuple[tuple[int, int], ...]  # of a relation's fork, first and last; () for others
    database: str  # '' for what belongs to none
    packs: tuple[str, ...]  # object names


@dataclass(frozen=True, slots=True)
class FilesHit:
    """The files of one backup that have lost something."""

    count: int
    first: tuple[FileHit, ...] = ()  # up to SHOWN of them
    packs: tuple[str, ...] = ()  # object names of those in which chunks are lost


def packs_hit(cluster: str, packs: PackTable, damage: Damage) -> dict[int, str]:
    """Return the rows of a backup's pack table that are damaged, with their objects' names."""
    if not damage:
        return {}
    rows = ((row, names.pack(cluster, packs.name(row))) for row in range(len(packs)))
    return {row: name for row, name in rows if name in damage}


def files_hit(facts: Facts, tables: Tables, damage: Damage) -> "FilesHit":
    """Return the files that need a damaged part, in the order of their paths."""
    packs = packs_hit(facts.cluster, tables.pack, damage)
    lost = _rows_lost(tables, packs, damage)
    if not len(lost):
        return FilesHit(0)
    bad = np.zeros(len(tables.chunk), bool)
    bad[lost] = True
    hits: list[FileHit] = []
    count = 0
    for number in np.unique(_file_of(tables, lost)).tolist():
        if len(hits) == SHOWN and tables.file.layers[number] == 1:
            count += 1
            continue
        # One at a time: a file with overlays may have as many pieces as pages.
        placed = tables.placements(np.array([number]), facts.generation.block_size)
        kept = np.flatnonzero(bad[placed.row])
        if not len(kept):
            continue  # every page in the damaged chunks was written again later
        count += 1
        if len(hits) < SHOWN:
            rows, start = placed.row[kept], placed.position[kept]
            ranges = _joined(start, start + placed.length[kept])
            objects = sorted({packs[index] for index in tables.chunk.pack[rows].tolist()})
            hits.append(_hit(facts, tables, number, ranges, tuple(objects)))
    if not count:
        return FilesHit(0)
    lost_in = np.unique(tables.chunk.pack[lost]).tolist()
    return FilesHit(count, tuple(hits), tuple(sorted(packs[index] for index in lost_in)))


def _rows_lost(tables: Tables, packs: Mapping[int, str], damage: Damage) -> Array:
    chunk, lost = tables.chunk, [np.zeros(0, np.int64)]
    order = np.argsort(chunk.pack, kind="stable")
    sorted_packs = chunk.pack[order]
    for index, name in packs.items():
        first, end = np.searchsorted(sorted_packs, [index, index + 1])
        rows = order[first:end]
        starts = chunk.offset[rows].astype(np.int64)
        ends = starts + chunk.sealed[rows]
        for part in damage[name]:
            hit = rows[(starts < part.end) & (ends > part.start)]
            if part.id is not None:
                hit = hit[chunk.id[hit] == np.frombuffer(part.id, chunk.id.dtype)[0]]
            lost.append(hit)
    result: Array = np.unique(np.concatenate(lost))
    return result


def _file_of(tables: Tables, rows: Array) -> Array:
    layer = np.searchsorted(tables.layer.chunk_start, rows, "right") - 1
    files: Array = np.searchsorted(tables.file.layer_start, layer, "right") - 1
    return files


def _joined(starts: Array, ends: Array) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(zip(starts.tolist(), ends.tolist(), strict=True)):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _hit(
    facts: Facts,
    tables: Tables,
    number: int,
    ranges: tuple[tuple[int, int], ...],
    packs: tuple[str, ...],
) -> FileHit:
    entry, generation = tables.entry(number), facts.generation
    relation = relation_of_path(entry.path)
    blocks: tuple[tuple[int, int], ...] = ()
    database = ""
    if relation is not None:
        first, size = relation.first_block(generation.segment_blocks), generation.block_size
        blocks = tuple((first + start // size, first + (end - 1) // size) for start, end in ranges)
        database = _database(facts, relation.database)
    lost = sum(end - start for start, end in ranges)
    return FileHit(entry.path, entry.size, lost, ranges, blocks, database, packs)


def _database(facts: Facts, oid: int) -> str:
    if not oid:
        return "all databases"  # a catalog that they share
    known = {database.oid: database.name for database in facts.databases}
    return known.get(oid, f"database {oid}")
