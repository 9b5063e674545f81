"""Incremental backups of real clusters: whatever happened in between, they hold what is there."""

import os
from pathlib import Path

import pytest

from pgkeep.backup.backup import Kind
from pgkeep.backup.report import BackupReport
from pgkeep.units import GIB
from support.backups import damage
from support.clusters import NewCluster
from support.incremental import (
    FEW,
    OLD_AND_NEW,
    ROWS,
    Lab,
    check_large_file,
    fill,
    make_lab,
    methods,
    page_count,
    reuse,
    sums,
)

SEGMENT_BLOCKS = GIB // 8192


@pytest.fixture
def lab(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, method: str) -> Lab:
    return make_lab(new_cluster, repository_directory, tmp_path, method)


@pytest.fixture
def archived(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, method: str
) -> Lab:
    """One that archives: a restart alone raises no doubts then."""
    return make_lab(new_cluster, repository_directory, tmp_path, method, archiving=True)


@methods(*FEW)
def test_little_is_stored_when_little_changed(lab: Lab) -> None:
    fill(lab.pg, "t", "u")
    lab.age()
    full = lab.full()
    lab.pg.sql("UPDATE t SET t = 'new' WHERE g = 700")
    report = lab.incremental(full)
    stored = lab.check(report)
    found = reuse(report)
    assert found.unchanged_files > 0.9 * report.backup.files
    assert report.read < report.backup.size / 4
    assert page_count(lab, report, lab.path("t")) in {1, 2}
    assert page_count(lab, report, lab.path("u")) == 0
    assert stored[lab.path("t")].count(b"new") == 1
    again = lab.backup(processes=True)
    assert again.backup.parent == report.id
    lab.check(again)
    with lab.restored(again) as server:
        assert sums(server, ["t", "u"]) == sums(lab.pg, ["t", "u"])


@methods()
def test_scenario_126_rewritten(lab: Lab) -> None:
    pg = lab.pg
    tables = ["vacuumed", "clustered", "altered", "moved", "logged", "emptied", "indexed"]
    fill(pg, *tables, "dropped", "unlogged")
    pg.sql("ALTER TABLE logged SET UNLOGGED")
    pg.sql("CREATE TABLE wide (g int PRIMARY KEY, t text)")
    pg.sql("INSERT INTO wide SELECT g, repeat(md5(g::text), 900) FROM generate_series(1, 40) g")
    pg.sql("CREATE SEQUENCE s; SELECT nextval('s')")
    pg.sql("CREATE TABLESPACE space LOCATION ''")
    first = lab.full()
    before = set(lab.check(first))

    pg.sql("VACUUM FULL vacuumed")
    pg.sql("CLUSTER clustered USING clustered_pkey")
    pg.sql("ALTER TABLE altered ALTER g TYPE bigint")
    pg.sql("ALTER TABLE moved SET TABLESPACE space")
    pg.sql("ALTER INDEX moved_pkey SET TABLESPACE space")
    pg.sql("ALTER TABLE logged SET LOGGED")
    pg.sql("ALTER TABLE unlogged SET UNLOGGED")
    pg.sql("TRUNCATE emptied")
    pg.sql("INSERT INTO emptied " + ROWS % 100)
    pg.sql("DROP TABLE dropped")
    pg.sql(
        "REINDEX TABLE indexed; CREATE INDEX ON indexed (t); CREATE INDEX ON wide USING gin"
        " (string_to_array(t, '1'))"
    )
    pg.sql("UPDATE wide SET t = reverse(t) WHERE g < 20; DELETE FROM wide WHERE g > 30")
    pg.sql("SELECT nextval('s') FROM generate_series(1, 100)")
    for catalog in ("pg_class", "pg_attribute", "pg_database"):  # mapped, the last one shared
        pg.sql(f"VACUUM FULL {catalog}")
    pg.sql("REINDEX TABLE pg_proc")

    report = lab.incremental(first)
    stored = lab.check(report)
    assert before - stored.keys()  # the old files are not in it
    tables.append("wide")
    with lab.restored(report) as server:
        assert sums(server, tables) == sums(pg, tables)
        assert server.value("SELECT count(*) FROM unlogged") == 0
        assert server.value("SELECT nextval('s')") == 102
    pg.sql("UPDATE moved SET t = 'again' WHERE g % 300 = 0")
    second = lab.incremental(report)
    lab.check(second)


