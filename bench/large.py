"""The manifest of a cluster of terabytes, generated: true in shape and size, without its content.

Large files have a whole copy in chunks of 1 MiB and overlays over a tenth of their pages; all the
others are as small as most tables are. Packs are sparse files of the right length.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from pgkeep.model.backup import BackupType
from pgkeep.model.cluster import Generation
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository import catalog, names
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import (
    Array,
    ChunkTable,
    EntryKind,
    FileTable,
    Heap,
    LayerTable,
    PackTable,
    PageTable,
    Tables,
    starts,
)
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.units import GIB, KIB, MIB

ID: Final = "20261101T000000Z-0000"
LISTED_NS: Final = 1793491200_000000000  # 2026-11-01
GENERATION: Final = Generation(7710983248089545577, 18, 16 * MIB)
START: Final = "40/100028"
_STOP: Final = "40/100400"
_SEGMENTS: Final = 100  # of each large relation
_PAGES: Final = GIB // PAGE_SIZE
_BASE_PACK: Final = 32 * MIB
_OVERLAY_PACK: Final = 4 * MIB
_PER_DATABASE: Final = 10_000  # small files


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cluster is like."""

    files: int = 500_000
    large: int = 2_000  # files of 1 GiB
    layers: int = 4  # overlays of each
    overlaid: int = 10  # percent of the pages of each


def generate(folder: Path, shape: Shape) -> None:
    """Make a repository with one backup, and beside it `listing.npz`: what its cluster is now."""
    cluster = Repository.create(make_store(str(folder / "repository")), "none", None).cluster("big")
    cluster.add_generation(GENERATION)
    tables = _tables(shape, np.random.default_rng(7))
    catalog.write_manifest(cluster, Manifest(_facts(tables), tables))
    _make_packs(folder / "repository", cluster, tables.pack)
    cluster.wal(GENERATION.id).push("000000010000004000000000", bytes(16 * MIB))
    _save_listing(folder, tables)


