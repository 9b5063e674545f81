"""Archives of pg_dump made by hand, and what writers of archives read from."""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgkeep.postgres.archive.custom import CustomArchive
from pgkeep.postgres.archive.directory import as_directory
from pgkeep.postgres.archive.tar import TarArchive
from pgkeep.postgres.archive.toc import (
    Algorithm,
    Format,
    Section,
    Toc,
    TocEntry,
    TocHeader,
    open_toc,
    write_toc,
)

VERSIONS = ((1, 12, 0), (1, 13, 0), (1, 14, 0), (1, 15, 0), (1, 16, 0))
CREATED = (7, 6, 5, 27, 10, 126, 0)
TABLE = b"1\tone\n2\ttwo\n\\.\n\n\n"
EMPTY = b"\\.\n\n\n"


@dataclass
class HeldFiles:
    """Files in memory, which come in pieces of a size."""

    content: Mapping[str, bytes]
    piece: int = 1 << 20
    sizes: dict[str, int] = field(default_factory=dict)  # what is claimed of them, if not true

    def read(self, name: str) -> Iterator[bytes]:
        content = self.content[name]
        return (content[at : at + self.piece] for at in range(0, len(content), self.piece))

    def size(self, name: str) -> int:
        return self.sizes.get(name, len(self.content[name]))


@dataclass
class DiskFiles:
    """Files of a directory."""

    directory: Path

    def read(self, name: str) -> Iterator[bytes]:
        with (self.directory / name).open("rb") as file:
            while piece := file.read(1 << 20):
                yield piece

    def size(self, name: str) -> int:
        return (self.directory / name).stat().st_size

    def all(self) -> dict[str, bytes]:
        """Return all but the table of contents."""
        names = sorted(path.name for path in self.directory.iterdir() if path.name != "toc.dat")
        return {name: (self.directory / name).read_bytes() for name in names}

    def toc(self) -> Toc:
        return open_toc(lambda: self.read("toc.dat"))


class Pipe(io.BytesIO):
    """A sink that nobody can go back in."""

    def seekable(self) -> bool:
        return False


def header(version: tuple[int, int, int] = (1, 16, 0), **changed: Any) -> TocHeader:
    made = TocHeader(version, 4, 8, Format.TAR, Algorithm.NONE, 0, CREATED, "shop", "18.0", "18.0")
    return made._replace(**changed)


def entry(dump_id: int, desc: str, tag: str | None = None, **changed: Any) -> TocEntry:
    made = TocEntry(
        dump_id=dump_id, had_dumper=False, table_oid="0", oid="0", tag=tag, desc=desc,
        section=Section.PRE_DATA, definition=None, drop=None, copy_statement=None,
        namespace="shop", tablespace=None, table_am=None, relkind=0, owner="ann",
        with_oids="false", dependencies=(), file_name="",
    )  # fmt: skip
    return made._replace(**changed)


def data(dump_id: int, tag: str, **changed: Any) -> TocEntry:
    statement = f"COPY shop.{tag} (id, name) FROM stdin;\n"
    made = entry(
        dump_id, "TABLE DATA", tag, had_dumper=True, section=Section.DATA,
        copy_statement=statement, file_name=f"{dump_id}.dat",
    )  # fmt: skip
    return made._replace(**changed)


def objects(dump_id: int, tag: str, name: str = "") -> TocEntry:
    return entry(
        dump_id, "BLOBS", tag, had_dumper=True, section=Section.DATA, namespace=None,
        file_name=name or f"blobs_{dump_id}.toc",
    )  # fmt: skip


def toc(entries: Iterable[TocEntry], head: TocHeader | None = None) -> Toc:
    held = list(entries)
    return Toc(head or header(), len(held), lambda: held)


def encoded(contents: Toc) -> bytes:
    sink = io.BytesIO()
    write_toc(contents.header, contents.entries(), contents.count, sink)
    return sink.getvalue()


SHOP = toc(
    [
        entry(1, "ENCODING", "ENCODING", definition="SET client_encoding = 'UTF8';\n"),
        entry(2, "TABLE", "orders", definition="CREATE TABLE ...;\n", table_am="heap", relkind=114),
        data(3, "orders", dependencies=("2",)),
        data(4, "nothing"),
        objects(6, "16432..3000000000"),
        objects(8, "7"),
    ]
)
SHOP_FILES = {
    "3.dat": TABLE,
    "4.dat": EMPTY,
    "blob_16432.dat": b"large" * 200,
    "blob_3000000000.dat": b"",
    "blobs_6.toc": b"16432 blob_16432.dat\n3000000000 blob_3000000000.dat\n",
    "blob_7.dat": b"seven",
    "blobs_8.toc": b"7 blob_7.dat\n",
}


def everything(archive: CustomArchive | TarArchive) -> tuple[bytes, dict[str, bytes]]:
    """Return the table of contents as a directory has it, and all files."""
    contents = encoded(as_directory(archive.toc))
    return contents, {file.name: b"".join(file.pieces) for file in archive.files()}
