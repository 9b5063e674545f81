"""What is in a dumped database, object by object: docs/formats/dump.md, "Inventory".

One JSON object a line, so that a million tables need no memory. Names are in Unicode whatever the
database's encoding; they are for people and comparisons, never sent to a server.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from pgkeep.errors import PgkeepError
from pgkeep.units import MIB

VERSION: Final = 1
_PIECE: Final = MIB
_LINE_LIMIT: Final = 16 * MIB
_Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class BadInventory(PgkeepError):
    """The inventory of a dump cannot be read."""

    code = "bad-inventory"
    exit_status = 245

    dump: str
    why: str

    def __str__(self) -> str:
        return f"cannot read the inventory of dump {self.dump}: {self.why}"

    @property
    def hint(self) -> str:
        return "the dump itself may be whole: pgkeep verify tells; export still works"


class Head(Struct, frozen=True):
    """The first line."""

    inventory: int  # the version
    database: str


class Item(Struct, frozen=True, omit_defaults=True):
    """One object: an entry of pg_dump's table of contents."""

    type: str  # pg_dump's word: 'TABLE', 'FK CONSTRAINT', 'TABLE DATA'
    schema: str = ""
    name: str = ""  # pg_dump's tag: 'orders', for a constraint 'orders orders_pkey'
    owner: str = ""
    definition: str = ""  # 16 hexadecimal digits of its SQL's BLAKE3; '' without SQL
    file: str = ""  # that holds its data
    rows: _Count | None = None
    bytes: _Count | None = None
    value: str = ""  # of a sequence: last value, 'true' if it was used up

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.type, self.schema, self.name)


def encode(database: str, items: Iterable[Item]) -> Iterator[bytes]:
    """Yield the file in pieces of about 1 MiB."""
    encoder = msgspec.json.Encoder()
    piece = bytearray(encoder.encode(Head(VERSION, database)))
    piece += b"\n"
    for item in items:
        piece += encoder.encode(item)
        piece += b"\n"
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def decode(pieces: Iterable[bytes], dump: str) -> Iterator[Item]:
    """Yield the objects. Raise BadInventory."""
    lines = _lines(pieces, dump)
    try:
        head = msgspec.json.decode(next(lines, b""), type=Head)
        if head.inventory > VERSION:
            raise BadInventory(dump, f"it has version {head.inventory}, and {VERSION} is known")
        decoder = msgspec.json.Decoder(Item)
        for line in lines:
            yield decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInventory(dump, str(error)) from error


def _lines(pieces: Iterable[bytes], dump: str) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > _LINE_LIMIT:
            raise BadInventory(dump, "a line of it never ends")
    if rest:
        yield rest
