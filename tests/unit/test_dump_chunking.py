"""Chunks of dumped tables: how large they are, where they end, and what a changed row changes."""

import random
from collections.abc import Callable
from functools import cache

import pytest

from pgkeep.logical.capture.chunking import LEAST, cut
from pgkeep.repository.manifest.tables import CHUNK_LIMIT

KIB, MIB = 1 << 10, 1 << 20
Row = Callable[[random.Random, int], bytes]

NARROW: Row = lambda chance, number: b"%d\t%d\n" % (number, chance.randrange(7))  # noqa: E731
FLAGS: Row = lambda chance, _: b"%c\n" % chance.choice(b"tf")  # noqa: E731
PGBENCH: Row = lambda _, number: b"%d\t1\t0\t%s\n" % (number, b" " * 84)  # noqa: E731


def document(size: int) -> Row:
    return lambda chance, number: b"%d\t%s\n" % (number, chance.randbytes(size // 2).hex().encode())


KILOBYTE, HUGE = document(1000), document(3_000_000)


@cache
def table(row: Row, size: int) -> tuple[bytes, ...]:
    """Return rows of `size` bytes together; narrow ones, which take longer, of a quarter."""
    chance, held = random.Random(1), 0
    rows: list[bytes] = []
    while held < (size // 4 if row in (FLAGS, NARROW) else size):
        rows.append(row(chance, len(rows)))
        held += len(rows[-1])
    return tuple(rows)


def chunks(content: bytes) -> list[bytes]:
    found = cut(content, final=True)
    begins = [0, *found.ends]
    assert found.lines == content.count(b"\n")
    assert begins[-1] == len(content)
    return [content[a:b] for a, b in zip(begins, found.ends, strict=False)]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(FLAGS, id="two bytes"),
        pytest.param(NARROW, id="ten bytes"),
        pytest.param(PGBENCH, id="rows that end alike"),
        pytest.param(KILOBYTE, id="a kilobyte"),
        pytest.param(document(20_000), id="twenty kilobytes"),
    ],
)
def test_chunks_are_of_one_size_whatever_the_rows_are(row: Row) -> None:
    content = b"".join(table(row, 12 * MIB))
    found = chunks(content)
    assert 80 * KIB < len(content) / len(found) < 180 * KIB
    assert all(LEAST <= len(chunk) <= CHUNK_LIMIT for chunk in found[:-1])
    assert all(chunk.endswith(b"\n") for chunk in found)


@pytest.mark.parametrize("size", [50_000, 300_000, 900_000])
def test_a_large_row_is_a_chunk(size: int) -> None:
    rows = table(document(size), 8 * MIB)
    assert chunks(b"".join(rows)) == list(rows)


def test_rows_too_large_for_a_chunk_are_cut_and_end_with_one() -> None:
    rows = table(HUGE, 12 * MIB)
    found = chunks(b"".join(rows))
    assert all(LEAST <= len(chunk) <= CHUNK_LIMIT for chunk in found[:-1])
    assert sum(chunk.endswith(b"\n") for chunk in found) >= len(rows) - 1
    assert len(found) > 4 * len(rows)


def test_small_rows_before_a_huge_one_end_with_a_chunk() -> None:
    small, huge = b"".join(table(document(9000), 100_000)), table(HUGE, 1)
    begin, borders = len(small), cut(small + huge[0], final=True).ends
    assert begin in borders


@pytest.mark.parametrize(
    ("content", "size"),
    [
        pytest.param(bytes(5 * MIB), CHUNK_LIMIT, id="zeros"),
        pytest.param(b"a\tb\n" * (1 << 20), CHUNK_LIMIT // 2, id="equal rows"),
    ],
)
def test_what_is_all_alike_gives_chunks_that_are_alike(content: bytes, size: int) -> None:
    found = chunks(content)
    assert len(set(found[:-1])) == 1
    assert len(found[0]) in (size, LEAST)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(FLAGS, id="two bytes"),
        pytest.param(NARROW, id="ten bytes"),
        pytest.param(PGBENCH, id="rows that end alike"),
        pytest.param(KILOBYTE, id="a kilobyte"),
        pytest.param(HUGE, id="huge"),
    ],
)
@pytest.mark.parametrize("change", ["insert", "delete", "update"])
def test_a_changed_row_changes_few_chunks(row: Row, change: str) -> None:
    rows = list(table(row, 12 * MIB))
    before = set(chunks(b"".join(rows)))
    middle = len(rows) // 2
    other = row(random.Random(2), 4_711)
    rows[middle : middle + (change != "insert")] = [] if change == "delete" else [other]
    after = chunks(b"".join(rows))
    own = -(-len(other) // (128 * KIB))  # chunks of the row itself
    assert len(set(after) - before) <= 3 + (2 * own if own > 1 else 0)


def test_random_bytes_are_cut_where_they_say() -> None:
    """Large objects are no rows."""
    content = random.Random(1).randbytes(8 * MIB)
    shifted = b"in front" + content
    assert len(set(chunks(shifted)) - set(chunks(content))) <= 3


def test_text_without_line_feeds_is_cut_where_it_says() -> None:
    words = "the quick brown fox jumps over 37 lazy dogs while 2027 wolves watch how it goes"
    chance = random.Random(1)
    content = " ".join(chance.choices(words.split(), k=1_500_000)).encode()
    found = chunks(content)
    assert 60 * KIB < len(content) / len(found) < 250 * KIB
    assert len(set(chunks(b"in front" + content)) - set(found)) <= 3


def test_small_files_are_one_chunk() -> None:
    assert cut(b"\\.\n\n\n", final=True) == ([5], 3)
    assert cut(b"", final=True) == ([], 0)
    assert cut(b"1\n" * 1000, final=False) == ([], 0)
