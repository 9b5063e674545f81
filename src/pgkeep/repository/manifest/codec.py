"""What one backup contains, as one object. On disk: docs/formats/manifest.md."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from struct import Struct
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np

from pgkeep.repository.manifest.checks import BadManifest, check_tables
from pgkeep.repository.manifest.facts import (
    FORMAT,
    BadFacts,
    Count,
    Facts,
    dump_json,
    facts_from_json,
    facts_to_json,
    load_json,
)
from pgkeep.repository.manifest.tables import (
    COLUMNS,
    Array,
    ChunkTable,
    FileTable,
    Heap,
    LayerTable,
    PackTable,
    PageTable,
    Tables,
)
from pgkeep.repository.seal import (
    ID_SIZE,
    MANIFEST_FACTS,
    MANIFEST_TABLES,
    PLAIN_LIMIT,
    FormatTooNew,
    Sealer,
    read_header,
)
from pgkeep.units import GIB, MIB

MAGIC: Final = b"PGKM"
VERSION: Final = 1
BLOCK: Final = 4 * MIB  # plain bytes of a block of the tables
_HEADER: Final = Struct("<4sB3xIIQQ16s")
HEADER_SIZE: Final = _HEADER.size
_BOUND: Final = HEADER_SIZE - ID_SIZE  # the part of the header that the binding covers
_ALIGN: Final = 8  # so that numpy reads columns where they lie
_TABLES_LIMIT: Final = 8 * GIB  # plain; far more than the largest cluster needs
_MOST_INFLATED: Final = 256  # real tables are 2 to 20 times their sealed size
_HEAPS: Final = {"path", "link"}
_TABLE_TYPES: Final = {
    "file": FileTable,
    "layer": LayerTable,
    "page": PageTable,
    "chunk": ChunkTable,
    "pack": PackTable,
}


@dataclass(frozen=True, eq=False)
class Manifest:
    """All that restoring one backup needs to know."""

    facts: Facts
    tables: Tables


class Column(msgspec.Struct, frozen=True):
    """Where one column lies in the tables, so that plain numpy can read it."""

    name: str
    dtype: str
    count: Count
    offset: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1, multiple_of=_ALIGN)]


class Header(NamedTuple):
    facts_length: int  # sealed
    blocks: int  # of the tables
    tables_length: int  # sealed
    tables_plain: int
    binding: bytes

    @property
    def length(self) -> int:
        """Bytes of the whole object."""
        return HEADER_SIZE + self.facts_length + self.tables_length


def encode(manifest: Manifest, sealer: Sealer) -> list[bytes]:
    """Return the object in parts. Does not check it: `decode` does, before it is stored."""
    columns, plain_size = _directory(manifest.tables)
    record = {
        "facts": facts_to_json(manifest.facts),
        "columns": [msgspec.to_builtins(column) for column in columns],
    }
    content = dump_json(record)
    if len(content) > PLAIN_LIMIT:
        raise BadManifest(f"backup {manifest.facts.id}", "its facts are over 16 MiB")
    blocks = [sealer.seal(MANIFEST_FACTS, content)]
    blocks += (sealer.seal(MANIFEST_TABLES, piece) for piece in _pieces(manifest.tables))
    lengths = [len(block.data) for block in blocks]
    header = _HEADER.pack(
        MAGIC, VERSION, lengths[0], len(blocks) - 1, sum(lengths[1:]), plain_size, bytes(ID_SIZE)
    )[:_BOUND]
    binding = _binding(sealer, header, [block.id for block in blocks])
    return [header + binding, *(block.data for block in blocks)]


def decode(content: bytes | memoryview, sealer: Sealer, where: str) -> Manifest:
    """Read a whole manifest and check everything in it.

    Raise BadManifest, UnsafePath, Damaged, WrongKey or FormatTooNew, never anything else.
    """
    header = read_manifest_header(content, len(content), where)
    view = memoryview(content)
    facts, columns = _open_facts(view, header, sealer, where)
    plain, ids = _open_tables(view[HEADER_SIZE + header.facts_length :], header, sealer, where)
    ids.insert(0, read_header(view[HEADER_SIZE:], where).id)
    if _binding(sealer, bytes(view[:_BOUND]), ids) != header.binding:
        raise BadManifest(where, "its parts do not belong together")
    tables = _cut_columns(columns, plain, where)
    check_tables(tables, facts.generation.block_size, where)
    if (facts.files, facts.size) != tables.count_files():
        raise BadManifest(where, "its facts tell of other files than its tables")
    return Manifest(facts, tables)


def read_manifest_header(content: bytes | memoryview, size: int, where: str) -> Header:
    """Read the header from the beginning of an object of `size` bytes; it must be all there."""
    if len(content) < HEADER_SIZE:
        raise BadManifest(where, f"it ends after {len(content)} bytes")
    magic, version, *numbers = _HEADER.unpack_from(content)
    if magic != MAGIC:
        raise BadManifest(where, f"it begins with {magic.hex()} instead of {MAGIC.hex()}")
    if version > VERSION:
        raise FormatTooNew(where, version, VERSION)
    header = Header(*numbers)
    blocks = -(-header.tables_plain // BLOCK)
    limit = min(_TABLES_LIMIT, BLOCK + _MOST_INFLATED * header.tables_length)
    if version == 0 or header.tables_plain > limit or header.blocks != blocks:
        raise BadManifest(where, "its header holds values that are never written")
    if header.length != size:
        raise BadManifest(where, f"it has {size} bytes instead of {header.length}")
    return header


def decode_facts(head: bytes | memoryview, header: Header, sealer: Sealer, where: str) -> Facts:
    """Read the facts alone, from the object's beginning up to the end of its facts block."""
    return _open_facts(memoryview(head), header, sealer, where)[0]


