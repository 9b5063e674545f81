"""Incremental backups of real clusters, held against the files that they were made of.

On a server where nothing happens, what a backup holds must be what is on disk, byte by byte. The
one difference allowed is named by `Hints`: it occurs only where a cluster has no checksums.
"""

import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.backup.report import BackupReport
from pgkeep.model.backup import BackupType
from pgkeep.repository import catalog
from pgkeep.repository.manifest.facts import Reuse
from pgkeep.repository.packs.chunks import ChunkReader
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.scratch import ScratchCluster
from support.backups import contents, inline
from support.clusters import NewCluster
from support.restores import Scene, make_scene
from support.wait import wait_for

PAGE: Final = 8192
ROWS: Final = "SELECT g, repeat(md5(g::text), 15) AS t FROM generate_series(1, %d) g"
FEW: Final = ((15, "lsn"), (17, "summaries"), (18, "lsn"))
OLD_AND_NEW: Final = ((15, "lsn"), (18, "summaries"))
EVERY: Final = ((15, "lsn"), (17, "summaries"), (17, "lsn"), (18, "summaries"), (18, "lsn"))

# Nothing may be written behind the back of a test.
_QUIET: Final[Mapping[str, str | int]] = {
    "autovacuum": "off",
    "bgwriter_lru_maxpages": 0,
    "checkpoint_timeout": "1h",
    "max_wal_size": "1GB",
    "max_prepared_transactions": 5,
    "allow_in_place_tablespaces": "on",
}
Mask = Callable[[bytes], bytes]
_RECENT: Final = 2.0  # seconds: files younger than this are not trusted by their times
_READ_AT_THE_END: Final = "global/pg_control"


def methods(*cases: tuple[int, str]) -> pytest.MarkDecorator:
    """Run a test on versions with ways to find changes; without any, in all combinations."""
    cases = cases or EVERY
    return pytest.mark.parametrize(
        ("postgres_version", "method"),
        cases,
        indirect=["postgres_version"],
        ids=[f"pg{major}-{method}" for major, method in cases],
    )


@dataclass
class Lab:
    """A cluster on which nothing happens by itself, and its repository."""

    scene: Scene
    method: str

    @property
    def pg(self) -> ScratchCluster:
        return self.scene.pg

    @property
    def folder(self) -> ClusterFolder:
        return self.scene.folder

    @property
    def root(self) -> Path:
        return self.pg.data_directory

    def backup(
        self, kind: Kind = Kind.AUTO, *, processes: bool = False, archive_timeout: float = 30
    ) -> BackupReport:
        """Make a backup, in this process unless `processes`."""
        options = BackupOptions(kind=kind, jobs=2, archive_timeout=archive_timeout)
        more: dict[str, Any] = {} if processes else {"make_workers": inline(self.folder)}
        with DataDirectorySource.connect(self.pg.conninfo) as source:
            return run(source, self.folder, options, **more)

    def full(self) -> BackupReport:
        return self.backup(Kind.FULL)

    def incremental(self, parent: BackupReport | None = None) -> BackupReport:
        """Make a backup; it must be an incremental one, and found its changes as it should."""
        report = self.backup()
        assert report.backup.type is BackupType.INCREMENTAL, report.notes
        assert reuse(report).method == self.method, reuse(report)
        assert parent is None or report.backup.parent == parent.id
        return report

    def path(self, relation: str, dbname: str = "postgres") -> str:
        """Return the file of a relation, relative to the data directory."""
        return str(self.pg.value("SELECT pg_relation_filepath(%s)", relation, dbname=dbname))

    def age(self) -> None:
        """Return when all files are old enough to be trusted by their times."""
        self.pg.sql("CHECKPOINT")
        newest = max(path.stat().st_ctime for path in self.root.glob("base/*/*"))
        wait_for(lambda: time.time() > newest + _RECENT, what="files to grow old")

    def place(self, name: str) -> Path:
        """Make an empty directory for a tablespace."""
        place = self.scene.place / name
        place.mkdir(mode=0o700)
        owner = self.root.stat()
        shutil.chown(place, owner.st_uid, owner.st_gid)
        return place

    def check(self, report: BackupReport, *, hints: bool = False) -> dict[str, bytes]:
        """Hold a backup against the files on disk, just after it was made; return its files.

        `hints` allows for hints that no WAL tells of.
        """
        stored = contents(self.folder, report.id)
        assert differences(stored, self.root, hints=hints) == []
        missing = set(relation_files(self.pg)) - stored.keys()
        assert not missing
        return stored

    @contextmanager
    def restored(
        self, report: BackupReport, name: str = "", **more: Any
    ) -> Iterator[ScratchCluster]:
        """Start what a backup restores to, replaying no more WAL than it must; then check it.

        WAL after a backup's end would write whole pages over what may be wrong in them.
        """
        name = name or f"restored-{report.id}"
        request = {"backup": report.id, **more}
        restoring = self.scene.restore(request.pop("to", "immediate"), name, **request)
        with self.scene.started(restoring) as (server, _):
            yield server
            check_server(server)
            target = restoring.plan.target_dir
            server.server_tool("pg_ctl", "-D", target, "-m", "fast", "stop")
        if report.backup.checksums:
            self.pg.tool("pg_checksums", "--check", "-D", target)
        shutil.rmtree(target)


