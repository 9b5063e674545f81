"""Filter files of pg_dump 17, for every version."""

from pathlib import Path

import pytest

from pgkeep.logical.filters import BadFilter, merged, parse_filter, read_filter
from pgkeep.model.dump import Selection


def test_every_kind_of_line() -> None:
    text = """
    # what the night needs
    include table shop.orders      # a comment
    exclude table_data "Audit"."Log #1"
    include schema shop
    exclude schema tmp*
    include extension hstore
    exclude extension pg_trgm
    include foreign_data remote
    exclude table a.b
    include table_and_children parts
    exclude table_and_children old
    exclude table_data_and_children huge
    """
    assert parse_filter(text, "f") == Selection(
        tables=("shop.orders",),
        exclude_table_data=('"Audit"."Log #1"',),
        schemas=("shop",),
        exclude_schemas=("tmp*",),
        extensions=("hstore",),
        exclude_extensions=("pg_trgm",),
        foreign_servers=("remote",),
        exclude_tables=("a.b",),
        tables_and_children=("parts",),
        exclude_tables_and_children=("old",),
        exclude_table_data_and_children=("huge",),
    )


def test_a_quoted_name_may_go_over_several_lines() -> None:
    assert parse_filter('include table "a\nb"', "f").tables == ('"a\nb"',)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("include table", "names nothing", id="no pattern"),
        pytest.param("\ninclude trigger x", "line 2: pg_dump knows no", id="unknown kind"),
        pytest.param("forbid table x", "knows no 'forbid table'", id="unknown command"),
        pytest.param('include table "x', "not closed", id="open quote"),
    ],
)
def test_lines_that_cannot_be_used(text: str, why: str) -> None:
    with pytest.raises(BadFilter, match=why):
        parse_filter(text, "f")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadFilter) as caught:
        read_filter(tmp_path / "night")
    said = f"cannot use the filter file {tmp_path}/night: no such file or directory"
    assert str(caught.value) == said
    assert caught.value.hint == "name a text file in UTF-8 with --filter"


def test_options_and_filter_add_up() -> None:
    one = Selection(tables=("a",), schema_only=True)
    assert merged(one, Selection(tables=("b",))) == Selection(tables=("a", "b"), schema_only=True)
