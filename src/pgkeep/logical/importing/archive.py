"""Takes an archive of pg_dump, of whatever format, as `dump create` would have stored it."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO, Final

from pgkeep.logical import inventory
from pgkeep.logical.create.checks import Counts, DataFile, IncompleteDump, check_tables
from pgkeep.logical.create.record import Contents
from pgkeep.logical.encodings import readable
from pgkeep.logical.importing.described import Described, created_at
from pgkeep.logical.importing.storing import NUMBER, Taken, Target
from pgkeep.postgres.archive.directory import (
    TOC,
    ArchiveFile,
    Directory,
    as_directory,
    object_list,
)
from pgkeep.postgres.archive.reading import BadArchive
from pgkeep.postgres.archive.toc import Toc, TocHeader, write_toc
from pgkeep.repository.manifest.dump_facts import INVENTORY, SCRIPT, DumpedDatabase
from pgkeep.units import MIB

_OURS: Final = frozenset({"", ".", "..", TOC, INVENTORY, SCRIPT})


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is read once, from front to back."""

    toc: Toc
    files: Iterator[ArchiveFile]  # after the entries of `toc`
    where: str

    @property
    def database(self) -> str:
        return self.toc.header.database or ""


def open_directory(path: str) -> Archive:
    """Open a directory archive. Raise BadArchive."""

    def open_file(name: str) -> BinaryIO:
        return Path(path, name).open("rb")

    directory = Directory(open_file, path)
    return Archive(directory.toc(), directory.files(), path)


def take_archive(archive: Archive, target: Target, names: Sequence[str], zone: tzinfo) -> Taken:
    """Store an archive. Raise BadArchive, IncompleteDump.

    `names` are what the user calls its database, and what to call it if nobody does.
    """
    toc = as_directory(archive.toc)
    described = Described()
    with tempfile.TemporaryFile() as stored:
        write_toc(toc.header, described.watch(toc.entries()), toc.count, stored)
        called, unnamed = names
        name = called or readable(archive.database, described.encoding) or unnamed
        captured = {file.name: file for file in _store_files(archive, target)}
        contents = Contents(name, described.encoding, captured)
        stored.seek(0)
        pieces = inventory.encode(name, contents.items(stored))
        target.store_in_folder(INVENTORY, pieces)
        check_tables(name, 0, contents.counts)
        stored.seek(0)
        target.store_in_folder(TOC, iter(lambda: stored.read(MIB), b""))
    header = archive.toc.header
    return Taken(
        database=_facts(name, header, described, contents),
        selection=described.selection,
        server_version=readable(header.server_version or "", "UTF8").split(" ")[0],
        made_at=created_at(header.created, zone),
        notes=tuple(_notes(contents.counts, described)),
    )


def _store_files(archive: Archive, target: Target) -> Iterator[DataFile]:
    names, objects = set[str](), set[str]()
    for file in archive.files:
        if file.name in names or file.name in _OURS or "/" in file.name or "\0" in file.name:
            raise BadArchive(archive.where, f"there is an odd file {file.name!r} in it")
        names.add(file.name)
        pieces = file.pieces
        if file.name.endswith(".toc"):
            content = list(pieces)
            objects.update(found.file_name for found in object_list(content, file.name))
            pieces = iter(content)
        done = target.store_in_folder(file.name, pieces)
        yield DataFile(file.name, done.size, done.lines, done.tail)
    if missing := objects - names:
        raise IncompleteDump(archive.database, f"large object {min(missing)} is missing")


def _facts(
    name: str, header: TocHeader, described: Described, contents: Contents
) -> DumpedDatabase:
    counts = contents.counts
    objects, object_bytes = contents.large_objects
    return DumpedDatabase(
        number=NUMBER,
        name=name,
        owner=described.owner,
        encoding=described.encoding,
        collate=described.collate,
        ctype=described.ctype,
        locale_provider=described.provider,
        locale=described.locale,
        tablespace=described.clauses.get("TABLESPACE", ""),
        settings=described.settings,
        extensions=described.extension_facts(name),
        archive_version=".".join(map(str, header.version[:2])),
        dump_version=readable(header.dump_version or "", "UTF8"),
        objects=counts.objects,
        schemas=counts.schemas,
        tables=counts.tables,
        rows=counts.rows,
        data_bytes=counts.data_bytes,
        sequences=counts.sequences,
        large_objects=objects,
        large_object_bytes=object_bytes,
    )


def _notes(counts: Counts, described: Described) -> Iterator[str]:
    if not counts.tables and not described.data:
        yield "there is no table in it"
    if described.inserts:
        yield "its rows are INSERT statements: they cannot be masked, and load slowly"
