"""Puts a manifest together from what the workers of a backup stored, in whatever order they end."""

import os
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

import msgspec
import numpy as np

from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import (
    COLUMNS,
    Array,
    ChunkTable,
    EntryKind,
    FileTable,
    Heap,
    LayerTable,
    PackTable,
    PageTable,
    Tables,
    starts,
)
from pgkeep.repository.pack import Placed, StoredPack

_LEFT_OUT: Final = -1  # the place of a file that vanished
_UNKNOWN: Final = -2  # the place of a number that nobody gave
_ROW: Final = Struct("<16sIQIIII")
_ROW_TYPE: Final = np.dtype(
    [
        ("id", "V16"),
        ("file", "<u4"),
        ("position", "<u8"),
        ("pack", "<u4"),
        ("offset", "<u4"),
        ("sealed", "<u4"),
        ("plain", "<u4"),
    ]
)


class Attributes(NamedTuple):
    """What is kept of a file beside its content."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0

    @classmethod
    def of(cls, stat: os.stat_result) -> "Attributes":
        return cls(
            mode=stat.st_mode & 0o7777,
            uid=stat.st_uid,
            gid=stat.st_gid,
            mtime_ns=stat.st_mtime_ns,
            ctime_ns=stat.st_ctime_ns,
            inode=stat.st_ino,
        )


class StoredChunks(NamedTuple):
    """What one worker stored, small enough to send home: 44 bytes a chunk."""

    rows: bytes
    packs: tuple[StoredPack, ...]  # a row's pack is an index into these

    def column(self, name: str) -> Array:
        return np.frombuffer(self.rows, _ROW_TYPE)[name]


class ChunkLog:
    """Notes down what a worker stored. Positions of one file may come in any order."""

    def __init__(self) -> None:
        self._rows = bytearray()

    def add(self, file: int, position: int, placed: Placed, plain: int) -> None:
        """Note that `plain` bytes at `position` of the file with this number are in a pack."""
        self._rows += _ROW.pack(
            placed.id, file, position, placed.pack, placed.offset, placed.length, plain
        )

    def finish(self, packs: Sequence[StoredPack]) -> StoredChunks:
        return StoredChunks(bytes(self._rows), tuple(packs))


class ManifestBuilder:
    """Collects entries and chunks, then builds once. The caller numbers the files, from 0 on.

    A file's size is what was read: its chunks from position 0 on, up to the first gap. Where a file
    became shorter while several workers read it, what lies behind the gap was cut off after the
    backup began, and PostgreSQL writes it again from WAL.
    """

    def __init__(self) -> None:
        self._clear()

    def add_directory(self, path: str, attributes: Attributes) -> None:
        self._add(path, EntryKind.DIRECTORY, attributes)

    def add_symlink(self, path: str, target: str, attributes: Attributes) -> None:
        self._links[os.fsencode(path)] = os.fsencode(target)
        self._add(path, EntryKind.SYMLINK, attributes)

    def add_file(self, number: int, path: str, attributes: Attributes) -> None:
        """Enter a file; its chunks come by `add_chunks`, before or after. With none it is empty."""
        self._place(number, len(self._paths))
        self._add(path, EntryKind.FILE, attributes)

    def leave_out(self, number: int) -> None:
        """Forget a file that vanished, entered or not, with whatever was stored of it."""
        if number < len(self._places) and self._places[number] >= 0:
            self._dropped.add(self._places[number])
        self._place(number, _LEFT_OUT)

    def add_chunks(self, stored: StoredChunks) -> None:
        """Take a worker's result. Every file in it must be entered or left out by the end."""
        self._results.append(stored)

    def build(self, facts: Facts) -> Manifest:
        """Return the manifest, with files, size and packs filled into the facts, and forget all.

        What was collected is larger than what is built from it, and encoding needs room as well.
        """
        kept = (entry for entry in range(len(self._paths)) if entry not in self._dropped)
        order = np.array(sorted(kept, key=self._paths.__getitem__), np.int64)
        chunk_count, chunks, packs = self._chunk_table(order)
        file = self._file_table(order, chunk_count, chunks)
        layer = LayerTable(
            chunks=chunk_count[chunk_count > 0].astype(np.uint32),
            pages=np.zeros(np.count_nonzero(chunk_count), np.uint32),
        )
        page = PageTable(np.zeros(0, np.uint32))
        tables = Tables(file, layer, page, chunks, packs)
        self._clear()
        files, size = tables.count_files()
        facts = msgspec.structs.replace(facts, files=files, size=size, packs=len(packs))
        return Manifest(facts, tables)

    def _clear(self) -> None:
        self._paths: list[bytes] = []
        self._links: dict[bytes, bytes] = {}
        self._kinds = bytearray()
        self._attributes = array("q")
        self._dropped: set[int] = set()  # entries left out after all
        self._places = array("q")  # by file number: the entry, in order of adding
        self._results: list[StoredChunks] = []

    def _place(self, number: int, place: int) -> None:
        missing = number + 1 - len(self._places)
        self._places.extend([_UNKNOWN] * missing)
        self._places[number] = place

    def _add(self, path: str, kind: EntryKind, attributes: Attributes) -> None:
        self._paths.append(os.fsencode(path))
        self._kinds.append(kind)
        inode = attributes.inode  # 64 bits without a sign: XFS and overlayfs use all of them
        signed = inode - (1 << 64) if inode >> 63 else inode
        self._attributes.extend(attributes._replace(inode=signed))

    def _file_table(self, order: Array, chunk_count: Array, chunks: ChunkTable) -> FileTable:
        paths = [self._paths[index] for index in order.tolist()]
        fields = Attributes._fields
        attributes = np.frombuffer(self._attributes, np.int64).reshape(-1, len(fields))
        columns = {
            name: attributes[order, place].astype(COLUMNS["file"][name])
            for place, name in enumerate(fields)
        }
        ends = starts(chunks.plain)[starts(chunk_count)]
        return FileTable(
            path=Heap.join(paths),
            link=Heap.join([self._links[path] for path in paths if path in self._links]),
            kind=np.frombuffer(self._kinds, np.uint8)[order],
            size=np.diff(ends).astype(np.uint64),
            layers=(chunk_count > 0).astype(np.uint32),
            **columns,
        )

    def _chunk_table(self, order: Array) -> tuple[Array, ChunkTable, PackTable]:
        """Return chunks per entry, the chunks in the order of the entries, and the packs in use."""
        entry, rows = self._arrange(order)
        count = np.bincount(entry, minlength=len(order))
        pack_ids = b"".join(pack.id for result in self._results for pack in result.packs)
        pack_sizes = [pack.size for result in self._results for pack in result.packs]
        used, pack = np.unique(self._packs()[rows], return_inverse=True)
        chunks = ChunkTable(
            id=self._column("id", "V16")[rows],
            pack=pack.astype(np.uint32),
            offset=self._column("offset", "<u4")[rows],
            sealed=self._column("sealed", "<u4")[rows],
            plain=self._column("plain", "<u4")[rows],
        )
        packs = PackTable(
            id=np.frombuffer(pack_ids, "V16")[used],
            size=np.array(pack_sizes, np.uint32)[used],
        )
        return count, chunks, packs

    def _arrange(self, order: Array) -> tuple[Array, Array]:
        """Return the stored rows that are kept, sorted by entry and position, and their entries."""
        entry, position = self._entry_of_rows(order), self._column("position", "<i8")
        rows = np.lexsort((position, entry))
        rows = rows[np.searchsorted(entry[rows], 0) :]  # those left out come first
        entry, position = entry[rows], position[rows]
        read_before = starts(self._column("plain", "<u4")[rows])[:-1]
        position -= read_before
        position += read_before[np.searchsorted(entry, entry)]  # ... of the same file
        if (position < 0).any():
            raise ValueError("two workers stored the same part of a file")
        kept = position == 0  # behind a gap every chunk is further on than what was read before it
        return entry[kept], rows[kept]

    def _entry_of_rows(self, order: Array) -> Array:
        rank = np.zeros(len(self._paths) + 1, np.int32)
        rank[order] = np.arange(len(order))
        places = np.append(np.frombuffer(self._places, np.int64), _UNKNOWN)
        place = places[np.minimum(self._column("file", "<i8"), len(places) - 1)]
        if (place == _UNKNOWN).any():
            raise ValueError("chunks were stored for a file that was never entered")
        entry: Array = np.where(place < 0, np.int32(_LEFT_OUT), rank[np.maximum(place, 0)])
        return entry

    def _packs(self) -> Array:
        """Return each stored row's pack, counted over all workers."""
        first = starts(np.array([len(result.packs) for result in self._results], np.int64))
        lengths = [len(result.column("pack")) for result in self._results]
        packs: Array = self._column("pack", "<i8") + np.repeat(first[:-1], lengths)
        return packs

    def _column(self, name: str, kind: str) -> Array:
        columns = [result.column(name).astype(kind) for result in self._results]
        result: Array = np.concatenate([*columns, np.zeros(0, kind)])
        return result
