"""Where tablespaces go, and which mappings are refused."""

import pytest

from pgkeep.restore.tablespaces import (
    BadTablespace,
    Mapping,
    Tablespace,
    TablespaceMove,
    parse_mapping,
    place_tablespaces,
)

ODD = Tablespace(16384, "/mnt/größe a=b/ts")
FAST = Tablespace(16385, "/mnt/fast")


def place(*mappings: str, spaces: tuple[Tablespace, ...] = (ODD, FAST)) -> list[TablespaceMove]:
    parsed = [parse_mapping(text) for text in mappings]
    return list(place_tablespaces(spaces, parsed, target_dir="/new/data", source_dir="/old/data"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a=/b", Mapping("/a", "/b")),
        ("/a/=/b//c/", Mapping("/a", "/b/c")),
        (r"/mnt/größe a\=b/ts/=/b", Mapping("/mnt/größe a=b/ts", "/b")),
        (r"/a=/b\=c", Mapping("/a", "/b=c")),
        (r"/a\\=/b", Mapping("/a\\", "/b")),
        (r"/a\b=/c", Mapping("/a\\b", "/c")),
    ],
)
def test_parse_mapping(text: str, expected: Mapping) -> None:
    assert parse_mapping(text) == expected


@pytest.mark.parametrize(
    ("mappings", "why"),
    [
        pytest.param(["/elsewhere=/n"], "has no tablespace there", id="unknown source"),
        pytest.param(["mnt/fast=/n"], "is not an absolute path", id="relative source"),
        pytest.param(["/mnt/fast=n"], "is not an absolute path", id="relative destination"),
        pytest.param(["=/n"], "the old location is empty", id="empty left side"),
        pytest.param(["/mnt/fast="], "the new location is empty", id="empty right side"),
        pytest.param(["/mnt/fast"], "there is no '='", id="no equals sign"),
        pytest.param(
            ["/mnt/fast=/n", r"/mnt/größe a\=b/ts=/n"], "would share it", id="two to one place"
        ),
        pytest.param(["/mnt/fast=/new/data/ts"], "inside the other", id="inside the target"),
        pytest.param(["/mnt/fast=/new"], "inside the other", id="around the target"),
        pytest.param(
            ["/mnt/fast=/mnt/größe a\\=b/ts", r"/mnt/größe a\=b/ts=/n"],
            "where another tablespace of the backup was",
            id="the place of another one",
        ),
        pytest.param(["/mnt/größe a=b/ts=/n"], "more than one '='", id="unescaped equals sign"),
        pytest.param(["/mnt/fast=/n", "/mnt/fast/=/m"], "mapped twice", id="twice"),
    ],
)
def test_scenario_18_bad_mappings_are_refused(mappings: list[str], why: str) -> None:
    with pytest.raises(BadTablespace, match="nothing was written") as caught:
        place(*mappings)
    assert why in str(caught.value)


def test_scenario_18_the_right_mapping() -> None:
    assert place(r"/mnt/größe a\=b/ts/=/n/odd", "/mnt/fast=/n/fast") == [
        TablespaceMove(16384, "/mnt/größe a=b/ts", "/n/odd", "mapped by --tablespace"),
        TablespaceMove(16385, "/mnt/fast", "/n/fast", "mapped by --tablespace"),
    ]


def test_an_unmapped_tablespace_goes_where_it_was() -> None:
    assert place()[1] == TablespaceMove(
        16385, "/mnt/fast", "/mnt/fast", "not mapped: goes where it was"
    )


def test_scenario_20_a_tablespace_inside_the_data_directory_moves_with_it() -> None:
    inside = Tablespace(16386, "/old/data/ts/one")
    assert place(spaces=(inside,)) == [
        TablespaceMove(
            16386, "/old/data/ts/one", "/new/data/ts/one", "it lay inside the data directory"
        )
    ]
