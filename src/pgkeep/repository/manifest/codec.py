"""What one backup contains, as one object. On disk: docs/formats/manifest.md."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from struct import Struct
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from pgkeep.repository.manifest.checks import BadManifest, check_packs, check_tables
from pgkeep.repository.manifest.dump_facts import DumpFacts, dump_facts_from_json
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
from pgkeep.repository.manifest.pieces import Pieces
from pgkeep.repository.manifest.tables import (
    COLUMNS,
    TABLE_TYPES,
    Array,
    Heap,
    PackTable,
    Tables,
)
from pgkeep.repository.seal import (
    HEADER_SIZE as BLOCK_HEADER_SIZE,
)
from pgkeep.repository.seal import (
    ID_SIZE,
    MANIFEST_FACTS,
    MANIFEST_TABLES,
    PLAIN_LIMIT,
    BlockHeader,
    FormatTooNew,
    Plain,
    SealedBlock,
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
ReadRange = Callable[[int, int], Plain]  # start and length, both within the object


AnyFacts = TypeVar("AnyFacts", Facts, DumpFacts)


@dataclass(frozen=True, eq=False)
class ManifestOf(Generic[AnyFacts]):
    """All that restoring one backup or dump needs to know."""

    facts: AnyFacts
    tables: Tables


Manifest = ManifestOf[Facts]
DumpManifest = ManifestOf[DumpFacts]


class Kind(NamedTuple, Generic[AnyFacts]):
    """What an object is the manifest of: its facts stand under a name of their own."""

    key: str
    from_json: Callable[[Any], AnyFacts]  # raises BadFacts
    block_size: Callable[[AnyFacts], int]  # of overlays


OF_BACKUP: Final[Kind[Facts]] = Kind("facts", facts_from_json, lambda f: f.generation.block_size)
# A dump's files have no pages, so no overlays: any size will do.
OF_DUMP: Final[Kind[DumpFacts]] = Kind("dump", dump_facts_from_json, lambda _: 8192)


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


def encode(manifest: ManifestOf[AnyFacts], sealer: Sealer) -> list[bytes]:
    """Return the object in parts. Does not check it: see `prove`."""
    columns, plain_size = _directory(manifest.tables)
    record = {
        _key_of(manifest.facts): facts_to_json(manifest.facts),
        "columns": [msgspec.to_builtins(column) for column in columns],
    }
    content = dump_json(record)
    if len(content) > PLAIN_LIMIT:
        raise BadManifest(manifest.facts.id, "its facts are over 16 MiB")
    blocks: list[SealedBlock] = [sealer.seal(MANIFEST_FACTS, content)]
    blocks += (sealer.seal(MANIFEST_TABLES, piece) for piece in _pieces(manifest.tables))
    lengths = [len(block.data) for block in blocks]
    header = _HEADER.pack(
        MAGIC, VERSION, lengths[0], len(blocks) - 1, sum(lengths[1:]), plain_size, bytes(ID_SIZE)
    )[:_BOUND]
    binding = _binding(sealer, header, [block.id for block in blocks])
    return [header + binding, *(block.data for block in blocks)]


def _key_of(facts: Facts | DumpFacts) -> str:
    return OF_BACKUP.key if isinstance(facts, Facts) else OF_DUMP.key


def prove(
    parts: Sequence[bytes],
    manifest: ManifestOf[AnyFacts],
    sealer: Sealer,
    where: str,
    kind: Kind[AnyFacts],
) -> AnyFacts:
    """Raise unless `decode` would make this manifest of what `encode` made; return its facts.

    Block by block: a second copy of the tables of a large cluster would not fit in memory.
    """
    content = Pieces(parts)
    opening = _Opening(content.read, sealer, where)
    header, facts, columns, blocks = opening.all(content.size, kind)
    _check(facts, manifest.tables, where, kind)
    opened = _Opened(content, blocks, sealer, where)
    types = _types(COLUMNS)
    for column, (name, dtype, values) in zip(columns, _columns(manifest.tables), strict=True):
        _checked(column, name, types[name], opened)
        if (column.name, column.dtype, column.count) != (name, dtype, len(values)):
            raise BadManifest(where, f"its column {name} would be read as another")
        _demand_same(values.view(np.uint8), column.offset, opened)
    assert header.tables_plain == opened.size
    return facts


def _demand_same(content: Array, offset: int, opened: "_Opened") -> None:
    start = 0
    while start < len(content):
        within = (offset + start) % BLOCK
        plain = np.frombuffer(opened.block((offset + start) // BLOCK), np.uint8)[within:]
        part = content[start : start + len(plain)]
        if not np.array_equal(part, plain[: len(part)]):
            raise BadManifest(opened.where, "it would not be read as it was written")
        start += len(part)


def decode(
    content: bytes | memoryview | Pieces, sealer: Sealer, where: str, kind: Kind[AnyFacts]
) -> ManifestOf[AnyFacts]:
    """Read a whole manifest and check everything in it. Pieces are let go as they are read.

    Raise BadManifest, UnsafePath, Damaged, WrongKey or FormatTooNew, never anything else.
    """
    pieces = content if isinstance(content, Pieces) else Pieces([content])
    _, facts, columns, blocks = _Opening(pieces.read, sealer, where).all(pieces.size, kind)
    opened = _Opened(pieces, blocks, sealer, where)
    tables = Tables(**_cut_tables(columns, opened, list(COLUMNS)))
    _check(facts, tables, where, kind)
    return ManifestOf(facts, tables)


def _check(facts: AnyFacts, tables: Tables, where: str, kind: Kind[AnyFacts]) -> None:
    check_tables(tables, kind.block_size(facts), where)
    if (facts.files, facts.size) != tables.count_files():
        raise BadManifest(where, "its facts tell of other files than its tables")


class _Opening(NamedTuple):
    """Reads all but the tables of an object."""

    read: ReadRange
    sealer: Sealer
    where: str

    def all(
        self, size: int, kind: Kind[AnyFacts]
    ) -> tuple[Header, AnyFacts, list[Column], "list[_Block]"]:
        """Return what is in it; the blocks of the tables are proven to belong to it."""
        read, sealer, where = self
        header = read_manifest_header(read(0, min(size, HEADER_SIZE)), size, where)
        head = memoryview(read(0, HEADER_SIZE + header.facts_length))
        record = _open_record(head, header, sealer, where)
        facts = _facts_in(record, kind, where)
        return header, facts, record.columns, _find_blocks(read, header, sealer, where)


def read_manifest_header(content: Plain, size: int, where: str) -> Header:
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


def decode_facts(
    head: bytes | memoryview, header: Header, sealer: Sealer, where: str, kind: Kind[AnyFacts]
) -> AnyFacts:
    """Read the facts alone, from the object's beginning up to the end of its facts block."""
    return _facts_in(_open_record(memoryview(head), header, sealer, where), kind, where)