def _facts(tables: Tables) -> Facts:
    count, size = tables.count_files()
    when = datetime.fromtimestamp(LISTED_NS // 10**9, UTC)
    label = (
        f"START WAL LOCATION: {START} (file 000000010000004000000000)\n"
        f"CHECKPOINT LOCATION: {START}\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n"
        f"START TIME: 2026-11-01 00:00:00 UTC\nLABEL: big\nSTART TIMELINE: 1\n"
    )
    return Facts(
        id=ID,
        cluster="big",
        type=BackupType.FULL,
        generation=GENERATION,
        server_version="18.6",
        timeline=1,
        start_lsn=START,
        stop_lsn=_STOP,
        started_at=when,
        stopped_at=when,
        backup_label=label,
        checksums=True,
        files=count,
        size=size,
        packs=len(tables.pack),
        read=size,
        stored=int(tables.pack.size.sum(dtype=np.int64)),
        listed_ns=LISTED_NS,
    )


def _paths(shape: Shape) -> Iterator[tuple[bytes, int, int]]:
    """Yield path, kind and size of everything."""
    for folder in ("base", "global", "pg_xact", "base/16384"):
        yield folder.encode(), EntryKind.DIRECTORY, 0
    yield b"PG_VERSION", EntryKind.FILE, 3
    yield b"global/pg_control", EntryKind.FILE, PAGE_SIZE
    for number in range(shape.large):
        relation, segment = divmod(number, _SEGMENTS)
        suffix = f".{segment}" if segment else ""
        yield f"base/16384/{90_000 + relation}{suffix}".encode(), EntryKind.FILE, GIB
    for number in range(shape.files - shape.large - 2):
        database, place = divmod(number, _PER_DATABASE)
        folder = f"base/{20_000 + database}"
        if not place:
            yield folder.encode(), EntryKind.DIRECTORY, 0
        relation, fork = divmod(place, 3)
        size = (number % 8 * PAGE_SIZE, 3 * PAGE_SIZE, PAGE_SIZE)[fork]
        name = f"{folder}/{16_384 + relation}{('', '_fsm', '_vm')[fork]}"
        yield name.encode(), EntryKind.FILE, size


def _tables(shape: Shape, rng: np.random.Generator) -> Tables:
    entries = sorted(_paths(shape))
    size = np.array([entry[2] for entry in entries], np.uint64)
    layers = np.where(size == GIB, 1 + shape.layers, size > 0).astype(np.uint32)
    overlay = np.arange(int(layers.sum())) - np.repeat(starts(layers)[:-1], layers) > 0
    owner = np.repeat(np.arange(len(layers)), layers)
    held = _PAGES * shape.overlaid // 100 // shape.layers
    whole = -(-size[owner].astype(np.int64) // MIB)
    chunks = np.where(overlay, -(-held * PAGE_SIZE // MIB), whole).astype(np.uint32)
    page = PageTable(_blocks(int(overlay.sum()), held, rng))
    chunk, pack = _chunks(chunks, np.where(overlay, held * PAGE_SIZE, size[owner]), overlay, rng)
    count = len(entries)
    owners = np.full(count, os.getuid(), np.uint32)
    times = LISTED_NS - 10**13 - rng.integers(0, 10**15, count)
    files = FileTable(
        path=Heap.join([entry[0] for entry in entries]),
        link=Heap(b""),
        kind=np.array([entry[1] for entry in entries], np.uint8),
        mode=np.full(count, 0o600, np.uint16),
        uid=owners,
        gid=owners,
        size=size,
        mtime_ns=times,
        ctime_ns=times,
        inode=np.arange(count, dtype=np.uint64) + 1000,
        layers=layers,
    )
    return Tables(files, LayerTable(chunks, np.where(overlay, held, 0).astype(np.uint32)), page,
                  chunk, pack)  # fmt: skip


def _blocks(layers: int, held: int, rng: np.random.Generator) -> Array:
    """Return rising block numbers for each overlay, spread over the file."""
    most = 2 * _PAGES // max(held, 1) - 5  # of a gap: so that nearly all of the file is reached
    gaps = rng.integers(1, max(most, 2), (layers, held), np.uint32)
    blocks = np.cumsum(gaps, axis=1, dtype=np.uint32)
    assert blocks.max(initial=0) < _PAGES
    return blocks.reshape(-1)


def _chunks(
    chunks: Array, plain: Array, overlay: Array, rng: np.random.Generator
) -> tuple[ChunkTable, PackTable]:
    """Return chunks of up to 1 MiB, half as large when sealed, in packs: overlays in small ones."""
    layer = np.repeat(np.arange(len(chunks)), chunks)
    place = np.arange(len(layer)) - starts(chunks)[layer]
    length = np.minimum(MIB, plain[layer].astype(np.int64) - place * MIB)
    sealed = 60 + length * rng.integers(20, 60, len(length)) // 100
    pack, offset = np.zeros(len(length), np.int64), np.zeros(len(length), np.int64)
    sizes: list[Array] = []
    for of_overlays, target in ((False, _BASE_PACK), (True, _OVERLAY_PACK)):
        rows = np.flatnonzero(overlay[layer] == of_overlays)
        before = starts(sealed[rows])[:-1]
        _, first, number = np.unique(before // target, return_index=True, return_inverse=True)
        pack[rows] = number + sum(map(len, sizes))
        offset[rows] = before - before[first][number]
        sizes.append(np.bincount(number, sealed[rows]).astype(np.int64) + 4 * KIB)
    size = np.concatenate(sizes).astype(np.uint32)
    ids = np.frombuffer(rng.bytes(16 * len(length)), "V16")
    columns = {"pack": pack, "offset": offset, "sealed": sealed, "plain": length}
    chunk = ChunkTable(id=ids, **{name: v.astype(np.uint32) for name, v in columns.items()})
    return chunk, PackTable(np.frombuffer(rng.bytes(16 * len(size)), "V16"), size)


def _make_packs(root: Path, cluster: ClusterFolder, packs: PackTable) -> None:
    for number, size in enumerate(packs.size.tolist()):
        place = root / names.pack(cluster.name, packs.name(number))
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            file.truncate(size)


def _save_listing(folder: Path, tables: Tables) -> None:
    """Write down the files as a walk over the unchanged cluster would find them."""
    files = tables.file
    wanted = np.flatnonzero(files.kind == EntryKind.FILE)
    paths = [files.path.items[number] for number in wanted.tolist()]
    (folder / "paths").write_bytes(b"\n".join(paths))
    columns: dict[str, Any] = {
        name: getattr(files, name)[wanted] for name in ("size", "mtime_ns", "ctime_ns", "inode")
    }
    np.savez(folder / "listing.npz", **columns)
