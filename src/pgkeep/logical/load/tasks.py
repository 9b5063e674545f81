"""Makes the tasks of a load as they are needed: those of a million tables would fill the memory."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pgkeep.logical.load.copying import Loaded, Piece
from pgkeep.logical.load.large_objects import WHAT, Objects, ObjectsTask, find_objects
from pgkeep.logical.load.plan import Unit, cuts
from pgkeep.logical.load.reading import read_rows
from pgkeep.logical.load.tables import CannotLoad, TableData
from pgkeep.repository.manifest.tables import ChunkTable, Tables
from pgkeep.repository.packs.chunks import ChunkReader


class Task(NamedTuple):
    """Pieces, and their chunks one after the other."""

    pieces: tuple[Piece, ...]
    chunks: ChunkTable

    def words(self, encoding: str) -> str:
        return self.pieces[0].table.words(encoding)


AnyTask = Task | ObjectsTask


class TaskMaker:
    """Knows where a dump's data lies. Reads what it must to find where rows end."""

    def __init__(self, files: Tables, encoding: str, reader: ChunkReader) -> None:
        self._files = files
        self._encoding = encoding
        self._reader = reader
        self._left = dict[int, int]()  # pieces that are not loaded yet, by dump id

    def find_objects(self, contents: str) -> Objects:
        """Read a table of contents of large objects. Raise CannotLoad."""
        number = self._files.find(contents)
        if number is None:
            raise CannotLoad(WHAT, f"the dump has no file {contents}")
        rows = self._take(self._files.chunk_rows(number))
        return find_objects(self._files, contents, read_rows(self._reader, rows, WHAT))

    def size(self, objects: Objects) -> int:
        return int(self._files.file.size[objects.file].sum())

    def of_tables(self, every: Sequence[TableData], units: Iterator[Unit]) -> Iterator[Task]:
        for unit in units:
            tables = [every[index] for index in unit.tables]
            chunk_rows = list(map(self._chunks, tables))
            for table in tables:
                self._left[table.dump_id] = 1
            if unit.parts > 1 and not tables[0].as_inserts:
                yield from self._parts(tables[0], chunk_rows[0], unit.parts)
                continue
            pieces = tuple(
                Piece(table, len(rows), 0, table.size, last=True)
                for table, rows in zip(tables, chunk_rows, strict=True)
            )
            yield Task(pieces, self._take([row for rows in chunk_rows for row in rows]))

    def ended(self, piece: Loaded) -> bool:
        """Tell whether this was the last piece of its table to be loaded."""
        self._left[piece.dump_id] -= 1
        return not self._left[piece.dump_id]

    def _chunks(self, table: TableData) -> range:
        number = self._files.find(table.file)
        size = -1 if number is None else int(self._files.file.size[number])
        if number is None or size != table.size:
            words = table.words(self._encoding)
            have = f"{size} bytes instead of {table.size}" if number is not None else "no such file"
            raise CannotLoad(f"table {words}", f"the dump has {have} as {table.file}")
        return self._files.chunk_rows(number)

    def _parts(self, table: TableData, rows: range, parts: int) -> Iterator[Task]:
        """Yield tasks for parts of a table, each of which begins with a row."""
        sizes = self._files.chunk.plain[rows.start : rows.stop].tolist()
        places = [self._next_row(table, rows, cut) for cut in cuts(sizes, parts)]
        edges = [0, *sorted({place for place in places if place < len(rows)}), len(rows)]
        self._left[table.dump_id] = len(edges) - 1
        start = 0
        for first, end in pairwise(edges):
            size = sum(sizes[first:end])
            piece = Piece(table, end - first, start, size, last=end == len(rows))
            yield Task((piece,), self._take(rows[first:end]))
            start += size

    def _next_row(self, table: TableData, rows: range, cut: int) -> int:
        """Return the first chunk from `cut` on that begins with a row: the one before ends one."""
        while cut < len(rows):
            what = f"table {table.words(self._encoding)}"
            before = self._take([rows[cut - 1]])
            content = b"".join(read_rows(self._reader, before, what))
            # Hand-written data may have a line end within a row, behind a backslash.
            if content.endswith(b"\n") and not content.endswith(b"\\\n"):
                break
            cut += 1
        return cut

    def _take(self, rows: Sequence[int]) -> ChunkTable:
        return self._files.chunk.take(np.asarray(rows, np.int64))
