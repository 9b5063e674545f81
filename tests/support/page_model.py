"""A cluster made of pages, in memory, with LSNs, checksums, inodes, file times and a WAL.

What a backup holds, together with the WAL written while it was made, must be what the cluster was
when it ended: `replayed()`.
"""

import contextlib
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from pgkeep.backup.incremental.changes import ChangedBlocks
from pgkeep.backup.source import ClusterFacts, Listing, NoSummaries, Reader, Started, Stopped
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.postgres.layout import Fork, RelationFile, relation_of_path
from pgkeep.postgres.pages import PAGE_SIZE, PageChecker
from pgkeep.postgres.wal_summary import changed
from pgkeep.postgres.wal_summary.content import read_summary
from pgkeep.repository.manifest.builder import Attributes
from pgkeep.units import MIB
from support.backups import FakeSource
from support.wal_summaries import Told, write_summary

SEGMENT_BLOCKS = 16  # of a relation's file, so that several belong to one relation
FIRST_LSN = 0x3000028
_DAY_NS = 86_400_000_000_000
_CHECKER = PageChecker()
_ALL_VISIBLE = 4


def make_page(block: int, lsn: int, fill: int, flags: int = 0) -> bytes:
    """Return a page with a right checksum; `block` counts over the fork."""
    header = struct.pack(
        "<IIHHHHHHI", lsn >> 32, lsn & 0xFFFFFFFF, 0, flags, 24, 4096, 8192, 0x2004, 0
    )
    return checksummed(header + bytes([fill]) * (PAGE_SIZE - len(header)), block)


def checksummed(page: bytes, block: int) -> bytes:
    """Return a page with the checksum that it must have."""
    checksum = int(_CHECKER.checksums(page, block)[0])
    return page[:8] + struct.pack("<H", checksum) + page[10:]


@dataclass
class ModelFile:
    """A file as it is on disk. An open one lives on when its name is gone."""

    content: bytearray
    inode: int
    mtime_ns: int
    ctime_ns: int

    @property
    def pages(self) -> int:
        return len(self.content) // PAGE_SIZE


@dataclass(frozen=True)
class Record:
    """What WAL tells. `lsn` is its end."""

    lsn: int
    path: str
    kind: str  # 'page', 'truncate', 'create', 'drop', 'database'
    block: int = 0  # within the file; of a truncation: its length
    page: bytes = b""


