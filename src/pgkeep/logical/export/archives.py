"""Writes a database as one archive: custom or tar."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from pgkeep.logical.export.plan import CannotExport
from pgkeep.logical.export.reading import Content
from pgkeep.logical.export.tally import Tally
from pgkeep.postgres.archive import custom_write, tar
from pgkeep.postgres.archive.compression import Compression
from pgkeep.postgres.archive.toc import Toc, open_toc
from pgkeep.repository.manifest.dump_facts import INVENTORY, TOC, DumpedDatabase


def write_custom(
    content: Content,
    database: DumpedDatabase,
    sink: IO[bytes],
    compression: Compression,
    tally: Tally,
) -> None:
    """Write a custom archive; where the sink can seek, or nothing is compressed, with offsets."""
    toc = _begin(content, database, tally)
    if not custom_write.supports(toc.header, compression.algorithm):
        request = content.request
        why = f"archives of pg_dump {database.dump_version} cannot have this compression"
        raise CannotExport(request.dump, request.output, why, "use --compress gzip")
    files = _Files(content, database.folder, tally)
    custom_write.write_custom(_any(sink), toc, files, compression)


def write_tar(content: Content, database: DumpedDatabase, sink: IO[bytes], tally: Tally) -> None:
    """Write a tar archive; pg_dump's own has a script for people besides, which nothing reads."""
    toc = _begin(content, database, tally)
    tar.write_tar(sink, toc, _Files(content, database.folder, tally), int(time.time()))


def _begin(content: Content, database: DumpedDatabase, tally: Tally) -> Toc:
    paths = (f"{database.folder}/{name}" for name in content.names(database) if name != INVENTORY)
    tally.phase(f"writing database {database.name}", sum(map(content.size, paths)))
    path = f"{database.folder}/{TOC}"
    tally.add(content.size(path))
    return open_toc(lambda: content.read(path), f"{path} of dump {content.request.dump}")


def _any(sink: IO[bytes]) -> Any:
    """Return it untyped: a stream that cannot seek need not have what seeks."""
    return sink


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one database, by the names that its table of contents gives them."""

    content: Content
    folder: str
    tally: Tally

    def read(self, name: str) -> Iterator[bytes]:
        path = f"{self.folder}/{name}"
        if name.endswith(".toc"):
            return self.content.read(path)  # more than once
        return self.tally.counted(self.content.read(path))

    def size(self, name: str) -> int:
        return self.content.size(f"{self.folder}/{name}")
