"""What is said when rows cannot be loaded, and what to do then."""

import pickle

import pytest

from pgkeep.logical.load.copying import Piece, refusal
from pgkeep.logical.load.masking import MasksFailed
from pgkeep.logical.load.tables import CannotLoad, TableData
from pgkeep.logical.load.wire import Refused
from pgkeep.logical.masks.rules import BadMasks
from pgkeep.logical.sample.plan import CannotSample

TABLE = TableData(7, "shop", "orders", "", "1/7.dat", None, 900)


@pytest.mark.parametrize(
    ("context", "line"),
    [
        ('COPY orders, line 3, column id: "x"', 3),
        ('COPY orders 17, Zeile 31, Spalte a: "12"', 31),
        ("COPY orders, \u884c 5", 5),
        ("SQL statement", 0),
        ("", 0),
    ],
)
def test_lines_in_any_language(context: str, line: int) -> None:
    refused = Refused("22P02", "the server says: bad", context)
    error = refusal(refused, "table shop.orders", Piece(TABLE, 1, 0, 900, last=True))
    assert error.line == line
    where = f"line {line} of 1/7.dat; {context}" if line else context
    assert str(error) == "cannot load table shop.orders: the server says: bad" + (
        f" ({where})" if where else ""
    )


def test_lines_of_parts_are_told_from_where_they_begin() -> None:
    refused = Refused("22P02", "the server says: bad", "COPY orders, line 4")
    part = Piece(TABLE, 1, 300, 600, last=True)
    error = refusal(refused, "table shop.orders", part)
    assert "(line 4 after byte 300 of 1/7.dat; COPY orders, line 4)" in str(error)
    later = refusal(refused.without_values(50), "table shop.orders", part)
    assert (later.start, later.line) == (350, 4)


@pytest.mark.parametrize(
    ("sqlstate", "hint"),
    [
        ("53100", "give the server more of what it ran out of, and restore again"),
        ("57P01", "look into the server's log, and restore again"),
        ("08006", "look into the server's log, and restore again"),
        ("42501", "the dump is unharmed: mend the cause, and restore again"),
    ],
)
def test_hints(sqlstate: str, hint: str) -> None:
    assert CannotLoad("table shop.orders", "no", sqlstate).hint == hint


def test_values_are_left_out_on_demand() -> None:
    refused = Refused("23514", "violates", 'COPY t, line 3: "secret"', "Failing row (secret)")
    assert refused.why == "violates: Failing row (secret)"
    clean = refused.without_values(0)
    assert (clean.why, clean.context) == ("violates", "COPY t, line 3")


@pytest.mark.parametrize(
    "error",
    [
        CannotLoad("table a.b", "why", "53100", "context", 3, "1/7.dat", 5),
        BadMasks(("one", "two")),
        MasksFailed("shop.users", "email", "hash", "why"),
        CannotSample("shop.users", "why"),
    ],
)
def test_errors_travel_home_from_workers(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)


def test_words_of_masks_that_failed() -> None:
    assert str(MasksFailed("shop.users", "email", "hash", "it shows")) == (
        "the masks were not applied: column email of table shop.users (hash): it shows"
    )
    assert MasksFailed("t", "c", "r", "w").hint.startswith("drop the copy; correct the rule")
