"""Rows on their way, whatever the chunks are that they come in."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.logical.load.copying import Block, Loaded, Piece, load_piece
from pgkeep.logical.load.inserts import whole_statements
from pgkeep.logical.load.masking import row_batches
from pgkeep.logical.load.plan import cuts, plan_units
from pgkeep.logical.load.tables import END_MARK, CannotLoad, TableData
from pgkeep.units import MIB

VALUE = st.binary(max_size=12).map(lambda value: value.replace(b"\n", b"n").replace(b"\\", b"s"))
ROWS = st.lists(VALUE.map(lambda value: value + b"\n"), max_size=30).map(b"".join)


class Kept:
    """A server that keeps what it is sent."""

    def __init__(self) -> None:
        self.content = b""

    def load(self, piece: Piece, blocks: Iterator[Block]) -> Loaded:
        self.content += b"".join(blocks)
        return Loaded(piece.table.dump_id, 0, piece.size)


def cut_up(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(content) + 1) for place in places}), len(content)]
    return [content[a:b] for a, b in pairwise(edges) if a < b]


def piece(chunks: list[bytes], *, last: bool = True, start: int = 0) -> Piece:
    size = sum(map(len, chunks))
    table = TableData(7, "s", "t", "COPY s.t FROM stdin;", "1/7.dat", None, size)
    return Piece(table, len(chunks), start, size, last)


@given(ROWS, st.lists(st.integers(0)))
def test_all_but_the_end_mark_is_sent(rows: bytes, places: list[int]) -> None:
    chunks = cut_up(rows + END_MARK, places)
    kept, counted = Kept(), list[int]()
    beyond = [b"of the next table"]
    coming = iter(chunks + beyond)
    load_piece(piece(chunks), coming, kept, encoding="UTF8", sent=counted.append)
    assert kept.content == rows
    assert sum(counted) == len(rows) + len(END_MARK)
    assert list(coming) == beyond


@given(ROWS, st.lists(st.integers(0)), st.integers(1, 5))
def test_data_that_is_cut_off_is_refused(rows: bytes, places: list[int], missing: int) -> None:
    chunks = cut_up((rows + END_MARK)[:-missing], places)
    with pytest.raises(CannotLoad, match="does not end as it must"):
        load_piece(piece(chunks), iter(chunks), Kept(), encoding="UTF8", sent=lambda _: None)


@given(ROWS, st.lists(st.integers(0)))
def test_a_part_is_sent_whole(rows: bytes, places: list[int]) -> None:
    chunks, kept = cut_up(rows, places), Kept()
    part = piece(chunks, last=False, start=50)
    load_piece(part, iter(chunks), kept, encoding="UTF8", sent=lambda _: None)
    assert kept.content == rows


@given(
    st.lists(st.one_of(VALUE, st.just(b"two\\\nlines")).map(lambda v: v + b"\n"), max_size=40),
    st.lists(st.integers(0)),
    st.integers(1, 40),
)
def test_batches_end_with_rows(rows: list[bytes], places: list[int], limit: int) -> None:
    content = b"".join(rows)
    batches = [b"".join(batch) for batch in row_batches(cut_up(content, places), limit)]
    assert b"".join(batches) == content
    ends = {sum(map(len, rows[:n])) for n in range(len(rows) + 1)}
    position = 0
    for batch in batches:
        position += len(batch)
        assert batch
        assert position in ends


@given(st.lists(st.integers(1, 100), max_size=50), st.integers(1, 10))
def test_cuts_make_parts_of_about_one_size(sizes: list[int], parts: int) -> None:
    found = cuts(sizes, parts)
    assert found == sorted(set(found))
    assert len(found) < max(parts, 1)
    assert all(0 < cut < len(sizes) for cut in found)
    edges = [0, *found, len(sizes)]
    made = [sum(sizes[a:b]) for a, b in pairwise(edges)]
    assert max(made) <= sum(sizes) / parts + 100 if sizes else made == [0]


@given(st.lists(st.integers(5, 300 * MIB), max_size=40), st.integers(1, 8))
def test_every_table_is_planned_once(sizes: list[int], jobs: int) -> None:
    units = list(plan_units(sizes, jobs))
    assert sorted(index for unit in units for index in unit.tables) == list(range(len(sizes)))
    largest = [max(sizes[index] for index in unit.tables) for unit in units]
    assert largest == sorted(largest, reverse=True)
    for unit in units:
        assert unit.parts == 1 or len(unit.tables) == 1
        if unit.parts > 1:
            assert sizes[unit.tables[0]] / unit.parts >= 32 * MIB


@given(
    st.lists(st.sampled_from(["'a;b'", "''", "'it''s'", '"na;me"', '"q""q"', "x", "\n", " "])),
    st.lists(st.integers(0)),
)
def test_statements_are_cut_between_them(words: list[str], places: list[int]) -> None:
    statements = [f"INSERT {word};".encode() for word in words]
    content = b"\n".join([*statements, b"\n\n"])
    *found, left = whole_statements(cut_up(content, places))
    assert b"".join([*found, left]) == content
    ends = {len(b"\n".join(statements[: n + 1])) for n in range(len(statements))}
    position = 0
    for piece_of_sql in found:
        position += len(piece_of_sql)
        assert position in ends
    assert b";" not in left
