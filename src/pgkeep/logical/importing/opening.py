"""Opens what is to be imported: looks at how it begins, and unpacks gzip and zstd on the way."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import BinaryIO, Final, NamedTuple

from pgkeep.logical.importing.unpacking import PACKINGS, CannotImport, Source, Unpacked
from pgkeep.postgres.archive.toc import MAGIC
from pgkeep.repository.manifest.dump_facts import TOC

_BOM: Final = b"\xef\xbb\xbf"
# Other things that files called 'dump' turn out to be, and what to do.
_STRANGERS: Final = (
    (b"\xfd7zXZ\x00", "it is compressed with xz", "unpack it first: xz -d"),
    (b"BZh", "it is compressed with bzip2", "unpack it first: bzip2 -d"),
    (b"\x04\x22\x4d\x18", "it is compressed with lz4", "unpack it first: lz4 -d"),
    (b"PK\x03\x04", "it is a zip file", "unpack it first: unzip"),
    (b"7z\xbc\xaf", "it is a 7-Zip file", "unpack it first: 7z x"),
    (b"Rar!", "it is a RAR file", "unpack it first"),
    (b"age-encryption.org/", "it is encrypted with age", "decrypt it first: age -d"),
    (b"-----BEGIN PGP", "it is encrypted with PGP", "decrypt it first: gpg -d"),
    (b"Salted__", "it is encrypted with openssl enc", "decrypt it first: openssl enc -d"),
    (b"SQLite format 3", "it is a SQLite database", ""),
    (b"-- MySQL dump", "it is a dump of MySQL", ""),
    (b"\xff\xfe", "it is text in UTF-16, as PowerShell's '>' makes it",
     "convert it: iconv -f UTF-16 -t UTF-8; or dump anew with pg_dump -f FILE"),
    (b"\xfe\xff", "it is text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"<", "it is HTML or XML", "look into it: a download may have failed"),
    (b"{", "it is JSON", ""),
)  # fmt: skip


class Kind(StrEnum):
    """What was found; the words are for people."""

    CUSTOM = "custom archive"
    DIRECTORY = "directory archive"
    TAR = "tar archive"
    SCRIPT = "plain SQL script"


class Recognised(NamedTuple):
    """A file that is going to be read once, from front to back."""

    kind: Kind
    source: Source | None  # none: a directory
    packed: str = ""  # 'gzip', 'zstd': around it
    size: int | None = None  # bytes of the file
    position: Callable[[], int] = lambda: 0  # how far it is read


@contextmanager
def opened(path: str) -> Iterator[Recognised]:
    """Open a file or directory. Raise CannotImport for what no dump can be."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            yield _directory(path)
            return
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise CannotImport(path, (error.strerror or str(error)).lower()) from error
    with file:
        yield _recognise(path, file)


def _directory(path: str) -> Recognised:
    if os.path.isfile(os.path.join(path, TOC)):
        return Recognised(Kind.DIRECTORY, None)
    inner = sorted(name for name in os.listdir(path) if os.path.isfile(f"{path}/{name}/{TOC}"))
    advice = f"did you mean {path}/{inner[0]}?" if inner else "pg_dump -Fd makes such directories"
    raise CannotImport(path, f"it is a directory without {TOC}", advice)


def _recognise(path: str, file: BinaryIO) -> Recognised:
    raw, packed = Source(path, file), ""
    source = raw
    head = source.head()
    for packing in PACKINGS:
        if head.startswith(packing.magic):
            source, packed = Source(path, Unpacked(path, source, packing)), packing.name
            head = source.head()
            break
    size = os.fstat(file.fileno()).st_size
    kind = _kind(path, head, packed)
    return Recognised(kind, source, packed, size or None, lambda: raw.position)


def _kind(path: str, head: bytes, packed: str) -> Kind:
    if not head:
        raise CannotImport(path, "it is empty", "look why: a dump that failed leaves such files")
    if head.startswith(MAGIC):
        return Kind.CUSTOM
    if _is_tar(head):
        return Kind.TAR
    for magic, why, advice in _STRANGERS:
        if head.startswith(magic):
            raise CannotImport(path, why, advice)
    text = head.removeprefix(_BOM)
    if b"\0" in text:
        within = f" within {packed}" if packed else ""
        why = f"it is neither an archive of pg_dump nor SQL{within}: it begins with {head[:16]!r}"
        raise CannotImport(path, why, "file(1) may tell what it is")
    return Kind.SCRIPT


def _is_tar(head: bytes) -> bool:
    """Tell a tar header by its checksum: pg_dump's have an odd magic (pg_backup_tar.c)."""
    header = head[:512]
    try:
        wanted = int(header[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return len(header) == 512 and sum(header[:148]) + sum(header[156:]) + 8 * 0x20 == wanted
