"""Puts a manifest together from what the workers of a backup stored, in whatever order they end."""

import os
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

import msgspec
import numpy as np

from pgkeep.repository.manifest.assemble import OF_PARENT, Moved, OwnLayers, Taken, assemble
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import (
    COLUMNS,
    Array,
    ChunkTable,
    EntryKind,
    FileTable,
    Heap,
    PackTable,
    Tables,
    starts,
)
from pgkeep.repository.pack import Placed, StoredPack

_LEFT_OUT: Final = -1  # the place of a file that vanished
_UNKNOWN: Final = -2  # the place of a number that nobody gave
_ROW: Final = Struct("<16sIQIIIII")
_ROW_TYPE: Final = np.dtype(
    [
        ("id", "V16"),
        ("file", "<u4"),
        ("position", "<u8"),
        ("pack", "<u4"),
        ("offset", "<u4"),
        ("sealed", "<u4"),
        ("plain", "<u4"),
        ("pages", "<u4"),
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
    """What one worker stored, small enough to send home: 48 bytes a chunk, 4 a changed page."""

    rows: bytes
    blocks: bytes  # of the rows that hold changed pages, their block numbers one after the other
    packs: tuple[StoredPack, ...]  # a row's pack is an index into these
    adopted: int = 0  # so many packs at the end were there already: of an interrupted attempt

    def column(self, name: str) -> Array:
        return np.frombuffer(self.rows, _ROW_TYPE)[name]

    @property
    def new_packs(self) -> tuple[StoredPack, ...]:
        return self.packs[: len(self.packs) - self.adopted]

    def relocated(
        self, rows: Array, pack: Array, offset: Array, packs: tuple[StoredPack, ...]
    ) -> "StoredChunks":
        """Return it with some rows' chunks elsewhere: `pack` is an index into `packs`, new ones."""
        columns = np.frombuffer(self.rows, _ROW_TYPE).copy()
        columns["pack"][rows] = pack + np.uint32(len(self.new_packs))
        columns["offset"][rows] = offset
        held = self.packs[len(self.new_packs) :]
        later = (columns["pack"] >= len(self.new_packs)) & (columns["pack"] < OF_PARENT)
        later[rows] = False
        columns["pack"][later] += np.uint32(len(packs))
        return self._replace(rows=columns.tobytes(), packs=(*self.new_packs, *packs, *held))


class ChunkLog:
    """Notes down what a worker stored. Positions of one file may come in any order."""

    def __init__(self) -> None:
        self._rows = bytearray()
        self._blocks = bytearray()
        self._adopted: dict[StoredPack, list[int]] = {}  # to the rows that lie in it

    def add(self, file: int, position: int, placed: Placed, plain: int) -> None:
        """Note that `plain` bytes at `position` of the file with this number are in a pack."""
        self._row(file, position, placed, plain, 0)

    def add_pages(self, file: int, blocks: Array, placed: Placed, plain: int) -> None:
        """Note that a chunk holds these pages of a file, rising: an overlay, or a part of one."""
        self._blocks += np.asarray(blocks, "<u4").tobytes()
        self._row(file, int(blocks[0]), placed, plain, len(blocks))

    def add_known(self, file: int, position: int, placed: Placed, plain: int) -> None:
        """`add()` for a chunk that the parent holds; its pack is a row of the parent's table."""
        self._row(file, position, placed._replace(pack=placed.pack + OF_PARENT), plain, 0)

    def note_adopted(self, pack: StoredPack) -> None:
        """Say that the row noted last lies in this pack of an interrupted attempt."""
        self._adopted.setdefault(pack, []).append(len(self._rows) // _ROW.size - 1)

    def finish(self, packs: Sequence[StoredPack]) -> StoredChunks:
        rows = np.frombuffer(self._rows, _ROW_TYPE)
        for number, found in enumerate(self._adopted.values(), len(packs)):
            rows["pack"][found] = number
        everything = (*packs, *self._adopted)
        return StoredChunks(rows.tobytes(), bytes(self._blocks), everything, len(self._adopted))

    def _row(self, file: int, position: int, placed: Placed, plain: int, pages: int) -> None:
        pack, offset, length = placed.pack, placed.offset, placed.length
        self._rows += _ROW.pack(placed.id, file, position, pack, offset, length, plain, pages)


class TakenOver(NamedTuple):
    """Files that take over layers of the parent, in columns."""

    number: Array  # as the caller numbers files
    row: Array  # in the parent's file table
    size: Array  # bytes of the file now
    base_only: Array  # the first layer alone: later ones are replaced by what is stored now


class ManifestBuilder:
    """Collects entries and chunks, then builds once. The caller numbers the files, from 0 on.

    The size of a file that was read whole is what was read: its chunks from position 0 on, up to
    the first gap. Where a file became shorter while several workers read it, what lies behind the
    gap was cut off after the backup began, and PostgreSQL writes it again from WAL.
    """

    _taken_over: TakenOver | None

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

    def times_and_inodes(self) -> tuple[Array, Array, Array]:
        """Return mtime, ctime and inode of every file that was entered, by number."""
        places = np.frombuffer(self._places, np.int64)
        fields = Attributes._fields
        found = np.frombuffer(self._attributes, np.int64).reshape(-1, len(fields))[places]
        mtime, ctime = (found[:, fields.index(name)].copy() for name in ("mtime_ns", "ctime_ns"))
        return mtime, ctime, found[:, fields.index("inode")].astype(np.uint64)

    def take_over(self, taken: TakenOver) -> None:
        """Let entered files begin with the parent's layers; pages stored now lie above them."""
        self._taken_over = taken

    def leave_out(self, number: int) -> None:
        """Forget a file that vanished, entered or not, with whatever was stored of it."""
        if number < len(self._places) and self._places[number] >= 0:
            self._dropped.add(self._places[number])
        self._place(number, _LEFT_OUT)

    def add_chunks(self, stored: StoredChunks) -> None:
        """Take a worker's result. Every file in it must be entered or left out by the end."""
        self._results.append(stored)

    def add_moved(self, row: Array, stored: StoredChunks) -> None:
        """Take chunks of the parent that were copied: `row` is in its chunk table, one by one."""
        self._moved.append((row, stored))

    def build(self, facts: Facts, parent: Tables | None = None) -> Manifest:
        """Return the manifest, with files, size and packs filled into the facts, and forget all."""
        tables = self.tables(parent)
        count, size = tables.count_files()
        facts = msgspec.structs.replace(facts, files=count, size=size, packs=len(tables.pack))
        return Manifest(facts, tables)

    def tables(self, parent: Tables | None = None) -> Tables:
        """Return the tables alone, and forget all.

        What was collected is larger than what is built from it, and encoding needs room as well.
        """
        kept = (entry for entry in range(len(self._paths)) if entry not in self._dropped)
        order = np.array(sorted(kept, key=self._paths.__getitem__), np.int64)
        packs = _Packs([*self._results, *(stored for _, stored in self._moved)])
        own, moved = self._own_layers(order, packs), self._moved_chunks(packs)
        files, taken = self._file_columns(order), self._taken(order)
        self._clear()
        return assemble(files, own, taken, parent or Tables.empty(), moved)

    def _clear(self) -> None:
        self._paths: list[bytes] = []
        self._links: dict[bytes, bytes] = {}
        self._kinds = bytearray()
        self._attributes = array("q")
        self._dropped: set[int] = set()  # entries left out after all
        self._places = array("q")  # by file number: the entry, in order of adding
        self._results: list[StoredChunks] = []
        self._taken_over = None
        self._moved: list[tuple[Array, StoredChunks]] = []

    def _place(self, number: int, place: int) -> None:
        if number == len(self._places):
            self._places.append(place)
            return
        missing = number + 1 - len(self._places)
        self._places.extend([_UNKNOWN] * missing)
        self._places[number] = place

    def _add(self, path: str, kind: EntryKind, attributes: Attributes) -> None:
        self._paths.append(os.fsencode(path))
        self._kinds.append(kind)
        if attributes.inode >> 63:  # 64 bits without a sign: XFS and overlayfs use all of them
            attributes = attributes._replace(inode=attributes.inode - (1 << 64))
        self._attributes.extend(attributes)

    def _file_columns(self, order: Array) -> FileTable:
        """Return the file table but for sizes and layers."""
        paths = [self._paths[index] for index in order.tolist()]
        fields = Attributes._fields
        attributes = np.frombuffer(self._attributes, np.int64).reshape(-1, len(fields))
        columns = {
            name: attributes[order, place].astype(COLUMNS["file"][name])
            for place, name in enumerate(fields)
        }
        return FileTable(
            path=Heap.join(paths),
            link=Heap.join([self._links[path] for path in paths if path in self._links]),
            kind=np.frombuffer(self._kinds, np.uint8)[order],
            size=np.zeros(len(order), np.uint64),
            layers=np.zeros(len(order), np.uint32),
            **columns,
        )

    def _taken(self, order: Array) -> Taken:
        row = np.full(len(self._paths), -1, np.int64)
        size = np.zeros(len(self._paths), np.int64)
        base_only = np.zeros(len(self._paths), bool)
        if self._taken_over is not None:
            places = np.frombuffer(self._places, np.int64)[self._taken_over.number]
            there = places >= 0
            for column, values in zip((row, size, base_only), self._taken_over[1:], strict=True):
                column[places[there]] = values[there]
        return Taken(row[order], size[order], base_only[order])

    def _own_layers(self, order: Array, packs: "_Packs") -> OwnLayers:
        """Return the stored chunks in the order of the entries, and the packs in use."""
        entry, rows = self._arrange(order)
        pages = self._column("pages", "<i8")
        blocks = np.frombuffer(b"".join(r.blocks for r in self._results), "<u4")
        held = pages[rows]
        first = starts(pages)[rows]
        picked = np.repeat(first - starts(held)[:-1], held) + np.arange(int(held.sum()))
        chunk = ChunkTable(
            id=self._column("id", "V16")[rows],
            pack=packs.of(self._results)[rows],
            offset=self._column("offset", "<u4")[rows],
            sealed=self._column("sealed", "<u4")[rows],
            plain=self._column("plain", "<u4")[rows],
        )
        return OwnLayers(
            chunks=np.bincount(entry, minlength=len(order)),
            pages=np.bincount(entry, held, len(order)).astype(np.int64),
            chunk=chunk,
            block=blocks[picked],
            pack=packs.table,
        )

    def _moved_chunks(self, packs: "_Packs") -> Moved:
        stored = [stored for _, stored in self._moved]
        nothing = np.zeros(0, np.int64)
        return Moved(
            np.concatenate([*(row for row, _ in self._moved), nothing]),
            packs.of(stored),
            np.concatenate([*(s.column("offset") for s in stored), nothing.astype(np.uint32)]),
        )

    def _arrange(self, order: Array) -> tuple[Array, Array]:
        """Return the stored rows that are kept, sorted by entry and position, and their entries."""
        entry, position = self._entry_of_rows(order), self._column("position", "<i8")
        rows = np.lexsort((position, entry))
        rows = rows[np.searchsorted(entry[rows], 0) :]  # those left out come first
        entry, position = entry[rows], position[rows]
        pages = self._column("pages", "<i8")[rows]
        read_before = starts(self._column("plain", "<u4")[rows])[:-1]
        position -= read_before
        position += read_before[np.searchsorted(entry, entry)]  # ... of the same file
        whole = pages == 0
        if (position[whole] < 0).any():
            raise ValueError("two workers stored the same part of a file")
        # Behind a gap every chunk is further on than what was read before it.
        kept = ~whole | (position == 0)
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

    def _column(self, name: str, kind: str) -> Array:
        columns = [result.column(name).astype(kind) for result in self._results]
        result: Array = np.concatenate([*columns, np.zeros(0, kind)])
        return result


class _Packs:
    """The packs that several workers name, each once; they may share an adopted one."""

    def __init__(self, results: Sequence[StoredChunks]) -> None:
        self._numbers: dict[StoredPack, int] = {}
        for result in results:
            for pack in result.packs:
                self._numbers.setdefault(pack, len(self._numbers))

    @property
    def table(self) -> PackTable:
        ids = b"".join(pack.id for pack in self._numbers)
        sizes = [pack.size for pack in self._numbers]
        return PackTable(np.frombuffer(ids, "V16"), np.array(sizes, np.uint32))

    def of(self, results: Sequence[StoredChunks]) -> Array:
        """Return each stored row's pack, counted over all workers; the parent's as they are."""
        found = [np.zeros(0, np.uint32)]
        for result in results:
            here = np.array([self._numbers[pack] for pack in result.packs] or [0], np.uint32)
            pack = result.column("pack")
            known = pack >= OF_PARENT
            found.append(np.where(known, pack, here[np.where(known, 0, pack)]))
        return np.concatenate(found)