def make_lab(
    new_cluster: NewCluster,
    repository: Path,
    place: Path,
    method: str,
    *,
    archiving: bool = False,
    settings: Mapping[str, str | int | None] | None = None,
    **more: Any,
) -> Lab:
    """Return a running cluster with `settings` besides those that keep it quiet."""
    chosen: dict[str, str | int | None] = dict(_QUIET)
    if method == "summaries":
        chosen["summarize_wal"] = "on"
    if not archiving:
        chosen |= {"archive_mode": "off", "archive_command": ""}
    chosen |= settings or {}
    scene = make_scene(new_cluster, repository, place, chosen, ledger=False, **more)
    return Lab(scene, method)


def fill(pg: ScratchCluster, *tables: str, rows: int = 1500, dbname: str = "postgres") -> None:
    """Create tables of about 16 rows a page, all hints set."""
    for table in tables:
        pg.sql(f"CREATE TABLE {table} (g int PRIMARY KEY, t text)", dbname=dbname)
        pg.sql(f"INSERT INTO {table} " + ROWS % rows, dbname=dbname)
        pg.sql(f"VACUUM FREEZE {table}", dbname=dbname)


def sums(pg: ScratchCluster, tables: Sequence[str]) -> Mapping[str, object]:
    """Return what is in tables, in short."""
    query = "SELECT count(*) || ' ' || coalesce(sum(hashtext(t::text)::int8), 0) FROM %s t"
    return {table: pg.value(query % table) for table in tables}


