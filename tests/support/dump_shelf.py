"""Dumps made by hand, without a server: of chosen ages on a Shelf, with real packs in a Small."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pgkeep.model.dump import DumpId
from pgkeep.repository import dumps, names
from pgkeep.repository.manifest.builder import Attributes, ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import GLOBALS, DumpedDatabase, DumpFacts, Globals
from pgkeep.repository.pack import PackWriter, Placed, StoredPack
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import CHUNK
from support.shelves import PACK_SIZE, Shelf
from support.small_repository import CHUNK_BYTES, FIRST, Small

DUMP = "D20261127T160500Z-7f3a"
FILE, FOLDER = (Attributes(mode, 0, 0, 1_764_000_000_000_000_001) for mode in (0o600, 0o700))
TOC = b"PGDMP\x01\x10\x00" + bytes(80)
SHOP = {"toc.dat": TOC, "3421.dat": b"1\tann\n" * 4000 + b"\\.\n\n\n", "inventory": b"{}\n" * 20}


def some_dump_facts(**changes: Any) -> DumpFacts:
    facts: dict[str, Any] = {
        "id": DUMP,
        "cluster": "main",
        "started_at": datetime(2026, 11, 27, 16, 5, tzinfo=UTC),
        "taken_at": datetime(2026, 11, 27, 16, 5, 1, tzinfo=UTC),
        "server_version": "18.6",
        "databases": (DumpedDatabase(number=1, name="shop"),),
    }
    return DumpFacts(**facts | changes)


def databases(*databases_: str) -> tuple[DumpedDatabase, ...]:
    return tuple(DumpedDatabase(number=n, name=name) for n, name in enumerate(databases_, 1))


def build(builder: ManifestBuilder, facts: DumpFacts) -> DumpManifest:
    """Return the manifest with counts and sizes filled into the facts."""
    tables = builder.tables()
    count, size = tables.count_files()
    packs = len(tables.pack)
    facts = msgspec.structs.replace(facts, files=count, size=size, packs=packs)
    return DumpManifest(facts, tables)


def put_dump(
    shelf: Shelf, name: str, days: float, of: str = "shop", *, packs: str = "", **facts: Any
) -> DumpId:
    """Make a dump called like 'Da' `days` before NOW, in packs of one letter each.

    Of databases 'a b'; '*' is all of them.
    """
    builder, log = ManifestBuilder(), ChunkLog()
    builder.add_directory("1", FOLDER)
    builder.add_file(0, "1/toc.dat", FILE)
    stored = [StoredPack(shelf.pack(letter, days), PACK_SIZE) for letter in packs or name[1:2]]
    for index, pack in enumerate(stored):
        log.add(0, index * 1000, Placed(pack.id, index, 0, 1000), 1000)
    builder.add_chunks(log.finish(stored))
    moment = shelf.at(days)
    made = some_dump_facts(
        id=name,
        cluster=shelf.name,
        started_at=moment - timedelta(minutes=1),
        taken_at=moment,
        all_databases=of == "*",
        databases=databases("shop") if of == "*" else databases(*of.split()),
        stored=PACK_SIZE * len(stored),
    )
    dumps.shelf(shelf.cluster).write(build(builder, msgspec.structs.replace(made, **facts)))
    return DumpId(name)


def damage_dump(shelf: Shelf, name: str) -> None:
    blob = names.dump(shelf.name, name)
    shelf.store.put(blob, [shelf.store.get(blob)[:-1]])


def dump_ids(cluster: ClusterFolder) -> str:
    """Return the names of all listed dumps, like 'Da Db'."""
    return " ".join(sorted(dump.id for dump in dumps.dumps(cluster).dumps))


def store_dump(
    small: Small,
    files: Mapping[str, Mapping[str, bytes]] | None = None,
    *,
    day: int = 0,
    packs: int = 1,
    **facts: Any,
) -> str:
    """Store a dump of databases with these files, and of globals, in so many packs."""
    held = {"shop": SHOP} if files is None else files
    paths = {GLOBALS: b"-- roles\n"}
    for number, folder in enumerate(held.values(), 1):
        paths |= {f"{number}/{name}": plain for name, plain in folder.items()}
    builder = ManifestBuilder()
    for number in range(1, len(held) + 1):
        builder.add_directory(str(number), FOLDER)
    for part in range(packs):
        log, sealer = ChunkLog(), small.folder.repository.sealer()
        writer = PackWriter(small.folder, sealer, new_id=small._next_id)
        for number, (path, content) in enumerate(sorted(paths.items())):
            if part == 0:
                builder.add_file(number, path, FILE)
            if number % packs != part:
                continue
            for start in range(0, len(content), CHUNK_BYTES):
                piece = content[start : start + CHUNK_BYTES]
                known = writer.find(sealer.chunk_id(piece))
                placed = known or writer.add(sealer.seal(CHUNK, piece))
                log.add(number, start, placed, len(piece))
        builder.add_chunks(log.finish(writer.finish()))
    at = FIRST + timedelta(days=day)
    told: dict[str, Any] = {
        "id": f"D{at:%Y%m%dT%H%M%SZ}-0001",
        "started_at": at,
        "taken_at": at,
        "databases": databases(*held),
        "globals": Globals(),
        **facts,
    }
    manifest = build(builder, some_dump_facts(**told))
    dumps.shelf(small.folder).write(manifest)
    return manifest.facts.id
