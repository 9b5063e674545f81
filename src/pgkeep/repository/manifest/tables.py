"""The tables of a backup as numpy columns: files, layers, pages, chunks, packs.

Their columns on disk: docs/formats/manifest.md. Counts are stored and starts computed, so that two
columns can never contradict each other.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # one column; COLUMNS says its type
_BATCH: Final = 8192  # rows that become Python numbers at a time
CHUNK_LIMIT: Final = 1024 * 1024  # plain bytes of one chunk
ID: Final = "|V16"  # numpy strips the NULs that end an S16, and random ids do end in NULs

# Table, then column, then type: what a manifest must hold.
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "file": {
        "path": "|u1",  # heap
        "link": "|u1",  # heap: one target per symlink
        "kind": "|u1",
        "mode": "<u2",
        "uid": "<u4",
        "gid": "<u4",
        "size": "<u8",
        "mtime_ns": "<i8",
        "ctime_ns": "<i8",
        "inode": "<u8",
        "layers": "<u4",
    },
    "layer": {"chunks": "<u4", "pages": "<u4"},
    "page": {"block": "<u4"},
    "chunk": {"id": ID, "pack": "<u4", "offset": "<u4", "sealed": "<u4", "plain": "<u4"},
    "pack": {"id": ID, "size": "<u4"},
}


class EntryKind(IntEnum):
    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2


class Entry(NamedTuple):
    """One line of the file table, for code that goes through it one by one."""

    number: int  # row of the file table
    path: str  # relative to PGDATA; bytes that are no UTF-8 are surrogates (os.fsencode)
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: str  # where a symlink points; '' for the others


class Heap(Sequence[bytes]):
    """Byte strings, each ended by a NUL, kept in one piece and cut apart when first asked."""

    def __init__(self, content: bytes) -> None:
        self.content: Final = content

    @classmethod
    def join(cls, items: Sequence[bytes]) -> Self:
        return cls(b"\0".join([*items, b""]) if items else b"")

    @cached_property
    def items(self) -> list[bytes]:
        return self.content.split(b"\0")[:-1]

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return self.content.count(b"\0")  # known before a damaged heap is cut into millions

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content}  # the cut pieces don't travel to workers


def starts(counts: Array) -> Array:
    """Return where each group begins in the table it counts, and the end as one more element."""
    result = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=result[1:])
    return result


@dataclass(frozen=True, eq=False)
class FileTable:
    """Files, directories and symlinks, sorted by the bytes of their paths."""

    path: Heap
    link: Heap
    kind: Array
    mode: Array
    uid: Array
    gid: Array
    size: Array  # bytes that were read, not what a stat said before
    mtime_ns: Array
    ctime_ns: Array
    inode: Array
    layers: Array  # how many layers of the layer table are this file's

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def layer_start(self) -> Array:
        return starts(self.layers)

    @cached_property
    def link_index(self) -> Array:
        """Return, per entry, its place in `link`; it means something for symlinks only."""
        return np.cumsum(self.kind == EntryKind.SYMLINK) - 1


@dataclass(frozen=True, eq=False)
class LayerTable:
    """What a file is made of, oldest first: a whole copy, then overlays of changed pages."""

    chunks: Array
    pages: Array  # 0 for a whole copy

    def __len__(self) -> int:
        return len(self.chunks)

    @cached_property
    def chunk_start(self) -> Array:
        return starts(self.chunks)

    @cached_property
    def page_start(self) -> Array:
        return starts(self.pages)


@dataclass(frozen=True, eq=False)
class PageTable:
    """The block numbers that the chunks of overlays hold, in order."""

    block: Array

    def __len__(self) -> int:
        return len(self.block)


@dataclass(frozen=True, eq=False)
class ChunkTable:
    """Where each chunk is stored."""

    id: Array
    pack: Array  # index into the pack table
    offset: Array  # of the sealed chunk in its pack
    sealed: Array  # bytes in the pack
    plain: Array  # bytes of the file

    def __len__(self) -> int:
        return len(self.id)

    def take(self, rows: Array) -> "ChunkTable":
        """Return a table of these rows only: small enough to send to a worker."""
        return ChunkTable(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class PackTable:
    """The packs that hold a backup's chunks."""

    id: Array
    size: Array  # bytes of the whole object

    def __len__(self) -> int:
        return len(self.id)

    def name(self, index: int) -> bytes:
        """Return the 16 bytes by which a pack is stored."""
        return bytes(self.id[index].tobytes())


TABLE_TYPES: Final[dict[str, Any]] = {
    "file": FileTable,
    "layer": LayerTable,
    "page": PageTable,
    "chunk": ChunkTable,
    "pack": PackTable,
}


class Placements(NamedTuple):
    """Which piece of a chunk goes where, as parallel columns in reading order (pack, then offset).

    A chunk of a whole copy is one piece; of an overlay, or of a copy that has overlays, every run
    of pages that nobody wrote later is one. Each byte of a file is in exactly one piece.
    """

    row: Array  # in the chunk table
    file: Array  # in the file table
    position: Array  # in the file, bytes
    start: Array  # in the plain chunk, bytes
    length: Array  # bytes


class PageSources(NamedTuple):
    """For each page of one file, the chunk that wrote it last and the place in that chunk."""

    row: Array
    offset: Array  # bytes into the plain chunk


