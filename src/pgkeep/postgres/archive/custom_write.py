"""Writes custom archives: pg_backup_custom.c.

Without compression it is known beforehand where everything will stand, so that even what goes
through a pipe can be restored by `pg_restore -j` once it is in a file.
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final, Protocol

from pgkeep.postgres.archive.compression import ZSTD_SINCE, Compression, compressed
from pgkeep.postgres.archive.custom import BLOCK_DATA, BLOCK_OBJECTS
from pgkeep.postgres.archive.directory import Files, data_file, object_list
from pgkeep.postgres.archive.entries import LARGE_OBJECT_DATA
from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.toc import (
    Algorithm,
    DataState,
    Format,
    Toc,
    TocEntry,
    TocHeader,
    write_toc,
)
from pgkeep.units import KIB

_CHUNK: Final = 256 * KIB  # pg_restore has a buffer for one
_GZIP_DEFAULT: Final = -1
_UNCOMPRESSED: Final = Compression()


class SeekableSink(Protocol):
    """A file or pipe, written from where it is."""

    def write(self, content: bytes | memoryview, /) -> object: ...

    def seekable(self) -> bool: ...

    def tell(self) -> int: ...

    def seek(self, position: int, /) -> int: ...


def write_custom(
    sink: SeekableSink, toc: Toc, files: Files, compression: Compression = _UNCOMPRESSED
) -> None:
    """Write what a directory archive holds: its table of contents, and the data it names.

    Reads `toc` three times. Raise BadArchive, also when a file has not the size it should.
    ValueError for a compression that archives of this version can't have.
    """
    writer = _Writer(sink, toc, files, compression)
    if compression.algorithm is Algorithm.NONE:
        writer.write_toc(writer.places_beforehand())
        for _ in writer.write_blocks():
            pass
        return
    rewrite = sink.seekable()
    begin = sink.tell() if rewrite else 0
    writer.write_toc(None)
    places = array("q", writer.write_blocks())
    if rewrite:
        end = sink.tell()
        sink.seek(begin)
        writer.write_toc(places)
        sink.seek(end)


def supports(header: TocHeader, algorithm: Algorithm) -> bool:
    """Say whether custom archives of this version may be compressed so, and we can do it."""
    if algorithm is Algorithm.ZSTD:
        return header.version >= ZSTD_SINCE
    return algorithm is not Algorithm.LZ4


class _Writer:
    def __init__(
        self, sink: SeekableSink, toc: Toc, files: Files, compression: Compression
    ) -> None:
        if not supports(toc.header, compression.algorithm):
            version = ".".join(map(str, toc.header.version))
            raise ValueError(f"no {compression.algorithm.name} in archives of version {version}")
        level = _GZIP_DEFAULT if compression.level is None else compression.level
        self._sink = _Counting(sink)
        self._toc = toc
        self._files = files
        self._compression = compression
        self._number_size = 1 + toc.header.int_size
        self._header = toc.header._replace(
            format=Format.CUSTOM,
            algorithm=compression.algorithm,
            level=level if compression.algorithm is Algorithm.GZIP else 0,
        )

    def write_toc(self, places: Iterable[int] | None) -> None:
        """Write the table of contents, with places of all blocks if they are known."""
        entries = (changed for _, _, changed in self._entries(places))
        write_toc(self._header, entries, self._toc.count, self._sink)

    def places_beforehand(self) -> Iterator[int]:
        """Yield where each block will begin. The table of contents is read at once."""
        sizes, measured = array("q"), _Counting(None)
        entries = self._measured(sizes)
        write_toc(self._header, entries, self._toc.count, measured)
        return accumulate(sizes, initial=measured.written)

    def _measured(self, sizes: "array[int]") -> Iterator[TocEntry]:
        """Yield entries as they will be, and note the sizes of their blocks."""
        for entry, name, changed in self._entries(None):
            if name:
                sizes.append(self._block_size(entry, name))
            yield changed

    def _block_size(self, entry: TocEntry, name: str) -> int:
        size = 1 + self._number_size  # kind and dump id
        if entry.desc != LARGE_OBJECT_DATA:
            return size + self._stored_size(self._files.size(name))
        for large_object in object_list(self._files.read(name), name):
            stored = self._stored_size(self._files.size(large_object.file_name))
            size += self._number_size + stored
        return size + self._number_size

    def write_blocks(self) -> Iterator[int]:
        """Write the data of all entries, and yield where each block begins."""
        for entry, name in self._blocks():
            yield self._sink.written
            of_objects = entry.desc == LARGE_OBJECT_DATA
            kind = BLOCK_OBJECTS if of_objects else BLOCK_DATA
            self._sink.write(bytes([kind]) + self._number(entry.dump_id))
            if of_objects:
                for large_object in object_list(self._files.read(name), name):
                    self._sink.write(self._number(_as_int(large_object.oid)))
                    self._write_file(large_object.file_name)
                self._sink.write(self._number(0))
            else:
                self._write_file(name)

    def _blocks(self) -> Iterator[tuple[TocEntry, str]]:
        for entry in self._toc.entries():
            if name := data_file(self._toc.header, entry):
                yield entry, name

    def _entries(self, places: Iterable[int] | None) -> Iterator[tuple[TocEntry, str, TocEntry]]:
        """Yield entries, the files with their data, and what becomes of the entries."""
        following = iter(places) if places is not None else None
        for entry in self._toc.entries():
            state, place = DataState.NONE, 0
            if name := data_file(self._toc.header, entry):
                state = DataState.SOMEWHERE
                if following is not None:
                    state, place = DataState.AT_OFFSET, next(following)
            changed = entry._replace(file_name=None, data_state=state, offset=place)
            yield entry, name, changed

    def _write_file(self, name: str) -> None:
        size = self._files.size(name)
        pieces = exactly(self._files.read(name), size, name)
        if self._compression.algorithm is Algorithm.NONE:
            self._write_chunks(pieces, size)
        else:
            for piece in compressed(self._compression, pieces):
                if piece:
                    self._sink.write(self._number(len(piece)) + piece)
        self._sink.write(self._number(0))

    def _write_chunks(self, pieces: Iterable[bytes], size: int) -> None:
        """Write chunks of one length, however long the pieces are: nothing is copied."""
        left, room = size, 0
        for piece in pieces:
            view = memoryview(piece)
            while view:
                if not room:
                    room = min(_CHUNK, left)
                    left -= room
                    self._sink.write(self._number(room))
                part = view[:room]
                self._sink.write(part)
                room -= len(part)
                view = view[len(part) :]

    def _stored_size(self, size: int) -> int:
        chunks = -(-size // _CHUNK)
        return size + (chunks + 1) * self._number_size

    def _number(self, value: int) -> bytes:
        size = self._toc.header.int_size
        return bytes([value < 0]) + abs(value).to_bytes(size, "little")


class _Counting:
    def __init__(self, sink: SeekableSink | None) -> None:
        self._sink = sink
        self.written = 0

    def write(self, content: bytes | memoryview, /) -> None:
        self.written += len(content)
        if self._sink is not None:
            self._sink.write(content)


def exactly(pieces: Iterable[bytes], size: int, name: str) -> Iterator[bytes]:
    """Yield pieces that must have `size` bytes together. Raise BadArchive before there are more."""
    left = size
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        more = "more" if left < 0 else "less"
        raise BadArchive(name, f"it has {more} than the {size} bytes that it should have")


def _as_int(oid: int) -> int:
    """As C does: the larger half of all OIDs is negative."""
    return oid - (1 << 32) if oid >= 1 << 31 else oid
