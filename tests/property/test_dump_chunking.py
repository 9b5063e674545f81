"""Borders of chunks against a slow model that looks at one chunk after the other."""

import random
from collections.abc import Iterator
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.logical.capture.chunking import cut

KIB = 1 << 10
LEAST, LARGE, FAR, LIMIT = 32 * KIB, 31 * KIB, 512 * KIB, 1024 * KIB
MULTIPLIER, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1


def model(content: bytes) -> list[int]:
    """Return the ends of all chunks, each found from the bytes of its own chunk alone."""
    ends = [0]
    while ends[-1] < len(content):
        ends.append(ends[-1] + next_end(content[ends[-1] : ends[-1] + LIMIT]))
    return ends[1:]


def next_end(window: bytes) -> int:
    rows = list(behind(window, b"\n"))
    chosen = first_of(window, rows)
    if chosen or len(window) < LIMIT:
        return chosen or len(window)
    before = [end for end in rows if LEAST <= end < FAR]
    if before:
        return before[-1]
    others = [
        at + 1
        for at in range(1, len(window))
        if window[at] & 0x1F == 0x17 and window[at - 1] & 3 == 3
    ]
    return first_of(window, others) or LIMIT


def behind(window: bytes, mark: bytes) -> Iterator[int]:
    at = window.find(mark)
    while at >= 0:
        yield at + 1
        at = window.find(mark, at + 1)


def first_of(window: bytes, ends: list[int]) -> int:
    for begin, end in zip([0, *ends], ends, strict=False):
        if end >= FAR or (end >= LEAST and is_chosen(window, begin, end)):
            return end
    return 0


def is_chosen(window: bytes, begin: int, end: int) -> bool:
    length = end - begin
    if length >= LARGE:
        return True
    first = min(begin, end - 64)
    looked_at = window[first : first + 32] + window[end - 32 : end]
    mixed = length * MULTIPLIER
    for power in range(8):
        word = int.from_bytes(looked_at[8 * power : 8 * power + 8], "little")
        mixed += word * pow(MULTIPLIER, power + 1, 1 << 64)
    mixed &= WORD
    mixed ^= mixed >> 29
    mixed = mixed * MULTIPLIER & WORD
    return mixed >> 32 < length * ((1 << 32) // (96 * KIB))


# Stretches of a file: bytes of one row (0: no line feeds at all), their alphabet, and how much.
ALPHABETS = [b"0123456789abcdef", b"t", bytes(range(256)), b"37\x17wWgk ", b" "]
stretches = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 7, 40, 100, 1000, 20_000, 40_000, 200_000, 700_000]),
        st.sampled_from(ALPHABETS),
        st.integers(0, 1500 * KIB),
        st.integers(0, 3),
    ),
    max_size=4,
)


@cache
def stretch(row: int, alphabet: bytes, size: int, seed: int) -> bytes:
    chance = random.Random(seed)
    content = bytearray(chance.randbytes(size))
    content = content.translate((alphabet * 256)[:256])
    if row:
        line_feeds = range(row, size, row + 1)
        for at in line_feeds:
            content[at] = 10
    return bytes(content)


@given(stretches, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_borders_are_those_of_the_model_however_a_file_comes(
    parts: list[tuple[int, bytes, int, int]], seed: int
) -> None:
    content = b"".join(stretch(*part) for part in parts)
    expected = model(content)
    assert cut(content, final=True).ends == expected
    ends, lines, seen, chance = [], 0, 0, random.Random(seed)
    start = 0
    while start < len(content):
        seen = min(len(content), seen + chance.choice([1, 4096, 100_000, 1 << 20, 3 << 20]))
        found = cut(memoryview(content)[start:seen], final=seen == len(content))
        ends += [start + end for end in found.ends]
        lines += found.lines
        assert found.ends or seen - start < LIMIT
        start = ends[-1] if ends else 0
    assert ends == expected
    assert lines == content.count(b"\n")
