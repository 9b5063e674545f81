"""The table of contents of pg_dump's archives. docs/formats/pg-dump-archive.md.

Source: pg_backup_archiver.c, ReadHead, ReadToc and their counterparts. Text is in the dump's own
encoding: what is no UTF-8 in it is kept as surrogates, so that every byte comes back.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from pgkeep.postgres.archive.reading import NUMBER, ArchiveReader, Pieces, Source
from pgkeep.units import MIB

MAGIC: Final = b"PGDMP"
OLDEST, NEWEST = (1, 12), (1, 16)
_COUNT_LIMIT: Final = 1 << 31
_PIECE: Final = MIB


class Format(IntEnum):
    """What holds the archive (pg_backup.h: ArchiveFormat)."""

    CUSTOM = 1
    TAR = 3
    NULL = 4
    DIRECTORY = 5


class Section(IntEnum):
    """When an entry is restored (pg_backup.h: teSection)."""

    NONE = 1
    PRE_DATA = 2
    DATA = 3
    POST_DATA = 4


class Algorithm(IntEnum):
    """How data is compressed (compression.h); before 1.15 only a level was kept."""

    NONE = 0
    GZIP = 1
    LZ4 = 2
    ZSTD = 3


class DataState(IntEnum):
    """What a custom archive knows of an entry's data (pg_backup_archiver.h: K_OFFSET_...)."""

    SOMEWHERE = 1  # written to a pipe
    AT_OFFSET = 2
    NONE = 3


class TocHeader(NamedTuple):
    """What comes before the entries."""

    version: tuple[int, int, int]  # of the archive: (1, 16, 0)
    int_size: int
    offset_size: int
    format: Format
    algorithm: Algorithm
    level: int  # as versions up to 1.14 kept it; -1 is the default one
    created: tuple[int, ...]  # sec, min, hour, mday, mon, year, isdst: the local time of pg_dump
    database: str | None
    server_version: str | None
    dump_version: str | None


class TocEntry(NamedTuple):
    """One entry. None and '' are told apart, as in the archive."""

    dump_id: int
    had_dumper: bool
    table_oid: str | None
    oid: str | None
    tag: str | None
    desc: str
    section: int
    definition: str | None
    drop: str | None
    copy_statement: str | None
    namespace: str | None
    tablespace: str | None
    table_am: str | None
    relkind: int
    owner: str | None
    with_oids: str | None
    dependencies: tuple[str, ...]  # dump ids, as text
    file_name: str | None = None  # in directory and tar archives; None or '' without data
    data_state: int = 0  # of custom archives: whether `offset` is known
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Toc:
    """A table of contents that is read as often as needed, and never held in memory."""

    header: TocHeader
    count: int
    entries: Callable[[], Iterable[TocEntry]]  # all of them, from the first on


def open_toc(read: Callable[[], Iterable[bytes]], where: str = "the table of contents") -> Toc:
    """Make a Toc of the content that `read` yields anew each time. Raise BadArchive, also later."""
    reader = ArchiveReader(Pieces(read()), where)
    header, count = read_head(reader), read_count(reader)
    return Toc(header, count, lambda: read_toc(Pieces(read()), where)[1])


def read_toc(
    source: Source, where: str = "the table of contents"
) -> tuple[TocHeader, Iterator[TocEntry]]:
    """Return the header, and the entries as they are read: one at a time is in memory.

    Raise BadArchive, also while iterating.
    """
    reader = ArchiveReader(source, where)
    header = read_head(reader)
    return header, (entry for _, entry in read_entries(reader, header))


def read_head(reader: ArchiveReader) -> TocHeader:
    if reader.raw(5) != MAGIC:
        raise reader.wrong(f"it does not begin with {MAGIC.decode()}")
    version = (reader.byte(), reader.byte(), reader.byte())
    if not OLDEST <= version[:2] <= NEWEST:
        found = f"{version[0]}.{version[1]}"
        raise reader.wrong(f"its archive version is {found}, and 1.12 to 1.16 are known")
    reader.int_size, reader.offset_size = reader.byte(), reader.byte()
    if not (1 <= reader.int_size <= 8 and 1 <= reader.offset_size <= 8):
        raise reader.wrong("its numbers have an impossible size")
    try:
        form = Format(reader.byte())
        if version >= (1, 15, 0):
            algorithm, level = Algorithm(reader.byte()), 0
        else:
            level = reader.number()
            algorithm = Algorithm.GZIP if level else Algorithm.NONE
    except ValueError as error:
        raise reader.wrong(str(error)) from None
    created = tuple(reader.number() for _ in range(7))
    return TocHeader(
        version,
        reader.int_size,
        reader.offset_size,
        form,
        algorithm,
        level,
        created,
        reader.text(),
        reader.text(),
        reader.text(),
    )


