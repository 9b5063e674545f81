"""Changes of single pages in WAL that is made for the purpose: every kind, and every break."""

import struct
from collections.abc import Sequence

import pytest
from backports import zstd

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.wal_blocks.record import BadRecord, Image, block_references, page_of
from pgkeep.postgres.wal_blocks.scan import Block, BlockScanner, BrokenWal, PageLog
from support.wal import HEAP, MIB, WalWriter

TABLE = (1663, 5, 16384)
OTHER = (1663, 5, 16385)
WANTED = Block(TABLE, 0, 7)
SMGR, DATABASE = 2, 4
_KEPT = bytes(range(1, 201)), bytes(n % 250 + 1 for n in range(968))
_HEADER = bytes(12) + struct.pack("<HH8x", 224, 7224)
PAGE = _HEADER + _KEPT[0] + bytes(7000) + _KEPT[1]
START, STOP = Lsn(0), Lsn((1 << 64) - 1)


def reference(
    block: int = 7,
    locator: tuple[int, int, int] | None = TABLE,
    *,
    fork: int = 0,
    number: int = 0,
    data: bytes = b"",
    image: bytes = b"",
    image_head: bytes = b"",
) -> tuple[bytes, bytes]:
    """Return a block's header, and what stands behind all headers."""
    flags = fork | (0x10 if image_head else 0) | (0x20 if data else 0)
    flags |= 0 if locator else 0x80
    head = struct.pack("<BBH", number, flags, len(data)) + image_head
    head += struct.pack("<III", *locator) if locator else b""
    return head + struct.pack("<I", block), image + data


def body(*references: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    own = struct.pack("<BB", 255, len(data)) if data else b""
    return b"".join(r[0] for r in references) + own + b"".join(r[1] for r in references) + data


def whole_page(
    page: bytes = PAGE, *, applied: bool = True, hole: bool = True
) -> tuple[bytes, bytes]:
    """Return a reference with the page in it, in the way of 15 and later."""
    lower, upper = struct.unpack_from("<HH", page, 12) if hole else (0, 0)
    content = page[:lower] + page[upper:]
    head = struct.pack("<HHB", len(content), lower, (2 if applied else 0) | hole)
    return reference(image=content, image_head=head)


def scan(
    wal: WalWriter,
    wanted: Sequence[Block] = (WANTED,),
    *,
    start: Lsn = START,
    stop: Lsn = STOP,
    proven: bool = False,
) -> BlockScanner:
    scanner = BlockScanner(wanted, start, stop)
    for segment, content in wal.segments():
        scanner.feed(segment, content, proven=proven)
    return scanner


def log_of(wal: WalWriter, **more: Lsn) -> PageLog:
    return scan(wal, **more).logs[WANTED]  # type: ignore[arg-type]


def whats(log: PageLog) -> list[str]:
    return [change.what for change in log.last]


def test_only_the_wanted_page_counts() -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(reference(8)))
    wal.raw(HEAP, 0, body(reference(7, OTHER)))
    wal.raw(HEAP, 0, body(reference(7, fork=2)))
    wal.raw(HEAP, 0, body(reference(1, OTHER), reference(7, None, number=1), data=b"own"))
    wal.add(HEAP, 0, struct.pack("<III", *TABLE))  # only looks like it
    assert log_of(wal) == PageLog()
    lsn = wal.raw(HEAP, 0, body(reference(1), reference(7, None, number=1), data=b"own"))
    log = log_of(wal)
    assert (log.count, whats(log), log.image) == (1, ["changed"], None)
    assert (log.last[0].lsn, log.last[0].end) == (lsn, Lsn(wal.ends[-1]))


def test_a_whole_page_forgets_what_was_before() -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(reference(data=b"x" * 100)))
    wal.raw(HEAP, 0, body(whole_page()))
    log = log_of(wal)
    assert (log.image, log.count, whats(log)) == (PAGE, 0, [])
    assert log.image_end == wal.ends[-1]
    wal.raw(HEAP, 0, body(reference()))
    assert (log_of(wal).image, log_of(wal).count) == (PAGE, 1)


def test_a_page_that_is_only_for_comparing_is_a_change() -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(whole_page(applied=False)))
    assert (log_of(wal).image, log_of(wal).count) == (None, 1)


