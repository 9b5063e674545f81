"""Whether a dump is whole, and whether it shrank."""

import pytest

from pgkeep.logical.create.checks import (
    Before,
    Counts,
    DataFile,
    IncompleteDump,
    check_data,
    check_globals,
    check_tables,
    suspicions,
)
from pgkeep.repository.manifest.dump_facts import DumpedDatabase


def data(content: bytes) -> DataFile:
    return DataFile("7.dat", len(content), content.count(b"\n"), content[-16:])


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param(b"\\.\n\n\n", 0, id="empty table"),
        pytest.param(b"1\ta\n2\t\\\\.\n\\.\n\n\n", 2, id="two rows"),
        pytest.param(b"\n\n\\.\n\n\n", 2, id="rows without columns"),
    ],
)
def test_rows_are_counted_up_to_the_end_mark(content: bytes, rows: int) -> None:
    check_data("shop", data(content))
    assert data(content).rows == rows


@pytest.mark.parametrize(
    "content",
    [b"", b"1\ta\n", b"1\ta", b"1\ta\n\\.\n\n", b"1\tends in \\.\n\n\n", b"1\ta\n\\.\n\n\n2\tb\n"],
)
def test_data_without_its_end_is_no_dump(content: bytes) -> None:
    with pytest.raises(IncompleteDump, match=r"shop is not whole: 7.dat ends without"):
        check_data("shop", data(content))


def test_tables_that_the_snapshot_shows_must_be_there() -> None:
    with pytest.raises(IncompleteDump, match="it has 3 of the 4 tables"):
        check_tables("shop", 4, Counts(tables=3))
    with pytest.raises(IncompleteDump, match=r"does not name 9.dat"):
        check_tables("shop", 3, Counts(tables=3, unlisted={"9.dat"}))


def test_globals_without_their_end() -> None:
    check_globals(b"CREATE ROLE a;\n--\n-- PostgreSQL database cluster dump complete\n--\n\n")
    with pytest.raises(IncompleteDump, match="roles and tablespaces is not whole"):
        check_globals(b"CREATE ROLE a;\n")


def database(name: str, tables: int, rows: int) -> DumpedDatabase:
    return DumpedDatabase(number=1, name=name, tables=tables, rows=rows)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        pytest.param([("shop", 10, 1000)], [], id="as before"),
        pytest.param([("shop", 10, 501)], [], id="a bit smaller"),
        pytest.param([("shop", 10, 499)], ["has 499 rows; dump D1 had 1,000"], id="half the rows"),
        pytest.param([("shop", 4, 1000)], ["has 4 tables; dump D1 had 10"], id="few tables"),
        pytest.param([], ["database shop is gone; dump D1 had it"], id="gone"),
        pytest.param([("shop", 10, 1000), ("new", 0, 0)], [], id="a new one"),
    ],
)
def test_suspicions(now: list[tuple[str, int, int]], said: list[str]) -> None:
    before = Before("D1", {"shop": database("shop", 10, 1000)}, {})
    found = suspicions([database(*one) for one in now], [], before)
    assert [why.removeprefix("database shop has ").strip() for why in found] == [
        one.removeprefix("has ") for one in said
    ]


def test_tables_that_are_empty_and_were_not() -> None:
    before = Before("D1", {}, {})
    found = suspicions([], ["public.orders (5,000 rows)"], before)
    assert found == ["empty now, with rows in dump D1: public.orders (5,000 rows)"]
