"""Which chunks are carried out of mostly dead packs."""

from dataclasses import replace

import numpy as np
import pytest

from pgkeep.backup.incremental import cleaning
from pgkeep.backup.incremental.cleaning import chunks_to_move, live_chunks
from pgkeep.repository.manifest.tables import Tables
from support.layers import Layered, Over, Whole, backup

A, B, C = "base/5/1", "base/5/2", "base/5/3"


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_WORTH_WHILE", 0)
    monkeypatch.setattr(cleaning, "_MOST_SMALL", 10**6)


def live(made: Layered, *paths: str, base_only: bool = False) -> list[bool]:
    rows = np.array([made.tables.find(path) for path in paths], np.int64)
    flags = np.full(len(rows), base_only)
    return [bool(is_live) for is_live in live_chunks(made.tables, rows, flags)]


def four_chunks() -> Layered:
    """Return a pack of 4100 bytes: two chunks of A, one each of B and C."""
    return backup({A: Whole(200), B: Whole(5), C: Whole(5)})


def test_only_what_is_taken_over_is_live() -> None:
    made = four_chunks()
    assert live(made, A) == [True, True, False, False]
    assert live(made, C, B) == [False, False, True, True]
    assert live(made) == [False] * 4


def test_overlays_are_live_with_their_base_unless_they_are_merged() -> None:
    made = backup({A: Over(200, [3]), B: Over(5), C: Over(5)}, four_chunks())
    assert live(made, A) == [True, True, True, False, False]
    assert live(made, A, base_only=True) == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("percent", "moved"),
    [(0, []), (24, []), (25, [2]), (50, [2]), (100, [2])],
)
def test_a_pack_of_which_a_quarter_is_live(percent: int, moved: list[int]) -> None:
    """1000 of 4100 bytes, 24.4 percent."""
    made = four_chunks()
    found = chunks_to_move(made.tables, np.array(live(made, B)), percent)
    assert found.tolist() == moved


def test_a_pack_that_is_all_live_moves_at_a_hundred_percent_only_for_its_contents() -> None:
    made = four_chunks()
    everything = np.ones(4, bool)
    assert chunks_to_move(made.tables, everything, 97).tolist() == []
    assert chunks_to_move(made.tables, everything, 100).tolist() == [0, 1, 2, 3]


def test_a_pack_that_is_all_dead_or_lost_does_not_move() -> None:
    made = four_chunks()
    assert chunks_to_move(made.tables, np.zeros(4, bool), 100).tolist() == []
    some = np.array(live(made, B))
    assert chunks_to_move(made.tables, some, 100, frozenset({0})).tolist() == []


def test_equal_chunks_are_stored_once_and_move_together() -> None:
    """Three rows lie in one place: they count once, and all of them are returned."""
    made = four_chunks()
    tables = with_equal_chunks(made.tables)
    rows = np.array([True, False, True, True])
    assert chunks_to_move(tables, rows, 40).tolist() == []  # 2000 of 4100 bytes
    rows = np.array([False, False, True, True])
    assert chunks_to_move(tables, rows, 40).tolist() == [2, 3]  # 1000 of 4100


def with_equal_chunks(tables: Tables) -> Tables:
    chunk = tables.chunk
    offset, ids = chunk.offset.copy(), chunk.id.copy()
    offset[3], ids[3] = offset[2], ids[2]
    return replace(tables, chunk=replace(chunk, offset=offset, id=ids))


def test_each_pack_is_judged_by_itself() -> None:
    first = four_chunks()
    second = backup({A: Over(200), B: Whole(5), C: Over(5)}, first)
    rows = np.array(live(second, B, C))
    moved = chunks_to_move(second.tables, rows, 50).tolist()
    assert [first.tables.pack.name(0)] == [
        second.tables.pack.name(int(second.tables.chunk.pack[row])) for row in moved
    ]


def test_small_packs_stay_unless_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made = four_chunks()
    for path in (A, B, C):
        files: dict[str, Whole | Over] = {A: Over(200), B: Over(5), C: Over(5)}
        made = backup({**files, path: Over(5 if path != A else 200, [2])}, made)
    everything = np.ones(len(made.tables.chunk), bool)
    monkeypatch.setattr(cleaning, "_WORTH_WHILE", 64 << 10)
    assert chunks_to_move(made.tables, everything, 100).tolist() == []
    monkeypatch.setattr(cleaning, "_MOST_SMALL", 3)
    assert len(chunks_to_move(made.tables, everything, 50)) == len(everything)
    assert chunks_to_move(made.tables, everything, 0).tolist() == []
