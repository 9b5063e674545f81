"""What becomes of each file of an incremental backup, and the reason for it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from pgkeep.backup.incremental import changes
from pgkeep.backup.incremental.changes import (
    RACY_NS,
    Changes,
    Fate,
    Files,
    Parent,
    Rules,
    WentBack,
    find_changes,
)
from pgkeep.postgres.wal_summary.changed import ChangedBlocks
from pgkeep.postgres.wal_summary.content import read_summary
from support.layers import LISTED_NS, OLD_NS, PAGE, Layered, Over, Whole, backup
from support.wal_summaries import Told, write_summary

F = "base/5/1000"
LATER_NS = LISTED_NS + 10**10
SEGMENT_BLOCKS = 100


class Now(NamedTuple):
    """A file as it is listed now; unless said otherwise it was changed since."""

    size: int
    mtime_ns: int = LATER_NS
    ctime_ns: int = LATER_NS
    inode: int = 1


def same(size: int, **more: int) -> Now:
    return Now(size, **{"mtime_ns": OLD_NS, "ctime_ns": OLD_NS, **more})


def pages(count: int) -> Now:
    return Now(count * PAGE)


def find(
    now: dict[str, Now],
    made: Layered,
    told: Sequence[Told] | None = None,
    parent: Mapping[str, object] | None = None,
    **rules: object,
) -> Changes:
    size, mtime, ctime, inode = (np.array(column) for column in zip(*now.values(), strict=True))
    files = Files(list(now), size, mtime, ctime, inode.astype(np.uint64))
    summaries = None
    if told is not None:
        summaries = ChangedBlocks()
        summaries.add(read_summary(write_summary(told), "the test"))
    before = Parent(made.tables, LISTED_NS, **(parent or {}))  # type: ignore[arg-type]
    return find_changes(files, before, Rules(SEGMENT_BLOCKS, summaries, **rules))  # type: ignore[arg-type]


def demand(found: Changes, fate: Fate, blocks: Sequence[int] = (), why: str = "") -> None:
    """Check the first file."""
    assert (Fate(found.fate[0]), found.reasons) == (fate, {why: 1} if why else {})
    assert found.blocks.get(0, changes.NOTHING).tolist() == list(blocks)


def told(*blocks: int, limit: int | None = None, number: int = 1000) -> list[Told]:
    return [Told(number, limit=limit, blocks=set(blocks), database=5)]


def test_a_file_that_is_untouched_is_kept() -> None:
    demand(find({F: same(40 * PAGE)}, backup({F: Whole(40)})), Fate.KEPT)


@pytest.mark.parametrize("path", [F + "_fsm", F + "_vm", F + "_init", "pg_xact/0000", "PG_VERSION"])
def test_what_is_untouched_is_kept_whatever_it_is(path: str) -> None:
    demand(find({path: same(3 * PAGE)}, backup({path: Whole(3)})), Fate.KEPT)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(same(40 * PAGE, mtime_ns=LATER_NS), id="mtime"),
        pytest.param(same(40 * PAGE, ctime_ns=LATER_NS), id="ctime"),
        pytest.param(same(40 * PAGE, mtime_ns=OLD_NS - 5), id="mtime that somebody set"),
        pytest.param(same(41 * PAGE), id="size"),
    ],
)
def test_whatever_differs_a_file_is_looked_at(now: Now) -> None:
    found = find({F: now}, backup({F: Whole(40)}))
    assert Fate(found.fate[0]) is Fate.SCAN


@pytest.mark.parametrize(
    ("age_ns", "kept"), [(RACY_NS + 1, True), (RACY_NS, False), (0, False), (-(10**15), False)]
)
@pytest.mark.parametrize("which", ["mtime_ns", "ctime_ns"])
def test_a_file_that_was_young_when_it_was_listed_is_not_trusted(
    age_ns: int, kept: bool, which: str
) -> None:
    """It may have been changed again within the same tick; or the clock was set back since."""
    times = {"mtime_ns": OLD_NS, "ctime_ns": OLD_NS, which: LISTED_NS - age_ns}
    made = backup({F: Whole(40, mtime_ns=times["mtime_ns"], ctime_ns=times["ctime_ns"])})
    found = find({F: same(40 * PAGE, **times)}, made)
    assert Fate(found.fate[0]) is (Fate.KEPT if kept else Fate.SCAN)


def test_scenario_a_clock_set_back_is_noticed_by_a_ctime_that_went_back() -> None:
    made = backup({"a": Whole(1), F: Whole(40, ctime_ns=OLD_NS + 1)})
    with pytest.raises(WentBack) as caught:
        find({"a": same(PAGE), F: same(40 * PAGE)}, made)
    assert str(caught.value) == (
        f"{F} was changed later then than now: the disk, or the clock, was set back"
    )


def test_an_older_ctime_of_another_file_means_nothing() -> None:
    """It has been put there by rename or by a restore."""
    made = backup({F: Whole(40, ctime_ns=OLD_NS + 1)})
    demand(find({F: same(40 * PAGE, inode=2)}, made), Fate.WHOLE, why="replaced by another file")


def test_a_file_that_the_parent_has_not() -> None:
    demand(find({"base/5/7": pages(40)}, backup({F: Whole(40)})), Fate.WHOLE, why="new")


def test_what_was_a_directory_is_a_new_file() -> None:
    found = find({"base/5": pages(40)}, backup({F: Whole(40)}))
    demand(found, Fate.WHOLE, why="new")


@pytest.mark.parametrize("path", [F + "_fsm", F + "_vm", F + "_init", "pg_xact/0000", "base/5/x"])
def test_what_is_not_made_of_pages_that_tell_is_read_whole(path: str) -> None:
    found = find({path: pages(40)}, backup({path: Whole(40)}), told(1))
    demand(found, Fate.WHOLE, why="not made of pages that tell")


def test_an_emptied_relation_has_nothing_to_be_read() -> None:
    found = find({F: pages(0)}, backup({F: Whole(40)}))
    demand(found, Fate.WHOLE, why="not made of pages that tell")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(Whole(40), pages(4), id="small now"),
        pytest.param(Whole(0), pages(40), id="it was empty"),
        pytest.param(Whole(40, tail=7), pages(40), id="it had half a page"),
        pytest.param(Whole(40), Now(40 * PAGE + 7), id="it has half a page"),
    ],
)
def test_files_that_are_not_worth_it(before: Whole, now: Now) -> None:
    demand(find({F: now}, backup({F: before})), Fate.WHOLE, why="small")


def test_a_file_that_was_made_anew_under_its_name() -> None:
    found = find({F: Now(40 * PAGE, inode=2)}, backup({F: Whole(40)}))
    demand(found, Fate.WHOLE, why="replaced by another file")


@pytest.mark.parametrize("version", [Now(3), Now(3, inode=9)], ids=["times", "inode"])
def test_a_database_whose_directory_was_made_anew(version: Now) -> None:
    made = backup({"base/5/PG_VERSION": Whole(0, 3), F: Whole(40), "base/6/1": Whole(40)})
    now = {F: pages(40), "base/6/1": pages(40), "base/5/PG_VERSION": version}
    found = find(now, made)
    assert [Fate(fate) for fate in found.fate] == [Fate.WHOLE, Fate.SCAN, Fate.WHOLE]
    assert found.reasons["in a directory made anew"] == 1


def test_a_file_that_needs_a_pack_that_is_lost() -> None:
    first = backup({F: Whole(40), "x": Whole(1), "base/5/2": Whole(40)})
    made = backup({F: Over(40), "x": Over(1), "base/5/2": Whole(40)}, first)
    now = {F: pages(40), "x": same(PAGE), "base/5/2": same(40 * PAGE)}
    found = find(now, made, parent={"lost_packs": frozenset({0})})
    assert [Fate(fate) for fate in found.fate] == [Fate.WHOLE, Fate.WHOLE, Fate.KEPT]
    assert found.reasons == {"missing from the repository": 1, "not made of pages that tell": 1}


def test_a_file_that_is_damaged_in_the_parent() -> None:
    made = backup({F: Whole(40)})
    unreliable = {"unreliable": frozenset({F, "base/5/gone"})}
    found = find({F: same(40 * PAGE)}, made, parent=unreliable)
    demand(found, Fate.WHOLE, why="damaged in the parent")


def test_files_that_changed_on_a_server_that_may_have_gone_back() -> None:
    found = find({F: pages(40)}, backup({F: Whole(40)}), told(1), doubtful=True)
    demand(found, Fate.WHOLE, why="changed since a restart without archiving")


# By the LSNs of pages.


def test_a_changed_file_is_scanned() -> None:
    demand(find({F: pages(40)}, backup({F: Whole(40)})), Fate.SCAN)


def test_a_grown_file_is_scanned_and_its_new_pages_are_taken_in_any_case() -> None:
    demand(find({F: pages(43)}, backup({F: Whole(40)})), Fate.SCAN, [40, 41, 42])


def test_a_shorter_file_has_its_last_page_taken_as_a_mark() -> None:
    demand(find({F: pages(20)}, backup({F: Whole(40)})), Fate.SCAN, [19])


# By WAL summaries.


def test_the_pages_that_summaries_name() -> None:
    found = find({F: pages(40)}, backup({F: Whole(40)}), told(3, 30))
    demand(found, Fate.PAGES, [3, 30])


def test_pages_behind_the_end_are_not_there() -> None:
    found = find({F: pages(40)}, backup({F: Whole(40)}), told(3, 40, 99))
    demand(found, Fate.PAGES, [3])


def test_a_file_of_which_summaries_know_nothing_has_new_hints_only() -> None:
    found = find({F: pages(40)}, backup({F: Whole(40)}), told(3, number=77))
    demand(found, Fate.KEPT)


def test_new_pages_are_taken_even_if_wal_does_not_name_them() -> None:
    """A relation is extended by zeros without WAL."""
    found = find({F: pages(42)}, backup({F: Whole(40)}), told(3))
    demand(found, Fate.PAGES, [3, 40, 41])


def test_a_relation_created_anew_or_truncated() -> None:
    found = find({F: pages(40)}, backup({F: Whole(40)}), told(limit=0))
    demand(found, Fate.WHOLE, why="created anew or truncated")


def test_a_database_created_anew() -> None:
    found = find({F: pages(40)}, backup({F: Whole(40)}), [Told(0, limit=0, database=5)])
    demand(found, Fate.WHOLE, why="created anew or truncated")


def test_from_the_limit_on_every_page_is_taken() -> None:
    """VACUUM cut the file at block 35, and it grew again."""
    found = find({F: pages(40)}, backup({F: Whole(40)}), told(3, limit=35))
    demand(found, Fate.PAGES, [3, 35, 36, 37, 38, 39])


def test_a_shorter_file_with_a_limit_at_its_end() -> None:
    found = find({F: pages(20)}, backup({F: Whole(40)}), told(3, limit=20))
    demand(found, Fate.PAGES, [3, 19])


def test_a_file_cut_and_grown_again_to_less_than_before() -> None:
    found = find({F: pages(20)}, backup({F: Whole(40)}), told(limit=17))
    demand(found, Fate.PAGES, [17, 18, 19])


def test_a_shorter_file_without_a_limit() -> None:
    found = find({F: pages(20)}, backup({F: Whole(40)}), told(3))
    demand(found, Fate.WHOLE, why="shorter, and WAL does not say why")


@pytest.mark.parametrize(
    ("summary", "fate", "blocks"),
    [
        pytest.param(told(7, 107, 199, 200), Fate.PAGES, [7, 99], id="blocks of its own only"),
        pytest.param(told(7, limit=190), Fate.PAGES, range(90, 100), id="limit in this segment"),
        pytest.param(told(150, limit=250), Fate.PAGES, [50], id="limit behind this segment"),
    ],
)
def test_the_second_segment_of_a_relation(
    summary: list[Told], fate: Fate, blocks: Sequence[int]
) -> None:
    found = find({F + ".1": pages(100)}, backup({F + ".1": Whole(100)}), summary)
    demand(found, fate, blocks)


@pytest.mark.parametrize("limit", [0, 100])
def test_the_second_segment_of_a_relation_that_was_cut_before_it(limit: int) -> None:
    found = find({F + ".1": pages(100)}, backup({F + ".1": Whole(100)}), told(limit=limit))
    demand(found, Fate.WHOLE, why="created anew or truncated")


def test_the_files_of_one_relation_are_judged_one_by_one() -> None:
    made = backup({F: Whole(100), F + ".1": Whole(40)})
    found = find({F: same(100 * PAGE), F + ".1": pages(40)}, made, told(5, 105))
    assert [Fate(fate) for fate in found.fate] == [Fate.KEPT, Fate.PAGES]
    assert found.blocks[1].tolist() == [5]


# When overlays are cleaned away.


def overlaid(blocks: Sequence[int], total: int = 100) -> Layered:
    return backup({F: Over(total, blocks)}, backup({F: Whole(total)}))


@pytest.mark.parametrize(
    ("limit", "named", "whole"),
    [
        (50, range(20), False),
        (50, range(21), True),
        (30, [50], True),
        (100, range(70), False),
        (100, range(71), True),
    ],
)
def test_overlays_of_more_than_the_limit_make_a_whole_copy_due(
    limit: int, named: Sequence[int], whole: bool
) -> None:
    """Thirty pages of a hundred are overlaid already, each time that they were."""
    found = find({F: pages(100)}, overlaid(range(30)), told(*named), overlay_limit=limit)
    if whole:
        demand(found, Fate.WHOLE, why="due for a whole copy")
    else:
        demand(found, Fate.PAGES, named)


def test_a_limit_of_zero_makes_every_change_a_whole_copy() -> None:
    made = backup({F: Whole(100)})
    demand(
        find({F: pages(100)}, made, told(5), overlay_limit=0),
        Fate.WHOLE,
        why="due for a whole copy",
    )
    demand(find({F: pages(100)}, made, told(number=7), overlay_limit=0), Fate.KEPT)


def test_the_limit_is_of_the_size_that_the_file_has_now() -> None:
    found = find({F: pages(50)}, overlaid(range(30)), told(3, limit=50))
    demand(found, Fate.WHOLE, why="due for a whole copy")


@pytest.mark.parametrize("by_summaries", [True, False])
def test_overlays_of_32_layers_are_stored_anew_as_one(by_summaries: bool) -> None:
    made = backup({F: Whole(200)})
    for block in range(30):
        made = backup({F: Over(200, [block, 199])}, made)
    summary = told(90) if by_summaries else None
    fate, named = (Fate.PAGES, [90]) if by_summaries else (Fate.SCAN, [])
    found = find({F: pages(200)}, made, summary)
    demand(found, fate, named)
    assert found.base_only == set()
    made = backup({F: Over(200, [30])}, made)
    assert made.layers(F) == 32
    found = find({F: pages(200)}, made, summary)
    demand(found, fate, sorted([*range(31), *named, 199]))
    assert found.base_only == {0}
    shorter = find({F: pages(95)}, made, told(limit=95) if by_summaries else None, overlay_limit=99)
    demand(shorter, fate, [*range(31), 94])


def test_what_is_decided_can_be_read() -> None:
    made = backup({F: Whole(40), "x": Whole(1), "y": Whole(1)})
    found = find({F: pages(40), "x": same(PAGE), "y": pages(1)}, made)
    assert str(found) == (
        "1 whole, 1 kept, 0 pages, 1 scan, 0 left_out; "
        "whole because: {'not made of pages that tell': 1}"
    )


def test_relations_in_tablespaces_and_shared_ones() -> None:
    paths = ["pg_tblspc/16400/PG_18_202506291/5/1000", "global/1260"]
    summary = [
        Told(1000, blocks={7}, database=5, tablespace=16400),
        Told(1260, blocks={9}, database=0, tablespace=1664),
    ]
    made = backup({path: Whole(40) for path in paths})
    found = find({path: pages(40) for path in paths}, made, summary)
    assert [found.blocks[index].tolist() for index in (0, 1)] == [[7], [9]]
