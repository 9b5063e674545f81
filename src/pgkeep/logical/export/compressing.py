"""A stream that compresses what is written to it: gzip or zstd."""

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, cast

from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.toc import Algorithm

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP: Final = 31  # zlib's window bits for a gzip header and trailer


@contextmanager
def compressed(sink: BinaryIO, how: Compression) -> Iterator[BinaryIO]:
    """Give a stream that compresses into `sink`; it is complete when the block ends well."""
    if how.algorithm is Algorithm.NONE:
        yield sink
        return
    stream = _Compressed(sink, _compressor(how))
    yield cast(BinaryIO, stream)
    stream.end()


def _compressor(how: Compression) -> Any:
    if how.algorithm is Algorithm.ZSTD:
        return zstd.ZstdCompressor(level=how.level)
    return zlib.compressobj(how.level if how.level is not None else -1, zlib.DEFLATED, _GZIP)


class _Compressed:
    def __init__(self, sink: BinaryIO, compressor: Any) -> None:
        self._sink = sink
        self._compressor = compressor

    def write(self, content: bytes) -> int:
        self._sink.write(self._compressor.compress(content))
        return len(content)

    def flush(self) -> None:
        pass  # what the compressor holds is written at the end

    def end(self) -> None:
        self._sink.write(self._compressor.flush())
