"""Reads an archive from front to back: bytes, numbers and texts as pg_dump wrote them.

Source: pg_backup_archiver.c, ReadInt and ReadStr. Nothing that is read is believed: memory grows
only with what is there.
"""

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Final, Protocol

from pgkeep.errors import PgkeepError
from pgkeep.units import KIB, MIB

_TEXT_LIMIT: Final = 1 << 30  # bytes of one text: what PostgreSQL itself can hold
_BLOCK: Final = 256 * KIB
_PIECE: Final = MIB
NUMBER: Final = Struct("<BI")  # sign and value, where a C int has 4 bytes: everywhere


class BadArchive(PgkeepError):
    """An archive of pg_dump that is damaged, cut off, of an unknown kind, or none at all."""

    code = "bad-archive"
    exit_status = 233

    where: str
    why: str
    advice: str = "pg_restore --list with the same file shows what PostgreSQL makes of it"

    def __str__(self) -> str:
        return f"cannot read {self.where}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class Source(Protocol):
    """A file, pipe or socket: returns some bytes, and none at the end only."""

    def read(self, size: int, /) -> bytes: ...


class Pieces:
    """A source of what comes in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, _: int, /) -> bytes:
        """Return the next piece, whatever its size."""
        return next(filter(None, self._pieces), b"")


class ArchiveReader:
    """Reads through a buffer of its own: nobody else may read from the source meanwhile."""

    def __init__(self, source: Source, where: str) -> None:
        """`where` is what errors call the source."""
        self._source = source
        self._held = b""
        self._at = 0  # in what is held
        self._base = 0  # position of what is held
        self.where = where
        self.int_size = 4
        self.offset_size = 8

    @property
    def position(self) -> int:
        return self._base + self._at

    def wrong(self, why: str) -> BadArchive:
        return BadArchive(self.where, why)

    def raw(self, size: int) -> bytes:
        """Read exactly so many. Raise BadArchive."""
        end = self._at + size
        if end > len(self._held):
            self._hold(size)
            end = size
        found = self._held[self._at : end]
        self._at = end
        return found

    def byte(self) -> int:
        return self.raw(1)[0]

    def number(self) -> int:
        size = self.int_size
        if self._at + 1 + size > len(self._held):
            self._hold(1 + size)
        at = self._at
        negative: int
        value: int
        if size == 4:
            negative, value = NUMBER.unpack_from(self._held, at)
        else:
            negative = self._held[at]
            value = int.from_bytes(self._held[at + 1 : at + 1 + size], "little")
        if negative > 1:
            raise self.wrong(f"there is no number at byte {self.position}")
        self._at = at + 1 + size
        return -value if negative else value

    def text(self) -> str | None:
        return self.texts(1)[0]

    def texts(self, count: int) -> list[str | None]:
        """Read so many texts; None and '' are told apart."""
        if self.int_size != 4:
            return [self._text() for _ in range(count)]
        found = list[str | None]()
        held, at, end = self._held, self._at, len(self._held)
        for _ in range(count):  # what is held is read here, without calls: in half the time
            if at + 5 <= end:
                negative, length = NUMBER.unpack_from(held, at)
                if not negative and at + 5 + length <= end:
                    begin, at = at + 5, at + 5 + length
                    found.append(held[begin:at].decode("utf-8", "surrogateescape"))
                    continue
                if negative == 1 and length == 1:
                    found.append(None)
                    at += 5
                    continue
            self._at = at
            found.append(self._text())
            held, at, end = self._held, self._at, len(self._held)
        self._at = at
        return found

    def _text(self) -> str | None:
        length = self.number()
        if length == -1:
            return None
        if not 0 <= length <= _TEXT_LIMIT:
            raise self.wrong(f"at byte {self.position} is a text of {length} bytes")
        return self.raw(length).decode("utf-8", "surrogateescape")

    def peek(self, size: int) -> bytes:
        """Return the next bytes, or fewer at the end, without going on."""
        while len(self._held) - self._at < size:
            more = self._source.read(_BLOCK)
            if not more:
                break
            self._held += more
        return self._held[self._at : self._at + size]

    def ended(self) -> bool:
        """Say whether there is nothing more."""
        if self._at < len(self._held):
            return False
        return not self._fill()

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes, some at a time."""
        while size:
            if self._at == len(self._held) and not self._fill():
                raise self.wrong(f"it ends at byte {self.position}")
            piece = self._held[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def chunks(self) -> Iterator[bytes]:
        """Yield what the chunks up to one of length 0 hold, short ones joined.

        Without compression pg_dump writes a chunk for each row.
        """
        parts, joined = list[bytes](), 0
        while True:
            joined += self._whole_chunks(parts)
            length = self.number()
            if length < 0:
                raise self.wrong(f"the chunk before byte {self.position} has length {length}")
            if 0 < length <= _BLOCK:
                parts.append(self.raw(length))
                joined += length
            if parts and (joined >= _BLOCK or not 0 < length <= _BLOCK):
                yield b"".join(parts)
                parts, joined = [], 0
            if not length:
                return
            if length > _BLOCK:
                yield from self.pieces(length)

    def _whole_chunks(self, parts: list[bytes]) -> int:
        """Take what is held of chunks that are whole, as long as that is simple."""
        if self.int_size != 4:
            return 0
        held, at, last = self._held, self._at, len(self._held) - 5
        begin = at
        count = len(parts)
        while at <= last:
            negative, length = NUMBER.unpack_from(held, at)
            end = at + 5 + length
            if negative or not length or end > last:
                break
            parts.append(held[at + 5 : end])
            at = end
        self._at = at
        return at - begin - 5 * (len(parts) - count)

    def jump(self, position: int, seek: Callable[[int], object]) -> None:
        """Go on at another byte; `seek` moves the source, which may not be needed."""
        if self._base <= position <= self._base + len(self._held):
            self._at = position - self._base
            return
        seek(position)
        self._held, self._at, self._base = b"", 0, position

    def _hold(self, size: int) -> None:
        """Have the next `size` bytes in the buffer, which begins with them."""
        parts = [self._held[self._at :]]
        missing = size - len(parts[0])
        while missing > 0:
            part = self._source.read(max(_BLOCK, min(missing, _PIECE)))
            if not part:
                end = self._base + self._at + size - missing
                raise self.wrong(f"it ends at byte {end}")
            parts.append(part)
            missing -= len(part)
        self._base += self._at
        self._held, self._at = b"".join(parts), 0

    def _fill(self) -> bool:
        self._base += len(self._held)
        self._held, self._at = self._source.read(_BLOCK), 0
        return bool(self._held)