@pytest.mark.parametrize(
    ("manager", "info", "data", "what"),
    [
        (SMGR, 0x10, struct.pack("<IIIi", *TABLE, 0), "its relation was created"),
        (SMGR, 0x20, struct.pack("<IIIIi", 7, *TABLE, 7), "its relation was truncated"),
        (DATABASE, 0x00, struct.pack("<IIII", 5, 1663, 1, 1663), "its database was "),
        (DATABASE, 0x20, struct.pack("<III", 5, 1, 1663), "its database was "),
        (SMGR, 0x10, struct.pack("<IIIi", *TABLE, 1), ""),
        (SMGR, 0x20, struct.pack("<IIIIi", 8, *TABLE, 7), ""),
        (SMGR, 0x20, struct.pack("<IIIIi", 0, *OTHER, 7), ""),
        (DATABASE, 0x00, struct.pack("<IIII", 6, 1663, 5, 1663), ""),
    ],
)
def test_files_that_come_and_go(manager: int, info: int, data: bytes, what: str) -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(whole_page()))
    wal.add(manager, info, data)
    log = log_of(wal)
    assert log.count == bool(what)
    assert all(found.startswith(what) for found in whats(log))


def test_what_is_before_the_start_or_behind_the_stop_is_passed_over() -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(reference()))
    start = wal.raw(HEAP, 0, body(reference()))
    stop = wal.raw(HEAP, 0, body(reference()))
    wal.raw(HEAP, 0, body(reference()))
    assert [change.lsn for change in log_of(wal, start=start, stop=stop).last] == [start, stop]


@pytest.mark.parametrize("room", [8, 16, 24, 40, 4000])
def test_records_across_segments(room: int) -> None:
    wal = WalWriter()
    wal.fill(room)
    wal.raw(HEAP, 0, body(reference(data=b"y" * 3000), whole_page()))
    wal.raw(HEAP, 0, body(reference()))
    log = log_of(wal)
    assert (log.image, log.count) == (PAGE, 1)
    assert scan(wal).end == wal.ends[-1]


def test_a_record_longer_than_segments() -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(reference()))
    long = wal.add(HEAP, 0, bytes(3 * MIB))
    wal.raw(HEAP, 0, body(reference()))
    scanner = scan(wal)
    assert scanner.logs[WANTED].count == 2
    assert scanner.first is not None
    assert scanner.first < long
    assert scanner.end == wal.ends[-1]


def test_a_segment_that_was_ended_early_ends_where_the_next_begins() -> None:
    wal = WalWriter()
    wal.raw(HEAP, 0, body(reference()))
    wal.switch()
    assert scan(wal).end == 2 * MIB


def some_segments(room: int) -> list[tuple[Segment, bytes]]:
    """Return segments that end in the middle of a record, or between two."""
    wal = WalWriter()
    for _ in range(4):
        wal.fill(room)
        wal.raw(HEAP, 0, b"\x01" * 300)
    return wal.segments()


@pytest.mark.parametrize("room", [0, 64])
def test_a_missing_segment_is_noticed(room: int) -> None:
    segments = some_segments(room)
    scanner = BlockScanner([WANTED], START, STOP)
    scanner.feed(*segments[0], proven=True)
    with pytest.raises(BrokenWal, match="records are missing before it"):
        scanner.feed(*segments[2], proven=True)
    scanner = BlockScanner([WANTED], START, STOP)
    for segment, content in segments:
        scanner.feed(segment, content, proven=True)


def test_damaged_records_are_noticed_where_nobody_checked_before() -> None:
    (segment, content), *_ = some_segments(64)
    damaged = bytearray(content)
    damaged[100_000] ^= 1
    BlockScanner([WANTED], START, STOP).feed(segment, content, proven=False)
    with pytest.raises(BrokenWal, match=r"its record at .* is damaged"):
        BlockScanner([WANTED], START, STOP).feed(segment, bytes(damaged), proven=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bytes(MIB), "it begins with zeros"),
        (b"x" * MIB, "it begins with"),
    ],
)
def test_what_is_no_wal_breaks_it(content: bytes, why: str) -> None:
    with pytest.raises(BrokenWal):
        BlockScanner([WANTED], START, STOP).feed(Segment(1, 1, MIB), content, proven=True)
    assert why


