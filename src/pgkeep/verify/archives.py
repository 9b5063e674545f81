"""What is wrong with a dump although everything in its manifest fits together."""

from collections.abc import Iterator
from typing import Final

from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import (
    GLOBALS,
    INVENTORY,
    SCRIPT,
    TOC,
    DumpedDatabase,
    DumpFacts,
)
from pgkeep.repository.manifest.tables import EntryKind, Tables
from pgkeep.repository.packs.chunks import PackMissing
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder
from pgkeep.verify.content import DAMAGE

_MAGIC: Final = b"PGDMP"  # pg_backup_archiver.c: WriteHead


def check_dump(manifest: DumpManifest) -> list[str]:
    """Return what a restore would refuse: files that are not there, files of nobody."""
    facts, tables = manifest.facts, manifest.tables
    wanted = dict(_wanted(facts))
    wrong = []
    for path, filled in wanted.items():
        number = tables.find(path)
        if number is None or (filled and not tables.file.size[number]):
            wrong.append(f"it holds no {path}")
    if (tables.file.layers > 1).any():
        wrong.append("it holds pages, as of a backup")
    folders = {database.folder for database in facts.databases}
    for entry in tables.entries():
        if entry.kind is EntryKind.DIRECTORY:
            continue  # it may be empty: of a database that was given up half-way
        folder = entry.path.partition("/")[0]
        if folder not in folders and entry.path != GLOBALS:
            return [*wrong, f"it holds {entry.path}, which is of none of its databases"]
        if entry.kind is EntryKind.SYMLINK:
            return [*wrong, f"it holds a symlink, {entry.path}"]
    return wrong


def _wanted(facts: DumpFacts) -> Iterator[tuple[str, bool]]:
    """Yield the files that a dump must have, and whether something must be in them."""
    if facts.globals is not None:
        yield GLOBALS, False
    for database in facts.databases:
        yield f"{database.folder}/{_first(database)}", True
        if not database.script:
            yield f"{database.folder}/{INVENTORY}", True


def _first(database: DumpedDatabase) -> str:
    return SCRIPT if database.script else TOC


def check_archives(cluster: ClusterFolder, manifest: DumpManifest) -> tuple[list[str], set[bytes]]:
    """Read the beginning of each archive: is it one? Return what is wrong.

    Besides, the ids of packs that could not be read: they are read as a whole later, or known to be
    missing; in a sample they may not have been chosen.
    """
    facts, tables = manifest.facts, manifest.tables
    wrong: list[str] = []
    unread: set[bytes] = set()
    streams = FileStreams(cluster, tables, of=facts.id)
    for database in facts.databases:
        path = f"{database.folder}/{TOC}"
        number = tables.find(path)
        if database.script or number is None or not tables.file.size[number]:
            continue
        try:
            beginning = next(streams.read(path))[: len(_MAGIC)]
        except (*DAMAGE, PackMissing):
            unread |= _packs(tables, number)
            continue
        if beginning != _MAGIC:
            wrong.append(f"its {path} is no archive of pg_dump: it begins with {beginning.hex()}")
    return wrong, unread


def _packs(tables: Tables, number: int) -> set[bytes]:
    rows = tables.chunk_rows(number)
    return {tables.pack.name(int(row)) for row in tables.chunk.pack[rows.start : rows.stop]}
