"""Directory archives: names of files, lists of large objects, compressed files."""

import gzip
import io
import sys
from collections.abc import Callable
from typing import BinaryIO

import pytest

from pgkeep.postgres.archive.compression import Compression, compressed, plain
from pgkeep.postgres.archive.copy_data import END_MARK, RowCount, count_rows
from pgkeep.postgres.archive.directory import (
    Directory,
    LargeObject,
    as_directory,
    data_file,
    object_lines,
    object_list,
)
from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.toc import Algorithm, DataState, Format
from support.pg_archives import SHOP, SHOP_FILES, data, encoded, entry, header, objects, toc

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CUSTOM = header(format=Format.CUSTOM)


def directory(files: dict[str, bytes]) -> Directory:
    def opened(name: str) -> BinaryIO:
        if name not in files:
            raise FileNotFoundError(name)
        return io.BytesIO(files[name])

    return Directory(opened, "/dumps/shop")


def read(files: dict[str, bytes]) -> dict[str, bytes]:
    return {file.name: b"".join(file.pieces) for file in directory(files).files()}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_files_are_read_whatever_their_compression(suffix: str) -> None:
    packs: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}
    pack = packs.get(suffix, bytes)
    files = {"toc.dat": encoded(SHOP)}
    for name, content in SHOP_FILES.items():
        files |= {name: content} if name.endswith(".toc") else {name + suffix: pack(content)}
    assert read(files) == SHOP_FILES
    assert list(directory(files).toc().entries()) == list(SHOP.entries())


def test_a_gzip_file_of_several_parts() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")
    files = {"toc.dat": encoded(toc([data(3, "t")])), "3.dat.gz": packed}
    assert read(files) == {"3.dat": b"onetwo"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {},
            "cannot read /dumps/shop: there is no 3.dat, which its table of contents names",
        ),
        (
            {"3.dat.gz": gzip.compress(b"one")[:-1]},
            "cannot read /dumps/shop/3.dat.gz: its compressed data is cut off",
        ),
        (
            {"3.dat.lz4": b""},
            "cannot read /dumps/shop/3.dat.lz4: it is compressed with LZ4, which is not supported",
        ),
    ],
)
def test_files_that_cannot_be_read(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(BadArchive) as raised:
        read({"toc.dat": encoded(toc([data(3, "t")])), **files})
    assert str(raised.value) == message


def test_where_data_is() -> None:
    blobs = objects(5, "7")
    assert data_file(header(), data(3, "t", file_name="1_3.dat")) == "1_3.dat"
    assert data_file(header(), entry(3, "TABLE", "t")) == ""
    assert data_file(header(), blobs._replace(file_name="1_blobs_5.toc")) == "1_blobs_5.toc"
    assert data_file(header(), blobs._replace(file_name="5.dat")) == "blobs_5.toc"
    assert data_file(header((1, 15, 0)), blobs._replace(file_name="5.dat")) == "blobs.toc"
    for state, name in ((DataState.SOMEWHERE, "3.dat"), (DataState.NONE, "")):
        assert data_file(CUSTOM, data(3, "t", file_name=None, data_state=state)) == name
    inside = blobs._replace(file_name=None, data_state=DataState.AT_OFFSET)
    assert data_file(CUSTOM, inside) == "blobs_5.toc"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "toc.dat"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BadArchive) as raised:
        data_file(header(), data(3, "t", file_name=name))
    assert str(raised.value) == f"cannot read entry 3 (TABLE DATA t): {name!r} is no file's name"
    with pytest.raises(BadArchive):
        list(object_list([f"7 {name}\n".encode()], "it"))


def test_any_format_looks_like_a_directory() -> None:
    inside = data(3, "t", file_name=None, data_state=DataState.AT_OFFSET, offset=77)
    gzipped = CUSTOM._replace(algorithm=Algorithm.GZIP)
    without = entry(4, "TABLE", "u", file_name=None, data_state=DataState.NONE)
    found = as_directory(toc([inside, without], gzipped))
    assert found.header == header()
    assert list(found.entries()) == [data(3, "t"), entry(4, "TABLE", "u")]


def test_lists_of_large_objects() -> None:
    oids = [1, 16432, 4294967295]
    content = b"".join(object_lines(oids))
    assert content == b"1 blob_1.dat\n16432 blob_16432.dat\n4294967295 blob_4294967295.dat\n"
    for size in (1, 5, 1000):
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        assert list(object_list(pieces, "it")) == [LargeObject(o, f"blob_{o}.dat") for o in oids]
    assert list(object_list([content.rstrip()], "it"))[-1].oid == oids[-1]
    assert list(object_lines([])) == []


@pytest.mark.parametrize(
    "line", [b"\n", b"x blob\n", b"0 blob_0.dat\n", b"4294967296 a\n", b"7\n", b"x" * 5000]
)
def test_lines_that_are_no_large_objects(line: bytes) -> None:
    with pytest.raises(BadArchive, match="large objects"):
        list(object_list([line], "blobs.toc"))


@pytest.mark.parametrize("algorithm", [Algorithm.NONE, Algorithm.GZIP, Algorithm.ZSTD])
def test_much_that_is_packed_into_little_comes_in_pieces(algorithm: Algorithm) -> None:
    content = bytes(10 << 20) + b"end"
    packed = b"".join(compressed(Compression(algorithm), [content[: 5 << 20], content[5 << 20 :]]))
    pieces = list(plain(algorithm, [packed], "it"))
    assert b"".join(pieces) == content
    assert algorithm is Algorithm.NONE or max(map(len, pieces)) <= 1 << 20
    again = plain(algorithm, (packed[at : at + 999] for at in range(0, len(packed), 999)), "it")
    assert b"".join(again) == content


@pytest.mark.parametrize("algorithm", [Algorithm.GZIP, Algorithm.ZSTD])
def test_damaged_compression(algorithm: Algorithm) -> None:
    packed = b"".join(compressed(Compression(algorithm), [b"row\n" * 1000]))
    for broken, why in (
        (packed[:-1], "cut off"),
        (packed + b"x", "(damaged|cut off)"),
        (b"xx" + packed, "damaged"),
    ):
        with pytest.raises(BadArchive, match=why):
            list(plain(algorithm, [broken], "it"))
    assert list(plain(algorithm, [], "it")) == []


@pytest.mark.parametrize(
    ("content", "rows", "complete"),
    [
        (b"", 0, False),
        (END_MARK, 0, True),
        (b"1\ta\n" + END_MARK, 1, True),
        (b"\n" + END_MARK, 1, True),
        (b"1\n2\n" + END_MARK[:-1], 4, False),
        (b"1\n2\n", 2, False),
        (b"1\n2" + END_MARK, 4, False),
    ],
)
def test_rows_are_counted(content: bytes, rows: int, complete: bool) -> None:
    assert count_rows(content) == rows
    for size in (1, 2, 3, 100):
        count = RowCount()
        for at in range(0, len(content), size):
            count.add(content[at : at + size])
        assert (count.rows, count.complete) == (rows, complete)
