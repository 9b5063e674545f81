"""Directory archives, and how the other formats look as one: it is what pgkeep keeps of a dump.

Source: pg_backup_directory.c. `toc.dat` names a file for every table's data: `3421.dat`. Large
objects have one each, `blob_16432.dat`; lists of them, `blobs.toc` or from version 1.16 on
`blobs_3430.toc` for every BLOBS entry, say which there are. Compressed files, but never lists, have
a suffix, which no entry names.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, Protocol

from pgkeep.postgres.archive.compression import SUFFIXES, plain
from pgkeep.postgres.archive.entries import LARGE_OBJECT_DATA
from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.toc import (
    Algorithm,
    DataState,
    Format,
    Toc,
    TocEntry,
    TocHeader,
    open_toc,
)
from pgkeep.units import MIB

TOC: Final = "toc.dat"
SEVERAL_LISTS_SINCE: Final = (1, 16, 0)  # pg_backup_archiver.h: K_VERS_1_16

_NAME: Final = re.compile(r"[^/\0]+")
_LINE: Final = re.compile(rb"(\d{1,10}) (\S+)")
_LINE_LIMIT: Final = 2048
_OID_LIMIT: Final = 1 << 32


class Files(Protocol):
    """The plain files of a directory archive. BadArchive for one that is not there."""

    def read(self, name: str) -> Iterable[bytes]: ...

    def size(self, name: str) -> int: ...


class ArchiveFile(NamedTuple):
    """A file of an archive, as a directory archive has it uncompressed."""

    name: str
    pieces: Iterator[bytes]


class LargeObject(NamedTuple):
    """A line of a list of large objects."""

    oid: int
    file_name: str


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory archive that exists, with files of whatever compression.

    `opened` opens a file; it raises FileNotFoundError.
    """

    opened: Callable[[str], BinaryIO]
    where: str

    def toc(self) -> Toc:
        """Raise BadArchive."""
        return open_toc(lambda: _content(self.opened(TOC)), f"{self.where}/{TOC}")

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's plain content. Raise BadArchive, also if it is not there."""
        for algorithm, suffix in SUFFIXES.items():  # pg_restore tries all of them as well
            try:
                file = self.opened(name + suffix)
            except FileNotFoundError:
                continue
            return plain(algorithm, _content(file), f"{self.where}/{name}{suffix}")
        raise BadArchive(self.where, f"there is no {name}, which its table of contents names")

    def files(self) -> Iterator[ArchiveFile]:
        """Yield the data of all entries in their order. Raise BadArchive."""
        toc = self.toc()
        for entry in toc.entries():
            name = data_file(toc.header, entry)
            if name and entry.desc == LARGE_OBJECT_DATA:
                for large_object in object_list(self.read(name), f"{self.where}/{name}"):
                    yield ArchiveFile(large_object.file_name, self.read(large_object.file_name))
            if name:
                yield ArchiveFile(name, self.read(name))


def data_file(header: TocHeader, entry: TocEntry) -> str:
    """Return the name of the file with an entry's data, '' without data. Raise BadArchive.

    What names a place outside of the directory is refused.
    """
    if not has_data(header, entry):
        return ""
    of_objects = entry.desc == LARGE_OBJECT_DATA
    if header.format is Format.CUSTOM or (of_objects and not _is_list(entry.file_name)):
        return list_name(header, entry.dump_id) if of_objects else f"{entry.dump_id}.dat"
    name = entry.file_name or ""
    if not _is_plain(name):
        raise BadArchive(
            f"entry {entry.dump_id} ({entry.desc} {entry.tag})", f"{name!r} is no file's name"
        )
    return name


def list_name(header: TocHeader, dump_id: int) -> str:
    """Return the name of the list of a BLOBS entry's large objects."""
    return f"blobs_{dump_id}.toc" if header.version >= SEVERAL_LISTS_SINCE else "blobs.toc"


def object_file(oid: int) -> str:
    return f"blob_{oid}.dat"


def has_data(header: TocHeader, entry: TocEntry) -> bool:
    if header.format is Format.CUSTOM:
        return entry.data_state != DataState.NONE
    return bool(entry.file_name)


def object_list(pieces: Iterable[bytes], where: str) -> Iterator[LargeObject]:
    """Read a list of large objects. Raise BadArchive."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _object(line, where)
        if len(rest) > _LINE_LIMIT:
            raise BadArchive(where, "it is no list of large objects")
    if rest:
        yield _object(rest, where)


def object_lines(oids: Iterable[int]) -> Iterator[bytes]:
    """Write a list of large objects as pg_dump does."""
    lines = bytearray()
    for oid in oids:
        lines += b"%d blob_%d.dat\n" % (oid, oid)
        if len(lines) >= MIB:
            yield bytes(lines)
            lines.clear()
    if lines:
        yield bytes(lines)


def as_directory(toc: Toc) -> Toc:
    """Return a table of contents as an uncompressed directory archive has it."""
    before = toc.header
    # Format TAR on purpose (pg_backup_directory.c, _CloseArchive).
    header = before._replace(format=Format.TAR, algorithm=Algorithm.NONE, level=0)
    return Toc(header, toc.count, lambda: (_in_directory(before, e) for e in toc.entries()))


def _in_directory(header: TocHeader, entry: TocEntry) -> TocEntry:
    return entry._replace(file_name=data_file(header, entry), data_state=0, offset=0)


def _is_plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in {".", "..", TOC}


def _is_list(name: str | None) -> bool:
    # Tar archives name 3430.dat, and have the list under its usual name all the same.
    return name is not None and name.endswith(".toc")


def _object(line: bytes, where: str) -> LargeObject:
    match = _LINE.fullmatch(line)
    found = (
        LargeObject(int(match[1]), match[2].decode("utf-8", "surrogateescape")) if match else None
    )
    if found is None or not 0 < found.oid < _OID_LIMIT or not _is_plain(found.file_name):
        raise BadArchive(where, f"{line[:80]!r} is no line of a list of large objects")
    return found


def _content(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(MIB):
            yield piece
