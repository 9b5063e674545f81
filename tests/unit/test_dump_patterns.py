"""Patterns mean what they mean to pg_dump (string_utils.c)."""

import pytest

from pgkeep.logical.patterns import BadPattern, chosen, parse_pattern, quoted
from pgkeep.model.dump import Selection


@pytest.mark.parametrize(
    ("text", "means", "not_these"),
    [
        pytest.param("orders", [("s", "orders")], [("s", "orders2"), ("s", "Orders")], id="plain"),
        pytest.param("ORDERS", [("s", "orders")], [("s", "ORDERS")], id="folded"),
        pytest.param('"Orders"', [("s", "Orders")], [("s", "orders")], id="quoted"),
        pytest.param("shop.*", [("shop", "a")], [("shop2", "a")], id="schema"),
        pytest.param("shop.or?ers", [("shop", "orders")], [("shop", "orers")], id="one letter"),
        pytest.param('"a.b".c', [("a.b", "c")], [("axb", "c")], id="a dot in quotes"),
        pytest.param('"a""b"', [("s", 'a"b')], [("s", "ab")], id="a quote in quotes"),
        pytest.param('"*"', [("s", "*")], [("s", "x")], id="a star in quotes"),
        pytest.param("a$b", [("s", "a$b")], [("s", "ab")], id="dollar"),
        pytest.param("t[0-9]", [("s", "t7")], [("s", "t")], id="a regular expression"),
        pytest.param("-d", [("s", "-d")], [], id="looks like an option"),
        pytest.param("über*", [("s", "übermut")], [], id="other letters"),
    ],
)
def test_parse_pattern(
    text: str, means: list[tuple[str, str]], not_these: list[tuple[str, str]]
) -> None:
    pattern = parse_pattern(text)
    assert all(pattern.matches(*name) for name in means)
    assert not any(pattern.matches(*name) for name in not_these)


def test_without_a_schema_only_what_the_search_path_shows() -> None:
    assert not parse_pattern("orders").matches("hidden", "orders", visible=False)
    assert parse_pattern("hidden.orders").matches("hidden", "orders", visible=False)


@pytest.mark.parametrize("text", ['"open', "a.b.c", "", "a.", "t[0"])
def test_patterns_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BadPattern):
        parse_pattern(text)


@pytest.mark.parametrize("name", ['a"b', "A.B", "*", "x y", "-t", "naïve\n"])
def test_quoted_means_exactly_one_name(name: str) -> None:
    assert parse_pattern(quoted(name)).matches("any", name)


def test_a_selection_of_tables_and_schemas() -> None:
    found = chosen(
        Selection(schemas=("shop",), exclude_tables=("shop.log*",), exclude_table_data=("*.big",))
    )
    assert found.has("shop", "orders")
    assert not found.has("shop", "log_2026")
    assert not found.has("other", "orders")
    assert found.has("shop", "big")
    assert not found.has_data("shop", "big")


def test_chosen_tables_come_whatever_their_schema() -> None:
    found = chosen(Selection(tables=("a.orders",), exclude_schemas=("a",)))
    assert found.has("a", "orders")
    assert not found.has("a", "other")
