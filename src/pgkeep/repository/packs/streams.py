"""Files of a backup or dump as streams: their chunks in file order, neighbours in one request."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pgkeep.repository.manifest.tables import ChunkTable, Tables
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder
from pgkeep.units import MIB

_WINDOW: Final = 4 * MIB  # plain bytes that are fetched and held at a time


class Stretch(NamedTuple):
    """Consecutive chunks of one file."""

    file: int  # row of the file table
    first: int  # row of the chunk table
    end: int
    size: int  # plain bytes


class FileStreams:
    """Reads files without overlays from front to back. One per thread."""

    def __init__(self, cluster: ClusterFolder, tables: Tables, *, of: str) -> None:
        """`of` is the id of the backup or dump, for errors."""
        self._tables = tables
        sealer = cluster.repository.sealer()
        self._reader = ChunkReader(cluster, sealer, tables.pack, backup=of)

    def read(self, path: str) -> Iterator[bytes]:
        """Yield a file's content, chunk by chunk. Raise KeyError for a path that is not there."""
        number = self._tables.find(path)
        if number is None:
            raise KeyError(path)
        for stretch in self.stretches(number):
            yield from self.read_stretch(stretch)

    def size(self, path: str) -> int:
        """Return a file's plain bytes. Raise KeyError."""
        number = self._tables.find(path)
        if number is None:
            raise KeyError(path)
        return int(self._tables.file.size[number])

    def stretches(self, number: int, size: int = _WINDOW) -> Iterator[Stretch]:
        """Cut a file at chunks into stretches of about `size` plain bytes."""
        rows = self._tables.chunk_rows(number)
        first, held = rows.start, 0
        for row in rows:
            length = int(self._tables.chunk.plain[row])
            if held and held + length > size:
                yield Stretch(number, first, row, held)
                first, held = row, 0
            held += length
        if held:
            yield Stretch(number, first, rows.stop, held)

    def read_stretch(self, stretch: Stretch) -> Sequence[bytes]:
        """Return the chunks of a stretch, in order. Raise PackMissing, Damaged, ..."""
        rows = slice(stretch.first, stretch.end)
        chunk = self._tables.chunk
        wanted = ChunkTable(
            chunk.id[rows], chunk.pack[rows], chunk.offset[rows], chunk.sealed[rows],
            chunk.plain[rows],
        )  # fmt: skip
        parts: list[bytes] = [b""] * (stretch.end - stretch.first)
        path = self._tables.entry(stretch.file).path
        for index, plain in self._reader.read(wanted, lambda _: path):
            parts[index] = plain
        return parts
