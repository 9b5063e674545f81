"""Custom archives: written and read again, where blocks stand, and what is refused."""

import io
from collections.abc import Callable

import pytest

from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.custom import CustomArchive
from pgkeep.postgres.archive.custom_write import supports, write_custom
from pgkeep.postgres.archive.reading import ArchiveReader, BadArchive
from pgkeep.postgres.archive.streams import read_stream
from pgkeep.postgres.archive.toc import Algorithm, DataState, TocEntry, read_toc
from support.pg_archives import (
    SHOP,
    SHOP_FILES,
    TABLE,
    VERSIONS,
    HeldFiles,
    Pipe,
    data,
    encoded,
    entry,
    everything,
    header,
    objects,
    toc,
)

NONE, GZIP, ZSTD = (Compression(a) for a in (Algorithm.NONE, Algorithm.GZIP, Algorithm.ZSTD))
ANY = pytest.mark.parametrize("compression", [NONE, GZIP, ZSTD, Compression(Algorithm.GZIP, 9)])


def written(compression: Compression = NONE, make: type[io.BytesIO] = io.BytesIO) -> bytes:
    sink = make()
    write_custom(sink, SHOP, HeldFiles(SHOP_FILES), compression)
    return sink.getvalue()


def custom(content: bytes) -> CustomArchive:
    return CustomArchive(ArchiveReader(io.BytesIO(content), "it"))


def refusal(content: bytes) -> str:
    with pytest.raises(BadArchive) as raised:
        everything(custom(content))
    return str(raised.value)


def places(content: bytes) -> list[tuple[int, int]]:
    return [(e.data_state, e.offset) for e in read_toc(io.BytesIO(content))[1] if e.had_dumper]


@ANY
@pytest.mark.parametrize("make", [io.BytesIO, Pipe])
def test_what_is_written_is_read(compression: Compression, make: type[io.BytesIO]) -> None:
    found, files = everything(custom(written(compression, make)))
    assert found == encoded(SHOP)
    assert files == SHOP_FILES


@ANY
def test_blocks_stand_where_entries_say(compression: Compression) -> None:
    content = written(compression)
    blocks = [(3, 1), (4, 1), (6, 3), (8, 3)]  # dump ids and kinds
    for (dump_id, kind), (state, offset) in zip(blocks, places(content), strict=True):
        assert state == DataState.AT_OFFSET
        assert content[offset : offset + 6] == bytes([kind, 0, dump_id, 0, 0, 0])


def test_a_pipe_needs_compressed_data_to_be_searched() -> None:
    assert written(NONE, Pipe) == written(NONE)
    assert places(written(GZIP, Pipe)) == [(DataState.SOMEWHERE, 0)] * 4


def test_the_place_of_the_archive_in_a_file_does_not_matter() -> None:
    sink = io.BytesIO(b"before")
    sink.seek(6)
    write_custom(sink, SHOP, HeldFiles(SHOP_FILES), GZIP)
    assert sink.tell() == len(sink.getvalue())
    assert sink.getvalue() == b"before" + written(GZIP)


def test_chunks_have_one_length_whatever_the_pieces() -> None:
    table = bytes(range(256)) * 2500
    contents = toc([data(3, "orders")])
    sizes = set()
    for piece in (1000, 300_000, 1 << 20):
        sink = io.BytesIO()
        write_custom(sink, contents, HeldFiles({"3.dat": table}, piece))
        assert everything(custom(sink.getvalue()))[1] == {"3.dat": table}
        sizes.add(len(sink.getvalue()))
    assert len(sizes) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_old_versions_have_one_list_of_large_objects(version: tuple[int, int, int]) -> None:
    several = version >= (1, 16, 0)
    name = "blobs_5.toc" if several else "blobs.toc"
    contents = toc([objects(5, "7", name)], header(version))
    files = {"blob_7.dat": b"seven", name: b"7 blob_7.dat\n"}
    sink = io.BytesIO()
    write_custom(sink, contents, HeldFiles(files), GZIP)
    assert everything(custom(sink.getvalue())) == (encoded(contents), files)


def test_compressions_that_versions_have() -> None:
    assert supports(header((1, 15, 0)), Algorithm.ZSTD)
    assert not supports(header((1, 14, 0)), Algorithm.ZSTD)
    assert supports(header((1, 12, 0)), Algorithm.GZIP)
    assert not supports(header(), Algorithm.LZ4)
    with pytest.raises(ValueError, match=r"no ZSTD in archives of version 1\.14\.0"):
        write_custom(io.BytesIO(), toc([], header((1, 14, 0))), HeldFiles({}), ZSTD)


def test_names_of_files_come_from_the_entries() -> None:
    contents = toc([data(3, "orders", file_name="1_3.dat")])
    sink = io.BytesIO()
    write_custom(sink, contents, HeldFiles({"1_3.dat": TABLE}))
    assert everything(custom(sink.getvalue()))[1] == {"3.dat": TABLE}


@ANY
def test_what_is_not_read_is_skipped(compression: Compression) -> None:
    archive = custom(written(compression))
    assert [file.name for file in archive.files()] == list(SHOP_FILES)
    archive = custom(written(compression))
    begun = [(file.name, next(file.pieces, b"")) for file in archive.files()]
    assert begun == list(SHOP_FILES.items())