@methods(*FEW)
def test_scenario_120_truncated_and_grown_again(lab: Lab) -> None:
    fill(lab.pg, "t", "u")
    size = lab.pg.value("SELECT pg_relation_size('t')")
    backups, expected = [lab.full()], [sums(lab.pg, ["t", "u"])]

    def keep() -> None:
        backups.append(lab.incremental(backups[-1]))
        expected.append(sums(lab.pg, ["t", "u"]))
        lab.check(backups[-1])

    for table in ("t", "u"):
        lab.pg.sql(f"DELETE FROM {table} WHERE g > 500")
        lab.pg.sql(f"VACUUM {table}")
    keep()
    regrow = "INSERT INTO %s SELECT g, repeat('new', 160) FROM generate_series(501, 1500) g"
    lab.pg.sql(regrow % "t")
    assert lab.pg.value("SELECT pg_relation_size('t')") == size
    keep()
    for table in ("t", "u"):  # both steps at once
        lab.pg.sql(f"DELETE FROM {table} WHERE g > 400")
        lab.pg.sql(f"VACUUM {table}")
        lab.pg.sql((regrow % table).replace("501", "401").replace("'new'", "'old'"))
    keep()
    lab.pg.sql("DELETE FROM t WHERE g > 10")
    lab.pg.sql("VACUUM t")
    keep()
    assert lab.pg.value("SELECT pg_relation_size('t')") == 8192
    for report, wanted in list(zip(backups, expected, strict=True))[1::2]:
        with lab.restored(report) as server:
            assert sums(server, ["t", "u"]) == wanted


@methods()
def test_scenario_125_pages_changed_without_wal(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, method: str
) -> None:
    lab = make_lab(new_cluster, repository_directory, tmp_path, method, checksums=False)
    for table in ("read", "cleaned", "mixed"):
        lab.pg.sql(f"CREATE TABLE {table} (g int PRIMARY KEY, t text)")
        lab.pg.sql(f"INSERT INTO {table} " + ROWS % 3000)
    full = lab.full()
    lab.pg.sql("SELECT count(*) FROM read")  # sets a hint in every row
    lab.pg.sql("VACUUM cleaned")  # marks all pages as visible to everybody
    lab.pg.sql("VACUUM mixed")
    lab.pg.sql("UPDATE mixed SET t = 'new' WHERE g = 17")
    report = lab.incremental(full)
    lab.check(report, hints=True)
    assert page_count(lab, report, lab.path("read")) == 0
    with lab.restored(report) as server:
        for table in ("read", "cleaned", "mixed"):
            server.sql(f"DELETE FROM {table} WHERE g % 10 = 0")


@methods()
def test_databases_made_moved_and_dropped(lab: Lab) -> None:
    pg = lab.pg
    pg.sql("CREATE TABLESPACE space LOCATION ''")
    for name in ("copied", "moved", "dropped"):
        pg.sql(f"CREATE DATABASE {name} STRATEGY file_copy")
        fill(pg, "t", dbname=name)
    full = lab.full()
    pg.sql("CREATE DATABASE logged TEMPLATE copied STRATEGY wal_log")
    pg.sql("CREATE DATABASE filed TEMPLATE copied STRATEGY file_copy")
    pg.sql("DROP DATABASE dropped")
    pg.sql("ALTER DATABASE moved SET TABLESPACE space")
    there = lab.incremental(full)
    lab.check(there)
    pg.sql("UPDATE t SET t = 'moved' WHERE g % 100 = 0", dbname="moved")
    pg.sql("ALTER DATABASE moved SET TABLESPACE pg_default")
    back = lab.incremental(there)
    lab.check(back)
    with lab.restored(back) as server:
        for name in ("copied", "moved", "logged", "filed"):
            assert server.value("SELECT count(*) FROM t", dbname=name) == 1500
        assert server.value("SELECT count(*) FROM t WHERE t = 'moved'", dbname="moved") == 15


