"""Tar archives: written and read again, sizes beyond octal digits, and what is refused."""

import io
import tarfile

import pytest

from pgkeep.postgres.archive.reading import ArchiveReader, BadArchive
from pgkeep.postgres.archive.streams import read_stream
from pgkeep.postgres.archive.tar import TarArchive, tar_header, write_tar
from pgkeep.postgres.archive.toc import Format, read_toc
from support.pg_archives import (
    SHOP,
    SHOP_FILES,
    HeldFiles,
    Pipe,
    encoded,
    everything,
    header,
    objects,
    toc,
)

NOW = 1_795_881_967
ORDER = [
    "toc.dat", "3.dat", "4.dat", "blob_16432.dat", "blob_3000000000.dat", "blobs_6.toc",
    "blob_7.dat", "blobs_8.toc",
]  # fmt: skip


def written() -> bytes:
    sink = Pipe()
    write_tar(sink, SHOP, HeldFiles(SHOP_FILES, 5), NOW)
    return sink.getvalue()


def tar(content: bytes) -> TarArchive:
    return TarArchive(ArchiveReader(io.BytesIO(content), "it"))


def refusal(content: bytes) -> str:
    with pytest.raises(BadArchive) as raised:
        everything(tar(content))
    return str(raised.value)


def test_what_is_written_is_read() -> None:
    assert everything(tar(written())) == (encoded(SHOP), SHOP_FILES)
    assert isinstance(read_stream(io.BytesIO(written()), "it"), TarArchive)


def test_other_programs_read_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(written())) as found:
        members = found.getmembers()
        assert [member.name for member in members] == ORDER
        assert {(m.mode, m.uname, m.mtime, m.type) for m in members} == {
            (0o600, "postgres", NOW, tarfile.REGTYPE)
        }
        for name, content in SHOP_FILES.items():
            file = found.extractfile(name)
            assert file is not None
            assert file.read() == content


def test_entries_of_large_objects_name_files_as_pg_dump_has_them() -> None:
    inside = written()[512:]
    names = [e.file_name for e in read_toc(io.BytesIO(inside))[1] if e.had_dumper]
    assert names == ["3.dat", "4.dat", "6.dat", "8.dat"]


def test_old_versions_have_one_list() -> None:
    contents = toc([objects(5, "BLOBS", "blobs.toc")], header((1, 13, 0)))
    files = {"blob_7.dat": b"seven", "blobs.toc": b"7 blob_7.dat\n"}
    sink = io.BytesIO()
    write_tar(sink, contents, HeldFiles(files), NOW)
    assert everything(tar(sink.getvalue())) == (encoded(contents), files)


@pytest.mark.parametrize("size", [0, 1, (1 << 33) - 1, 1 << 33, 1 << 40])
def test_sizes_beyond_what_octal_digits_hold(size: int) -> None:
    content = tar_header("3.dat", size, NOW)
    assert (content[124] == 0x80) == (size >= 1 << 33)
    found = tarfile.TarInfo.frombuf(content, "utf-8", "surrogateescape")
    assert (found.name, found.size) == ("3.dat", size)


def test_what_is_not_read_is_skipped() -> None:
    assert [file.name for file in tar(written()).files()] == ORDER[1:]


def test_the_script_at_the_end_is_not_data() -> None:
    script = tar_header("restore.sql", 3, NOW) + b"SQL" + bytes(509)
    content = written()[:-1024] + script + bytes(1024)
    assert everything(tar(content))[1] == SHOP_FILES


def test_an_archive_that_is_cut_off_is_refused() -> None:
    content = written()[:-1024]
    for size in range(0, len(content), 64):
        assert refusal(content[:size]).startswith("cannot read it: ")


def test_one_block_of_zeros_ends_it_as_well() -> None:
    assert everything(tar(written()[:-512]))[1] == SHOP_FILES


def test_missing_files_are_named() -> None:
    content = written()
    at = content.index(b"blob_7.dat\0")
    assert refusal(content[:at] + bytes(512)) == "cannot read it: there is no blobs_8.toc in it"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bytes(1024), "its first file is '', not toc.dat"),
        (tar_header("a", 0, 0), "its first file is 'a', not toc.dat"),
        (b"x" * 512, "there is no header of a file at byte 0"),
        (
            b"y" + tar_header("toc.dat", 5, 0)[1:],
            "there is no header of a file at byte 0",
        ),
        (
            tar_header("toc.dat", 5, 0) + encoded(SHOP) + bytes(1024),
            f"its toc.dat ends at byte {512 + len(encoded(SHOP))}, not 517",
        ),
        (
            tar_header("toc.dat", 5, 0) + encoded(toc([], header(format=Format.CUSTOM))),
            "its toc.dat is of a custom archive",
        ),
    ],
)
def test_what_is_no_tar_archive(content: bytes, why: str) -> None:
    assert refusal(content) == f"cannot read it: {why}"
