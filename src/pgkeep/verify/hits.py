"""Which files of a backup or dump a damage hits: by path, by blocks and by database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pgkeep.postgres.layout import relation_of_path
from pgkeep.repository import names
from pgkeep.repository.manifest.dump_facts import DumpFacts
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import Array, PackTable, Tables
from pgkeep.verify.content import BadPart

_SHARED: Final = "all databases"
SHOWN: Final = 1000  # files that are described; all are counted
_NO_OVERLAYS: Final = 8192  # of a dump's files, which have no pages: any size will do

Damage = Mapping[str, Sequence[BadPart]]  # by the pack's object name


@dataclass(frozen=True, slots=True)
class FileHit:
    """A file of a backup or dump that has lost something."""

    path: str
    size: int
    lost: int  # bytes
    ranges: tuple[tuple[int, int], ...]  # of bytes in the file: start and end
    blocks: tuple[tuple[int, int], ...]  # of a relation's fork, first and last; () for others
    database: str  # '' for what belongs to none
    packs: tuple[str, ...]  # object names


@dataclass(frozen=True, slots=True)
class FilesHit:
    """The files of one backup or dump that have lost something."""

    count: int
    first: tuple[FileHit, ...] = ()  # up to SHOWN of them
    packs: tuple[str, ...] = ()  # object names of those in which chunks are lost


def packs_hit(cluster: str, packs: PackTable, damage: Damage) -> dict[int, str]:
    """Return the rows of a pack table that are damaged, with their objects' names."""
    if not damage:
        return {}
    rows = ((row, names.pack(cluster, packs.name(row))) for row in range(len(packs)))
    return {row: name for row, name in rows if name in damage}


def files_hit(facts: Facts, tables: Tables, damage: Damage) -> FilesHit:
    """Return a backup's files that need a damaged part, in the order of their paths."""
    block_size = facts.generation.block_size
    subject = _Subject(facts.cluster, block_size, lambda *hit: _of_backup(facts, *hit))
    return _files_hit(subject, tables, damage)


def dump_files_hit(facts: DumpFacts, tables: Tables, damage: Damage) -> FilesHit:
    """Return a dump's files that need a damaged part, in the order of their paths."""
    subject = _Subject(facts.cluster, _NO_OVERLAYS, lambda path, _: _of_dump(facts, path))
    return _files_hit(subject, tables, damage)


_Ranges = tuple[tuple[int, int], ...]  # of bytes or blocks
_Place = tuple[_Ranges, str]  # blocks, and a database


class _Subject(NamedTuple):
    """Whose files are looked at."""

    cluster: str
    block_size: int
    place: Callable[[str, _Ranges], _Place]  # of ranges in a file


def _files_hit(subject: _Subject, tables: Tables, damage: Damage) -> FilesHit:
    packs = packs_hit(subject.cluster, tables.pack, damage)
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
        placed = tables.placements(np.array([number]), subject.block_size)
        kept = np.flatnonzero(bad[placed.row])
        if not len(kept):
            continue  # every page in the damaged chunks was written again later
        count += 1
        if len(hits) < SHOWN:
            rows, start = placed.row[kept], placed.position[kept]
            ranges = _joined(start, start + placed.length[kept])
            objects = sorted({packs[index] for index in tables.chunk.pack[rows].tolist()})
            entry = tables.entry(number)
            blocks, database = subject.place(entry.path, ranges)
            size = sum(end - start for start, end in ranges)
            where = (ranges, blocks, database, tuple(objects))
            hits.append(FileHit(entry.path, entry.size, size, *where))
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


def _of_backup(facts: Facts, path: str, ranges: _Ranges) -> _Place:
    generation, relation = facts.generation, relation_of_path(path)
    if relation is None:
        return (), ""
    first, size = relation.first_block(generation.segment_blocks), generation.block_size
    blocks = tuple((first + start // size, first + (end - 1) // size) for start, end in ranges)
    return blocks, _database(facts, relation.database)


def _of_dump(facts: DumpFacts, path: str) -> _Place:
    folder = path.partition("/")[0]
    known = {database.folder: database.name for database in facts.databases}
    return (), known.get(folder, _SHARED)


def _database(facts: Facts, oid: int) -> str:
    if not oid:
        return _SHARED  # a catalog
    known = {database.oid: database.name for database in facts.databases}
    return known.get(oid, f"database {oid}")
