"""Backups in tests: of a cluster that exists only in memory, or of a real one."""

import contextlib
import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pgkeep.backup.backup import BackupOptions, MakeWorkers, run
from pgkeep.backup.copying.copy import CopierSetup, make_copier
from pgkeep.backup.copying.workers import InlineWorkers, Workers
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.backup.incremental.changes import ChangedBlocks
from pgkeep.backup.report import BackupReport
from pgkeep.backup.source import ClusterFacts, Listing, NoSummaries, Reader, Started, Stopped
from pgkeep.backup.wait_wal import Archiver
from pgkeep.census.take import record
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import History
from pgkeep.postgres.layout import relation_of_path
from pgkeep.postgres.pages import PageChecker
from pgkeep.progress import Progress
from pgkeep.repository import catalog
from pgkeep.repository.manifest.builder import Attributes
from pgkeep.repository.manifest.facts import Tablespace
from pgkeep.repository.manifest.tables import EntryKind
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.open import make_store
from pgkeep.server.scratch import ScratchCluster
from pgkeep.units import MIB

PLAIN_FILE = Attributes(mode=0o600, uid=os.getuid(), gid=os.getgid(), mtime_ns=1)
SEGMENT_BLOCKS = 131072
START = Lsn.parse("0/3000028")
STOP = Lsn.parse("0/5000100")
LABEL = (
    "START WAL LOCATION: 0/3000028 (file 000000010000000000000030)\n"
    "CHECKPOINT LOCATION: 0/3000060\n"
)


def copier_setup(cluster: ClusterFolder, reader: Reader, *, checksums: bool = True) -> CopierSetup:
    """Return what makes a copier, as a backup with default options would."""
    repository = cluster.repository
    return CopierSetup(
        store=repository.store.address,
        repository=repository.id,
        key=repository.key,
        cluster=cluster.name,
        level=1,
        reader=reader,
        checksums=checksums,
        tag=b"tagtag",
    )


def page(block: int, lsn: int = 0x1000, fill: bytes = b"x") -> bytes:
    """Return a page with a right checksum."""
    header = struct.pack("<IIHHHHHHI", lsn >> 32, lsn & 0xFFFFFFFF, 0, 0, 24, 4096, 8192, 0x2004, 0)
    content = bytearray(header.ljust(4096, b"\0") + (fill * 4096)[:4096])
    checksum = int(PageChecker().checksums(bytes(content), block)[0])
    content[8:10] = struct.pack("<H", checksum)
    return bytes(content)


