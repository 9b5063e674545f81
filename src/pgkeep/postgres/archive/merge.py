"""Joins the tables of contents of several pg_dumps under one snapshot into one.

Each run numbers its entries from 1 on: they are numbered anew. What a run's schemas refer to in
another's is not among its dependencies. So entries are put in pg_dump's own order of kinds
(pg_dump_sort.c: dbObjectTypePriority), views behind all tables, as far as dependencies allow.
"""

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from pgkeep.postgres.archive.entries import ONCE, priority
from pgkeep.postgres.archive.reading import ArchiveReader, BadArchive
from pgkeep.postgres.archive.toc import (
    TocEntry,
    TocHeader,
    read_entries,
    read_head,
    read_one,
    write_toc,
)

_SECTION_NONE: Final = 1  # comments and privileges: they stand behind what they speak of


class _Place(NamedTuple):
    """Where an entry is, and what must come before it."""

    run: int
    position: int  # in its file
    dump_id: int  # as it will be
    before: tuple[int, ...]  # dump ids, as they will be
    priority: tuple[int, int]  # section, then kind


def merge_tocs(parts: Sequence[tuple[Path, str]], sink: BinaryIO) -> None:
    """Write one table of contents of several: files, and the prefix of their data files' names.

    The first one's header counts. Takes some 300 bytes of memory an entry. Raise BadArchive.
    """
    shifts, places = [0], list[_Place]()
    header: TocHeader | None = None
    for run, (path, _) in enumerate(parts):
        with path.open("rb") as opened:
            reader = ArchiveReader(opened, str(path))
            found = read_head(reader)
            header = header or found
            places += _places(reader, found, run, shifts[-1])
        largest = max((place.dump_id for place in places), default=0)
        shifts.append(max(largest, shifts[-1]))
    assert header is not None
    order = _ordered(places)
    entries = _entries(parts, shifts, [places[index] for index in order])
    write_toc(header, entries, len(places), sink)


def _places(reader: ArchiveReader, header: TocHeader, run: int, shift: int) -> Iterator[_Place]:
    for position, entry in read_entries(reader, header):
        if run and entry.desc in ONCE:
            continue
        section = 4 if entry.section == _SECTION_NONE else entry.section
        kind = priority(entry.desc)
        try:
            before = tuple(int(number) + shift for number in entry.dependencies)
        except ValueError:
            raise BadArchive(reader.where, "a dependency in it is no number") from None
        yield _Place(run, position, entry.dump_id + shift, before, (section, kind))


def _ordered(places: Sequence[_Place]) -> list[int]:
    """Sort by priority, then run and place, but never an entry before what it depends on."""
    index_of = {place.dump_id: index for index, place in enumerate(places)}
    waiting = [0] * len(places)
    after: dict[int, list[int]] = {}
    for index, place in enumerate(places):
        for dump_id in place.before:
            other = index_of.get(dump_id)
            if other is not None and other != index:
                waiting[index] += 1
                after.setdefault(other, []).append(index)
    ready = [(places[index].priority, index) for index, left in enumerate(waiting) if not left]
    heapq.heapify(ready)
    order = []
    while ready:
        _, index = heapq.heappop(ready)
        order.append(index)
        for other in after.get(index, ()):
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (places[other].priority, other))
    # A circle, which pg_dump has broken by the order in which it wrote: kept.
    order += (index for index, left in enumerate(waiting) if left > 0)
    return order


def _entries(
    parts: Sequence[tuple[Path, str]], shifts: Sequence[int], places: Sequence[_Place]
) -> Iterator[TocEntry]:
    opened = [path.open("rb") for path, _ in parts]
    try:
        readers = []
        for (path, _), file in zip(parts, opened, strict=True):
            reader = ArchiveReader(file, str(path))
            readers.append((reader, read_head(reader)))
        for place in places:
            reader, header = readers[place.run]
            reader.jump(place.position, opened[place.run].seek)
            entry = read_one(reader, header)
            yield _renumbered(entry, parts[place.run][1], shifts[place.run])
    finally:
        for file in opened:
            file.close()


def _renumbered(entry: TocEntry, prefix: str, shift: int) -> TocEntry:
    return entry._replace(
        dump_id=entry.dump_id + shift,
        dependencies=tuple(str(int(number) + shift) for number in entry.dependencies),
        file_name=prefix + entry.file_name if entry.file_name else entry.file_name,
    )
