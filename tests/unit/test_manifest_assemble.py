"""A backup's tables, built upon its parent's: every page comes from who wrote it last."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.repository.manifest.builder import (
    Attributes,
    ChunkLog,
    ManifestBuilder,
    TakenOver,
)
from pgkeep.repository.manifest.checks import check_tables
from pgkeep.repository.pack import Placed, StoredPack
from support.layers import PAGE, SEALED, Layered, Moves, Over, Whole, backup, chunk_id, pack_id
from support.manifests import some_facts

F = "base/5/1"


def test_layers_that_are_kept_bring_only_the_packs_they_need() -> None:
    first = backup({F: Whole(300), "base/5/2": Whole(3), "x": Whole(0, 5)})
    second = backup({F: Over(300), "base/5/2": Whole(3), "x": Over(0)}, first)
    second.demand_right()
    assert second.layers(F) == 1
    third = backup({F: Over(300), "base/5/2": Whole(3)}, second)
    third.demand_right()
    packs = {third.tables.pack.name(row) for row in range(len(third.tables.pack))}
    assert packs == {pack_id(1), pack_id(3)}


def test_overlays_on_overlays() -> None:
    made = backup({F: Whole(300)})
    for blocks in ([5, 130], [5, 6, 299], [0, 130]):
        made = backup({F: Over(300, blocks)}, made)
        made.demand_right()
    assert made.layers(F) == 4


def test_pages_of_one_overlay_in_several_chunks() -> None:
    made = backup({F: Over(300, range(0, 300, 2), per_chunk=50)}, backup({F: Whole(300)}))
    made.demand_right()
    assert made.tables.layer.chunks.tolist() == [3, 3]


@pytest.mark.parametrize("pages", [1, 20, 299])
def test_a_file_that_became_shorter(pages: int) -> None:
    made = backup({F: Over(pages, [pages - 1])}, backup({F: Whole(300)}))
    made.demand_right()
    assert made.size(F) == pages * PAGE
    again = backup({F: Over(pages)}, made)
    again.demand_right()


def test_a_file_that_became_shorter_and_longer_again() -> None:
    short = backup({F: Over(20, [19])}, backup({F: Whole(300)}))
    made = backup({F: Over(250, range(20, 250))}, short)
    made.demand_right()


def test_a_file_that_grew() -> None:
    made = backup({F: Over(310, [3, *range(300, 310)])}, backup({F: Whole(300)}))
    made.demand_right()
    assert made.size(F) == 310 * PAGE


@pytest.mark.parametrize(
    ("got", "reached"),
    [
        pytest.param([3, 300, 301], 302, id="its last pages could not be read"),
        pytest.param([3, 300, 301, 303], 302, id="pages behind a gap"),
        pytest.param([3], 300, id="none of the new pages"),
        pytest.param([], 300, id="nothing"),
    ],
)
def test_a_file_that_grew_and_was_truncated_while_it_was_read(got: list[int], reached: int) -> None:
    made = backup({F: Over(305, got)}, backup({F: Whole(300)}))
    check_tables(made.tables, PAGE, "the test")
    assert made.size(F) == reached * PAGE
    made.pages[F] = made.pages[F][:reached]
    made.demand_right()


def test_a_file_that_became_shorter_and_is_gone_when_its_last_page_is_read() -> None:
    made = backup({F: Over(20)}, backup({F: Whole(300)}))
    check_tables(made.tables, PAGE, "the test")
    assert made.size(F) == 300 * PAGE  # WAL cuts it off


def test_an_overlay_of_every_page_becomes_a_whole_copy() -> None:
    first = backup({F: Whole(200), "base/5/2": Whole(20)})
    second = backup({F: Over(200, range(200)), "base/5/2": Over(20, [3])}, first)
    second.demand_right()
    assert (second.layers(F), second.layers("base/5/2")) == (1, 2)
    shorter = backup({F: Over(3, range(3)), "base/5/2": Over(20, range(19))}, second)
    shorter.demand_right()
    assert (shorter.layers(F), shorter.layers("base/5/2")) == (1, 3)


def test_overlays_that_are_merged_into_one() -> None:
    made = backup({F: Whole(40)})
    for blocks in ([1], [2, 30], [1, 35]):
        made = backup({F: Over(40, blocks)}, made)
    made = backup({F: Over(40, [1, 2, 7, 30, 35], base_only=True)}, made)
    made.demand_right()
    assert made.layers(F) == 2


def test_merged_overlays_of_a_file_that_had_grown() -> None:
    grown = backup({F: Over(50, range(40, 50))}, backup({F: Whole(40)}))
    made = backup({F: Over(50, range(40, 50), base_only=True)}, grown)
    made.demand_right()
    cut = backup({F: Over(50, range(40, 44), base_only=True)}, grown)
    check_tables(cut.tables, PAGE, "the test")
    assert cut.size(F) == 44 * PAGE
    unread = backup({F: Over(50, base_only=True)}, grown)
    check_tables(unread.tables, PAGE, "the test")
    assert (unread.size(F), unread.layers(F)) == (50 * PAGE, 2)


@pytest.mark.parametrize("pages", [5, 10, 20])
def test_merged_overlays_that_could_not_be_read_of_a_file_that_had_become_shorter(
    pages: int,
) -> None:
    short = backup({F: Over(10, [9])}, backup({F: Whole(40)}))
    made = backup({F: Over(pages, base_only=True)}, short)
    check_tables(made.tables, PAGE, "the test")
    assert made.size(F) == 10 * PAGE


def test_chunks_that_were_moved_are_found_in_their_new_packs() -> None:
    first = backup({F: Whole(300), "base/5/2": Whole(9)})
    second = backup({F: Over(300, [7]), "base/5/2": Over(9)}, first)
    rows = np.flatnonzero(second.tables.chunk.pack == 0)
    log = ChunkLog()
    for place, row in enumerate(rows.tolist()):
        name = second.tables.chunk.id[row].tobytes()
        log.add(
            0, 0, Placed(name, 0, 50 + place * SEALED, SEALED), int(second.tables.chunk.plain[row])
        )
    stored = log.finish([StoredPack(pack_id(99), 99_000)])
    third = backup({F: Over(300), "base/5/2": Over(9, [1])}, second, Moves(rows, stored))
    third.demand_right()
    packs = [third.tables.pack.name(row) for row in third.tables.chunk.pack.tolist()]
    assert pack_id(1) not in packs
    moved = third.tables.chunk.offset[[pack == pack_id(99) for pack in packs]]
    assert moved.tolist() == [50 + place * SEALED for place in range(len(rows))]


def test_chunks_that_the_parent_knows_stay_in_its_packs() -> None:
    first = backup({"a": Whole(0, 70), F: Whole(300), "z": Whole(2)})
    row = first.tables.find(F)
    assert row is not None
    builder, log = ManifestBuilder(), ChunkLog()
    builder.add_file(0, "new", Attributes(0o600, 0, 0, 0))
    plain = first.tables.chunk.plain
    rows = first.tables.chunk_rows(row)
    for place, known in enumerate(rows):
        name = first.tables.chunk.id[known].tobytes()
        if place == 1:
            placed = Placed(chunk_id(9, "new", 1), 0, 0, SEALED)
            log.add(0, place << 20, placed, int(plain[known]))
        else:
            placed = Placed(name, 0, int(first.tables.chunk.offset[known]), SEALED)
            log.add_known(0, place << 20, placed, int(plain[known]))
    builder.add_chunks(log.finish([StoredPack(pack_id(2), 5000)]))
    tables = builder.build(some_facts(), first.tables).tables
    check_tables(tables, PAGE, "the test")
    assert [tables.pack.name(p) for p in tables.chunk.pack.tolist()] == [
        pack_id(1),
        pack_id(2),
        pack_id(1),
    ]
    assert tables.chunk.offset[[0, 2]].tolist() == [
        int(first.tables.chunk.offset[rows[0]]),
        int(first.tables.chunk.offset[rows[2]]),
    ]


def test_adopted_packs_that_several_workers_share_are_named_once() -> None:
    adopted, builder = StoredPack(pack_id(7), 70_000), ManifestBuilder()
    for number in range(3):
        builder.add_file(number, f"f{number}", Attributes(0o600, 0, 0, 0))
        log = ChunkLog()
        log.add(number, 0, Placed(chunk_id(1, "f", number), 0, 40 * number, SEALED), 100)
        log.note_adopted(adopted)
        log.add(number, 100, Placed(chunk_id(2, "f", number), 0, 0, SEALED), 100)
        stored = log.finish([StoredPack(pack_id(number + 20), 5000)])
        assert stored.new_packs == (StoredPack(pack_id(number + 20), 5000),)
        builder.add_chunks(stored)
    tables = builder.build(some_facts()).tables
    check_tables(tables, PAGE, "the test")
    names = [tables.pack.name(p) for p in tables.chunk.pack.tolist()]
    assert names == [p for n in range(3) for p in (pack_id(7), pack_id(n + 20))]
    assert len(tables.pack) == 4
    assert tables.chunk.offset[::2].tolist() == [0, 40, 80]


def test_a_file_that_takes_over_layers_and_is_gone() -> None:
    first = backup({F: Whole(30), "x": Whole(1)})
    builder = ManifestBuilder()
    builder.add_directory("base", Attributes(0o700, 0, 0, 0))
    builder.add_directory("base/5", Attributes(0o700, 0, 0, 0))
    builder.add_file(0, F, Attributes(0o600, 0, 0, 0))
    builder.add_file(1, "x", Attributes(0o600, 0, 0, 0))
    rows = [first.tables.find(F), first.tables.find("x")]
    columns = ([0, 1], rows, [30 * PAGE, PAGE], [False, False])
    builder.take_over(TakenOver(*(np.array(column) for column in columns)))
    builder.leave_out(0)
    tables = builder.build(some_facts(), first.tables).tables
    check_tables(tables, PAGE, "the test")
    assert tables.find(F) is None
    assert tables.find("x") is not None


@st.composite
def lives(draw: st.DrawFn) -> Layered:
    """Some backups of two files, each built upon the one before."""
    made = backup({F: Whole(draw(st.integers(1, 20))), "base/6/1": Whole(12)})
    for _ in range(draw(st.integers(1, 6))):
        files: dict[str, Whole | Over] = {}
        for path in (F, "base/6/1"):
            before = len(made.pages[path])
            pages = draw(st.integers(1, 24))
            if draw(st.booleans()):
                files[path] = Whole(pages)
                continue
            blocks = draw(st.sets(st.integers(0, pages - 1))) | set(range(before, pages))
            blocks |= {pages - 1} if pages < before else set()
            merged = draw(st.booleans()) and made.layers(path) > 1
            if merged:
                base = made.base[path]
                blocks |= {
                    b for b in range(pages) if made.pages[path][b : b + 1] != base[b : b + 1]
                }
            files[path] = Over(pages, sorted(blocks), merged, draw(st.integers(1, 9)))
        made = backup(files, made)
    return made


@given(lives())
@settings(deadline=None, max_examples=60)
def test_any_number_of_backups_upon_each_other(made: Layered) -> None:
    made.demand_right()
