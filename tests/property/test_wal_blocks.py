"""Broken bytes in records and segments: refused, and never anything else."""

import struct
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import BadRecord, Image, block_references, page_of
from pgkeep.postgres.wal_blocks.scan import Block, BlockScanner, BrokenWal
from support.wal import HEAP, WalWriter

TABLE = (1663, 5, 16384)


def some_wal() -> WalWriter:
    wal = WalWriter()
    for block in range(300):
        head = struct.pack("<BBHIIII", 0, 0x20, 50, *TABLE, block % 9)
        wal.raw(HEAP, 0, head + bytes(range(50)))
    wal.fill(100)
    wal.raw(HEAP, 0, struct.pack("<BBHIIII", 0, 0x20, 500, *TABLE, 3) + bytes(500))
    return wal


WAL = some_wal()
SEGMENTS = WAL.segments()
WRITTEN = len(WAL.content)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([14, 15, 18]))
def test_random_records_are_refused_or_read(content: bytes, major: int) -> None:
    with suppress(BadRecord):
        references, data = block_references(bytes(24) + content, major)
        assert len(data) <= len(content)
        for reference in references:
            if reference.image is not None:
                with suppress(BadRecord):
                    assert len(page_of(reference.image)) == 8192


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    st.integers(0, 9000),
    st.integers(0, 9000),
    st.sampled_from(["", "pglz", "zstd", "lz4"]),
)
def test_random_images_are_refused_or_whole(
    content: bytes, offset: int, hole: int, method: str
) -> None:
    with suppress(BadRecord):
        assert len(page_of(Image(content, offset, hole, method, True))) == 8192


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, WRITTEN - 1), st.integers(1, 255)), min_size=1, max_size=3)
)
def test_damaged_wal_is_noticed(flips: list[tuple[int, int]]) -> None:
    """Whatever is flipped, the scan breaks, ends early, or had nothing to lose."""
    damaged = bytearray(WAL.content)
    for offset, mask in flips:
        damaged[offset] ^= mask
    size = SEGMENTS[0][0].size
    damaged += bytes(-len(damaged) % size)
    wanted = [Block(TABLE, 0, block) for block in range(9)]
    scanner = BlockScanner(wanted, Lsn(0), Lsn((1 << 64) - 1))
    try:
        for index, (segment, _) in enumerate(SEGMENTS):
            scanner.feed(segment, bytes(damaged[index * size : (index + 1) * size]), proven=False)
    except (BrokenWal, PgkeepError):
        return
    if scanner.end == WAL.ends[-1]:
        assert sum(log.count for log in scanner.logs.values()) == 301