def test_another_segment_breaks_it() -> None:
    (_, content), *_ = some_segments(64)
    with pytest.raises(BrokenWal, match="its content is that of 000000010000000000000001"):
        BlockScanner([WANTED], START, STOP).feed(Segment(1, 9, MIB), content, proven=True)


def test_pages_of_14() -> None:
    content = PAGE[:224] + PAGE[7224:]
    head = struct.pack("<HHB", len(content), 224, 0x01 | 0x04)
    record = bytes(24) + body(reference(image=content, image_head=head))
    (found,), data = block_references(record, 14)
    assert data == b""
    assert found.image is not None
    assert found.image.applied
    assert page_of(found.image) == PAGE
    head = struct.pack("<HHBH", 10, 224, 0x01 | 0x02, 7000)
    record = bytes(24) + body(reference(image=bytes(10), image_head=head))
    (found,), _ = block_references(record, 14)
    assert found.image is not None
    assert (found.image.method, found.image.hole_length, found.image.applied) == (
        "pglz",
        7000,
        False,
    )


def test_compressed_pages() -> None:
    kept = PAGE[:224] + PAGE[7224:]
    assert page_of(Image(zstd.compress(kept), 224, 7000, "zstd", True)) == PAGE
    literals = b"".join(b"\0" + kept[at : at + 8] for at in range(0, len(kept), 8))
    assert page_of(Image(literals, 224, 7000, "pglz", True)) == PAGE
    copies = b"\x0f\x01\xff"  # 273 bytes, each the same as the one before it
    runs = b"\x06\x07" + copies + copies + bytes([7] * 5)  # then five literals
    runs += b"".join(b"\xff" + copies * 8 for _ in range(4))
    assert page_of(Image(runs, 0, 0, "pglz", True)) == b"\x07" * 8192
    literal = b"\xf0" + b"\xff" * 4 + bytes([len(kept) - 15 - 4 * 255]) + kept
    assert page_of(Image(literal, 224, 7000, "lz4", True)) == PAGE
    run = (
        b"\x1f\x07\x01\x00"
        + b"\xff" * 32
        + bytes([8191 - 5 - 19 - 32 * 255])
        + b"\x50"
        + b"\x07" * 5
    )
    assert page_of(Image(run, 0, 0, "lz4", True)) == b"\x07" * 8192


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (Image(b"\xf0", 0, 0, "lz4", True), "its page cannot be decompressed"),
        (Image(b"\x10x\x02\x00", 0, 0, "lz4", True), "its page cannot be decompressed"),
        (Image(b"\x1fx\x01\x00\xff\xff\x00", 0, 8000, "lz4", True), "its page cannot be decomp"),
        (Image(b"x", 0, 0, "", True), "its page has the wrong length"),
        (Image(b"x", 0, 9000, "", True), "the hole of its page is impossible"),
        (Image(b"x", 8000, 1000, "", True), "the hole of its page is impossible"),
        (Image(b"x" * 20, 0, 0, "zstd", True), "its page cannot be decompressed"),
        (Image(b"\1\x00\x00", 0, 0, "pglz", True), "its page cannot be decompressed"),
        (Image(b"\1\x00", 0, 0, "pglz", True), "its page cannot be decompressed"),
    ],
)
def test_pages_that_cannot_be_read(image: Image, why: str) -> None:
    with pytest.raises(BadRecord, match=why):
        page_of(image)


def test_an_unreadable_page_is_a_change_that_says_so() -> None:
    wal = WalWriter()
    head = struct.pack("<HHB", 10, 0, 0x02 | 0x08)
    wal.raw(HEAP, 0, body(reference(image=bytes(10), image_head=head)))
    log = log_of(wal)
    assert log.image is None
    (what,) = whats(log)
    assert what.startswith("written whole, but its page cannot be decompressed: a copy from")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x40", "unknown kind 64"),
        (b"\0", "its headers are cut off"),
        (b"\0\x80\0\0" + bytes(4), "its first block belongs to no relation"),
        (b"\xff\x05x", "its parts do not fill it"),
    ],
)
def test_records_that_no_server_writes(content: bytes, why: str) -> None:
    with pytest.raises(BadRecord, match=why):
        block_references(bytes(24) + content, 18)
