"""Backups of files with overlays, in a store in memory, and the bytes that a restore must give."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from pgkeep.repository.manifest.tables import (
    ChunkTable,
    EntryKind,
    FileTable,
    Heap,
    LayerTable,
    PackTable,
    PageTable,
    Tables,
)
from pgkeep.repository.pack import PackWriter, Placed
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder
from support.manifests import SEALER, cluster_folder

PAGE = 8192
CHUNK_PAGES = 3


@dataclass
class Version:
    """A file after one backup: how many pages it had, and which of them were stored then."""

    pages: int
    changed: frozenset[int]


@dataclass
class StoredFiles:
    """A backup's tables, its chunks in a repository, and what each file must be."""

    tables: Tables
    folder: ClusterFolder
    contents: dict[str, bytes]
    rows: list[Placed] = field(default_factory=list)

    def reader(self) -> ChunkReader:
        return ChunkReader(self.folder, SEALER, self.tables.pack, backup="b")


@st.composite
def versions(draw: st.DrawFn) -> list[Version]:
    """Return what several backups found of one file, the first whole."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    found = [Version(sizes[0], frozenset(range(sizes[0])))]
    for pages in sizes[1:]:
        grown = range(found[-1].pages, pages)
        changed = draw(st.frozensets(st.integers(0, pages - 1)))
        if changed.union(grown):
            found.append(Version(pages, changed.union(grown)))
    return found


def store_files(histories: list[list[Version]], target: int = 20_000) -> StoredFiles:
    """Store every file of `histories`, layer by layer as backups would, in small packs."""
    folder = cluster_folder()
    writer = PackWriter(folder, SEALER, target)
    layers, chunks, blocks, contents = [], [], [], {}
    placed: list[list[list[tuple[Placed, int]]]] = [[] for _ in histories]
    for age in range(max(map(len, histories), default=0)):
        for number, history in enumerate(histories):
            if age < len(history):
                placed[number].append(_store_layer(writer, number, age, history[age]))
    packs = writer.finish()
    for number, history in enumerate(histories):
        pages: dict[int, bytes] = {}
        for age, version in enumerate(history):
            layers.append((len(placed[number][age]), len(version.changed) if age else 0))
            chunks += placed[number][age]
            blocks += sorted(version.changed) if age else []
            pages |= {block: page(number, age, block) for block in version.changed}
        contents[f"f{number:03}"] = b"".join(pages[b] for b in range(history[-1].pages))
    count = len(histories)
    tables = Tables(
        FileTable(
            path=Heap.join([path.encode() for path in contents]),
            link=Heap.join([]),
            kind=np.full(count, EntryKind.FILE, np.uint8),
            mode=np.full(count, 0o600, np.uint16),
            uid=np.zeros(count, np.uint32),
            gid=np.zeros(count, np.uint32),
            size=np.array([len(content) for content in contents.values()], np.uint64),
            mtime_ns=np.zeros(count, np.int64),
            ctime_ns=np.zeros(count, np.int64),
            inode=np.zeros(count, np.uint64),
            layers=np.array([len(history) for history in histories], np.uint32),
        ),
        LayerTable(*(np.array(column, np.uint32) for column in zip(*layers, strict=True))),
        PageTable(np.array(blocks, np.uint32)),
        ChunkTable(
            np.frombuffer(b"".join(p.id for p, _ in chunks), "V16"),
            np.array([p.pack for p, _ in chunks], np.uint32),
            np.array([p.offset for p, _ in chunks], np.uint32),
            np.array([p.length for p, _ in chunks], np.uint32),
            np.array([plain for _, plain in chunks], np.uint32),
        ),
        PackTable(
            np.frombuffer(b"".join(pack.id for pack in packs), "V16"),
            np.array([pack.size for pack in packs], np.uint32),
        ),
    )
    return StoredFiles(tables, folder, contents)


def page(number: int, age: int, block: int) -> bytes:
    """Return a page like no other, but for blocks 0 and 1 of a file: equal chunks occur."""
    return (b"%d-%d-%d " % (number % 2, age, max(1, block))).ljust(64, b".") * (PAGE // 64)


def _store_layer(
    writer: PackWriter, number: int, age: int, version: Version
) -> list[tuple[Placed, int]]:
    blocks, found = sorted(version.changed), []
    for first in range(0, len(blocks), CHUNK_PAGES):
        plain = b"".join(page(number, age, b) for b in blocks[first : first + CHUNK_PAGES])
        known = writer.find(SEALER.chunk_id(plain))
        found.append((known or writer.add(SEALER.seal(1, plain)), len(plain)))
    return found
