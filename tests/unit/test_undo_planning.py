"""How a table is named, which moment is meant, and what comes back with a table."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.model.lsn import Lsn
from pgkeep.model.target import AtLsn, AtName, AtTime, AtXid, BadTarget, RecoveryTarget
from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.postgres.archive.toc import Section, TocEntry
from pgkeep.undo import target
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.entries import Chosen, choose, owner_statement, settings_of
from pgkeep.undo.returning.found import Column, Found, Member
from pgkeep.undo.returning.found import Sequence as Owned
from pgkeep.undo.returning.names import TableName, nearest, parse_table
from pgkeep.undo.returning.plan import (
    AddKey,
    LiveFacts,
    Merge,
    NoWayBack,
    Run,
    SequenceState,
    Way,
    plan_beside,
    plan_into_place,
    plan_merge,
)

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


# names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app.public.users", ("app", "public", "users")),
        ("App.Public.USERS", ("app", "public", "users")),
        ('"My App"."a.b"."q""uote\n"', ("My App", "a.b", 'q"uote\n')),
    ],
)
def test_a_table_is_named_as_in_sql(text: str, name: tuple[str, str, str]) -> None:
    assert parse_table(text) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("users", "it has 1 part, not three"),
        ("public.users", "it has 2 parts, not three"),
        ("a.b.c.d", "it has 4 parts, not three"),
        ("", "there is no name in ''"),
        ("app.public.users x", "there is ' x' behind 'users'"),
        (f"app.public.{'x' * 64}", "a name has at most 63 bytes"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_type(text: str, why: str) -> None:
    with pytest.raises(CannotUndo) as caught:
        parse_table(text)
    assert str(caught.value) == f"cannot read {text!r} as a table: {why}"
    assert "app.public.users" in caught.value.hint


NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=15)


@given(st.tuples(NAMES, NAMES, NAMES))
def test_whatever_a_table_is_called_it_is_read_as_it_is_shown(parts: tuple[str, str, str]) -> None:
    name = TableName(*parts)
    assert parse_table(str(name)) == name
    assert parse_table(".".join(map(always_quoted, parts))) == name


def test_the_nearest_names_are_the_same_table_elsewhere_then_what_looks_alike() -> None:
    known = [("public", "orders"), ("sales", "users"), ("public", "user"), ("x", "y")]
    found = nearest(TableName("app", "public", "users"), known)
    assert list(map(str, found)) == ["app.sales.users", 'app.public."user"']
    assert nearest(TableName("app", "q", "zzzzzz"), known) == []


def test_a_new_name_fits_however_long_the_old_one_is() -> None:
    name = TableName("app", "public", "ü" * 31)
    assert len(name.beside("_recovered").encode()) <= 63
    assert name.beside("_recovered").endswith("ü_recovered")


# moments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12:59:59", datetime(2026, 11, 28, 11, 59, 59, tzinfo=UTC)),  # 13:00 is now in Berlin
        ("13:00:01", datetime(2026, 11, 27, 12, 0, 1, tzinfo=UTC)),
        ("9:05", datetime(2026, 11, 28, 8, 5, tzinfo=UTC)),
        ("2026-01-15 15:47:21+00", datetime(2026, 1, 15, 15, 47, 21, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_is_the_most_recent_one(text: str, found: datetime) -> None:
    moment = target.at(text, BERLIN, NOW)
    assert moment.recovery == RecoveryTarget(AtTime(found))
    assert moment.words == f"at {found:%Y-%m-%d %H:%M:%S} UTC"


def test_before_leaves_out_what_it_names_and_at_does_not() -> None:
    before = target.before("xid:812", UTC, NOW)
    assert before.recovery == RecoveryTarget(AtXid(812), inclusive=False)
    assert before.words == "right before transaction 812 ended"
    position = target.before("lsn:0/4A000028", UTC, NOW)
    assert position.recovery == RecoveryTarget(AtLsn(Lsn.parse("0/4A000028")), inclusive=False)
    assert target.at("name:x", UTC, NOW).recovery == RecoveryTarget(AtName("x"))
    with pytest.raises(BadTarget, match="nothing can be said to stand before it"):
        target.before("latest", UTC, NOW)
    for given_ in (0, 2):
        with pytest.raises(BadTarget, match="one moment is needed"):
            target.demand_one(given_)
    assert target.xid_of("xid:4294968108", UTC) == 4294968108
    assert target.xid_of("2026-01-15 15:47:21", UTC) is None


# what comes back

PRE, POST = Section.PRE_DATA, Section.POST_DATA


def entry(
    number: int, desc: str, tag: str, *needs: int, section: Section = PRE, **more: Any
) -> TocEntry:
    facts = {"definition": f"CREATE {desc} {tag}", "owner": "joe", "drop": f"DROP {desc} {tag};\n"}
    facts |= more
    return TocEntry(
        number, True, "0", "0", tag, desc, section, facts["definition"], facts["drop"], None,
        more.get("namespace", "" if desc in ("SCHEMA", "EXTENSION") else "public"),
        more.get("tablespace", ""), None, 0, facts["owner"], "false", tuple(map(str, needs)),
    )  # fmt: skip


KEY = 'ALTER TABLE ONLY "public"."orders"\n    ADD CONSTRAINT "k" FOREIGN KEY ("u") REFERENCES '
THEN = [
    entry(1, "EXTENSION", "citext"),
    entry(2, "TYPE", "mood"),
    entry(3, "COMMENT", "TYPE mood", 2, section=Section.NONE),
    entry(4, "TABLE", "users", 1, 2),
    entry(5, "SEQUENCE", "users_id_seq", 4),
    entry(6, "TABLE", "orders"),
    entry(7, "VIEW", "v", 4),
    entry(8, "VIEW", "w", 7),
    entry(9, "CONSTRAINT", "users users_pkey", 4, section=POST),
    entry(10, "INDEX", "orders_x", 6, section=POST),
    entry(11, "TRIGGER", "users t", 4, section=POST),
    entry(12, "FK CONSTRAINT", "orders k", 6, 9, section=POST,
          definition=KEY + '"public"."users" ("id") ON DELETE CASCADE;\n'),
    entry(13, "ACL", "TABLE users", 4, section=Section.NONE),
    entry(14, "POLICY", "orders other", 6, 4, section=POST),
]  # fmt: skip


def tags(chosen: Chosen) -> list[str]:
    return [one.entry.tag or "" for one in chosen.entries]


def gone(*numbers: int) -> list[TocEntry]:
    """Return what is there now: all but these."""
    return [one for one in THEN if one.dump_id not in numbers]


def test_what_hung_on_a_table_comes_back_with_it_and_nothing_else() -> None:
    # The index of orders was dropped by itself: nothing of it is touched.
    now = gone(4, 5, 7, 8, 9, 10, 11, 12, 13, 14)
    chosen = choose(THEN, now, [("public", "users")], ["citext"])
    assert tags(chosen) == [
        "users", "users_id_seq", "v", "w", "users users_pkey", "users t", "orders other",
        "orders k", "TABLE users",
    ]  # fmt: skip
    required = {one.entry.tag for one in chosen.entries if one.required}
    assert required == {"users", "users_id_seq", "users users_pkey"}
    reasons = {one.entry.tag: one.reason for one in chosen.entries}
    assert reasons["users"] == "the table itself"
    assert reasons["w"] == "hung on view public.v"


def test_what_a_table_needs_and_is_gone_comes_first() -> None:
    chosen = choose(THEN, gone(1, 2, 3, 4, 5, 13), [("public", "users")], ["citext"])
    assert tags(chosen)[:4] == ["citext", "mood", "users", "users_id_seq"]
    assert tags(chosen)[-2:] == ["TYPE mood", "TABLE users"]
    assert chosen.entries[0].required
    assert chosen.entries[1].reason == "gone too, and needed by table public.users"


def test_what_cannot_be_made_is_named() -> None:
    chosen = choose(THEN, gone(1, 4), [("public", "users")], [])
    assert chosen.blocking == (
        "it needs extension citext, which is not installed on the live server",
    )
    lost = choose(THEN, gone(4, 6, 9, 12, 14), [("public", "users")], ["citext"])
    assert lost.blocking == ()
    assert lost.left_out == (
        "foreign key constraint public.orders k: it needs table public.orders, which is gone too",
        "policy public.orders other: it needs table public.orders, which is gone too",
    )


@given(st.data())
def test_whatever_is_gone_the_order_holds_and_what_is_there_is_left_alone(
    data: st.DataObject,
) -> None:
    kinds = ["TYPE", "FUNCTION", "TABLE", "VIEW", "INDEX", "FK CONSTRAINT", "ACL", "POLICY"]
    then: list[TocEntry] = [entry(1, "TABLE", "users")]
    for number in range(2, data.draw(st.integers(2, 12)) + 1):
        needs = data.draw(st.lists(st.integers(1, number - 1), unique=True, max_size=3))
        kind = data.draw(st.sampled_from(kinds))
        section = POST if kind in ("INDEX", "FK CONSTRAINT", "POLICY") else PRE
        then.append(entry(number, kind, f"o{number}", *needs, section=section))
    lost = data.draw(st.sets(st.integers(2, len(then)))) | {1}
    now = [one for one in then if one.dump_id not in lost]
    chosen = choose(then, now, [("public", "users")], [])
    made: list[int] = []
    for one in chosen.entries:
        assert one.entry.dump_id in lost
        needed = {int(number) for number in one.entry.dependencies} & lost
        if not chosen.blocking and one.entry.section == PRE and one.entry.desc != "ACL":
            late = {n for n in needed if then[n - 1].section == POST or then[n - 1].desc == "ACL"}
            assert needed - late <= set(made)
        made.append(one.entry.dump_id)
    assert len(set(made)) == len(made)


def test_owners_and_tablespaces_are_set_as_pg_restore_does() -> None:
    assert owner_statement(entry(1, "TABLE", 'q"')) == 'ALTER TABLE "public"."q""" OWNER TO "joe"'
    assert owner_statement(entry(1, "SCHEMA", "s")) == 'ALTER SCHEMA "s" OWNER TO "joe"'
    function = entry(1, "FUNCTION", "f(integer)", drop='DROP FUNCTION "public"."f"(integer);\n')
    assert owner_statement(function) == 'ALTER FUNCTION "public"."f"(integer) OWNER TO "joe"'
    assert owner_statement(entry(1, "INDEX", "i")) == ""
    table = entry(1, "TABLE", "t", tablespace="fast")
    assert settings_of(table, ["fast"]) == 'SET LOCAL default_tablespace = "fast"'
    assert settings_of(table, []) == "SET LOCAL default_tablespace = ''"
    assert settings_of(entry(1, "VIEW", "v"), []) == ""


