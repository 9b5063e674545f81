"""How rules in [dump.masks] are read."""

import tomllib
from datetime import date
from typing import Any

import pytest

from pgkeep.logical.masks.rules import BadMasks, Kind, MaskRule, parse_masks


def rules(toml: str) -> tuple[MaskRule, ...]:
    return parse_masks(tomllib.loads(toml))


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('users.email = "hash"', MaskRule("", "users", "email", Kind.HASH)),
        ('"users.email" = "hash"', MaskRule("", "users", "email", Kind.HASH)),
        ('[users]\nemail = "null"', MaskRule("", "users", "email", Kind.NULL)),
        ('Users.EMail = "email"', MaskRule("", "users", "email", Kind.EMAIL)),
        ('shop.users.email = "hash"', MaskRule("shop", "users", "email", Kind.HASH)),
        ('"shop.users".email = "hash"', MaskRule("shop", "users", "email", Kind.HASH)),
        (
            """'"My Shop"'.'"a.b"."C d"' = "hash\"""",
            MaskRule("My Shop", "a.b", "C d", Kind.HASH),
        ),
        ('''"\\"q\\"\\"q\\".c" = "hash"''', MaskRule("", 'q"q', "c", Kind.HASH)),
        ('t.c = {sql = " left(c, 1) "}', MaskRule("", "t", "c", Kind.SQL, "left(c, 1)")),
        ('t.c = "sql: now()"', MaskRule("", "t", "c", Kind.SQL, "now()")),
        ('t.c = "redacted"', MaskRule("", "t", "c", Kind.LITERAL, "redacted")),
        ('t.c = ""', MaskRule("", "t", "c", Kind.LITERAL, "")),
        ('t.c = "NULL"', MaskRule("", "t", "c", Kind.LITERAL, "NULL")),
        ('t.c = {text = "null"}', MaskRule("", "t", "c", Kind.LITERAL, "null")),
        ("t.c = 5", MaskRule("", "t", "c", Kind.LITERAL, "5")),
        ("t.c = 1.5", MaskRule("", "t", "c", Kind.LITERAL, "1.5")),
        ("t.c = false", MaskRule("", "t", "c", Kind.LITERAL, "false")),
        ("t.c = 1970-01-01", MaskRule("", "t", "c", Kind.LITERAL, "1970-01-01")),
        ('t.sql = "hash"', MaskRule("", "t", "sql", Kind.HASH)),
        ('"s.t.sql" = "hash"', MaskRule("s", "t", "sql", Kind.HASH)),
        ('users."\u00fcber" = "hash"', MaskRule("", "users", "\u00fcber", Kind.HASH)),
    ],
)
def test_one_rule(toml: str, expected: MaskRule) -> None:
    assert rules(toml) == (expected,)


def test_order_and_words() -> None:
    found = rules('b.c = "x"\na."B c" = "hash"'.replace('"B c"', "'\"B c\"'"))
    assert [rule.key for rule in found] == ["b.c", 'a."B c"']
    words = [rule.words for rule in rules('t.a = "hash"\nt.b = "x"\nt.c = {sql = "y"}')]
    assert words == ["hash", "'x'", "sql: y"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"email": "hash"}, "email: it must name a table and a column, like users.email"),
        ({"a.b.c.d": "hash"}, "a.b.c.d: it must name a table and a column, like users.email"),
        ({"t": {"c": []}}, "t.c: a list says nothing"),
        ({"t": {"c": None}}, "t.c: a NoneType says nothing"),
        ({"t": {"c": {"sql": 5}}}, 't.c: a table of settings must be {sql = "..."} or {text ='),
        ({"t": {"c": {"sql": " "}}}, "t.c: the expression is empty"),
        ({"t": {"c": "sql:"}}, "t.c: the expression is empty"),
        ({"t": {"my col": "hash"}}, "t.my col: after 'my' a dot is missing; odd names go in"),
        ({"t": {"2fa": "hash"}}, "t.2fa: there is no name in '2fa'"),
        ({"t": {"": "hash"}}, "t.: there is no name in ''"),
        ({"t": {"c": "hash"}, "T.c": "null"}, "t.c: there are two rules for it"),
        ({"t": {"c": {"sql": "1", "text": "2"}}}, "t.c.sql: "),
    ],
)
def test_rules_that_cannot_be_read(value: Any, why: str) -> None:
    if "t.c.sql" in why:  # then it is two columns of table c
        assert [rule.column for rule in parse_masks(value)] == ["sql", "text"]
        return
    with pytest.raises(BadMasks) as caught:
        parse_masks(value)
    start = "nothing was loaded, because the masks cannot be applied: "
    assert str(caught.value).startswith(start + why)


def test_all_bad_rules_are_named() -> None:
    with pytest.raises(BadMasks) as caught:
        parse_masks({f"c{n}": "hash" for n in range(12)} | {"t": {"d": date(2024, 1, 1)}})
    assert len(caught.value.problems) == 12
    assert str(caught.value).endswith("; and 2 more")
    assert 'users.phone = "null"' in caught.value.hint