@contextmanager
def pgbench(lab: Lab) -> Iterator[None]:
    """Keep the server busy."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            lab.pg.work(transactions=100)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def reuse(report: BackupReport) -> Reuse:
    """Return what an incremental backup took over."""
    assert report.reuse is not None, report.notes
    return report.reuse


def page_count(lab: Lab, report: BackupReport, path: str) -> int:
    """Return how many pages a backup stored of a file that it otherwise took from its parent."""
    tables = catalog.read_manifest(lab.folder, report.id).tables
    row = tables.file.path.items.index(path.encode())
    first, end = tables.file.layer_start[row : row + 2].tolist()
    assert end - first in {1, 2}
    return int(tables.layer.pages[end - 1])


def check_large_file(lab: Lab, report: BackupReport, path: str) -> None:
    """Hold one file against that on disk, without ever having all of it in memory."""
    tables = catalog.read_manifest(lab.folder, report.id).tables
    number = tables.find(path)
    assert number is not None, path
    pieces: dict[int, list[tuple[int, int, int]]] = {}
    for row, _, *piece in zip(*tables.placements(np.array([number])), strict=True):
        pieces.setdefault(int(row), []).append((int(piece[0]), int(piece[1]), int(piece[2])))
    rows = np.array(sorted(pieces), np.int64)
    sealer = lab.folder.repository.sealer()
    reader = ChunkReader(lab.folder, sealer, tables.pack, backup=report.id)
    place = lab.root / path
    assert sum(length for some in pieces.values() for _, _, length in some) == place.stat().st_size
    with place.open("rb") as file:
        for index, plain in reader.read(tables.chunk.take(rows)):
            for position, start, length in pieces[int(rows[index])]:
                file.seek(position)
                assert file.read(length) == plain[start : start + length], (path, position)


def relation_files(pg: ScratchCluster) -> list[str]:
    """Return the first file of every permanent relation, as the catalogs tell."""
    found: list[str] = []
    for (database,) in pg.sql("SELECT datname FROM pg_database WHERE datallowconn"):
        rows = pg.sql(
            "SELECT pg_relation_filepath(oid) FROM pg_class"
            " WHERE pg_relation_filepath(oid) IS NOT NULL AND relpersistence = 'p'",
            dbname=database,
        )
        found += [path for (path,) in rows]
    return found


def differences(stored: Mapping[str, bytes], root: Path, *, hints: bool = False) -> list[str]:
    """Return what differs between the files of a backup and those on disk."""
    found = []
    for path, content in stored.items():
        if path == _READ_AT_THE_END:
            continue
        try:
            on_disk = (root / path).read_bytes()
        except FileNotFoundError:
            found.append(f"{path}: not on disk")
            continue
        if content == on_disk:
            continue
        if len(content) != len(on_disk):
            found.append(f"{path}: {len(content)} bytes, on disk {len(on_disk)}")
        mask: Mask = without_hints if hints else bytes
        table = path.partition(".")[0]
        if hints and f"{table}_vm" not in stored and (root / f"{table}_vm").exists():
            mask = without_marks  # its map was left out for that reason
        found += different_pages(path, content, on_disk, mask)
    return found


def without_marks(page: bytes) -> bytes:
    """Blank out hints, and PD_ALL_VISIBLE (bufpage.h): right only where there is no map."""
    content = bytearray(without_hints(page))
    content[10] &= ~0x4
    return bytes(content)


def different_pages(path: str, one: bytes, other: bytes, mask: Mask) -> list[str]:
    """Return where two versions of a file differ when `mask` is applied to both."""
    found = []
    for at in range(0, min(len(one), len(other)), PAGE):
        ours, theirs = one[at : at + PAGE], other[at : at + PAGE]
        if ours != theirs and len(ours) == len(theirs) == PAGE:
            ours, theirs = mask(ours), mask(theirs)
        if ours != theirs:
            where = [i for i in range(min(len(ours), len(theirs))) if ours[i] != theirs[i]]
            lsns = [struct.unpack_from("<II", page) for page in (ours, theirs)]
            lsn, other_lsn = (f"{high:X}/{low:X}" for high, low in lsns)
            found.append(f"{path} block {at // PAGE} bytes {where[:8]}, LSN {lsn} / {other_lsn}")
    return found


_FULL, _FREE_LINES = 0x2, 0x1  # bits of pd_flags (bufpage.h) that PostgreSQL calls hints
_XID_HINTS: Final = 0x0F00  # t_infomask: XMIN and XMAX committed or invalid (htup_details.h)
_GARBAGE, _SPLIT_END = 1 << 6, 1 << 5  # BTP_HAS_GARBAGE, BTP_SPLIT_END (nbtree.h)
_NORMAL, _DEAD = 1, 3  # states of a line pointer (itemid.h)


def as_replayed(page: bytes) -> bytes:
    """Blank out what a page that WAL brought about need not share with the server's own.

    PostgreSQL's list of it is bufmask.c with heap_mask() and btree_mask(): hints, and the checksum
    that covers them; what is left behind in unused space, of which WAL has no image; command ids,
    which only the transaction itself needs; and what a running VACUUM notes of page splits.
    """
    if page == bytes(PAGE):
        return page
    content = bytearray(without_hints(page))
    struct.pack_into("<H", content, 8, 0)
    _, lower, upper, special = struct.unpack_from("<HHHH", content, 10)
    content[lower:upper] = bytes(upper - lower)
    if special == PAGE:
        for at in range(24, lower, 4):
            (pointer,) = struct.unpack_from("<I", content, at)
            if (pointer >> 15) & 3 == _NORMAL:
                start, length = pointer & 0x7FFF, pointer >> 17
                content[start + 8 : start + 12] = bytes(4)  # t_cid
                content[start + length : start + -(-length // 8) * 8] = bytes(-length % 8)
    elif special == PAGE - 16:
        (bits,) = struct.unpack_from("<H", content, special + 12)
        struct.pack_into("<HH", content, special + 12, bits & ~_SPLIT_END, 0)  # and btpo_cycleid
    return bytes(content)


def without_hints(page: bytes) -> bytes:
    """Blank out what PostgreSQL writes without WAL, and finds out again if it is lost.

    In a heap: who has committed, and what pruning could do (pd_prune_xid, two flags). In a b-tree:
    which entries are dead. Never PD_ALL_VISIBLE: the visibility map relies on it.
    """
    if page == bytes(PAGE):
        return page
    content = bytearray(page)
    flags, lower, _, special = struct.unpack_from("<HHHH", content, 10)
    struct.pack_into("<H", content, 10, flags & ~(_FULL | _FREE_LINES))
    struct.pack_into("<I", content, 20, 0)
    if special == PAGE:
        for at in range(24, lower, 4):
            (pointer,) = struct.unpack_from("<I", content, at)
            if (pointer >> 15) & 3 == _NORMAL:
                mask = (pointer & 0x7FFF) + 20  # of t_infomask in a tuple's header
                (bits,) = struct.unpack_from("<H", content, mask)
                struct.pack_into("<H", content, mask, bits & ~_XID_HINTS)
    elif special == PAGE - 16:
        for at in range(24, lower, 4):
            (pointer,) = struct.unpack_from("<I", content, at)
            if (pointer >> 15) & 3 == _DEAD:
                struct.pack_into("<I", content, at, pointer & ~(3 << 15) | _NORMAL << 15)
        (bits,) = struct.unpack_from("<H", content, special + 12)
        struct.pack_into("<H", content, special + 12, bits & ~_GARBAGE)
    return bytes(content)


_TABLES: Final = """
SELECT c.oid::regclass::text, x.indexrelid IS NOT NULL
FROM pg_class c LEFT JOIN pg_index x ON x.indrelid = c.oid AND x.indisprimary
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.relnamespace = 'public'::regnamespace
"""


def check_server(pg: ScratchCluster) -> None:
    """Check what users made: amcheck, visibility maps, and counting by table and by index."""
    for (database,) in pg.sql("SELECT datname FROM pg_database WHERE NOT datistemplate"):
        with pg.connect(dbname=database) as connection:
            tables = connection.execute(_TABLES).fetchall()
            if not tables:
                continue
            connection.execute("CREATE EXTENSION pg_visibility")
            for table, keyed in tables:
                _check_table(connection, table.encode(), keyed=keyed)
        pg.tool(
            "pg_amcheck",
            *("--database", database, "--schema=public", "--install-missing"),
            *("--heapallindexed", "--parent-check"),
        )


def _check_table(connection: Any, table: bytes, *, keyed: bool) -> None:
    for check in (b"pg_check_visible", b"pg_check_frozen"):
        assert _value(connection, b"SELECT count(*) FROM %b('%b')" % (check, table)) == 0, table
    if keyed:
        counts = []
        for off in (b"enable_seqscan", b"enable_indexonlyscan"):
            connection.execute(b"SET %b = off" % off)
            counts.append(_value(connection, b"SELECT count(*) FROM %b" % table))
            connection.execute(b"RESET %b" % off)
        assert counts[0] == counts[1], table


def _value(connection: Any, query: bytes) -> Any:
    return connection.execute(query).fetchone()[0]
