"""Changes of single pages found in the WAL of real servers, against pg_waldump and the pages."""

import re
import subprocess
from pathlib import Path

import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.layout import relation_of_path
from pgkeep.postgres.wal_blocks.scan import Block, BlockScanner
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster

MIB = 1 << 20
LINE = re.compile(r"lsn: ([0-9A-F]+/[0-9A-F]+), prev .*, desc: (\S+)")


def segments(pg: ScratchCluster, start: Lsn) -> list[Segment]:
    names = sorted(p.name for p in (pg.data_directory / "pg_wal").iterdir() if len(p.name) == 24)
    return [s for s in (Segment.parse(n, MIB) for n in names) if s.end > start]


def scan(pg: ScratchCluster, wanted: list[Block], start: Lsn, end: Lsn) -> BlockScanner:
    scanner = BlockScanner(wanted, start, end)
    for segment in segments(pg, start):
        if segment.start < end:
            content = (pg.data_directory / "pg_wal" / segment.name).read_bytes()
            scanner.feed(segment, content, proven=False)
    return scanner


def dumped(pg: ScratchCluster, block: Block, start: Lsn) -> list[Lsn]:
    """Return which records pg_waldump knows of a block."""
    relation = "/".join(map(str, block.locator))
    done = subprocess.run(
        [pg.binaries.tool("pg_waldump"), "-p", str(pg.data_directory / "pg_wal"), "-s", str(start),
         "-R", relation, "-B", str(block.block), "-F", "main"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [
        Lsn.parse(match[1]) for line in done.stdout.splitlines() if (match := LINE.search(line))
    ]


def block_of(pg: ScratchCluster, table: str, number: int) -> Block:
    relation = relation_of_path(pg.value(f"SELECT pg_relation_filepath('{table}')"))
    assert relation is not None
    return Block((relation.tablespace, relation.database, relation.number), 0, number)


@pytest.mark.parametrize("compression", ["off", "pglz", "lz4", "zstd"])
def test_changes_of_pages_are_found(
    new_cluster: NewCluster, tmp_path: Path, compression: str
) -> None:
    settings = {"wal_compression": compression, "autovacuum": "off", "wal_keep_size": "1GB"}
    try:
        pg = new_cluster(settings=settings)
    except Exception:
        if compression not in ("lz4", "zstd"):
            raise
        pytest.skip(f"this server was built without {compression}")
    pg.sql("CREATE TABLE t AS SELECT g, repeat('x', 300) AS s FROM generate_series(1, 2000) g")
    pg.sql("CREATE TABLE other AS SELECT * FROM t")
    pg.sql("VACUUM FREEZE t")
    pg.sql("CHECKPOINT")
    start = Lsn.parse(pg.value("SELECT redo_lsn::text FROM pg_control_checkpoint()"))
    pg.sql("UPDATE t SET g = -g WHERE g < 20")  # the page whole, then changes of it
    for _ in range(3):
        pg.sql("UPDATE other SET s = s || 'y'")
        pg.switch_wal()
    pg.sql("CHECKPOINT")
    pg.sql("DELETE FROM t WHERE g = -1 OR g = 1000")
    wanted = [block_of(pg, "t", n) for n in (0, 1, 30, 40)]
    end = Lsn.parse(pg.value("SELECT pg_current_wal_lsn()::text"))
    pg.stop()

    scanner = scan(pg, wanted, start, end)

    assert scanner.end is not None
    assert scanner.end >= end
    path = pg.data_directory / f"base/{wanted[0].locator[1]}/{wanted[0].locator[2]}"
    for block in wanted:
        log, known = scanner.logs[block], dumped(pg, block, start)
        page = path.read_bytes()[block.block * 8192 :][:8192]
        lsn = Lsn(int.from_bytes(page[:4], "little") << 32 | int.from_bytes(page[4:8], "little"))
        assert bool(known) == bool(log.image or log.count), block
        if log.last:
            assert log.last[-1].lsn == known[-1]
            assert log.last[-1].end == lsn
        elif log.image is not None:
            assert log.image_end == lsn
            assert log.image[12:] == page[12:]
    assert scanner.logs[wanted[0]].count in (0, 1)
    assert scanner.logs[wanted[0]].image
    assert {bool(scanner.logs[block].image) for block in wanted} == {True, False}
