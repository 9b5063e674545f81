"""Which databases become shells, and what of them is still real."""

import pytest

from pgkeep.restore.databases import Database, UnknownDatabase, choose_shells, is_in_shell

THERE = [
    Database(1, "template1"),
    Database(4, "template0"),
    Database(5, "postgres"),
    Database(16390, "shop"),
    Database(16400, "mail"),
    Database(16410, 'a "b"'),
]


@pytest.mark.parametrize(
    ("wanted", "shells"),
    [
        ("", []),
        ("shop", ["mail", 'a "b"']),
        ("shop mail", ['a "b"']),
        ("postgres", ["shop", "mail", 'a "b"']),
    ],
)
def test_choose_shells(wanted: str, shells: list[str]) -> None:
    assert [database.name for database in choose_shells(THERE, wanted.split(), "b")] == shells


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownDatabase) as caught:
        choose_shells(THERE, ["shop", "shpo"], "20260101T000000Z-aaaa")
    assert str(caught.value) == (
        "cannot restore database 'shpo' alone: backup 20260101T000000Z-aaaa has none of that name; "
        "nothing was written"
    )
    assert caught.value.hint == (
        "databases in it: shop; one created later needs the whole cluster restored"
    )
    with pytest.raises(UnknownDatabase) as caught:
        choose_shells(THERE, ["zzz"], "b")
    assert 'a "b", mail, shop;' in caught.value.hint


def test_the_command_quotes_any_name() -> None:
    assert THERE[-1].drop == 'DROP DATABASE "a ""b"""'


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("base/16390/1259", True),
        ("base/16390/pg_filenode.map", True),
        ("base/16390/PG_VERSION", False),
        ("base/1/1259", False),
        ("base/163900/1259", False),
        ("pg_tblspc/16500/PG_18_202506291/16390/2619_fsm", True),
        ("pg_tblspc/16390/PG_18_202506291/5/2619", False),
        ("global/16390", False),
    ],
)
def test_is_in_shell(path: str, inside: bool) -> None:
    assert is_in_shell(path, frozenset({16390})) is inside
