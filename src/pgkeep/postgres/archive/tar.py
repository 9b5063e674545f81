"""Tar archives of pg_dump: a directory archive in one file, in an order that can be read once.

Source: pg_backup_tar.c and port/tar.c, tarCreateHeader. `toc.dat` is first, then come files in the
order of the entries, large objects before their list. pg_restore only ever goes forward. The
script `restore.sql`, which pg_dump puts last, is neither written nor read: pg_restore has no use
for it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pgkeep.postgres.archive.custom_write import exactly
from pgkeep.postgres.archive.directory import (
    TOC,
    ArchiveFile,
    Files,
    as_directory,
    data_file,
    object_list,
)
from pgkeep.postgres.archive.entries import LARGE_OBJECT_DATA
from pgkeep.postgres.archive.reading import ArchiveReader
from pgkeep.postgres.archive.toc import (
    Format,
    Sink,
    Toc,
    TocEntry,
    read_count,
    read_head,
    read_one,
    write_toc,
)

_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_SCRIPT: Final = "restore.sql"
_CHECKSUM: Final = slice(148, 156)
_USER, _GROUP, _MODE = 0o4000, 0o2000, 0o600


class TarArchive:
    """A tar archive, read once: `toc.entries()`, then `files()`."""

    def __init__(self, reader: ArchiveReader) -> None:
        """Raise BadArchive."""
        self._reader = reader
        self._missing = set[str]()
        name, size = self._member() or ("", 0)
        if name != TOC:
            raise reader.wrong(f"its first file is {name!r}, not {TOC}")
        self._toc_end = reader.position + size
        self._padding = -size % _BLOCK
        header = read_head(reader)
        if header.format is Format.CUSTOM:
            raise reader.wrong(f"its {TOC} is of a custom archive")
        self.toc: Final = Toc(header, read_count(reader), lambda: self._entries)
        self._entries = self._read_entries()

    def files(self) -> Iterator[ArchiveFile]:
        """Yield all data in the archive's order. Raise BadArchive.

        What is left of one when the next is asked for is skipped.
        """
        for _ in self._entries:
            pass
        while member := self._member():
            name, size = member
            content = self._reader.pieces(size)
            if name != _SCRIPT:
                self._missing.discard(name)
                yield ArchiveFile(name, content)
            for _ in content:
                pass
            self._reader.raw(-size % _BLOCK)
        if self._missing:
            raise self._reader.wrong(f"there is no {min(self._missing)} in it")

    def _read_entries(self) -> Iterator[TocEntry]:
        header, reader = self.toc.header, self._reader
        for _ in range(self.toc.count):
            entry = read_one(reader, header)
            if name := data_file(header, entry):
                self._missing.add(name)
            yield entry
        if reader.position != self._toc_end:
            raise reader.wrong(f"its {TOC} ends at byte {reader.position}, not {self._toc_end}")
        reader.raw(self._padding)

    def _member(self) -> tuple[str, int] | None:
        """Read a header: name and size, or None behind the last file."""
        at = self._reader.position
        header = self._reader.raw(_BLOCK)
        if not any(header):
            return None
        wrong = self._reader.wrong(f"there is no header of a file at byte {at}")
        if at == 0 and header[156:157] == b"5":
            raise self._reader.wrong("it is a tar of a directory, and not of pg_dump: unpack it")
        if header[257:262] != b"ustar" or header[156:157] not in (b"0", b"\0"):
            raise wrong
        stored = _number(header[_CHECKSUM])
        size = _number(header[124:136])
        if size is None or stored != _checksum(header):
            raise wrong
        return header[:100].rstrip(b"\0").decode("utf-8", "surrogateescape"), size


def write_tar(sink: Sink, toc: Toc, files: Files, now: int) -> None:
    """Write what a directory archive holds: its table of contents, and the data it names.

    `now`, in seconds, is given to every file. Reads `toc` three times. Raise BadArchive, also when
    a file has not the size it should.
    """
    inside = _in_tar(toc)
    measured = _Measure()
    write_toc(inside.header, inside.entries(), inside.count, measured)
    sink.write(tar_header(TOC, measured.size, now))
    write_toc(inside.header, inside.entries(), inside.count, sink)
    sink.write(bytes(-measured.size % _BLOCK))
    for entry in toc.entries():
        name = data_file(toc.header, entry)
        if not name:
            continue
        if entry.desc == LARGE_OBJECT_DATA:
            for large_object in object_list(files.read(name), name):
                _write_file(sink, large_object.file_name, files, now)
        _write_file(sink, name, files, now)
    sink.write(_END)


def tar_header(name: str, size: int, now: int) -> bytes:
    """Return a header just as pg_dump writes it."""
    header = bytearray(_BLOCK)
    encoded = name.encode("utf-8", "surrogateescape")
    header[0 : len(encoded)] = encoded
    header[100:108] = _digits(_MODE, 8)
    header[108:116] = _digits(_USER, 8)
    header[116:124] = _digits(_GROUP, 8)
    header[124:136] = _digits(size, 12)
    header[136:148] = _digits(now, 12)
    header[156:157] = b"0"
    header[257:265] = b"ustar\00000"
    header[265:273] = header[297:305] = b"postgres"
    header[329:337] = header[337:345] = _digits(0, 8)
    header[_CHECKSUM] = _digits(_checksum(header), 8)
    return bytes(header)


def _in_tar(toc: Toc) -> Toc:
    """Entries of large objects name files that are not there: so does pg_dump."""
    inside = as_directory(toc)

    def entries() -> Iterator[TocEntry]:
        for entry in inside.entries():
            if entry.file_name and entry.desc == LARGE_OBJECT_DATA:
                yield entry._replace(file_name=f"{entry.dump_id}.dat")
            else:
                yield entry

    return Toc(inside.header, inside.count, entries)


def _write_file(sink: Sink, name: str, files: Files, now: int) -> None:
    size = files.size(name)
    sink.write(tar_header(name, size, now))
    for piece in exactly(files.read(name), size, name):
        sink.write(piece)
    sink.write(bytes(-size % _BLOCK))


def _digits(value: int, size: int) -> bytes:
    """Octal digits and a blank, or where those don't do, base 256: port/tar.c, print_tar_number."""
    if value < 1 << (size - 1) * 3:
        return b"%0*o " % (size - 1, value)
    return b"\x80" + value.to_bytes(size - 1, "big")


def _number(field: bytes) -> int | None:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits or b"0", 8) if digits.isdigit() or not digits else None
    except ValueError:
        return None


def _checksum(header: Iterable[int]) -> int:
    content = bytearray(header)
    content[_CHECKSUM] = b" " * 8
    return sum(content)


class _Measure:
    def __init__(self) -> None:
        self.size = 0

    def write(self, content: bytes, /) -> None:
        self.size += len(content)
