"""What is read from WAL by numpy, against what the server's own pg_waldump prints of it."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

from pgkeep.model.segment import Segment
from pgkeep.postgres.wal_changes.piece import Catalogs, Piece
from pgkeep.postgres.wal_changes.rows import FIRST_OID
from pgkeep.postgres.wal_changes.scan import Thread, scan
from pgkeep.server.scratch import ScratchCluster
from support.accidents import KEEP_WAL, make_site, others_working
from support.clusters import NewCluster

MIB = 1 << 20
LINE = re.compile(r"rmgr: (\S+)\s.*?, tx:\s*(\d+), lsn: (\S+), prev \S+ desc: (\S+)(.*)$")
REL = re.compile(r"blkref #0: rel (\d+)/(\d+)/(\d+)")
Key = tuple[int, tuple[int, ...], str]


def test_rows_files_locks_and_ends_are_those_of_pg_waldump(
    new_cluster: NewCluster, postgres_version: int
) -> None:
    """Logical decoding puts more into records, and compressed pages stand there in another way."""
    plain = {"wal_level": "replica", "wal_compression": "off"}
    more = {"wal_level": "logical", "wal_compression": "pglz"}
    pg = new_cluster(settings=KEEP_WAL | (plain if postgres_version == 17 else more))
    site = make_site(pg)
    with others_working(site, rounds=1):
        site.sql("ALTER TABLE work.indexed REPLICA IDENTITY FULL")
    site.pg.sql("SELECT pg_switch_wal()")
    pieces, segments = read(pg)
    counted, texts = printed(pg, segments)

    assert rows_of(pieces) == counted
    made = Counter((m.xid, m.locator) for piece in pieces for m in piece.made if m.fork == 0)
    assert made == texts["made"]
    locks = Counter((k.xid, k.database, k.oid) for piece in pieces for k in piece.locked)
    assert locks == texts["locks"]
    dropped = Counter(len(d.dropped) for piece in pieces for d in piece.details.values())
    files = Counter(len(d.files) for piece in pieces for d in piece.details.values())
    assert sum(n * count for n, count in dropped.items()) == texts["dropped"][""]
    assert sum(n * count for n, count in files.items()) == texts["files"][""]
    assert sum(counted.values()) > 10_000
    assert len(made) > 20


def read(pg: ScratchCluster) -> tuple[list[Piece], list[Path]]:
    """Return what all finished segments tell."""
    current = pg.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    thread, pieces, segments = Thread(Catalogs()), [], []
    for path in sorted((pg.data_directory / "pg_wal").glob("0" * 7 + "?" * 17)):
        if path.name < current:
            stretch = scan(path.read_bytes(), Segment.parse(path.name, MIB), Catalogs())
            pieces += list(thread.join(stretch))
            segments.append(path)
    return pieces, segments


def rows_of(pieces: list[Piece]) -> Counter[Key]:
    found: Counter[Key] = Counter()
    for piece in pieces:
        rows = piece.rows
        for at in range(len(rows)):
            xid = int(rows.xid[at])
            file = (int(rows.tablespace[at]), int(rows.database[at]), int(rows.file[at]))
            for what in ("deleted", "updated", "inserted", "pages"):
                found[xid, file, what] += int(getattr(rows, what)[at])
    return +found


def printed(
    pg: ScratchCluster, segments: list[Path]
) -> tuple[Counter[Key], dict[str, Counter[object]]]:
    """Return the same of pg_waldump's text."""
    done = subprocess.run(
        [pg.binaries.tool("pg_waldump"), str(segments[0]), segments[-1].name],
        env={**os.environ, "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    rows: Counter[Key] = Counter()
    texts: dict[str, Counter[object]] = {
        name: Counter() for name in ("made", "locks", "dropped", "files")
    }
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        manager, tx, _, word, rest = match.groups()
        _count_row(rows, manager, int(tx), word, rest)
        _count_text(texts, manager, int(tx), word, rest)
    return +rows, texts


def _count_row(rows: Counter[Key], manager: str, xid: int, word: str, rest: str) -> None:
    relation = REL.search(rest)
    word = word.partition("+")[0]
    what = {
        ("Heap", "DELETE"): "deleted",
        ("Heap", "UPDATE"): "updated",
        ("Heap", "HOT_UPDATE"): "updated",
        ("Heap", "INSERT"): "inserted",
        ("Heap2", "MULTI_INSERT"): "inserted",
        ("XLOG", "FPI"): "pages",
        ("Sequence", "LOG"): "pages",
        ("XLOG", "FPI_FOR_HINT"): "pages",
    }.get((manager, word))
    if what is None or relation is None or not xid:
        return
    file = tuple(int(part) for part in relation.groups())
    if (file[2] < FIRST_OID and file[2] not in (1259, 2615)) or (not file[1] and file[2] > 9999):
        return
    count = 1
    if word == "MULTI_INSERT":
        found = re.search(r"(\d+) tuples|ntuples: (\d+)", rest)
        assert found is not None
        count = int(found[1] or found[2])
    if what == "deleted" and is_partition_move(rest):
        what = "updated"
    rows[xid, file, what] += count


def is_partition_move(rest: str) -> bool:
    found = re.search(r"flags:? 0x([0-9A-F]+)", rest)
    return bool(found and int(found[1], 16) & 0x10)


def _count_text(
    texts: dict[str, Counter[object]], manager: str, xid: int, word: str, rest: str
) -> None:
    if manager == "Storage" and word == "CREATE":
        path = re.match(r" base/(\d+)/(\d+)$", rest.rstrip())
        if path:
            texts["made"][xid, (1663, int(path[1]), int(path[2]))] += 1
    elif manager == "Standby" and word == "LOCK":
        for one in re.findall(r"xid (\d+) db (\d+) rel (\d+)", rest):
            texts["locks"][tuple(int(part) for part in one)] += 1
    elif manager == "Transaction" and word.startswith("COMMIT"):
        files = re.search(r"; rels:([^;]*)", rest)
        texts["files"][""] += len(files[1].split()) if files else 0
        texts["dropped"][""] += len(re.findall(r" 2/\d+/\d+", rest))
