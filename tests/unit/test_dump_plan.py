"""What is dumped, and with which words pg_dump is told."""

from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.logical.create.plan import (
    BadSelection,
    Found,
    NoDatabase,
    Run,
    check_selection,
    choose_parent,
    dump_words,
    last_alike,
    plan_databases,
    plan_runs,
    run_selection,
    selection_words,
)
from pgkeep.model.dump import Dump, DumpId, Origin, Selection

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def databases(sketch: str) -> list[Found]:
    """'shop closed! broken?' are a good one, one that allows no connections, an invalid one."""
    return [
        Found(word.rstrip("!?"), connectable="!" not in word, valid="?" not in word)
        for word in sketch.split()
    ]


@pytest.mark.parametrize(
    ("sketch", "wanted", "excluded", "names", "impossible"),
    [
        pytest.param("a b template0!", "", "", "a b", "", id="all but template0"),
        pytest.param("a b c", "", "b*", "a c", "", id="excluded by pattern"),
        pytest.param("a b! c?", "", "", "a", "b c", id="impossible ones are named"),
        pytest.param("a b! c?", "", "b c", "a", "", id="unless they are excluded by name"),
        pytest.param("a b", "b", "", "b", "", id="one"),
        pytest.param("a b!", "a b", "", "a", "b", id="one of them impossible"),
    ],
)
def test_plan_databases(
    sketch: str, wanted: str, excluded: str, names: str, impossible: str
) -> None:
    plan = plan_databases(databases(sketch), wanted.split(), excluded.split())
    assert " ".join(plan.names) == names
    assert " ".join(name for name, _ in plan.impossible) == impossible
    assert plan.all is not bool(wanted)


def test_a_database_that_is_not_there() -> None:
    with pytest.raises(NoDatabase) as caught:
        plan_databases(databases("shop template0!"), ["shpo"], [])
    assert str(caught.value) == "cannot dump database 'shpo': the server has no such database"
    assert caught.value.hint == "it has shop"


@pytest.mark.parametrize(
    ("selection", "count", "why"),
    [
        (Selection(schema_only=True, data_only=True), 1, "leave nothing"),
        (Selection(sections=("data",), schema_only=True), 1, "--section is given"),
        (Selection(sections=("all",)), 1, "no section 'all'"),
        (Selection(tables=("orders",)), 0, "of one database"),
        (Selection(schemas=("shop",)), 2, "of one database"),
    ],
)
def test_selections_that_make_no_sense(selection: Selection, count: int, why: str) -> None:
    with pytest.raises(BadSelection, match=why):
        check_selection(selection, count)


def test_patterns_never_become_options_of_pg_dump() -> None:
    words = selection_words(Selection(tables=("-d", "a b"), exclude_schemas=("--all",)), 17)
    assert words == ["--table=-d", "--table=a b", "--exclude-schema=--all", "--strict-names"]


@pytest.mark.parametrize(("major", "word"), [(15, "--no-blobs"), (17, "--no-large-objects")])
def test_large_objects_have_another_name_since_16(major: int, word: str) -> None:
    assert word in selection_words(Selection(large_objects=False), major)


def test_options_that_this_pg_dump_does_not_know() -> None:
    with pytest.raises(BadSelection, match="needs pg_dump 16, and this one is 15"):
        selection_words(Selection(tables_and_children=("a",)), 15)


def test_pg_dump_writes_plain_data_and_asks_for_no_password() -> None:
    words = dump_words(Selection(), 15, snapshot="0003-1", jobs=2, lock_wait_ms=20000)
    assert {"--compress=0", "--jobs=2", "--snapshot=0003-1", "--no-password"} < set(words)
    assert "--compress=none" in dump_words(Selection(), 18, snapshot="", jobs=1, lock_wait_ms=1)


@pytest.mark.parametrize(
    ("schemas", "runs"),
    [
        pytest.param({}, [Run()], id="nothing"),
        pytest.param({"a": 5, "b": 5}, [Run()], id="it fits"),
        pytest.param(
            {"a": 8, "b": 7, "c": 2},
            [Run(exclude_schemas=("a",)), Run(schemas=("a",))],
            id="the small ones go with the rest",
        ),
        pytest.param(
            {"a": 10, "b": 10, "c": 10},
            [Run(exclude_schemas=("a", "b")), Run(schemas=("a",)), Run(schemas=("b",))],
            id="one each",
        ),
    ],
)
def test_plan_runs(schemas: dict[str, int], runs: list[Run]) -> None:
    assert list(plan_runs(schemas, 10)) == runs


def test_a_schema_that_fits_nowhere_goes_alone() -> None:
    assert list(plan_runs({"public": 99}, 10)) == [Run()]
    assert list(plan_runs({"a": 1, "b": 11}, 10)) == [
        Run(exclude_schemas=("b",)),
        Run(schemas=("b",)),
    ]


def test_later_runs_take_their_schemas_alone() -> None:
    apart = Run(exclude_schemas=("A.b",))
    assert run_selection(Selection(), apart) == Selection(exclude_schemas=('"A.b"',))
    alone = run_selection(Selection(exclude_tables=("x",)), Run(schemas=("A.b",)))
    assert alone == Selection(schemas=('"A.b"',), exclude_tables=("x",), large_objects=False)


def dump(names: str, hours: int, **more: object) -> Dump:
    taken = NOON + timedelta(hours=hours)
    facts: dict[str, object] = {
        "id": DumpId(f"D{hours}"),
        "origin": Origin.SERVER,
        "started_at": taken,
        "taken_at": taken,
        "databases": tuple(names.split()),
    }
    return Dump(**{**facts, **more})  # type: ignore[arg-type]


def test_the_parent_shares_the_most_databases_and_is_the_newest_of_those() -> None:
    dumps = [dump("a b", 1), dump("a b", 2), dump("a", 3), dump("c", 4)]
    found = choose_parent(dumps, ["a", "b"])
    assert found is not None
    assert found.id == "D2"
    assert choose_parent(dumps, ["x"]) is None


def test_a_parent_that_holds_all_that_is_chosen_is_better_than_a_newer_one() -> None:
    schema, part = Selection(schema_only=True), Selection(tables=("orders",))
    dumps = [
        dump("a", 1),
        dump("a", 2, selection=part),
        dump("a b", 3, selection=Selection(exclude_databases=("c",))),
        dump("a b", 4, selection=schema),
    ]

    def found(names: str, selection: Selection) -> str | None:
        return getattr(choose_parent(dumps, names.split(), selection), "id", None)

    assert found("a", Selection()) == "D3"
    assert found("a b", schema) == "D4"
    assert found("a", part) == "D3"
    assert found("b", part) == "D3"


def test_a_dump_is_compared_with_the_last_one_alike() -> None:
    schema = Selection(schema_only=True)
    dumps = [
        dump("a b", 1, all_databases=True),
        dump("a b", 2, all_databases=True, selection=schema),
        dump("a", 3),
        dump("a", 4, origin=Origin.FILE),
    ]
    everything = plan_databases(databases("a b c"), [], [])
    one = plan_databases(databases("a b c"), ["a"], [])
    assert getattr(last_alike(dumps, everything, Selection()), "id", None) == "D1"
    assert getattr(last_alike(dumps, everything, schema), "id", None) == "D2"
    assert getattr(last_alike(dumps, one, Selection()), "id", None) == "D3"
    assert last_alike(dumps, one, schema) is None
