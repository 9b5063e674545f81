"""Drills of real backups: good ones pass, and what is wrong with bad ones is said."""

from pathlib import Path

import pytest

from pgkeep.census.take import record
from pgkeep.repository.drills.report import CheckKind, Status
from pgkeep.repository.drills.storing import read_reports
from support.clusters import NewCluster
from support.drills import check_of, damage_page, drilled, failed, query, states
from support.restores import Scene, make_scene

FICKLE = """
CREATE FUNCTION compare(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS
    'SELECT CASE WHEN a = b THEN 0 WHEN a > b THEN 1 ELSE -1 END';
CREATE OPERATOR CLASS fickle FOR TYPE int USING btree AS OPERATOR 1 < (int, int),
    OPERATOR 2 <= (int, int), OPERATOR 3 = (int, int), OPERATOR 4 >= (int, int),
    OPERATOR 5 > (int, int), FUNCTION 1 compare(int, int);
CREATE TABLE sorted (id int); INSERT INTO sorted SELECT generate_series(1, 500);
CREATE INDEX sorted_id ON sorted (id fickle);
"""
ANOTHER_ORDER = """
CREATE OR REPLACE FUNCTION compare(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS
    'SELECT CASE WHEN a = b THEN 0 WHEN a < b THEN 1 ELSE -1 END'
"""


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.pg.sql("CREATE DATABASE shop")
    scene.pg.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);"
        "INSERT INTO orders SELECT g, 'order ' || g FROM generate_series(1, 2000) g;"
        "CREATE TABLE queue (id int); INSERT INTO queue VALUES (1);"
        "CREATE TABLE archive (id int); INSERT INTO archive VALUES (1);"
        "CREATE TABLE days (day date) PARTITION BY RANGE (day);"
        "CREATE TABLE monday PARTITION OF days FOR VALUES FROM ('2026-11-23') TO ('2026-11-24');"
        "CREATE TABLE tuesday PARTITION OF days FOR VALUES FROM ('2026-11-24') TO ('2026-11-25');"
        "INSERT INTO days VALUES ('2026-11-23'), ('2026-11-24');"
        "CREATE UNLOGGED TABLE session (id int); INSERT INTO session VALUES (1);"
        f"{FICKLE} ANALYZE",
        dbname="shop",
    )
    return scene


def test_a_good_backup_passes(scene: Scene) -> None:
    scene.enter("a")
    backup = scene.backup()
    record(scene.pg.conninfo, scene.folder)
    before = scene.pg.value("SELECT clock_timestamp()")
    scene.enter("b")
    scene.pg.sql("DROP TABLE monday", dbname="shop")  # as old partitions are
    scene.archive()
    counted = query("SELECT count(*) FROM ledger", "2", "entries are missing")
    report = drilled(scene, queries=[counted])
    assert states(report) == {
        "restore": "passed",
        "recovery": "passed",
        "connect": "passed",
        "checksums": "passed",
        "amcheck": "passed",
        "read": "passed",
        "expected": "passed",
        "query SELECT count(*) FROM ledger": "passed",
    }
    assert (report.status, report.of, report.untested) == (Status.PASSED, backup, [])
    assert report.timeline == 1
    assert read_reports(scene.folder).found == (report,)
    measures = report.measures
    assert measures.restored_bytes > 20 << 20
    assert measures.wal_bytes > 0
    assert measures.ready_s is not None
    assert measures.restore_s is not None
    assert 0 < measures.restore_s < measures.ready_s
    assert measures.newest_commit is not None
    assert measures.age_s is not None
    assert measures.age_s == (report.started_at - measures.newest_commit).total_seconds()
    assert before <= measures.newest_commit <= report.started_at


def test_whatever_is_wrong_with_the_data_is_said(scene: Scene) -> None:
    """A page that rotted, an index in another order, rows and tables that are gone."""
    scene.pg.sql("CREATE TABLE rotten AS SELECT g FROM generate_series(1, 1000) g", dbname="shop")
    damage_page(scene.pg, "shop", "rotten")
    scene.backup()
    record(scene.pg.conninfo, scene.folder)
    scene.pg.sql(
        f"{ANOTHER_ORDER}; DELETE FROM orders; DELETE FROM queue; DROP TABLE archive",
        dbname="shop",
    )
    scene.archive()
    asked = [
        query("SELECT count(*) FROM orders", "> 1000", "orders are missing", "shop"),
        query("SELECT 1 FROM nowhere", "rows"),
        query("SELECT 1", "1"),
    ]
    report = drilled(scene, queries=asked, may_be_empty=["shop.public.q*"])
    assert report.status is Status.FAILED
    assert states(report) == {
        "restore": "passed",
        "recovery": "passed",
        "connect": "passed",
        "checksums": "failed",
        "amcheck": "failed",
        "read": "failed",
        "expected": "failed",
        "query SELECT count(*) FROM orders": "failed",
        "query SELECT 1 FROM nowhere": "failed",
        "query SELECT 1": "passed",
    }
    assert "1 page has a checksum that does not fit" in failed(report, CheckKind.CHECKSUMS)
    broken = failed(report, CheckKind.AMCHECK)
    assert 'btree index "shop.public.sorted_id"' in broken
    assert "invariant violated for index" in broken
    assert "invalid page in block 0" in failed(report, CheckKind.READ)
    expected = check_of(report, CheckKind.EXPECTED)
    assert expected.words.endswith("2 are missing or empty")
    assert expected.evidence[:2] == (
        "shop.public.archive is not there",
        "shop.public.orders is empty, and had rows",
    )
    assert "cannot read table public.rotten" in expected.evidence[2]
    words = [check.words for check in report.failed if check.kind is CheckKind.QUERY]
    assert words == [
        "orders are missing: it returned 0, expected > 1000",
        "the query itself failed",
    ]