@dataclass(frozen=True, eq=False)
class Tables:
    """All tables of one manifest. Decoded ones have been checked (checks.py)."""

    file: FileTable
    layer: LayerTable
    page: PageTable
    chunk: ChunkTable
    pack: PackTable

    @classmethod
    def empty(cls) -> Self:
        """Return the tables of a backup of nothing."""

        def column(table: str, name: str) -> Array | Heap:
            if name in ("path", "link"):
                return Heap(b"")
            return np.zeros(0, COLUMNS[table][name])

        columns = {
            table: {name: column(table, name) for name in names} for table, names in COLUMNS.items()
        }
        return cls(**{table: TABLE_TYPES[table](**columns[table]) for table in COLUMNS})

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in path order, so that a directory comes before what is in it."""
        files, links = self.file, iter(self.file.link)
        columns = (files.kind, files.mode, files.uid, files.gid, files.size, files.mtime_ns)
        for start in range(0, len(files), _BATCH):
            part = slice(start, start + _BATCH)
            rows = zip(*(column[part].tolist() for column in columns), strict=True)
            for number, row in enumerate(rows, start):
                kind, mode, uid, gid, size, mtime = row
                link = os.fsdecode(next(links)) if kind == EntryKind.SYMLINK else ""
                path = os.fsdecode(files.path[number])
                yield Entry(number, path, EntryKind(kind), mode, uid, gid, size, mtime, link)

    def entry(self, number: int) -> Entry:
        files = self.file
        kind = EntryKind(int(files.kind[number]))
        link = files.link[files.link_index[number]] if kind is EntryKind.SYMLINK else b""
        return Entry(
            number=number,
            path=os.fsdecode(files.path[number]),
            kind=kind,
            mode=int(files.mode[number]),
            uid=int(files.uid[number]),
            gid=int(files.gid[number]),
            size=int(files.size[number]),
            mtime_ns=int(files.mtime_ns[number]),
            link=os.fsdecode(link),
        )

    def count_files(self) -> tuple[int, int]:
        """Return how many files there are and their bytes."""
        count = np.count_nonzero(self.file.kind == EntryKind.FILE)
        return int(count), int(self.file.size.sum(dtype=np.uint64))

    def find(self, path: str) -> int | None:
        """Return the number of the entry at `path`, or None."""
        wanted = os.fsencode(path)
        index = bisect_left(self.file.path.items, wanted)
        return index if index < len(self.file) and self.file.path[index] == wanted else None

    def chunk_rows(self, number: int) -> range:
        """Return the chunks of a file without overlays, in file order. Empty files have none."""
        first, end = self.file.layer_start[number], self.file.layer_start[number + 1]
        return range(int(self.layer.chunk_start[first]), int(self.layer.chunk_start[end]))

    def placements(self, files: Array | None = None, block_size: int = 8192) -> Placements:
        """Return where the chunks of these files (default: all) go.

        Memory: 40 bytes a piece. A file with overlays may have as many pieces as pages: ask for
        some such files at a time.
        """
        if files is None:
            files = np.arange(len(self.file))
        files = np.asarray(files, np.int64)
        layers = self.file.layers[files]
        parts = [self._whole_placements(files[layers == 1])]
        parts += (self._overlaid_placements(n, block_size) for n in files[layers > 1].tolist())
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        row = columns[0]
        order = np.lexsort((columns[2], self.chunk.offset[row], self.chunk.pack[row]))
        return Placements(*(column[order] for column in columns))

    def _whole_placements(self, files: Array) -> Placements:
        layer = self.file.layer_start[files]
        first, count = self.layer.chunk_start[layer], self.layer.chunks[layer]
        owner = np.repeat(np.arange(len(files)), count)
        row = np.arange(len(owner)) - starts(count)[owner] + first[owner]
        position = self._plain_start[row] - self._plain_start[first][owner]
        length = self.chunk.plain[row].astype(np.int64)
        return Placements(row, files[owner], position, np.zeros_like(position), length)

    def _overlaid_placements(self, number: int, block_size: int) -> Placements:
        row, offset = self.page_sources(number, block_size)
        follows = (np.diff(row) == 0) & (np.diff(offset) == block_size)
        begin = np.flatnonzero(np.concatenate(([True], ~follows))) if len(row) else row
        length = np.diff(np.append(begin, len(row))) * block_size
        file = np.full(len(begin), number, np.int64)
        return Placements(row[begin], file, begin * block_size, offset[begin], length)

    @cached_property
    def _plain_start(self) -> Array:
        return starts(self.chunk.plain)

    def overlaid(self) -> Array:
        """Return the files that have overlays."""
        return np.flatnonzero(self.file.layers > 1)

    def page_sources(self, number: int, block_size: int) -> PageSources:
        """Return the last writer of each page. Pure arithmetic: reads no chunk."""
        pages = int(self.file.size[number]) // block_size
        row, offset = np.full(pages, -1, np.int64), np.zeros(pages, np.int64)
        for layer in range(*self.file.layer_start[number : number + 2].tolist()):
            rows = np.arange(*self.layer.chunk_start[layer : layer + 2])
            held = self.chunk.plain[rows] // block_size
            source = np.repeat(rows, held)
            place = (np.arange(len(source)) - np.repeat(starts(held)[:-1], held)) * block_size
            block = self._blocks(layer, len(source))
            kept = block < pages  # the file may have become shorter since
            row[block[kept]], offset[block[kept]] = source[kept], place[kept]
        return PageSources(row, offset)

    def _blocks(self, layer: int, count: int) -> Array:
        first, end = self.layer.page_start[layer : layer + 2]
        return np.arange(count) if first == end else self.page.block[first:end]
