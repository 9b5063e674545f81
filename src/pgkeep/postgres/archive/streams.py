"""Archives that come as one stream: tells custom from tar, and both from what is no archive."""

from typing import Final

from pgkeep.postgres.archive.custom import CustomArchive
from pgkeep.postgres.archive.reading import ArchiveReader, BadArchive, Source
from pgkeep.postgres.archive.tar import TarArchive
from pgkeep.postgres.archive.toc import MAGIC

_USTAR: Final = slice(257, 262)
_SCRIPT: Final = (b"--\n-- PostgreSQL database", b"\\restrict ", b"SET ", b"--\n-- Name:")
_PACKED: Final = {
    b"\x1f\x8b": ("gzip", "gunzip -c"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -dc"),
    b"\xfd7zXZ": ("xz", "xz -dc"),
}


def read_stream(source: Source, where: str) -> CustomArchive | TarArchive:
    """Begin to read an archive of pg_dump. Raise BadArchive."""
    reader = ArchiveReader(source, where)
    begin = reader.peek(_USTAR.stop)
    if begin.startswith(MAGIC):
        return CustomArchive(reader)
    if begin[_USTAR] == b"ustar":
        return TarArchive(reader)
    if not begin:
        raise BadArchive(where, "it is empty", "look whether pg_dump ended well")
    if begin.startswith(_SCRIPT):
        raise BadArchive(where, "it is an SQL script, not an archive", "load it with psql -f")
    for mark, (kind, command) in _PACKED.items():
        if begin.startswith(mark):
            why = f"it is a file packed with {kind}"
            raise BadArchive(where, why, f"give what is in it: {command} {where}")
    raise BadArchive(where, "it is no archive of pg_dump", "make one with pg_dump -Fd, -Fc or -Ft")