@dataclass
class PageModel:
    """The cluster. Its methods are what a server and its users do."""

    checksums: bool = True
    files: dict[str, ModelFile] = field(default_factory=dict)
    wal: list[Record] = field(default_factory=list)
    lsn: int = FIRST_LSN
    ticks: int = 0
    inodes: Iterator[int] = field(default_factory=lambda: count(100))
    listed_ns: int = 0  # when a backup looked last

    def __post_init__(self) -> None:
        self._born_ns = time.time_ns() - _DAY_NS

    def snapshot(self) -> dict[str, bytes]:
        return {path: bytes(file.content) for path, file in self.files.items()}

    def relations(self) -> list[str]:
        """Return the files whose changes are in WAL."""
        return [path for path in sorted(self.files) if is_main(path)]

    # What is logged.

    def create(self, path: str, pages: int = 0, *, inode: int | None = None) -> None:
        """Make a relation's file, or another one in its place."""
        now = self._now()
        self._log(path, "create")
        self.files[path] = ModelFile(bytearray(), inode or next(self.inodes), now, now)
        for block in range(pages):
            self.write(path, block, fill=pages)

    def drop(self, path: str) -> None:
        self._log(path, "drop")
        del self.files[path]

    def write(self, path: str, block: int, fill: int) -> None:
        """Change a page, or extend the file up to it."""
        self.lsn += 150
        page = make_page(first_block(path) + block, self.lsn, fill)
        self.wal.append(Record(self.lsn, path, "page", block, page))
        put_page(self.files[path].content, block, page)
        self._changed(path)

    def truncate(self, path: str, pages: int) -> None:
        if pages < self.files[path].pages:
            self._log(path, "truncate", pages)
            del self.files[path].content[pages * PAGE_SIZE :]
            self._changed(path)

    def copy_database(self, template: str, database: str, *, same_inodes: bool = False) -> None:
        """CREATE DATABASE ... STRATEGY file_copy, the one of that name dropped before."""
        old = {path: self.files.pop(path) for path in list(self.files) if path.startswith(database)}
        now = self._now()
        self._log(database, "database")
        for path, file in list(self.files.items()):
            if path.startswith(template):
                copied = database + path.removeprefix(template)
                inode = next(self.inodes)
                if same_inodes and copied in old:
                    inode = old[copied].inode
                self.files[copied] = ModelFile(bytearray(file.content), inode, now, now)

    # What is not.

    def extend_by_zeros(self, path: str, pages: int) -> None:
        self.files[path].content += bytes(pages * PAGE_SIZE)
        self._changed(path)

    def change_unlogged(self, path: str, block: int, fill: int) -> None:
        """Change a page of a map, of which WAL knows nothing and whose LSN stays."""
        content = self.files[path].content
        there = block < self.files[path].pages
        lsn = struct.unpack_from("<II", content, block * PAGE_SIZE) if there else (0, 0x3000000)
        page = make_page(first_block(path) + block, lsn[0] << 32 | lsn[1], fill)
        put_page(content, block, page)
        self._changed(path)

    def mark_all_visible(self, path: str, block: int) -> None:
        """Do what VACUUM does: without checksums the page's LSN stays."""
        content = self.files[path].content
        page = content[block * PAGE_SIZE : (block + 1) * PAGE_SIZE]
        if self.checksums or not any(page):
            self.write(path, block, fill=page[-1])
            return
        self.lsn += 60
        page[10] |= _ALL_VISIBLE
        done = checksummed(bytes(page), first_block(path) + block)
        self.wal.append(Record(self.lsn, path, "page", block, done))
        put_page(content, block, done)
        self._changed(path)

    def replace(self, path: str, content: bytes) -> None:
        """Rename a new file into place."""
        now = self._now()
        self.files[path] = ModelFile(bytearray(content), next(self.inodes), now, now)

    def touch(self, path: str, *, mode_only: bool = False) -> None:
        file = self.files[path]
        before = file.mtime_ns
        self._changed(path)
        if mode_only:
            file.mtime_ns = before

    def write_young(self, path: str, block: int, fill: int) -> None:
        """Change a page just now by everybody's clock: a backup may come within the same tick."""
        self.write(path, block, fill)
        file = self.files[path]
        file.mtime_ns = file.ctime_ns = max(time.time_ns(), file.ctime_ns + 1)

    def write_unseen(self, path: str, block: int, fill: int) -> bool:
        """Change a page within the tick of the last change, if a backup lies between the two."""
        file = self.files[path]
        times = file.mtime_ns, file.ctime_ns
        if file.ctime_ns < self.listed_ns - 1_500_000_000 or block >= file.pages:
            return False
        self.write(path, block, fill)
        file.mtime_ns, file.ctime_ns = times
        return True

    def _now(self) -> int:
        self.ticks += 1
        return self._born_ns + self.ticks * 1_000_000

    def _changed(self, path: str) -> None:
        file = self.files[path]
        file.mtime_ns = file.ctime_ns = max(self._now(), file.ctime_ns + 1)

    def _log(self, path: str, kind: str, block: int = 0) -> None:
        self.lsn += 60
        self.wal.append(Record(self.lsn, path, kind, block))


def is_main(path: str) -> bool:
    relation = relation_of_path(path)
    return relation is not None and relation.fork is Fork.MAIN


def first_block(path: str) -> int:
    relation = relation_of_path(path)
    return 0 if relation is None else relation.first_block(SEGMENT_BLOCKS)


def put_page(content: bytearray, block: int, page: bytes) -> None:
    at = block * PAGE_SIZE
    if len(content) < at:
        content += bytes(at - len(content))
    content[at : at + PAGE_SIZE] = page


def replayed(content: dict[str, bytes], wal: Sequence[Record]) -> dict[str, bytes]:
    """Return the files after a recovery: every page in WAL is a full image."""
    files = {path: bytearray(bytes_) for path, bytes_ in content.items()}
    for record in wal:
        if record.kind == "drop":
            files.pop(record.path, None)
        elif record.kind == "create":
            files[record.path] = bytearray()
        elif record.kind == "truncate":
            del files.setdefault(record.path, bytearray())[record.block * PAGE_SIZE :]
        elif record.kind == "page":
            put_page(files.setdefault(record.path, bytearray()), record.block, record.page)
        else:
            raise ValueError(f"a database was copied during a backup: {record.path}")
    return {path: bytes(file) for path, file in files.items()}


@dataclass
class During:
    """What happens to the cluster while it is copied: each after so many calls of the reader."""

    steps: list[tuple[int, Callable[[], object]]] = field(default_factory=list)

    def tick(self) -> None:
        while self.steps:
            wait, step = self.steps[0]
            if wait > 0:
                self.steps[0] = (wait - 1, step)
                return
            self.steps.pop(0)
            step()

    def finish(self) -> None:
        for _, step in self.steps:
            step()
        self.steps.clear()


@dataclass
class OpenModelFile:
    """A file that may change under the hands of whoever reads it."""

    file: ModelFile
    size: int
    during: During

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self.during.tick()
        piece = self.file.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


