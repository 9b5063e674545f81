"""Tables of contents: what each version has in them, and lies that are refused."""

import io

import pytest

from pgkeep.postgres.archive.reading import ArchiveReader, BadArchive
from pgkeep.postgres.archive.toc import (
    Algorithm,
    DataState,
    Format,
    open_toc,
    read_toc,
    write_toc,
)
from support.pg_archives import SHOP, VERSIONS, encoded, entry, header, toc


def refusal(content: bytes) -> str:
    with pytest.raises(BadArchive) as raised:
        list(read_toc(io.BytesIO(content), "it")[1])
    return str(raised.value)


def number(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


@pytest.mark.parametrize("version", VERSIONS)
def test_all_versions_come_back(version: tuple[int, int, int]) -> None:
    entries = [
        entry(7, "TABLE", "größe", table_am="heap", relkind=114, dependencies=("3", "5")),
        entry(8, "COMMENT", None, namespace="", owner=None, definition="", drop=""),
    ]
    content = encoded(toc(entries, header(version)))
    head, found = read_toc(io.BytesIO(content))
    assert head == header(version)
    wanted = [e._replace(relkind=e.relkind if version >= (1, 16, 0) else 0) for e in entries]
    if version < (1, 14, 0):
        wanted = [e._replace(table_am=None) for e in wanted]
    assert list(found) == wanted


def test_names_that_are_no_utf8_come_back() -> None:
    raw = "größe".encode("latin-1")
    name = raw.decode("utf-8", "surrogateescape")
    content = encoded(toc([entry(1, "TABLE", name)]))
    assert raw in content
    assert [e.tag for e in read_toc(io.BytesIO(content))[1]] == [name]


@pytest.mark.parametrize(
    ("form", "change"),
    [
        (Format.CUSTOM, {"file_name": None, "data_state": DataState.AT_OFFSET, "offset": 1 << 40}),
        (Format.TAR, {"file_name": "1.dat"}),
        (Format.DIRECTORY, {"file_name": None}),
        (Format.NULL, {"file_name": None}),
    ],
)
def test_each_format_has_its_own_end_of_entries(form: Format, change: dict[str, object]) -> None:
    wanted = entry(1, "TABLE DATA", "t")._replace(**change)  # type: ignore[arg-type]
    content = encoded(toc([wanted], header(format=form)))
    assert list(read_toc(io.BytesIO(content))[1]) == [wanted]


def test_compression_is_a_level_before_1_15_and_a_name_since() -> None:
    old = encoded(toc([], header((1, 14, 0), algorithm=Algorithm.GZIP, level=-1)))
    new = encoded(toc([], header((1, 15, 0), algorithm=Algorithm.ZSTD)))
    assert old[11:16] == number(-1)
    assert new[11] == Algorithm.ZSTD
    assert read_toc(io.BytesIO(old))[0].algorithm is Algorithm.GZIP
    assert read_toc(io.BytesIO(new))[0].algorithm is Algorithm.ZSTD


def test_numbers_may_have_another_size() -> None:
    entries = [e._replace(data_state=DataState.NONE) for e in SHOP.entries()]
    contents = toc(entries, header(int_size=8, offset_size=4, format=Format.CUSTOM))
    found = read_toc(io.BytesIO(encoded(contents)))[1]
    assert [e.dump_id for e in found] == [1, 2, 3, 4, 6, 8]


def test_a_table_of_contents_may_come_in_any_pieces() -> None:
    content = encoded(SHOP)
    for size in (1, 7, 4096):
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        again = open_toc(lambda pieces=pieces: pieces)  # type: ignore[misc]
        assert (again.header, again.count) == (SHOP.header, SHOP.count)
        assert list(again.entries()) == list(SHOP.entries())
        assert list(again.entries()) == list(SHOP.entries())


def test_entries_must_be_as_many_as_announced() -> None:
    with pytest.raises(ValueError, match="6 entries instead of 7"):
        write_toc(SHOP.header, SHOP.entries(), 7, io.BytesIO())


HEAD = encoded(toc([], header()))[:-5]  # all but the number of entries


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "it ends at byte 0", id="empty"),
        pytest.param(b"--\n-- PostgreSQL", "it does not begin with PGDMP", id="a script"),
        pytest.param(
            b"PGDMP\x01\x11\x00", "its archive version is 1.17, and 1.12 to 1.16 are known",
            id="too new",
        ),
        pytest.param(
            b"PGDMP\x01\x10\x00\x00\x08", "its numbers have an impossible size", id="no size"
        ),
        pytest.param(b"PGDMP\x01\x10\x00\x04\x08\x02", "2 is not a valid Format", id="format"),
        pytest.param(
            b"PGDMP\x01\x10\x00\x04\x08\x01\x09", "9 is not a valid Algorithm", id="algorithm"
        ),
        pytest.param(HEAD, f"it ends at byte {len(HEAD)}", id="cut off"),
        pytest.param(HEAD + number(-1), "it claims to have -1 entries", id="negative count"),
        pytest.param(HEAD + number(1), f"it ends at byte {len(HEAD) + 5}", id="entry missing"),
        pytest.param(
            HEAD + number(1) + b"\x07\0\0\0\0", f"there is no number at byte {len(HEAD) + 5}",
            id="sign",
        ),
        pytest.param(
            HEAD + number(1) + number(1) * 2 + number(-2),
            f"at byte {len(HEAD) + 20} is a text of -2 bytes",
            id="negative length",
        ),
        pytest.param(
            HEAD + number(1) + number(1) * 2 + number(0x7FFFFFFF),
            f"at byte {len(HEAD) + 20} is a text of 2147483647 bytes",
            id="huge length",
        ),
        pytest.param(
            HEAD + number(1) + number(1) * 2 + number(0x3FFFFFFF) + b"a",
            f"it ends at byte {len(HEAD) + 21}",
            id="long length",
        ),
        pytest.param(
            HEAD + number(1) + number(1) * 2 + number(-1) * 4 + number(2) + number(-1) * 5
            + number(-1) + number(0) + number(-1) * 3 + number(-1),
            f"the entry before byte {len(HEAD) + 5 * 19} is of no kind",
            id="no kind",
        ),
    ],
)  # fmt: skip
def test_lies_are_refused(content: bytes, why: str) -> None:
    assert refusal(content) == f"cannot read it: {why}"


def test_a_state_of_data_that_there_is_not() -> None:
    content = encoded(toc([entry(1, "TABLE", "t")], header(format=Format.CUSTOM)))
    assert refusal(content) == f"cannot read it: there is no 0 for data at byte {len(content) - 9}"


def test_what_is_refused_comes_with_advice() -> None:
    found = BadArchive("it", "it ends at byte 0")
    assert found.hint == "pg_restore --list with the same file shows what PostgreSQL makes of it"


def test_a_reader_goes_back_only_as_far_as_it_must() -> None:
    source = io.BytesIO(bytes(range(256)) * 4096)
    reader = ArchiveReader(source, "it")
    sought = list[int]()

    def seek(position: int) -> None:
        sought.append(position)
        source.seek(position)

    for position in (0, 100, 7, 900_001, 900_000, 900_010, 3):
        reader.jump(position, seek)
        assert (reader.position, reader.byte()) == (position, position % 256)
    assert sought == [900_001, 900_000, 3]
