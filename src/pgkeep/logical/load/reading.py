"""Reads what a task loads from the repository. One reader per thread."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from pgkeep.repository.manifest.tables import ChunkTable
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.units import MIB

_WINDOW: Final = 4 * MIB  # plain bytes fetched at a time; two such lie in memory


def read_rows(
    reader: ChunkReader, chunks: ChunkTable, what: str, *, ahead: bool = False
) -> Iterator[bytes]:
    """Yield chunks in their order; `ahead` reads the next ones meanwhile, in a thread.

    That costs what threads cost, and gives nothing where all processors are busy anyway. Raise
    PackMissing, Damaged, ...
    """
    windows = list(_windows(chunks))
    if not ahead or len(windows) < 2:
        for window in windows:
            yield from _read(reader, chunks, window, what)
        return
    with ThreadPoolExecutor(1, "read") as thread:
        coming = thread.submit(_read, reader, chunks, windows[0], what)
        for window in windows[1:]:
            ready = coming.result()
            coming = thread.submit(_read, reader, chunks, window, what)
            yield from ready
        yield from coming.result()


def _windows(chunks: ChunkTable) -> Iterator[slice]:
    first, held = 0, 0
    for row, length in enumerate(chunks.plain.tolist()):
        if held and held + length > _WINDOW:
            yield slice(first, row)
            first, held = row, 0
        held += length
    if held:
        yield slice(first, len(chunks))


def _read(reader: ChunkReader, chunks: ChunkTable, rows: slice, what: str) -> Sequence[bytes]:
    parts: list[bytes] = [b""] * (rows.stop - rows.start)
    for index, plain in reader.read(chunks.take(np.arange(rows.start, rows.stop)), lambda _: what):
        parts[index] = plain
    return parts