def decode_packs(
    read: ReadRange, size: int, sealer: Sealer, where: str, kind: Kind[AnyFacts]
) -> tuple[AnyFacts, PackTable]:
    """Read which packs a backup needs: of its tables, only the blocks that name packs are opened.

    All its parts are proven to belong together. Raises as `decode`.
    """
    _, facts, columns, blocks = _Opening(read, sealer, where).all(size, kind)
    opened = _Opened(_Ranges(read), blocks, sealer, where)
    packs = _cut_tables(columns, opened, ["pack"])["pack"]
    check_packs(packs, where)
    return facts, packs


class _Record(msgspec.Struct, frozen=True):
    columns: list[Column]
    facts: dict[str, Any] | None = None
    dump: dict[str, Any] | None = None


def _open_record(view: memoryview, header: Header, sealer: Sealer, where: str) -> _Record:
    sealed = view[HEADER_SIZE : HEADER_SIZE + header.facts_length]
    content = sealer.unseal(MANIFEST_FACTS, sealed, where)
    try:
        return msgspec.convert(load_json(content), _Record)
    except BadFacts as error:
        raise BadManifest(where, f"its facts {error}") from error
    except msgspec.ValidationError as error:
        raise BadManifest(where, f"its list of columns holds a wrong value: {error}") from error


def _facts_in(record: _Record, kind: Kind[AnyFacts], where: str) -> AnyFacts:
    found: dict[str, Any] | None = getattr(record, kind.key)
    if found is None:
        raise BadManifest(where, f"it holds no {kind.key}: it is the manifest of something else")
    version = found.get("format")
    if isinstance(version, int) and version > FORMAT:  # before anything else in it is judged
        raise FormatTooNew(where, version, FORMAT)
    try:
        return kind.from_json(found)
    except BadFacts as error:
        raise BadManifest(where, f"its facts {error}") from error


class _Block(NamedTuple):
    """A sealed block of the tables, and where in the object it is."""

    start: int
    header: BlockHeader


