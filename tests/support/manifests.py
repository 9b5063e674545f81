"""Manifests small enough to read, and ways to forge them that no checksum finds."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pgkeep.model.cluster import Generation
from pgkeep.repository.manifest.builder import Attributes, ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.codec import HEADER_SIZE, Manifest, encode
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import COLUMNS, Tables
from pgkeep.repository.pack import Placed, StoredPack
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import MANIFEST_FACTS, Key, Sealer, read_header
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.units import parse_size

BACKUP = "20261123T044225Z-7f3a"
SEALER = Sealer(None)
KEY = Key(bytes(range(32)))
ATTRIBUTES = Attributes(mode=0o600, uid=26, gid=27, mtime_ns=1_764_000_000_000_000_001)


def cluster_folder(key: Key | None = None) -> ClusterFolder:
    """Return an empty cluster in a store of its own."""
    return Repository(MemoryStore(), "00" * 16, key).cluster("main")


def some_facts(**changes: Any) -> Facts:
    facts: dict[str, Any] = {
        "id": BACKUP,
        "cluster": "main",
        "generation": Generation(7710983248089545577, 18, 16 << 20),
        "server_version": "18.6",
        "timeline": 1,
        "start_lsn": "0/4A000028",
        "stop_lsn": "0/4A000158",
        "started_at": datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC),
        "stopped_at": datetime(2026, 11, 23, 4, 43, 1, tzinfo=UTC),
        "backup_label": "START WAL LOCATION: 0/4A000028 (file 00000001000000000000004A)\n",
    }
    return Facts(**facts | changes)


def manifest_of(sketch: str, **facts: Any) -> Manifest:
    """'base/ base/1=1500kB link>/else' is a directory, a file of two chunks and a symlink.

    All chunks lie in one pack. Their ids count up from 1.
    """
    builder, log, offset, number = ManifestBuilder(), ChunkLog(), 0, 0
    for word in sketch.split():
        path, is_file, size = word.partition("=")
        link, is_link, target = word.partition(">")
        if is_link:
            builder.add_symlink(link, target, ATTRIBUTES)
        elif not is_file:
            builder.add_directory(word.rstrip("/"), ATTRIBUTES)
        else:
            builder.add_file(number, path, ATTRIBUTES)
            for position in range(0, parse_size(size), 1 << 20):
                plain = min(1 << 20, parse_size(size) - position)
                chunk_id = (offset // 1000 + 1).to_bytes(16, "big")
                log.add(number, position, Placed(chunk_id, 0, offset, 1000), plain)
                offset += 1000
            number += 1
    packs = (StoredPack(bytes(range(16)), offset + 200),) if offset else ()
    builder.add_chunks(log.finish(packs))
    return builder.build(some_facts(**facts))


def encoded(manifest: Manifest, sealer: Sealer = SEALER) -> bytes:
    return b"".join(encode(manifest, sealer))


def all_columns(tables: Tables) -> dict[str, bytes]:
    """Return the bytes of every column: two tables with the same ones are equal."""
    found = {}
    for table, columns in COLUMNS.items():
        for name in columns:
            values = getattr(getattr(tables, table), name)
            found[f"{table}.{name}"] = getattr(values, "content", None) or bytes(values)
    return found


def with_column(tables: Tables, column: str, values: Any) -> Tables:
    """Return tables with one column, like 'chunk.pack', replaced."""
    table, name = column.split(".")
    old = getattr(tables, table)
    if not isinstance(getattr(old, name), np.ndarray):
        return replace(tables, **{table: replace(old, **{name: values})})
    column_values = np.array(values, getattr(old, name).dtype)
    return replace(tables, **{table: replace(old, **{name: column_values})})


def with_record(content: bytes, edit: Callable[[Any], Any], sealer: Sealer = SEALER) -> bytes:
    """Return an encoded manifest with its JSON edited and everything sealed and bound again."""
    length = struct.unpack_from("<I", content, 8)[0]
    plain = sealer.unseal(MANIFEST_FACTS, content[HEADER_SIZE : HEADER_SIZE + length], "facts")
    record = json.loads(plain)
    changed = edit(record)
    plain = changed if isinstance(changed, bytes) else json.dumps(record).encode()
    return bound_again(content, sealer.seal(MANIFEST_FACTS, plain).data, sealer)


def bound_again(content: bytes, facts: bytes, sealer: Sealer = SEALER) -> bytes:
    length = struct.unpack_from("<I", content, 8)[0]
    tables = content[HEADER_SIZE + length :]
    header = bytearray(content[:32])
    struct.pack_into("<I", header, 8, len(facts))
    ids, offset = [read_header(facts, "facts").id], 0
    while offset < len(tables):
        block = read_header(tables[offset:], "tables")
        ids.append(block.id)
        offset += block.length
    return bytes(header) + sealer.chunk_id(bytes(header) + b"".join(ids)) + facts + tables
