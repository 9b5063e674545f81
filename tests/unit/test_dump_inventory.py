"""The inventory of a dump, and what differs between two."""

import pytest

from pgkeep.logical.diff import compare_counts, compare_objects, keyed
from pgkeep.logical.encodings import readable
from pgkeep.logical.inventory import BadInventory, Item, decode, encode

ITEMS = [
    Item("TABLE", "public", "orders", "ann", "0011223344556677"),
    Item("TABLE DATA", "public", "orders", "ann", file="7.dat", rows=3, bytes=40),
    Item("SEQUENCE SET", "public", "orders_id_seq", "ann", value="3,true"),
    Item("COMMENT", "", "EXTENSION hstore"),
    Item("COMMENT", "", "EXTENSION hstore"),
]


def test_it_comes_back_however_it_is_cut() -> None:
    content = b"".join(encode("shop", ITEMS))
    for size in (1, 7, 1000):
        pieces = [content[i : i + size] for i in range(0, len(content), size)]
        assert list(decode(pieces, "D1")) == ITEMS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"inventory":2,"database":"x"}\n',
        b'{"inventory":1,"database":"x"}\n{"type":1}',
    ],
)
def test_what_is_no_inventory(content: bytes) -> None:
    with pytest.raises(BadInventory):
        list(decode([content], "D1"))


def test_a_line_without_end_takes_no_memory() -> None:
    endless = (b"x" * (1 << 20) for _ in range(1000))
    with pytest.raises(BadInventory, match="never ends"):
        list(decode(endless, "D1"))


def test_objects_and_rows_that_differ() -> None:
    before = keyed(ITEMS)
    after = keyed(
        [
            Item("TABLE", "public", "orders", "bob", "ffff"),
            Item("TABLE DATA", "public", "orders", "bob", file="9.dat", rows=5, bytes=60),
            Item("TABLE", "public", "new", "ann"),
            Item("COMMENT", "", "EXTENSION hstore"),
        ]
    )
    changes = compare_objects("shop", before, after, definitions=True)
    assert [(c.change, c.type, c.name) for c in changes] == [
        ("removed", "COMMENT", "EXTENSION hstore"),
        ("added", "TABLE", "new"),
        ("changed", "TABLE", "orders"),
        ("owner", "TABLE", "orders"),
    ]
    (count,) = compare_counts("shop", before, after)
    assert (count.name, count.was, count.now) == ("orders", 3, 5)


def test_names_of_other_encodings_are_for_people() -> None:
    raw = "naïve".encode("latin-1").decode("utf-8", "surrogateescape")
    assert readable(raw, "LATIN1") == "naïve"
    assert readable(raw, "SQL_ASCII") == "na\\xefve"
    assert readable("naïve", "UTF8") == "naïve"
