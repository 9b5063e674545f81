"""Repositories in memory with real packs, manifests and WAL, small enough to damage at will."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.crc32c import crc32c
from pgkeep.repository import catalog
from pgkeep.repository.manifest.builder import Attributes, ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Database
from pgkeep.repository.pack import PackWriter
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import CHUNK, Key
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.memory import MemoryStore
from support.manifests import some_facts

SIZE = 1 << 20  # of WAL segments
GENERATION = Generation(7710983248089545577, 18, SIZE)
ATTRIBUTES = Attributes(mode=0o600, uid=26, gid=27, mtime_ns=1)
CHUNK_BYTES = 8192  # small chunks, so that small files have several
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def control(identifier: int = GENERATION.system_identifier, redo: int = 0x7000028) -> bytes:
    """Return a pg_control of PostgreSQL 18 that can be believed."""
    content = bytearray(8192)
    fields: dict[int, tuple[str, int]] = {
        0: ("Q", identifier), 8: ("I", 1800), 12: ("I", 202506291), 16: ("i", 6),
        24: ("q", 1_700_000_000), 32: ("Q", redo + 64), 40: ("Q", redo), 48: ("I", 1),
        52: ("I", 1), 104: ("q", 1_700_000_000), 208: ("d", 1234567), 216: ("I", 8192),
        220: ("I", 131072), 224: ("I", 8192), 228: ("I", SIZE), 252: ("I", 1),
    }  # fmt: skip
    for offset, (code, value) in fields.items():
        struct.pack_into("<" + code, content, offset, value)
    struct.pack_into("<I", content, 292, crc32c(bytes(content[:292])))
    return bytes(content)


@dataclass
class Small:
    """One cluster in a store, with backups taken one after the other."""

    store: Store = field(default_factory=MemoryStore)
    key: Key | None = None
    segment: int = 7  # the next one
    packs: int = 0
    repository_id: str = "00" * 16

    @property
    def folder(self) -> ClusterFolder:
        return Repository(self.store, self.repository_id, self.key).cluster("main")

    def begin(self) -> "Small":
        self.folder.add_generation(GENERATION)
        return self

    def archive(self, count: int = 1) -> list[str]:
        """Archive so many segments; return their names."""
        archived = []
        for _ in range(count):
            name = Segment(1, self.segment, SIZE).name
            self.folder.wal(GENERATION.id).push(name, name.encode() * 40_000)
            archived.append(name)
            self.segment += 1
        return archived

    def backup(self, files: Mapping[str, bytes], *, packs: int = 1, **facts: Any) -> str:
        """Store a backup of some files in so many packs; it needs one segment of WAL."""
        files = {"PG_VERSION": b"18\n", "global/pg_control": control(), **files}
        builder = ManifestBuilder()
        parents = (str(parent) for path in files for parent in PurePosixPath(path).parents)
        for folder in sorted({*parents, "base"} - {"."}):
            builder.add_directory(folder, ATTRIBUTES._replace(mode=0o700))
        for part in range(packs):
            log, sealer = ChunkLog(), self.folder.repository.sealer()
            writer = PackWriter(self.folder, sealer, new_id=self._next_id)
            for number, (path, content) in enumerate(sorted(files.items())):
                if part == 0:
                    builder.add_file(number, path, ATTRIBUTES)
                if number % packs != part:
                    continue
                for start in range(0, len(content), CHUNK_BYTES):
                    piece = content[start : start + CHUNK_BYTES]
                    known = writer.find(sealer.chunk_id(piece))
                    placed = known or writer.add(sealer.seal(CHUNK, piece))
                    log.add(number, start, placed, len(piece))
            builder.add_chunks(log.finish(writer.finish()))
        at = FIRST + timedelta(days=self.segment)
        start = Lsn(self.segment * SIZE + 40)
        told = {
            "id": f"{at:%Y%m%dT%H%M%SZ}-0001",
            "generation": GENERATION,
            "start_lsn": str(start),
            "stop_lsn": str(start + 400),
            "started_at": at,
            "stopped_at": at + timedelta(minutes=1),
            "backup_label": label(start),
            "databases": (Database(5, "shop"),),
            **facts,
        }
        made = builder.build(some_facts(**told))
        self.archive()
        catalog.write_manifest(self.folder, made)
        return made.facts.id

    def _next_id(self, length: int) -> bytes:
        """Ids that are the same in every run, in another order than they were given."""
        self.packs += 1
        return (self.packs * 37 % 251).to_bytes(length, "little")

    def manifest(self, backup_id: str) -> Manifest:
        return catalog.read_manifest(self.folder, backup_id)

    def blobs(self) -> dict[str, bytes]:
        """Return everything that is stored."""
        return {blob.name: self.store.get(blob.name) for blob in self.store.list()}

    def read(self, backup_id: str, path: str) -> bytes:
        """Return a file's content as a restore would write it, or raise why it cannot."""
        tables = self.manifest(backup_id).tables
        number = tables.find(path)
        assert number is not None
        sealer = self.folder.repository.sealer()
        reader = ChunkReader(self.folder, sealer, tables.pack, backup=backup_id)
        rows = list(tables.chunk_rows(number))
        plain = dict(reader.read(tables.chunk.take(rows)))  # type: ignore[arg-type]
        return b"".join(plain[place] for place in range(len(rows)))


def label(start: Lsn) -> str:
    name = Segment.containing(start, 1, SIZE).name
    return (
        f"START WAL LOCATION: {start} (file {name})\n"
        f"CHECKPOINT LOCATION: {start + 56}\n"
        "BACKUP METHOD: streamed\nBACKUP FROM: primary\n"
        "START TIME: 2026-11-01 00:00:00 UTC\nLABEL: pgkeep\nSTART TIMELINE: 1\n"
    )
