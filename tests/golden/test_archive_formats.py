"""The archive of docs/formats/pg-dump-archive.md is read, and written again byte for byte."""

import io

from pgkeep.postgres.archive.custom_write import write_custom
from pgkeep.postgres.archive.reading import ArchiveReader
from pgkeep.postgres.archive.streams import read_stream
from pgkeep.postgres.archive.toc import Toc, read_entries, read_head
from support.pages import hex_example
from support.pg_archives import HeldFiles, data, encoded, entry, everything, header, toc

FILES = {"2.dat": b"7\n\\.\n\n\n"}


def contents() -> Toc:
    encoding = "SET client_encoding = 'UTF8';\n"
    return toc(
        [
            entry(1, "ENCODING", "ENCODING", definition=encoding, namespace=None, owner=None),
            data(
                2, "t", copy_statement="COPY s.t (a) FROM stdin;\n", namespace="s", oid="16384",
                dependencies=("1",),
            ),
        ],
        header(created=(7, 6, 5, 27, 10, 126, 0), server_version="18.6", dump_version="18.6"),
    )  # fmt: skip


def test_the_worked_example_is_read() -> None:
    content = hex_example("pg-dump-archive.md", "Worked example")
    archive = read_stream(io.BytesIO(content), "it")
    assert everything(archive) == (encoded(contents()), FILES)


def test_the_worked_example_is_what_is_written() -> None:
    sink = io.BytesIO()
    write_custom(sink, contents(), HeldFiles(FILES))
    assert sink.getvalue() == hex_example("pg-dump-archive.md", "Worked example")


def test_parts_are_where_the_page_says() -> None:
    reader = ArchiveReader(io.BytesIO(hex_example("pg-dump-archive.md", "Worked example")), "it")
    head = read_head(reader)
    assert reader.position == 0x4A
    assert [at for at, _ in read_entries(reader, head)] == [0x4F, 0xE2]
    assert reader.position == 0x179