@methods()
def test_a_database_with_the_number_of_another(lab: Lab) -> None:
    """Its files have the same names, old LSNs, and where the file system is like that: inodes."""
    for name in ("one", "two"):
        lab.pg.sql(f"CREATE DATABASE {name} STRATEGY wal_log")
        fill(lab.pg, "t", dbname=name)
        lab.pg.sql(f"UPDATE t SET t = '{name}' || t WHERE g % 2 = 0", dbname=name)
        lab.pg.sql("VACUUM FREEZE t", dbname=name)
    lab.pg.sql("CREATE DATABASE reused OID 30000 TEMPLATE one STRATEGY file_copy")
    full = lab.full()
    lab.pg.sql("DROP DATABASE reused")
    lab.pg.sql("CREATE DATABASE reused OID 30000 TEMPLATE two STRATEGY file_copy")
    report = lab.incremental(full)
    lab.check(report)
    with lab.restored(report) as server:
        assert server.value("SELECT count(*) FROM t WHERE t LIKE 'two%'", dbname="reused") == 750


@methods(*FEW)
def test_a_table_with_the_file_name_of_another(archived: Lab) -> None:
    lab = archived
    fill(lab.pg, "old")
    path = lab.path("old")
    full = lab.full()
    lab.pg.sql("DROP TABLE old")
    lab.pg.sql("VACUUM pg_class")  # or the number counts as taken
    lab.pg.stop()
    lab.pg.server_tool("pg_resetwal", "-o", path.rpartition("/")[2], "-D", str(lab.root))
    lab.pg.start()
    lab.pg.sql("CREATE TABLE young AS " + ROWS.replace("md5(g::text)", "'young'") % 1500)
    assert lab.path("young") == path
    report = lab.backup()  # by LSNs: WAL summaries do not reach over a pg_resetwal
    assert report.backup.parent == full.id
    assert b"young" in lab.check(report)[path]
    with lab.restored(report) as server:
        assert sums(server, ["young"]) == sums(lab.pg, ["young"])


@methods(*OLD_AND_NEW)
@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
def test_scenario_124_checksums_switched(
    new_cluster: NewCluster,
    repository_directory: Path,
    tmp_path: Path,
    method: str,
    enabled: bool,
) -> None:
    lab = make_lab(new_cluster, repository_directory, tmp_path, method, checksums=not enabled)
    fill(lab.pg, "t")
    full = lab.full()
    lab.pg.stop()
    lab.pg.tool("pg_checksums", "--enable" if enabled else "--disable", "-D", str(lab.root))
    lab.pg.start()
    lab.pg.sql("UPDATE t SET t = 'new' WHERE g = 7")
    report = lab.backup(Kind.AUTO)
    assert report.reuse is None
    before, after = ("off", "on") if enabled else ("on", "off")
    assert list(report.notes) == [
        f"{full.id} cannot be its parent: data checksums were {before} then and are {after} now"
    ]
    lab.check(report)
    with lab.restored(report) as server:
        assert server.value("SHOW data_checksums") == after
    following = lab.incremental(report)
    lab.check(following, hints=not enabled)


