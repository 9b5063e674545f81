"""What a query must return: read, compared, and said."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pgkeep.model.expectation import Expectation, parse_expectation


@pytest.mark.parametrize(
    ("expect", "rows", "why"),
    [
        ("42", [(42,)], ""),
        ("42", [(Decimal("42.0"),)], ""),
        ("42", [("42",)], ""),
        ("true", [(True,)], ""),
        ("true", [(False,)], "it returned false, expected true"),
        ("= paid", [("open",)], "it returned open, expected paid"),
        ("null", [(None,)], ""),
        ("> 1000", [(1001,)], ""),
        ("> 1000", [(1000,)], "it returned 1000, expected > 1000"),
        (">= 0.5", [(0.5,)], ""),
        ("!= 0", [(0,)], "it returned 0, expected != 0"),
        ("<> x", [("y",)], ""),
        ("> 1000", [("many",)], "it returned many, expected > 1000"),
        ("> 1000", [(None,)], "it returned null, expected > 1000"),
        (">= 2026-11-01", [(datetime(2026, 11, 2, tzinfo=UTC),)], ""),
        (">= 2026-11-01", [(datetime(2026, 10, 31, 23, tzinfo=UTC),)],
         "it returned 2026-10-31 23:00:00+00:00, expected >= 2026-11-01"),
        ("rows", [(1,)], ""),
        ("rows", [], "it returned no row, expected at least one row"),
        ("no rows", [], ""),
        ("no rows", [(7, "late")], "it returned 7, late, expected no row"),
        ("1", [], "it returned no row, expected 1"),
        ("1", [()], "it returned no row, expected 1"),
    ],
)  # fmt: skip
def test_why_not(expect: str, rows: list[tuple[object, ...]], why: str) -> None:
    assert parse_expectation(expect).why_not(rows) == why


def test_a_long_value_is_cut() -> None:
    why = parse_expectation("x").why_not([("y" * 1000,)])
    assert len(why) < 250


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (">", "compares with nothing: '>'"),
        ("> many", "compares with what is neither a number nor a time: '> many'"),
        ("< nan", "compares with what is neither a number nor a time: '< nan'"),
    ],
)
def test_what_is_no_expectation(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared
        parse_expectation(text)
    assert str(caught.value) == why


def test_words_that_begin_like_a_comparison_are_one() -> None:
    assert parse_expectation("==") == Expectation("=", "=")
    assert parse_expectation("rows ") == Expectation("rows")
