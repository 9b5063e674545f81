"""Reads a file that is imported, from front to back, and unpacks gzip and zstd on the way."""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from pgkeep.errors import PgkeepError
from pgkeep.units import KIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK: Final = 256 * KIB
_HEAD: Final = 1024  # bytes by which a file is recognised
_GZIP: Final = 31  # zlib's window bits for a gzip header and trailer


class CannotImport(PgkeepError):
    """A file is no dump that can be taken into the repository, or not a whole one."""

    code = "cannot-import"
    exit_status = 228

    file: str
    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"nothing was imported: {self.file}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class Source:
    """Something to read from that can be looked into first."""

    def __init__(self, path: str, source: _Readable) -> None:
        self.path = path
        self._source = source
        self._held = b""
        self.position = 0  # bytes that were read

    def head(self) -> bytes:
        """Return how it begins; that is read all the same later."""
        while len(self._held) < _HEAD and (part := self._get(_BLOCK)):
            self._held += part
        return self._held[:_HEAD]

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end alone. Raise CannotImport."""
        if self._held:
            taken, self._held = self._held[:size], self._held[size:]
        else:
            taken = self._get(size)
        self.position += len(taken)
        return taken

    def pieces(self) -> Iterator[bytes]:
        """Yield all that is left."""
        while piece := self.read(_BLOCK):
            yield piece

    def _get(self, size: int) -> bytes:
        try:
            return self._source.read(size) or b""
        except OSError as error:
            raise CannotImport(self.path, (error.strerror or str(error)).lower()) from error


class Packing(NamedTuple):
    """A kind of compressed file."""

    name: str
    magic: bytes
    unpacker: Callable[[], Any]
    error: type[Exception]


PACKINGS: Final = (
    Packing("gzip", b"\x1f\x8b", lambda: zlib.decompressobj(_GZIP), zlib.error),
    Packing("zstd", b"\x28\xb5\x2f\xfd", zstd.ZstdDecompressor, zstd.ZstdError),
)


class Unpacked:
    """What is within a compressed file: of one stream, or of several one after the other."""

    def __init__(self, path: str, source: Source, packing: Packing) -> None:
        self.path = path
        self._source = source
        self._packing = packing
        self._unpacker = packing.unpacker()
        self._waiting = b""  # input that is not unpacked yet

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end alone. Raise CannotImport."""
        while True:
            if self._unpacker.eof and not self._next_stream():
                return b""
            found = self._unpack(size)
            if found:
                return found
            if not (self._waiting or self._unpacker.eof):
                self._waiting = self._source.read(_BLOCK)
                if not self._waiting:
                    raise self._wrong(f"it is cut off: its {self._packing.name} stream has no end")

    def _unpack(self, size: int) -> bytes:
        waiting, self._waiting = self._waiting, b""
        try:
            found: bytes = self._unpacker.decompress(waiting, size)
        except self._packing.error as error:
            at = self._source.position
            raise self._wrong(f"it is damaged before byte {at} ({error})") from error
        # zlib gives back what it did not use, zstd keeps it.
        self._waiting = getattr(self._unpacker, "unconsumed_tail", b"")
        return found

    def _next_stream(self) -> bool:
        """Begin with what comes behind the end of a stream, if anything does."""
        rest = self._unpacker.unused_data or self._source.read(_BLOCK)
        while rest and not rest.strip(b"\0"):  # padding, as of tapes
            rest = self._source.read(_BLOCK)
        if not rest:
            return False
        if not rest.startswith(self._packing.magic[: len(rest)]):
            raise self._wrong(
                f"behind the end of its {self._packing.name} stream is something else"
            )
        self._unpacker, self._waiting = self._packing.unpacker(), rest
        return True

    def _wrong(self, why: str) -> CannotImport:
        return CannotImport(self.path, why, "find an undamaged copy of it, or make a new dump")