@methods(*FEW)
def test_scenario_133_odd_wal_records(lab: Lab) -> None:
    pg = lab.pg
    fill(pg, "t", "prepared")
    full = lab.full()
    pg.sql("SELECT pg_logical_emit_message(true, 'large', repeat('x', 20000000))")
    with pg.connect() as connection:
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            for row in range(2000, 4000):
                copy.write_row((row, "copied"))
        connection.execute("BEGIN; UPDATE prepared SET t = 'kept' WHERE g % 100 = 0")
        connection.execute("PREPARE TRANSACTION 'kept'")
        connection.execute("BEGIN; UPDATE prepared SET t = 'open' WHERE g % 100 = 1")
        connection.execute("PREPARE TRANSACTION 'open'")
        connection.execute("COMMIT PREPARED 'kept'")
        for method in ("pglz", "off"):
            connection.execute(f"SET wal_compression = {method}".encode())
            connection.execute(f"UPDATE t SET t = '{method}' WHERE g % 77 = 0".encode())
            connection.execute("CHECKPOINT")
        connection.execute(
            "BEGIN; SAVEPOINT a; DELETE FROM t WHERE g % 78 = 0; ROLLBACK TO a;"
            " SELECT count(*) FROM (SELECT 1 FROM t WHERE g < 9 FOR UPDATE) l; COMMIT"
        )
    report = lab.incremental(full)
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t", "prepared"]) == sums(pg, ["t", "prepared"])
        server.sql("COMMIT PREPARED 'open'")
        assert server.value("SELECT count(*) FROM prepared WHERE t = 'open'") == 15
    pg.sql("COMMIT PREPARED 'open'")


@methods(*OLD_AND_NEW)
def test_scenario_121_truncation_in_a_relation_of_several_files(lab: Lab) -> None:
    """Growth over the border, truncation in the second file, at the border, and in the first."""
    pg = lab.pg
    fill(pg, "large", rows=30)
    path = lab.path("large")
    first, second = lab.root / path, lab.root / f"{path}.1"
    pg.sql("ALTER TABLE large ALTER t SET STORAGE PLAIN")  # one row a page
    pg.stop()
    os.truncate(first, GIB - 4 * 8192)  # new pages, which the file system does not even store
    pg.start()
    insert = "INSERT INTO large SELECT g, repeat('x', 7000) FROM generate_series(%d, %d) g"
    pg.sql(insert % (1001, 1003))
    report = lab.full()
    assert not second.exists()

    def check(parent: BackupReport) -> BackupReport:
        child = lab.incremental(parent)
        check_large_file(lab, child, path)
        check_large_file(lab, child, f"{path}.1")
        check_large_file(lab, child, f"{path}_vm")
        check_large_file(lab, child, f"{path}_fsm")
        return child

    pg.sql(insert % (1004, 3500))
    report = check(report)
    assert second.stat().st_size > 2400 * 8192
    for left in (SEGMENT_BLOCKS + 1200, SEGMENT_BLOCKS, 100):
        pg.sql(f"DELETE FROM large WHERE ctid >= '({left},0)'")
        pg.sql("VACUUM (INDEX_CLEANUP ON) large")
        report = check(report)
        assert second.stat().st_size == max(0, left - SEGMENT_BLOCKS) * 8192
    assert first.stat().st_size < 100 * 8192
    with lab.restored(report) as server:
        assert sums(server, ["large"]) == sums(pg, ["large"])


@methods(*OLD_AND_NEW)
def test_scenario_125_a_damaged_page_that_was_repaired_by_hand(archived: Lab) -> None:
    """No WAL tells of it, but the parent knows that it has a bad page there."""
    lab = archived
    fill(lab.pg, "t")
    path = lab.path("t")
    lab.pg.stop()
    damage(lab.root / path, 7)
    lab.pg.start()
    parent = lab.full()
    assert [(page.path, page.block) for page in parent.corrupt] == [(path, 7)]
    lab.pg.stop()
    damage(lab.root / path, 7)  # flips the same bits once more
    lab.pg.start()
    report = lab.incremental(parent)
    assert report.backup.corrupt_pages == 0
    lab.check(report)