@dataclass
class FakeFile:
    """A file in memory, open."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        piece = self.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


@dataclass
class FakeReader:
    """Files in memory. A list of contents is a file that is found different at each opening."""

    files: dict[str, bytes | list[bytes | None]]
    opened: list[str] = field(default_factory=list)

    def open(
        self, path: str, start: int = 0, end: int | None = None, *, sparse: bool = False
    ) -> AbstractContextManager[FakeFile] | None:
        self.opened.append(path)
        content = self.files.get(path)
        if isinstance(content, list):
            content = content.pop(0) if len(content) > 1 else content[0]
        return None if content is None else contextlib.nullcontext(FakeFile(content))


@dataclass
class FakeSource:
    """A cluster in memory, on a server that archives into the repository if `archive` is given."""

    files: dict[str, bytes]
    archive: Callable[[str], None] | None = None
    checksums: bool = True
    stop_timeline: int = 1
    on_ping: Callable[[], None] = lambda: None
    calls: list[str] = field(default_factory=list)

    def facts(self) -> ClusterFacts:
        self.calls.append("facts")
        return ClusterFacts(
            generation=Generation(7710983248089545577, 18, MIB),
            server_version="18.6",
            checksums=self.checksums,
            data_directory="/data",
            data_directory_mode=0o700,
            archiving=self.archive is not None,
            settings={"wal_level": "replica"},
            databases=[],
            extensions=[],
            config_files=[],
            running_since=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def start(self, label: str) -> Started:
        self.calls.append("start")
        return Started(START, 1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    def changed_blocks(self, since: Lsn, started: Started, history: History) -> ChangedBlocks:
        raise NoSummaries("the server is a fake")

    def listing(self) -> Listing:
        self.calls.append("listing")
        listing = Listing()
        folders = {str(up) for path in [*self.files, "global/x"] for up in Path(path).parents}
        for folder in sorted(folders - {"."}):
            listing.builder.add_directory(folder, PLAIN_FILE._replace(mode=0o700))
        for path, content in self.files.items():
            relation = relation_of_path(path)
            first = None if relation is None else relation.first_block(SEGMENT_BLOCKS)
            listing.add_file(path, len(content), PLAIN_FILE, first)
        return listing

    def reader(self) -> FakeReader:
        return FakeReader(dict(self.files))

    def control_file(self) -> tuple[bytes, Attributes]:
        self.calls.append("control_file")
        return b"control" * 100, PLAIN_FILE

    def ping(self) -> None:
        self.on_ping()

    def stop(self) -> Stopped:
        self.calls.append("stop")
        if self.archive is not None:
            for number in range(int(START) // MIB, int(STOP - 1) // MIB + 1):
                self.archive(Segment(1, number, MIB).name)
        at = datetime(2026, 1, 2, 3, 5, tzinfo=UTC)
        return Stopped(STOP, self.stop_timeline, at, LABEL, "")

    def tablespaces(self) -> list[Tablespace]:
        return []

    def relation_name(self, path: str) -> str:
        return f"shop.public.of_{path.rpartition('/')[2]}"

    def history(self, timeline: int) -> bytes | None:
        return None

    def archiver(self) -> Archiver | None:
        return Archiver(0)

    def written(self) -> Lsn:
        return START

    def switch_wal(self) -> None:
        self.calls.append("switch_wal")

    def wal_segment(self, segment: Segment) -> bytes | None:
        return segment.name.encode() * 100


def inline(cluster: ClusterFolder) -> MakeWorkers:
    """Return workers that copy in this very process, into a store that no other could open."""

    def make(setup: CopierSetup, jobs: int) -> AbstractContextManager[Workers]:
        copier = make_copier(cluster, setup)
        return contextlib.nullcontext(InlineWorkers(copier))

    return make


def new_folder(directory: Path, *, encryption: str = "none") -> ClusterFolder:
    """Make a repository in a directory and return the part of cluster 'main'."""
    store: Store = make_store(str(directory))
    secret = None if encryption == "none" else "correct horse battery"
    return Repository.create(store, encryption, secret).cluster("main")  # type: ignore[arg-type]


def back_up(
    pg: ScratchCluster,
    cluster: ClusterFolder,
    *,
    after_listing: Callable[[], object] | None = None,
    progress: Progress | None = None,
    census: bool = False,
    **options: Any,
) -> BackupReport:
    """Back up a running cluster; `after_listing` runs when nothing has been copied yet."""
    take_census = partial(record, pg.conninfo) if census else None
    options = {"jobs": 2, "archive_timeout": 30.0, **options}
    with Watched.connect(pg.conninfo) as source:
        source.after_listing = after_listing
        wanted = BackupOptions(**options)
        return run(source, cluster, wanted, progress, take_census=take_census)


class Watched(DataDirectorySource):
    """A data directory where something happens at a known moment."""

    after_listing: Callable[[], object] | None = None

    def listing(self) -> Listing:
        listing = super().listing()
        if self.after_listing is not None:
            self.after_listing()
        return listing


def contents(cluster: ClusterFolder, backup_id: str) -> dict[str, bytes]:
    """Return all files of a backup, put together from their chunks."""
    manifest = catalog.read_manifest(cluster, backup_id)
    tables = manifest.tables
    reader = ChunkReader(cluster, cluster.repository.sealer(), tables.pack, backup=backup_id)
    plain = dict(reader.read(tables.chunk))
    found = {
        entry.path: bytearray(entry.size)
        for entry in tables.entries()
        if entry.kind is EntryKind.FILE
    }
    paths = [os.fsdecode(path) for path in tables.file.path]
    for row, file, position, start, length in zip(*tables.placements(), strict=True):
        piece = plain[int(row)][start : start + length]
        found[paths[int(file)]][position : position + length] = piece
    return {path: bytes(content) for path, content in found.items()}


def directories(cluster: ClusterFolder, backup_id: str) -> dict[str, int]:
    """Return all directories of a backup with their modes."""
    tables = catalog.read_manifest(cluster, backup_id).tables
    return {e.path: e.mode for e in tables.entries() if e.kind is EntryKind.DIRECTORY}


def damage(path: Path, block: int, offset: int = 5000) -> None:
    """Flip the bits of one byte of a page."""
    with path.open("r+b") as file:
        file.seek(block * 8192 + offset)
        byte = file.read(1)
        file.seek(block * 8192 + offset)
        file.write(bytes([byte[0] ^ 0xFF]))