class _Record(msgspec.Struct, frozen=True):
    facts: dict[str, Any]
    columns: list[Column]


def _open_facts(
    view: memoryview, header: Header, sealer: Sealer, where: str
) -> tuple[Facts, list[Column]]:
    sealed = view[HEADER_SIZE : HEADER_SIZE + header.facts_length]
    content = sealer.unseal(MANIFEST_FACTS, sealed, where)
    try:
        record = msgspec.convert(load_json(content), _Record)
        found = record.facts.get("format")
        if isinstance(found, int) and found > FORMAT:  # before anything else in it is judged
            raise FormatTooNew(where, found, FORMAT)
        return facts_from_json(record.facts), record.columns
    except BadFacts as error:
        raise BadManifest(where, f"its facts {error}") from error
    except msgspec.ValidationError as error:
        raise BadManifest(where, f"its list of columns holds a wrong value: {error}") from error


def _open_tables(
    view: memoryview, header: Header, sealer: Sealer, where: str
) -> tuple[bytearray, list[bytes]]:
    """Return the tables' plain bytes and the blocks' ids. Grows with what is really there."""
    plain, ids, offset = bytearray(), [], 0
    for number in range(header.blocks):
        block = read_header(view[offset:], where)
        wanted = min(BLOCK, header.tables_plain - len(plain))
        if (
            block.plain_length != wanted
        ):  # before it is inflated, so that nothing is inflated in vain
            raise BadManifest(where, f"block {number} of its tables has a wrong length")
        sealed = view[offset : offset + block.length]
        plain += sealer.unseal(MANIFEST_TABLES, sealed, where)
        ids.append(block.id)
        offset += block.length
    if offset != len(view):
        raise BadManifest(where, f"it has {len(view) - offset} bytes behind its tables")
    return plain, ids


def _binding(sealer: Sealer, header: bytes, ids: list[bytes]) -> bytes:
    """Hash the ids of all blocks: keyed when encrypted, so that nobody can mix two manifests."""
    return sealer.chunk_id(b"".join([header, *ids]))


def _cut_columns(columns: list[Column], plain: bytearray, where: str) -> Tables:
    by_name = {column.name: column for column in columns}
    if len(by_name) < len(columns):
        raise BadManifest(where, "a column is listed twice")
    tables = {}
    for table, wanted in COLUMNS.items():
        found = {
            name: _cut(by_name.get(f"{table}.{name}"), f"{table}.{name}", dtype, plain, where)
            for name, dtype in wanted.items()
        }
        tables[table] = _TABLE_TYPES[table](**found)
    return Tables(**tables)


def _cut(column: Column | None, name: str, dtype: str, plain: bytearray, where: str) -> Any:
    if column is None:
        raise BadManifest(where, f"its column {name} is missing")
    if column.dtype != dtype:
        raise BadManifest(where, f"its column {name} is of type {column.dtype[:20]!r}")
    if column.offset + column.count * np.dtype(dtype).itemsize > len(plain):
        raise BadManifest(where, f"its column {name} ends behind the end of the tables")
    values = np.frombuffer(plain, dtype, column.count, column.offset)
    values.flags.writeable = False
    return Heap(values.tobytes()) if name.partition(".")[2] in _HEAPS else values


def _columns(tables: Tables) -> Iterator[tuple[str, str, Array]]:
    for table in fields(tables):
        for name, dtype in COLUMNS[table.name].items():
            column = getattr(getattr(tables, table.name), name)
            if isinstance(column, Heap):
                column = np.frombuffer(column.content, dtype)
            yield f"{table.name}.{name}", dtype, np.ascontiguousarray(column, dtype)


def _directory(tables: Tables) -> tuple[list[Column], int]:
    columns, offset = [], 0
    for name, dtype, values in _columns(tables):
        columns.append(Column(name, dtype, len(values), offset))
        offset += values.nbytes + -values.nbytes % _ALIGN
    return columns, offset


def _pieces(tables: Tables) -> Iterator[bytearray]:
    """Yield the columns back to back, cut into blocks."""
    piece = bytearray()
    for _, _, values in _columns(tables):
        content = values.view(np.uint8)
        start = 0
        while start < len(content):
            part = content[start : start + BLOCK - len(piece)]
            piece += part.data
            start += len(part)
            if len(piece) == BLOCK:
                yield piece
                piece = bytearray()
        padding = -len(content) % _ALIGN
        piece += bytes(padding)
    if piece:
        yield piece
