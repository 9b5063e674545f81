"""How pg_dump compresses data: a stream for each table and large object.

Source: compress_gzip.c, compress_zstd.c and compress_lz4.c. In custom archives gzip means a zlib
stream, in directories a gzip file; the other kinds are the same in both.
"""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.toc import Algorithm
from pgkeep.units import KIB, MIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUFFIXES: Final = {
    Algorithm.NONE: "",
    Algorithm.GZIP: ".gz",
    Algorithm.LZ4: ".lz4",
    Algorithm.ZSTD: ".zst",
}
# Since when archives can say so (pg_backup_archiver.h: K_VERS_1_15).
ZSTD_SINCE: Final = (1, 15, 0)

_PIECE: Final = MIB  # plain bytes, at most
_LEAST: Final = 256 * KIB  # compressed bytes that are worth a write
_ANY_ZLIB: Final = 32 + zlib.MAX_WBITS  # with a gzip header or without one
_NO_LZ4: Final = (
    "lz4 -d --rm unpacks the files of a directory archive; "
    "others: pg_dump again with --compress=zstd, or without it"
)


class Compression(NamedTuple):
    """How data is to be compressed."""

    algorithm: Algorithm = Algorithm.NONE
    level: int | None = None  # None: what the library takes for the best


class _Unpacking(Protocol):
    """A stream that is decompressed, never more than asked for at once."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused(self) -> bytes: ...

    def some(self, stored: bytes) -> bytes:
        """Return what can be had of it by now, up to a limit."""
        ...

    @property
    def hungry(self) -> bool:
        """Whether there is nothing to be had without more input."""
        ...


class _Zlib:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_ANY_ZLIB)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused(self) -> bytes:
        return self._stream.unused_data

    @property
    def hungry(self) -> bool:
        return not self._full

    def some(self, stored: bytes) -> bytes:
        plain = self._stream.decompress(self._stream.unconsumed_tail + stored, _PIECE)
        self._full = len(plain) == _PIECE or bool(self._stream.unconsumed_tail)
        return plain


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._stream.unused_data)

    @property
    def hungry(self) -> bool:
        return bool(self._stream.needs_input)

    def some(self, stored: bytes) -> bytes:
        return bytes(self._stream.decompress(stored, _PIECE))


def plain(algorithm: Algorithm, stored: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Decompress one table or large object. Raise BadArchive."""
    match algorithm:
        case Algorithm.NONE:
            return iter(stored)
        case Algorithm.GZIP:
            return _unpacked(_Zlib, stored, where)
        case Algorithm.ZSTD:
            return _unpacked(_Zstd, stored, where)
        case Algorithm.LZ4:
            raise BadArchive(where, "it is compressed with LZ4, which is not supported", _NO_LZ4)


def compressed(compression: Compression, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress one table or large object as custom archives have it."""
    level = compression.level
    match compression.algorithm:
        case Algorithm.NONE:
            return iter(pieces)
        case Algorithm.GZIP:
            packing = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION if level is None else level)
            return _packed(packing.compress, packing.flush, pieces)
        case Algorithm.ZSTD:
            packer = zstd.ZstdCompressor(level=level)
            return _packed(packer.compress, packer.flush, pieces)
        case Algorithm.LZ4:
            raise ValueError("nothing is written with LZ4")


def _unpacked(
    begin: Callable[[], _Unpacking], stored: Iterable[bytes], where: str
) -> Iterator[bytes]:
    stream: _Unpacking | None = None
    for piece in stored:
        rest = piece
        while rest or not (stream is None or stream.eof or stream.hungry):
            if stream is None or stream.eof:  # gzip files may hold several streams
                stream = begin()
            try:
                found = stream.some(rest)
            except (zlib.error, zstd.ZstdError) as error:
                raise BadArchive(where, f"its compressed data is damaged: {error}") from None
            if found:
                yield found
            rest = stream.unused if stream.eof else b""
    if stream is not None and not stream.eof:
        raise BadArchive(where, "its compressed data is cut off")


def _packed(
    compress: Callable[[bytes], bytes], flush: Callable[[], bytes], pieces: Iterable[bytes]
) -> Iterator[bytes]:
    parts, joined = list[bytes](), 0
    for piece in pieces:
        parts.append(compress(piece))
        joined += len(parts[-1])
        if joined >= _LEAST:
            yield b"".join(parts)
            parts, joined = [], 0
    yield b"".join((*parts, flush()))
