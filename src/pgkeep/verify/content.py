"""What a worker does with one task: reads packs and WAL objects to the last byte.

A worker holds one window of a pack at a time, 8 MiB and a chunk, and what one chunk inflates to.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.repository.manifest.tables import CHUNK_LIMIT, Array
from pgkeep.repository.pack import read_contents
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import (
    CHUNK,
    HEADER_SIZE,
    ID_SIZE,
    TAG_SIZE,
    Damaged,
    FormatTooNew,
    WrongKey,
    id_of,
)
from pgkeep.repository.store.base import BlobMissing, ShortRead
from pgkeep.repository.wal_archive import WalMissing
from pgkeep.units import MIB
from pgkeep.verify.objects import chunks
from pgkeep.verify.plan import WalFile

# What an object can be found to be. Everything else a store raises is the store's failure: it says
# nothing of the object, and ends the verify.
DAMAGE: Final = (Damaged, FormatTooNew, ShortRead, WrongKey)

_WINDOW: Final = 8 * MIB
_LONGEST: Final = CHUNK_LIMIT + HEADER_SIZE + TAG_SIZE


class BadPart(NamedTuple):
    """A range of a pack that cannot be used."""

    start: int
    end: int
    why: str
    id: bytes | None = None  # only who needs this chunk there is hit; None: everybody


WHOLE: Final = 1 << 40  # an end behind the end of every pack


class PackCheck(NamedTuple):
    """A pack to read, and the rows of `Needed` for it."""

    name: str
    id: bytes
    rows: Array


@dataclass(frozen=True, slots=True)
class PackFound:
    """What reading a pack came to."""

    name: str
    read: int
    parts: tuple[BadPart, ...] = ()  # chunks that are lost
    contents: str = ""  # what is wrong with its table of contents: no file is lost by it


class WalCheck(NamedTuple):
    """A WAL file to look at: whole, or its header and its length alone."""

    file: WalFile
    whole: bool


@dataclass(frozen=True, slots=True)
class WalFound:
    """What looking at a WAL file came to."""

    file: WalFile
    read: int
    why: str = ""


class Checker:
    """Reads objects of one cluster. One per worker."""

    def __init__(self, cluster: ClusterFolder, take: Callable[[int], None]) -> None:
        """`take` returns when so many more bytes may be read."""
        self._cluster = cluster
        self._take = take
        self._store = cluster.store
        self._sealer = cluster.repository.sealer()

    def pack(self, check: PackCheck) -> PackFound:
        """Read every chunk of a pack: those in its own table of contents, and those needed."""
        try:
            size = self._store.stat(check.name).size
            wanted, contents = self._wanted(check)
            bad = list(self._bad_parts(check.name, wanted, size))
        except BlobMissing:
            return PackFound(check.name, 0, (BadPart(0, WHOLE, "it is missing"),))
        return PackFound(check.name, size, tuple(bad), contents)

    def wal(self, check: WalCheck) -> WalFound:
        """Read a WAL file's content, or its header."""
        generation, file, size = check.file
        archive = self._cluster.wal(generation)
        try:
            if not check.whole:
                archive.describe(file)
                return WalFound(check.file, 0)
            self._take(size)
            for _ in archive.fetch(file):
                pass
        except WalMissing:
            return WalFound(check.file, 0, "it is missing")
        except DAMAGE as error:
            return WalFound(check.file, size, reason(error))
        return WalFound(check.file, size)

    def _wanted(self, check: PackCheck) -> tuple[list["_Wanted"], str]:
        """Return the pieces of a pack in their order, and what is wrong with its own contents."""
        pieces: dict[tuple[int, int], _Wanted] = {}
        wrong = ""
        try:
            listed = read_contents(self._cluster, self._sealer, check.id)
        except DAMAGE as error:
            wrong = reason(error)
        else:
            ids = listed["id"].tobytes()
            places = zip(listed["offset"].tolist(), listed["length"].tolist(), strict=True)
            for at, place in enumerate(places):
                pieces[place] = _Wanted(*place, ids[ID_SIZE * at : ID_SIZE * (at + 1)], [])
        for id, offset, length, plain in chunks(check.rows):
            piece = pieces.get((offset, length))
            if piece is None:
                wrong = wrong or f"it does not list the chunk at byte {offset}"
                piece = pieces[offset, length] = _Wanted(offset, length, None, [])
            piece.needed.append((id, plain))
        return sorted(pieces.values(), key=lambda piece: piece.offset), wrong

    def _bad_parts(self, name: str, wanted: list["_Wanted"], size: int) -> Iterator[BadPart]:
        start, window = 0, memoryview(b"")
        for piece in wanted:
            offset, end = piece.offset, piece.offset + piece.length
            if end > size:
                yield BadPart(offset, end, f"it was cut off at byte {size}")
                continue
            if piece.length > _LONGEST:
                yield BadPart(offset, end, f"a chunk of {piece.length} bytes is never written")
                continue
            if end > start + len(window) or offset < start:
                length = min(max(_WINDOW, piece.length), size - offset)
                self._take(length)
                start, window = offset, memoryview(self._store.get(name, offset, length))
            yield from self._check(piece, window[offset - start : end - start])

    def _check(self, piece: "_Wanted", sealed: memoryview) -> Iterator[BadPart]:
        where, end = f"the chunk at byte {piece.offset}", piece.offset + piece.length
        try:
            length = len(self._sealer.unseal(CHUNK, sealed, where))
            found = id_of(sealed)
        except DAMAGE as error:
            yield BadPart(piece.offset, end, f"{where}: {reason(error)}")
            return
        for id, plain in piece.needed:
            if (id, plain) != (found, length):
                why = f"{where} is another one than the manifest names"
                yield BadPart(piece.offset, end, why, id)
        if piece.listed not in (None, found):
            why = f"{where} is another one than its table of contents names"
            yield BadPart(piece.offset, end, why, piece.listed)


class _Wanted(NamedTuple):
    """A piece of a pack, and who says what it holds."""

    offset: int
    length: int
    listed: bytes | None  # the id in the pack's table of contents
    needed: list[tuple[bytes, int]]  # ids and plain lengths in manifests


def reason(error: PgkeepError) -> str:
    """Return why an object cannot be used, without its name."""
    match error:
        case Damaged():
            return error.why
        case ShortRead():
            return f"it was cut off at byte {error.size}"
        case FormatTooNew():
            return f"it has format version {error.found}, and {error.known} is known"
        case WrongKey():
            return error.why
    return str(error)
