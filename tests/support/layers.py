"""Backups built upon each other from sketches, and which chunk each page must come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from pgkeep.repository.manifest.builder import (
    Attributes,
    ChunkLog,
    ManifestBuilder,
    StoredChunks,
    TakenOver,
)
from pgkeep.repository.manifest.checks import check_tables
from pgkeep.repository.manifest.tables import Array, Tables
from pgkeep.repository.pack import Placed, StoredPack
from support.manifests import some_facts

PAGE = 8192
CHUNK_PAGES = 128
SEALED = 1000
OLD_NS = 1_700_000_000_000_000_000
LISTED_NS = OLD_NS + 10**12
SOURCE = tuple[bytes, int]  # a chunk's id and the page in it


class Whole(NamedTuple):
    """A file that was read whole."""

    pages: int
    tail: int = 0  # bytes behind the last whole page
    inode: int = 1
    mtime_ns: int = OLD_NS
    ctime_ns: int = OLD_NS
    again: bool = False  # the parent's chunks, found again


class Over(NamedTuple):
    """A file that has the parent's layers, with some pages above them."""

    pages: int
    blocks: Sequence[int] = ()
    base_only: bool = False
    per_chunk: int = CHUNK_PAGES
    inode: int = 1


@dataclass
class Layered:
    """A backup, and where each page of its files must come from."""

    tables: Tables
    number: int = 0
    pages: dict[str, list[SOURCE]] = field(default_factory=dict)
    base: dict[str, list[SOURCE]] = field(default_factory=dict)  # of the first layer alone

    def demand_right(self) -> None:
        """Every page comes from the chunk that wrote it last, and a restore would take it."""
        check_tables(self.tables, PAGE, "the test")
        found = {path: self.sources(path) for path in self.pages}
        assert found == self.pages

    def sources(self, path: str) -> list[SOURCE]:
        number = self.tables.find(path)
        assert number is not None
        row, offset = self.tables.page_sources(number, PAGE)
        ids = self.tables.chunk.id
        return [
            (ids[r].tobytes(), o // PAGE)
            for r, o in zip(row.tolist(), offset.tolist(), strict=True)
        ]

    def layers(self, path: str) -> int:
        number = self.tables.find(path)
        assert number is not None
        return int(self.tables.file.layers[number])

    def size(self, path: str) -> int:
        number = self.tables.find(path)
        assert number is not None
        return int(self.tables.file.size[number])


class Moves(NamedTuple):
    rows: Array
    stored: StoredChunks


def chunk_id(backup: int, path: str, number: int) -> bytes:
    return sha256(f"{backup} {path} {number}".encode()).digest()[:16]


def backup(
    files: Mapping[str, Whole | Over], parent: Layered | None = None, moves: Moves | None = None
) -> Layered:
    """Return a backup of `files`; all its chunks lie in one pack."""
    number = parent.number + 1 if parent else 1
    builder, log, made = ManifestBuilder(), ChunkLog(), Layered(Tables.empty(), number)
    for up in sorted({p[:i] for p in files for i, c in enumerate(p) if c == "/"}):
        builder.add_directory(up, Attributes(0o700, 0, 0, 0))
    offset = 0
    taken: list[tuple[int, int, int, bool]] = []
    for index, (path, file) in enumerate(files.items()):
        inode = file.inode
        times = (OLD_NS, OLD_NS) if isinstance(file, Over) else (file.mtime_ns, file.ctime_ns)
        builder.add_file(index, path, Attributes(0o600, 0, 0, *times, inode))
        if isinstance(file, Whole):
            pages, size = file.pages, file.pages * PAGE + file.tail
            sources = []
            for part, start in enumerate(range(0, size, CHUNK_PAGES * PAGE)):
                plain = min(size - start, CHUNK_PAGES * PAGE)
                name = chunk_id(number, path, part)
                log.add(index, start, Placed(name, 0, offset, SEALED), plain)
                offset += SEALED
                sources += [(name, place) for place in range(plain // PAGE)]
            made.pages[path] = made.base[path] = sources[:pages]
            continue
        assert parent is not None
        row = parent.tables.find(path)
        assert row is not None
        taken.append((index, row, file.pages * PAGE, file.base_only))
        below = parent.base[path] if file.base_only else parent.pages[path]
        now = [*below, *[(b"", -1)] * file.pages][: file.pages]
        for part, first in enumerate(range(0, len(file.blocks), file.per_chunk)):
            held = file.blocks[first : first + file.per_chunk]
            name = chunk_id(number, path, part)
            placed = Placed(name, 0, offset, SEALED)
            log.add_pages(index, np.array(held, np.uint32), placed, len(held) * PAGE)
            offset += SEALED
            for place, block in enumerate(held):
                if block < file.pages:
                    now[block] = (name, place)
        made.pages[path], made.base[path] = now, parent.base[path]
    packs = (StoredPack(pack_id(number), offset + 100),) if offset else ()
    builder.add_chunks(log.finish(packs))
    if taken:
        columns = zip(*taken, strict=True)
        builder.take_over(TakenOver(*(np.array(column) for column in columns)))
    if moves is not None:
        builder.add_moved(moves.rows, moves.stored)
    manifest = builder.build(some_facts(), parent.tables if parent else None)
    made.tables = manifest.tables
    return made


def pack_id(number: int) -> bytes:
    return number.to_bytes(16, "big")
