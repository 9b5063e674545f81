"""What undo shows of tables, whatever they are called and hold."""

from typing import Any

from pgkeep.cli.text import Look
from pgkeep.cli.undoing import table_text
from pgkeep.model.lsn import Lsn
from pgkeep.undo.returning.carry_out import Done, RestorePointMade
from pgkeep.undo.returning.compare import Change, ChangedRow, Difference
from pgkeep.undo.returning.found import Column, Found, Member, Part
from pgkeep.undo.returning.names import TableName
from pgkeep.undo.returning.plan import ReturnPlan, Way
from pgkeep.undo.returning.report import Seen, UndoReport

EVIL = "a\x1b[2J\nb"
NAME = TableName("app", "public", EVIL)
LOOK, STYLED = Look(), Look(styled=True)


def found(**more: Any) -> Found:
    facts: dict[str, Any] = {
        "name": NAME, "kind": "r", "owner": EVIL, "size": 2048, "rows": 3,
        "columns": (Column(EVIL, "integer", True, "", "", "", ""),), "key": (EVIL,),
        "key_is_primary": True, "comment": EVIL, "members": (Member("public", EVIL, "r", (EVIL,)),),
        "indexes": (Part(EVIL, EVIL),), "grants": (EVIL,), "first_rows": ((EVIL,), (None,)),
    }  # fmt: skip
    return Found(**(facts | more))


DIFFERENCE = Difference(
    key=(EVIL,),
    rows_then=3,
    rows_now=2,
    missing=1,
    changed=1,
    new=0,
    missing_sample=((EVIL,),),
    changed_sample=(ChangedRow((EVIL,), (Change(EVIL, EVIL, None),)),),
    new_sample=(),
    compared=(EVIL,),
    left_out=(EVIL,),
)
PLAN = ReturnPlan(Way.MERGE, NAME, NAME, (), (EVIL,))


def test_no_name_and_no_value_steers_the_terminal_or_forges_a_line() -> None:
    seen = Seen(found(), found(), DIFFERENCE)
    done = Done({EVIL: 2}, 1, 1, [(EVIL, 1)], [EVIL])
    point = RestorePointMade("before_undo_of_a", Lsn(16))
    report = UndoReport(seen, PLAN, point, done)
    for look in (LOOK, STYLED):
        texts = (
            table_text.seen(seen, "at noon", look),
            table_text.plan(PLAN, seen, EVIL, look),
            table_text.report(report, look),
        )
        for text in texts:
            assert "\x1b[2J" not in text
            assert not any(line.startswith("b") for line in text.splitlines())


def test_the_difference_is_told_in_numbers_and_with_the_first_keys() -> None:
    plain = Difference(
        ("id",), 3, 4, 1, 1, 2, (("7",),), (ChangedRow(("8",), (Change("x", "1", None),)),),
        (("9",), ("10",)), ("id", "x"), ("sum",),
    )  # fmt: skip
    table = found(name=NAME._replace(table="users"), key=("id",))
    text = table_text.seen(Seen(table, table, plain), "at noon", LOOK)
    assert text.splitlines()[0] == "app.public.users at noon: 3 rows, 2 KiB with indexes"
    assert text.endswith(
        "now it has 4 rows; by id: 1 missing, 1 changed since, 2 new since, 1 the same\n"
        "  missing, the first: 7\n"
        "  new, the first: 9, 10\n"
        "  changed: 8: x 1 -> NULL\n"
        "  not compared (in one of both only, or computed): sum"
    )
    assert "now it is gone" in table_text.seen(Seen(table, None, None), "at noon", LOOK)


def test_what_was_done_says_what_is_otherwise() -> None:
    users = NAME._replace(table="users")
    plan = ReturnPlan(Way.INTO_PLACE, users, users, ())
    done = Done({"users": 2}, None, 0, [("foreign key k", 3)], ["trigger t: no function"])
    point = RestorePointMade("before_undo_of_users", Lsn(16))
    text = table_text.report(UndoReport(Seen(found(), None, None), plan, point, done), LOOK)
    assert text.splitlines() == [
        "2 rows came back: app.public.users",
        "  foreign key k is NOT VALID: 3 rows refer to what is gone; mend that, then "
        "ALTER TABLE ... VALIDATE CONSTRAINT",
        "  not brought back: trigger t: no function",
        "restore point before_undo_of_users was set before: pgkeep undo table app.public.users "
        "--at name:before_undo_of_users shows the moment before this undo",
    ]
