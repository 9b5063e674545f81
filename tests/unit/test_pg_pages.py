"""Page checksums, against values that PostgreSQL's own pageinspect gave."""

import struct

import numpy as np
import pytest

from pgkeep.postgres.pages import BATCH_PAGES, PAGE_SIZE, PageChecker, page_lsns

COUNTING = bytes(i & 255 for i in range(PAGE_SIZE))
STRIDING = bytes((i * 7 + 13) & 255 for i in range(PAGE_SIZE))
INITIALISED = struct.pack(
    "<IIHHHHHHI", 0, 0x016B3748, 0, 0, 24, 8192, 8192, 0x2004, 0
) + bytes(8168)  # fmt: skip
NEW = bytes(PAGE_SIZE)
START = 0x0200_0000


@pytest.mark.parametrize(
    ("page", "block", "checksum"),
    [
        pytest.param(COUNTING, 0, 59142, id="counting-0"),
        pytest.param(COUNTING, 1, 59143, id="counting-1"),
        pytest.param(COUNTING, 131072, 59144, id="counting-second-segment"),
        pytest.param(STRIDING, 0, 38615, id="striding-0"),
        pytest.param(STRIDING, 4294967294, 26923, id="striding-last"),
        pytest.param(INITIALISED, 0, 34175, id="initialised-0"),
        pytest.param(INITIALISED, 7, 34176, id="initialised-7"),
        pytest.param(b"\xff" * PAGE_SIZE, 12345, 15893, id="ones"),
    ],
)
def test_checksums_are_postgresqls(page: bytes, block: int, checksum: int) -> None:
    assert PageChecker().checksums(page, block).tolist() == [checksum]


def page(block: int, lsn: int = START - 1, *, damaged: bool = False) -> bytes:
    """A good page of one block, or one with a flipped byte."""
    content = bytearray(INITIALISED)
    struct.pack_into("<II", content, 0, lsn >> 32, lsn & 0xFFFFFFFF)
    content[4000] = block & 255
    checksum = PageChecker().checksums(bytes(content), block)[0]
    struct.pack_into("<H", content, 8, checksum)
    if damaged:
        content[5000] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "suspicious"),
    [
        pytest.param(page(0), False, id="good"),
        pytest.param(page(0, damaged=True), True, id="damaged"),
        pytest.param(
            page(0, START, damaged=True), False, id="changed since the start: may be torn"
        ),
        pytest.param(page(0, START - 1, damaged=True), True, id="changed just before the start"),
        pytest.param(page(1), True, id="of another block"),
        pytest.param(NEW, False, id="new"),
        pytest.param(NEW[:-1] + b"\1", True, id="new but not all zeros"),
        pytest.param(b"\xff" * 8 + NEW[8:], True, id="new with an LSN"),
    ],
)
def test_a_page_is_judged_by_the_servers_rule(content: bytes, suspicious: bool) -> None:
    found = PageChecker().suspicious(content, 0, START)
    assert found.tolist() == [0] * suspicious


def test_a_new_looking_page_is_suspicious_even_with_the_right_checksum() -> None:
    content = bytearray(NEW)
    content[8000] = 1
    content[8:10] = struct.pack("<H", PageChecker().checksums(bytes(content), 0)[0])
    assert PageChecker().suspicious(content, 0, START).tolist() == [0]


def test_blocks_are_counted_over_batches() -> None:
    count = 2 * BATCH_PAGES + 3
    bad = {0, 5, BATCH_PAGES - 1, BATCH_PAGES, count - 1}
    content = b"".join(page(100 + n, damaged=n in bad) for n in range(count))
    checker = PageChecker()
    assert checker.suspicious(content, 100, START).tolist() == sorted(bad)
    assert checker.suspicious(memoryview(content), 100, START).tolist() == sorted(bad)


def test_each_page_may_have_its_own_number() -> None:
    blocks = np.array([7, 3, 131072], np.uint32)
    content = b"".join(page(int(block)) for block in blocks)
    assert PageChecker().suspicious(content, blocks, START).tolist() == []
    assert PageChecker().suspicious(content, blocks[::-1], START).tolist() == [0, 2]


def test_block_numbers_have_32_bits() -> None:
    content = COUNTING * 3
    last = PageChecker().checksums(content, 0xFFFFFFFF).tolist()
    assert last[1:] == [59142, 59143]


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(10, 8, id="unknown flag"),
        pytest.param(12, 8192 + 8, id="line pointers beyond the page"),
        pytest.param(14, 8192 + 8, id="tuples beyond the page"),
        pytest.param(16, 8184 + 3, id="special space not aligned"),
        pytest.param(16, 8, id="special space before the tuples"),
    ],
)
def test_without_checksums_the_header_must_make_sense(offset: int, value: int) -> None:
    checker = PageChecker()
    assert checker.suspicious(INITIALISED, 0, START, checksums=False).tolist() == []
    content = bytearray(INITIALISED)
    struct.pack_into("<H", content, offset, value)
    assert checker.suspicious(content, 0, START, checksums=False).tolist() == [0]


def test_a_tail_that_is_no_page_is_left_out() -> None:
    assert PageChecker().suspicious(page(0) + b"\1" * 100, 0, START).tolist() == []
    assert PageChecker().suspicious(b"", 0, START).tolist() == []
    assert PageChecker().checksums(b"abc", 0).tolist() == []


def test_the_high_half_of_an_lsn_comes_first() -> None:
    content = struct.pack("<II", 0x12, 0x3456789A) + bytes(PAGE_SIZE - 8)
    assert page_lsns(content + NEW).tolist() == [0x12_3456789A, 0]