def _find_blocks(read: ReadRange, header: Header, sealer: Sealer, where: str) -> list[_Block]:
    """Return where the blocks of the tables are, when their ids fit the binding in the header."""
    start, left = HEADER_SIZE + header.facts_length, header.tables_plain
    ids, found = [read_header(read(HEADER_SIZE, BLOCK_HEADER_SIZE), where).id], []
    for number in range(header.blocks):
        there = min(BLOCK_HEADER_SIZE, header.length - start)
        block = read_header(read(start, there), where)
        # Before anything is inflated, so that nothing is inflated in vain.
        if block.plain_length != min(BLOCK, left) or start + block.length > header.length:
            raise BadManifest(where, f"block {number} of its tables has a wrong length")
        found.append(_Block(start, block))
        ids.append(block.id)
        start, left = start + block.length, left - block.plain_length
    if start != header.length:
        raise BadManifest(where, f"it has {header.length - start} bytes behind its tables")
    if _binding(sealer, bytes(read(0, _BOUND)), ids) != header.binding:
        raise BadManifest(where, "its parts do not belong together")
    return found


def _binding(sealer: Sealer, header: bytes, ids: list[bytes]) -> bytes:
    """Hash the ids of all blocks: keyed when encrypted, so that nobody can mix two manifests."""
    return sealer.chunk_id(b"".join([header, *ids]))


class _Ranges(NamedTuple):
    """An object of which nothing is in memory."""

    read: ReadRange

    def let_go(self, before: int) -> None: ...


class _Opened:
    """Plain bytes of the tables: those blocks that were asked for."""

    def __init__(
        self, source: Pieces | _Ranges, blocks: Sequence[_Block], sealer: Sealer, where: str
    ) -> None:
        self._source = source
        self._blocks = blocks
        self._sealer = sealer
        self._last = -1, b""  # the block that was opened last
        self.where: Final = where
        self.size: Final = sum(block.header.plain_length for block in blocks)

    def stretch(self, start: int, end: int) -> tuple[bytearray, int]:
        """Open the blocks that hold a range; return their content, and where in it that begins.

        The object's bytes up to the end of the range are let go.
        """
        first = start // BLOCK
        plain = bytearray()  # grows with what is really there
        for block in self._blocks[first : -(-end // BLOCK)]:
            plain += self._unseal(block)
            self._source.let_go(block.start + block.header.length)
        return plain, start - first * BLOCK

    def block(self, number: int) -> bytes:
        """Open one block; asking for the same again and again costs nothing."""
        if self._last[0] != number:
            self._last = number, self._unseal(self._blocks[number])
        return self._last[1]

    def _unseal(self, block: _Block) -> bytes:
        sealed = self._source.read(block.start, block.header.length)
        return self._sealer.unseal(MANIFEST_TABLES, sealed, self.where)


def _types(tables: Iterable[str]) -> dict[str, str]:
    """Return the type of each column of some tables."""
    return {f"{table}.{name}": dtype for table in tables for name, dtype in COLUMNS[table].items()}


def _cut_tables(columns: list[Column], opened: _Opened, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the wanted tables, from as few blocks as hold them all."""
    where = opened.where
    by_name = {column.name: column for column in columns}
    if len(by_name) < len(columns):
        raise BadManifest(where, "a column is listed twice")
    found = {
        name: _checked(by_name.get(name), name, dtype, opened)
        for name, dtype in _types(wanted).items()
    }
    first = min(column.offset for column in found.values())
    end = max(_end(column) for column in found.values())
    plain, begin = opened.stretch(first, end)
    return {
        table: TABLE_TYPES[table](
            **{
                name: _cut(found[f"{table}.{name}"], plain, begin - first)
                for name in COLUMNS[table]
            }
        )
        for table in wanted
    }


def _checked(column: Column | None, name: str, dtype: str, opened: _Opened) -> Column:
    if column is None:
        raise BadManifest(opened.where, f"its column {name} is missing")
    if column.dtype != dtype:
        raise BadManifest(opened.where, f"its column {name} is of type {column.dtype[:20]!r}")
    if _end(column) > opened.size:
        raise BadManifest(opened.where, f"its column {name} ends behind the end of the tables")
    return column


def _end(column: Column) -> int:
    return column.offset + column.count * np.dtype(column.dtype).itemsize


def _cut(column: Column, plain: bytearray, shift: int) -> Any:
    values = np.frombuffer(plain, column.dtype, column.count, column.offset + shift)
    values.flags.writeable = False
    return Heap(values.tobytes()) if column.name.partition(".")[2] in _HEAPS else values


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