def read_entries(reader: ArchiveReader, header: TocHeader) -> Iterator[tuple[int, TocEntry]]:
    """Yield every entry with the byte at which it begins."""
    for _ in range(read_count(reader)):
        yield reader.position, read_one(reader, header)


def read_count(reader: ArchiveReader) -> int:
    count = reader.number()
    if not 0 <= count < _COUNT_LIMIT:
        raise reader.wrong(f"it claims to have {count} entries")
    return count


def read_one(reader: ArchiveReader, header: TocHeader) -> TocEntry:
    """Read the entry that begins where the reader is."""
    version = header.version
    dump_id, had_dumper = reader.number(), reader.number()
    table_oid, oid, tag, desc = reader.texts(4)
    section = reader.number()
    definition, drop, copy, namespace, tablespace = reader.texts(5)
    table_am = reader.text() if version >= (1, 14, 0) else None
    relkind = reader.number() if version >= (1, 16, 0) else 0
    owner, with_oids, dependency = reader.texts(3)
    dependencies = list[str]()
    while dependency is not None:
        dependencies.append(dependency)
        dependency = reader.text()
    file_name, state, offset = None, 0, 0
    if header.format is Format.CUSTOM:
        state = reader.byte()
        if not DataState.SOMEWHERE <= state <= DataState.NONE:
            raise reader.wrong(f"there is no {state} for data at byte {reader.position - 1}")
        offset = int.from_bytes(reader.raw(reader.offset_size), "little")
    elif header.format in (Format.DIRECTORY, Format.TAR):
        file_name = reader.text()
    if desc is None:
        raise reader.wrong(f"the entry before byte {reader.position} is of no kind")
    return TocEntry(
        dump_id, bool(had_dumper), table_oid, oid, tag, desc, section, definition, drop, copy,
        namespace, tablespace, table_am, relkind, owner, with_oids, tuple(dependencies),
        file_name, state, offset,
    )  # fmt: skip


class Sink(Protocol):
    def write(self, content: bytes, /) -> object: ...


class TocWriter:
    """Writes numbers and texts as an archive has them."""

    def __init__(self, sink: Sink, header: TocHeader) -> None:
        self._sink = sink
        self._size = header.int_size
        self._none = self._encoded(-1)
        self._pending = bytearray()

    def raw(self, content: bytes) -> None:
        self._pending += content
        if len(self._pending) >= _PIECE:
            self.flush()

    def number(self, value: int) -> None:
        self.raw(self._encoded(value))

    def text(self, value: str | None) -> None:
        if value is None:
            self.raw(self._none)
        elif value:
            content = value.encode("utf-8", "surrogateescape")
            self.raw(self._encoded(len(content)) + content)
        else:
            self.number(0)

    def texts(self, values: Iterable[str | None]) -> None:
        for value in values:
            self.text(value)

    def flush(self) -> None:
        self._sink.write(bytes(self._pending))
        self._pending.clear()

    def _encoded(self, value: int) -> bytes:
        if self._size == 4:
            return NUMBER.pack(value < 0, abs(value))
        return bytes([value < 0]) + abs(value).to_bytes(self._size, "little")


def write_toc(header: TocHeader, entries: Iterable[TocEntry], count: int, sink: Sink) -> None:
    """Write a table of contents: byte for byte what was read, if nothing was changed."""
    writer = TocWriter(sink, header)
    write_head(writer, header)
    writer.number(count)
    written = 0
    for entry in entries:
        write_entry(writer, header, entry)
        written += 1
    if written != count:
        raise ValueError(f"{written} entries instead of {count}")
    writer.flush()


def write_head(writer: TocWriter, header: TocHeader) -> None:
    sizes = (header.int_size, header.offset_size, header.format)
    writer.raw(MAGIC + bytes([*header.version, *sizes]))
    if header.version >= (1, 15, 0):
        writer.raw(bytes([header.algorithm]))
    else:
        writer.number(header.level)
    for part in header.created:
        writer.number(part)
    for text in (header.database, header.server_version, header.dump_version):
        writer.text(text)


def write_entry(writer: TocWriter, header: TocHeader, entry: TocEntry) -> None:
    version = header.version
    writer.number(entry.dump_id)
    writer.number(entry.had_dumper)
    writer.texts((entry.table_oid, entry.oid, entry.tag, entry.desc))
    writer.number(entry.section)
    writer.texts((entry.definition, entry.drop, entry.copy_statement, entry.namespace))
    writer.text(entry.tablespace)
    if version >= (1, 14, 0):
        writer.text(entry.table_am)
    if version >= (1, 16, 0):
        writer.number(entry.relkind)
    writer.texts((entry.owner, entry.with_oids, *entry.dependencies, None))
    if header.format is Format.CUSTOM:
        writer.raw(bytes([entry.data_state]))
        writer.raw(entry.offset.to_bytes(header.offset_size, "little"))
    elif header.format in (Format.DIRECTORY, Format.TAR):
        writer.text(entry.file_name)