# plans


def column(name: str, kind: str = "integer", **more: Any) -> Column:
    facts: dict[str, Any] = {
        "not_null": False,
        "generated": "",
        "identity": "",
        "collation": "",
        "comment": "",
    }
    return Column(name, kind, **(facts | more))


def found(*columns: Column, sequences: Sequence[Owned] = (), **more: Any) -> Found:
    facts: dict[str, Any] = {
        "name": TableName("app", "public", "users"), "kind": "r", "owner": "joe", "size": 1,
        "rows": 2, "key": ("id",), "key_is_primary": True,
        "members": (Member("public", "users", "r", tuple(c.name for c in columns)),),
    }  # fmt: skip
    return Found(columns=columns, sequences=tuple(sequences), **(facts | more))


LIVE = LiveFacts(frozenset({"joe"}), frozenset(), frozenset())
SERIAL = Owned("public", "users_id_seq", "id", 7, True, 1, 1)


def test_a_sequence_gives_out_nothing_twice() -> None:
    then = found(column("id"), sequences=[SERIAL])
    chosen = choose(THEN, gone(4, 5), [("public", "users")], ["citext"])

    def position(state: SequenceState) -> str:
        plan = plan_into_place(then, chosen, LIVE, {("public", "users_id_seq"): state})
        steps = [s for s in plan.steps if isinstance(s, Run) and s.what.startswith("position")]
        return steps[0].statements[0]

    edge = '(SELECT max("id")::bigint FROM "public"."users")'
    assert f"greatest(41, {edge})" in position(SequenceState(41, True, 1))
    assert f"greatest(NULL, {edge})" in position(SequenceState(0, False, 1))
    assert "least(-41, (SELECT min(" in position(SequenceState(-41, True, -1))


