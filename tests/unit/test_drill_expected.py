"""What a census expects of a copy, in sketches."""

import pytest

from pgkeep.drill.looking import expected
from pgkeep.drill.looking.expected import Expected, Name, Outcome, There, expected_of
from pgkeep.model.census import Database, Relation
from pgkeep.repository.drills.report import Status


def relation(oid: int, name: str, **more: object) -> Relation:
    facts: dict[str, object] = {
        "oid": oid, "schema": "public", "name": name, "kind": "r", "filenode": oid,
        "tablespace": 1663, "size": 8192, "rows": 1.0,
    }  # fmt: skip
    return Relation(**{**facts, **more})  # type: ignore[arg-type]


def there(oid: int, name: str, **more: object) -> There:
    facts: dict[str, object] = {
        "oid": oid, "name": Name("public", name), "kind": "r", "logged": True, "populated": True,
    }  # fmt: skip
    return There(**{**facts, **more})  # type: ignore[arg-type]


def looked(
    census: list[Relation], copy: list[There], may_be_empty: list[str] | None = None
) -> tuple[list[str], Outcome]:
    """Return the tables that are asked for a row, and what was found wrong before."""
    outcome = Outcome()
    wanted = expected_of(Database(5, "shop", tuple(census)))
    outcome.tables = len(wanted)
    by_name = {one.name: one for one in copy}
    asked = expected.missing("shop", wanted, by_name, outcome, may_be_empty or [])
    return [one.name.table for one in asked], outcome


@pytest.mark.parametrize(
    ("rows", "size", "had"),
    [(5.0, 8192, True), (0.0, 8192, False), (-1.0, 8192, True), (-1.0, 0, False), (0.0, 0, False)],
)
def test_rows_are_told_by_the_estimate_else_by_the_file(rows: float, size: int, had: bool) -> None:
    (found,) = expected_of(Database(5, "shop", (relation(1, "t", rows=rows, size=size),)))
    assert found == Expected(Name("public", "t"), had)


def test_a_missing_table_is_told_and_one_with_rows_is_asked() -> None:
    asked, outcome = looked(
        [relation(1, "orders"), relation(2, "new", rows=0.0), relation(3, "gone")],
        [there(1, "orders"), there(2, "new")],
    )
    assert asked == ["orders"]
    assert outcome.problems == ["shop.public.gone is not there"]
    finding = outcome.finding("today")
    assert (finding.status, finding.words) == (
        Status.FAILED,
        "of 3 tables of the census of today, 1 is missing or empty",
    )


def test_what_may_be_empty_may_be_gone_too() -> None:
    asked, outcome = looked(
        [relation(1, "queue"), relation(2, "queue_old")], [there(1, "queue")], ["*.public.queue*"]
    )
    assert asked == ["queue"]
    expected.empty("shop", there(1, "queue"), outcome, ["*.public.queue*"])
    assert (outcome.problems, outcome.excused) == ([], 2)
    assert outcome.finding("today").words.endswith("; 2 excused by may_be_empty")


def test_catalogs_indexes_and_what_holds_nothing_here_are_not_asked() -> None:
    census = [
        relation(1, "pg_class", schema="pg_catalog"),
        relation(2, "orders_pkey", kind="i", parent=3),
        relation(4, "remote", kind="f"),
        relation(5, "session"),
        relation(6, "report", kind="m"),
    ]
    copy = [
        there(4, "remote", kind="f"),
        there(5, "session", logged=False),
        there(6, "report", kind="m", populated=False),
    ]
    asked, outcome = looked(census, copy)
    assert (asked, outcome.problems, outcome.tables) == ([], [], 3)


def test_partitions_come_and_go_and_their_table_is_asked_as_a_whole() -> None:
    census = [
        relation(1, "days", kind="p", size=0, rows=-1.0),
        relation(2, "november", kind="p", size=0, rows=-1.0, parent=1),
        relation(3, "monday", parent=2),
        relation(4, "tuesday", parent=2, rows=0.0),
        relation(5, "empty", kind="p", size=0, rows=-1.0),
    ]
    days = there(1, "days", kind="p", root=1)
    copy = [
        days,
        there(4, "tuesday", root=1),
        there(6, "far", kind="f", root=1),
        there(7, "lost", logged=False, root=1),
        there(5, "empty", kind="p", root=5),
    ]
    asked, outcome = looked(census, copy)
    assert (asked, outcome.problems) == (["days"], [])
    assert [leaf.name.table for leaf in expected.leaves(days, copy)] == ["tuesday"]
    asked, outcome = looked(census, [])
    assert len(outcome.problems) == 5


def test_a_census_that_lies_about_parents_ends() -> None:
    census = [relation(1, "a", parent=2), relation(2, "b", parent=1), relation(3, "c", parent=3)]
    asked, _ = looked(census, [there(1, "a"), there(2, "b"), there(3, "c")])
    assert asked == ["a", "b", "c"]


def test_tables_that_cannot_be_read_are_never_passed() -> None:
    outcome = Outcome(tables=2, unread=["shop: cannot read"])
    assert outcome.finding("today").status is Status.NOT_TESTED
