"""Puts the manifest of a dump together, and reads that of the dump before."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from pgkeep.logical.create.database import Files
from pgkeep.model.dump import Dump
from pgkeep.repository import dumps
from pgkeep.repository.manifest.assemble import OF_PARENT
from pgkeep.repository.manifest.builder import Attributes, ManifestBuilder, StoredChunks
from pgkeep.repository.manifest.checks import UnsafePath
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import DumpFacts
from pgkeep.repository.manifest.shelf import BAD_MANIFEST
from pgkeep.repository.manifest.tables import Tables
from pgkeep.repository.names import pack, packs_prefix
from pgkeep.repository.packs.known import KnownChunks
from pgkeep.repository.proofs import damaged_packs
from pgkeep.repository.repository import ClusterFolder

_FILE: Final = 0o600  # globals.sql holds password hashes
_FOLDER: Final = 0o700


class Past(NamedTuple):
    """The dump whose chunks are used again."""

    id: str
    tables: Tables
    known: KnownChunks


def read_parent(cluster: ClusterFolder, parent: Dump | None) -> Past:
    """Return what the parent holds, but for packs that are lost or damaged.

    A parent that cannot be read is none: everything is stored again.
    """
    if parent is not None:
        try:
            tables = dumps.read_manifest(cluster, parent.id).tables
            return Past(parent.id, tables, KnownChunks.of(tables, _lost(cluster, tables)))
        except (*BAD_MANIFEST, dumps.UnknownDump, UnsafePath):
            pass
    empty = Tables.empty()
    return Past("", empty, KnownChunks.of(empty, frozenset()))


def _lost(cluster: ClusterFolder, tables: Tables) -> frozenset[int]:
    """Return the packs, as rows of the parent's table, that must not be relied on."""
    # Whoever stored them may have died before his last fsync; and a pack may have gone since.
    prefix = packs_prefix(cluster.name)
    cluster.store.secure(prefix)
    there = {blob.name: blob.size for blob in cluster.store.list(prefix)}
    damaged = damaged_packs(cluster)
    lost = set()
    for row, size in enumerate(tables.pack.size.tolist()):
        name = tables.pack.name(row)
        if name in damaged or there.get(pack(cluster.name, name)) != size:
            lost.add(row)
    return frozenset(lost)


def known_bytes(stored: Sequence[StoredChunks]) -> int:
    """Return the plain bytes that the parent held already."""
    found = 0
    for part in stored:
        known = part.column("pack") >= OF_PARENT
        found += int(part.column("plain")[known].sum(dtype=np.int64))
    return found


def build(
    facts: DumpFacts, files: Files, stored: Sequence[StoredChunks], past: Past
) -> DumpManifest:
    """Return the manifest, with counts and sizes filled into the facts."""
    builder, now = ManifestBuilder(), time.time_ns()
    folders = {path.rpartition("/")[0] for path in files.paths} - {""}
    for folder in folders:
        builder.add_directory(folder, Attributes(_FOLDER, 0, 0, now))
    for number, path in enumerate(files.paths):
        if number in files.dropped:
            builder.leave_out(number)
        else:
            builder.add_file(number, path, Attributes(_FILE, 0, 0, now))
    for part in stored:
        builder.add_chunks(part)
    tables = builder.tables(past.tables)
    count, size = tables.count_files()
    new = sum(one.size for one in {one for part in stored for one in part.new_packs})
    facts = replace(facts, files=count, size=size, packs=len(tables.pack), stored=new)
    return DumpManifest(facts, tables)