@dataclass
class ModelReader:
    """Reads the model's files as they are at that moment."""

    model: PageModel
    during: During
    opened: list[str] = field(default_factory=list)

    def open(
        self, path: str, start: int = 0, end: int | None = None, *, sparse: bool = False
    ) -> AbstractContextManager[OpenModelFile] | None:
        self.during.tick()
        self.opened.append(path)
        file = self.model.files.get(path)
        if file is None:
            return None
        opened = OpenModelFile(file, len(file.content), self.during)
        return contextlib.nullcontext(opened)


@dataclass
class ModelSource(FakeSource):
    """The model as something that can be backed up."""

    model: PageModel = field(default_factory=PageModel)
    method: str = "lsn"
    during: During = field(default_factory=During)
    made: list[ModelReader] = field(default_factory=list)
    started: int = 0  # LSN
    stopped: int = 0  # LSN
    truth: dict[str, bytes] = field(default_factory=dict)  # when the backup ended

    def facts(self) -> ClusterFacts:
        generation = Generation(7710983248089545577, 18, MIB, segment_blocks=SEGMENT_BLOCKS)
        return super().facts()._replace(generation=generation, checksums=self.model.checksums)

    def start(self, label: str) -> Started:
        self.calls.append("start")
        self.started = self.model.lsn
        self.model.lsn += 200
        return Started(Lsn(self.started), 1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    def changed_blocks(self, since: Lsn, started: Started, history: History) -> ChangedBlocks:
        if self.method != "summaries":
            raise NoSummaries("")
        return summarized(self.model.wal, int(since), int(started.lsn))

    def listing(self) -> Listing:
        self.calls.append("listing")
        listing = Listing()
        plain = Attributes(0o600, 26, 26, 1, 1, 1)
        folders = {str(up) for path in [*self.model.files, "global/x"] for up in Path(path).parents}
        for folder in sorted(folders - {"."}):
            listing.builder.add_directory(folder, plain._replace(mode=0o700))
        for path, file in self.model.files.items():
            attributes = plain._replace(
                mtime_ns=file.mtime_ns, ctime_ns=file.ctime_ns, inode=file.inode
            )
            first = None if relation_of_path(path) is None else first_block(path)
            listing.add_file(path, len(file.content), attributes, first)
        self.model.listed_ns = time.time_ns()
        return listing

    def reader(self) -> Reader:  # type: ignore[override]
        self.made.append(ModelReader(self.model, self.during))
        return self.made[-1]

    @property
    def opened(self) -> list[str]:
        return [path for reader in self.made for path in reader.opened]

    def stop(self) -> Stopped:
        self.during.finish()
        self.truth = self.model.snapshot()
        stopped = super().stop()
        self.model.lsn += 100
        self.stopped = self.model.lsn
        return stopped._replace(lsn=Lsn(self.stopped))

    def written(self) -> Lsn:
        return Lsn(self.model.lsn)

    def replayed(self, content: dict[str, bytes]) -> dict[str, bytes]:
        """Return what recovery makes of a backup: of the cluster, when the backup ended."""
        files = {path: bytes_ for path, bytes_ in content.items() if path != "global/pg_control"}
        wal = [r for r in self.model.wal if self.started < r.lsn <= self.stopped]
        return replayed(files, wal)


def summarized(wal: Sequence[Record], since: int, upto: int) -> changed.ChangedBlocks:
    """Return what the server's summaries would tell of a stretch of WAL."""
    found = changed.ChangedBlocks()
    records = [record for record in wal if since < record.lsn <= upto]
    for part in (records[: len(records) // 2], records[len(records) // 2 :]):
        found.add(read_summary(write_summary(_told(part)), "the model"))
    return found


def _told(records: Sequence[Record]) -> list[Told]:
    told: dict[RelationFile, Told] = {}
    databases = []
    for record in records:
        if record.kind == "database":
            oid = int(record.path.strip("/").rpartition("/")[2])
            databases.append(Told(0, limit=0, database=oid))
            continue
        file = relation_of_path(record.path)
        assert file is not None
        first = file.first_block(SEGMENT_BLOCKS)
        relation = replace_segment(file)
        entry = told.setdefault(
            relation, Told(file.number, database=file.database, tablespace=file.tablespace)
        )
        if record.kind == "page":
            entry.blocks.add(first + record.block)
            continue
        limit = first + record.block
        entry.limit = limit if entry.limit is None else min(entry.limit, limit)
        entry.blocks = {block for block in entry.blocks if block < limit}
    ordered = sorted(told.values(), key=lambda t: (t.tablespace, t.database, t.number))
    return [*databases, *ordered]


def replace_segment(file: RelationFile) -> RelationFile:
    return file._replace(segment=0)
