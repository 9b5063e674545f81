"""Reads custom archives from front to back, be it from a pipe.

Source: pg_backup_custom.c. Behind the table of contents stands a block for each entry with data, in
the same order: its kind, the entry's dump id, and for a table chunks with their lengths up to one
of length 0. For large objects the OID of each and its chunks, up to the OID 0.
"""

from array import array
from collections.abc import Iterator
from typing import Final

from pgkeep.postgres.archive.compression import plain
from pgkeep.postgres.archive.directory import ArchiveFile, list_name, object_file, object_lines
from pgkeep.postgres.archive.entries import LARGE_OBJECT_DATA
from pgkeep.postgres.archive.reading import ArchiveReader
from pgkeep.postgres.archive.toc import (
    DataState,
    Format,
    Toc,
    TocEntry,
    read_count,
    read_head,
    read_one,
)

BLOCK_DATA: Final = 1  # pg_backup_archiver.h: BLK_DATA
BLOCK_OBJECTS: Final = 3  # BLK_BLOBS
_OIDS: Final = 0xFFFFFFFF  # the larger half of all OIDs is written as negative numbers


class CustomArchive:
    """A custom archive, read once: `toc.entries()`, then `files()`."""

    def __init__(self, reader: ArchiveReader) -> None:
        """Raise BadArchive."""
        header = read_head(reader)
        if header.format is not Format.CUSTOM:
            raise reader.wrong("it is the table of contents of a directory or tar archive")
        self._reader = reader
        self._kinds = dict[int, int]()  # of the blocks that must come, by dump id
        self.toc: Final = Toc(header, read_count(reader), lambda: self._entries)
        self._entries = self._read_entries()

    def files(self) -> Iterator[ArchiveFile]:
        """Yield all data in the archive's order, named as in a directory. Raise BadArchive.

        What is left of one when the next is asked for is skipped.
        """
        for _ in self._entries:
            pass
        reader = self._reader
        while not reader.ended():
            kind, dump_id = reader.byte(), reader.number()
            if self._kinds.pop(dump_id, None) != kind:
                before = reader.position
                raise reader.wrong(f"before byte {before} is no block that its entries announce")
            if kind == BLOCK_DATA:
                yield from self._file(f"{dump_id}.dat")
            else:
                yield from self._objects(dump_id)
        if self._kinds:
            missing = min(self._kinds)
            raise reader.wrong(
                f"it ends at byte {reader.position}, before the data of entry {missing}"
            )

    def _read_entries(self) -> Iterator[TocEntry]:
        header = self.toc.header
        for _ in range(self.toc.count):
            entry = read_one(self._reader, header)
            if entry.data_state != DataState.NONE:
                of_objects = entry.desc == LARGE_OBJECT_DATA
                self._kinds[entry.dump_id] = BLOCK_OBJECTS if of_objects else BLOCK_DATA
            yield entry

    def _file(self, name: str) -> Iterator[ArchiveFile]:
        stored = self._reader.chunks()
        where = f"{name} of {self._reader.where}"
        yield ArchiveFile(name, plain(self.toc.header.algorithm, stored, where))
        for _ in stored:
            pass

    def _objects(self, dump_id: int) -> Iterator[ArchiveFile]:
        oids = array("I")
        while oid := self._reader.number() & _OIDS:
            yield from self._file(object_file(oid))
            oids.append(oid)
        yield ArchiveFile(list_name(self.toc.header, dump_id), object_lines(oids))