def test_a_file_must_have_the_size_it_claims() -> None:
    for claimed, word in ((len(TABLE) - 1, "more"), (len(TABLE) + 1, "less")):
        files = HeldFiles(SHOP_FILES, 4, {"3.dat": claimed})
        with pytest.raises(BadArchive) as raised:
            write_custom(Pipe(), SHOP, files)
        why = f"it has {word} than the {claimed} bytes that it should have"
        assert str(raised.value) == f"cannot read 3.dat: {why}"


@ANY
def test_an_archive_that_is_cut_off_is_refused(compression: Compression) -> None:
    content = written(compression)
    for size in range(0, len(content), 7):
        assert refusal(content[:size]).startswith("cannot read ")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda c, at: c[:at] + b"\2" + c[at + 1 :], "before byte {} is no block that "
                     "its entries announce", id="kind"),
        pytest.param(lambda c, at: c[:at] + b"\3" + c[at + 1 :], "before byte {} is no block that "
                     "its entries announce", id="large objects where rows should be"),
        pytest.param(lambda c, at: c[: at + 2] + b"\7" + c[at + 3 :], "before byte {} is no block "
                     "that its entries announce", id="unknown entry"),
        pytest.param(lambda c, at: c[: at + 6] + b"\1\5" + c[at + 8 :], "the chunk before byte {5} "
                     "has length -5", id="negative length"),
    ],
)  # fmt: skip
def test_blocks_that_are_not_what_they_should_be(
    change: Callable[[bytes, int], bytes], why: str
) -> None:
    content = written()
    _, at = places(content)[0]
    assert refusal(change(content, at)) == "cannot read it: " + why.replace("{5}", "{0}").format(
        at + (11 if "{5}" in why else 6)
    )


def test_a_block_that_comes_twice_is_refused() -> None:
    content = written()
    at = places(content)[0][1]
    end = places(content)[1][1]
    assert "no block that its entries announce" in refusal(content[:end] + content[at:])


def test_missing_data_is_named() -> None:
    content = written()
    at = places(content)[2][1]
    expected = f"cannot read it: it ends at byte {at}, before the data of entry 6"
    assert refusal(content[:at]) == expected


def test_compressed_data_that_is_damaged_names_its_table() -> None:
    content = bytearray(written(GZIP))
    at = places(bytes(content))[0][1] + 6 + 5
    content[at] ^= 0xFF
    assert refusal(bytes(content)).startswith(
        "cannot read 3.dat of it: its compressed data is damaged: "
    )


def test_lz4_is_refused_with_a_way_out() -> None:
    content = bytearray(written())
    content[11] = Algorithm.LZ4
    with pytest.raises(BadArchive) as raised:
        everything(custom(bytes(content)))
    why = "it is compressed with LZ4, which is not supported"
    assert str(raised.value) == f"cannot read 3.dat of it: {why}"
    assert raised.value.hint.endswith("pg_dump again with --compress=zstd, or without it")


def test_a_directorys_table_of_contents_is_no_custom_archive() -> None:
    why = "it is the table of contents of a directory or tar archive"
    assert refusal(encoded(SHOP)) == f"cannot read it: {why}"


def test_custom_archives_are_rewritten_with_other_compression() -> None:
    """From one custom archive to another, data held meanwhile as a directory has it."""
    archive = custom(written(GZIP))
    entries: list[TocEntry] = list(archive.toc.entries())
    files = {file.name: b"".join(file.pieces) for file in archive.files()}
    sink = io.BytesIO()
    write_custom(sink, toc(entries, archive.toc.header), HeldFiles(files), NONE)
    assert sink.getvalue() == written()


def test_entries_without_data_keep_none() -> None:
    contents = toc([entry(1, "TABLE", "a"), entry(2, "TABLE DATA", "a", file_name="")])
    sink = io.BytesIO()
    write_custom(sink, contents, HeldFiles({}))
    found = read_toc(io.BytesIO(sink.getvalue()))[1]
    assert {(e.data_state, e.offset) for e in found} == {(DataState.NONE, 0)}


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "cannot read it: it is empty", "look whether pg_dump ended well"),
        (
            b"--\n-- PostgreSQL database dump\n--\n",
            "cannot read it: it is an SQL script, not an archive",
            "load it with psql -f",
        ),
        (
            b"\x1f\x8b\x08\0" + bytes(400),
            "cannot read it: it is a file packed with gzip",
            "give what is in it: gunzip -c it",
        ),
        (
            b"PK\3\4" + bytes(400),
            "cannot read it: it is no archive of pg_dump",
            "make one with pg_dump -Fd, -Fc or -Ft",
        ),
    ],
)
def test_streams_that_are_no_archives(content: bytes, message: str, hint: str) -> None:
    with pytest.raises(BadArchive) as raised:
        read_stream(io.BytesIO(content), "it")
    assert (str(raised.value), raised.value.hint) == (message, hint)


def test_a_stream_is_recognized() -> None:
    assert isinstance(read_stream(io.BytesIO(written()), "it"), CustomArchive)