def test_into_place_fails_whole_or_says_what_is_otherwise() -> None:
    then = found(column("id"))
    chosen = choose(THEN, gone(1, 4), [("public", "users")], [])
    with pytest.raises(NoWayBack) as caught:
        plan_into_place(then, chosen, LIVE, {})
    assert "extension citext" in str(caught.value)
    assert caught.value.hint.endswith("or write --as users_recovered")
    nobody = LiveFacts(frozenset(), frozenset(), frozenset())
    everything = choose(THEN, gone(4, 9, 12), [("public", "users")], ["citext"])
    plan = plan_into_place(then, everything, nobody, {})
    assert plan.notes[0] == "table public.users belongs to whoever runs this: role joe is gone"
    key = next(step for step in plan.steps if isinstance(step, AddKey))
    assert key.not_valid.endswith("ON DELETE CASCADE NOT VALID")
    assert key.violators == (
        'SELECT count(*) FROM "public"."orders" t WHERE t."u" IS NOT NULL AND NOT EXISTS '
        '(SELECT FROM "public"."users" o WHERE o."id" = t."u")'
    )


def test_a_merge_takes_stored_columns_that_are_there_and_silences_triggers() -> None:
    then = found(column("id"), column("old"), column("sum", generated="s"), column("x"))
    now = found(column("id"), column("x", "text"), column("new"), sequences=[SERIAL])
    plan = plan_merge(then, now, "SELECT", [("a", "O"), ("b", "A")], "")
    assert plan.way is Way.MERGE
    assert plan.notes == (
        "column old is not in the live table: its values stay in the recovered copy",
    )
    merge = next(step for step in plan.steps if isinstance(step, Merge))
    assert merge.statement.startswith(
        'INSERT INTO "public"."users" ("id", "x") OVERRIDING SYSTEM VALUE SELECT "id", "x"'
    )
    assert merge.statement.endswith("ON CONFLICT DO NOTHING")
    # Of what has another type by now nobody can say whether it is the same.
    assert 'ROW(s."id")' in merge.counted
    triggers = [s for s in plan.steps if isinstance(s, Run) and s.what.startswith("triggers")]
    assert triggers[1].statements == (
        'ALTER TABLE "public"."users" ENABLE TRIGGER "a"',
        'ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "b"',
    )
    last = plan.steps[-1]
    assert isinstance(last, Run)
    assert "edge > s.last_value" in last.statements[0]


def test_a_copy_beside_is_readable_even_without_its_types() -> None:
    then = found(column("id"), column("m", "public.mood"), column("t", "text", collation='"C"'))
    into = then.name._replace(table="users_recovered")
    plan = plan_beside(then, into, ["public.mood"], ["joe"], "id = 1 -- one")
    made = plan.steps[0]
    assert isinstance(made, Run)
    assert made.statements[0] == (
        'CREATE TABLE "public"."users_recovered" '
        '("id" integer, "m" pg_catalog.text, "t" text COLLATE "C")'
    )
    assert plan.notes == ("column m is text: type public.mood is not on the live server",)
    assert plan.to_dict()["into"] == "app.public.users_recovered"
