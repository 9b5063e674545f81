"""Incremental backups of a server whose history was not a quiet one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgkeep.backup.wait_wal import WalIncomplete
from pgkeep.model.lsn import Lsn
from pgkeep.repository import catalog
from support.clusters import NewCluster
from support.incremental import FEW, OLD_AND_NEW, Lab, fill, make_lab, methods, pgbench, reuse, sums
from support.wait import wait_for


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
def test_killed_between_two_backups(archived: Lab) -> None:
    lab = archived
    fill(lab.pg, "t")
    full = lab.full()
    lab.pg.sql("UPDATE t SET t = 'before' WHERE g % 50 = 0")
    lab.pg.sql("CREATE TABLE late AS SELECT * FROM t")
    lab.pg.kill9()
    lab.pg.start()
    lab.pg.sql("UPDATE t SET t = 'after' WHERE g % 70 = 0")
    report = lab.incremental(full)
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t", "late"]) == sums(lab.pg, ["t", "late"])


@methods()
def test_the_parent_was_made_while_everything_changed(lab: Lab) -> None:
    """Its pages may be torn, or newer than its start: WAL from there on tells which."""
    lab.pg.fill(1)
    with pgbench(lab):
        full = lab.full()
        parent = lab.incremental(full)
    report = lab.incremental(parent)
    lab.check(report)
    tables = ["pgbench_accounts", "pgbench_tellers", "pgbench_branches", "pgbench_history"]
    with lab.restored(report) as server:
        assert sums(server, tables) == sums(lab.pg, tables)


def promote(lab: Lab) -> None:
    """Start the stopped server on a new timeline."""
    (lab.root / "recovery.signal").touch()
    lab.pg.configure(restore_command="false")
    lab.pg.start()
    wait_for(lambda: not lab.pg.value("SELECT pg_is_in_recovery()"), what="promotion")


@methods(*FEW)
def test_a_new_timeline_between_parent_and_child(archived: Lab) -> None:
    lab = archived
    fill(lab.pg, "t")
    full = lab.full()
    lab.pg.sql("UPDATE t SET t = 'one' WHERE g % 50 = 0")
    lab.pg.stop()
    promote(lab)
    lab.pg.sql("UPDATE t SET t = 'two' WHERE g % 70 = 0")
    report = lab.incremental(full)
    assert (full.backup.timeline, report.backup.timeline) == (1, 2)
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t"]) == sums(lab.pg, ["t"])


@contextmanager
def dead_end(lab: Lab) -> Iterator[None]:
    """Let the server live a life inside, and be as it was before on leaving; it is stopped then."""
    aside = lab.root.with_name("aside")
    lab.pg.stop()
    lab.root.rename(aside)
    shutil.copytree(aside, lab.root, symlinks=True)
    owner = aside.stat()
    for path in [lab.root, *lab.root.rglob("*")]:
        shutil.chown(path, owner.st_uid, owner.st_gid)
    lab.pg.start()
    yield
    lab.pg.stop()
    shutil.rmtree(lab.root)
    aside.rename(lab.root)


@methods(*OLD_AND_NEW)
def test_a_parent_beyond_the_point_where_its_timeline_was_left(lab: Lab) -> None:
    fill(lab.pg, "t", "u")
    full = lab.full()
    with dead_end(lab):
        lab.pg.sql("UPDATE t SET t = 'lost' WHERE g % 50 = 0")
        lost = lab.incremental(full)
    promote(lab)
    lab.pg.sql("UPDATE u SET t = 'kept' WHERE g % 50 = 0")
    report = lab.incremental(full)
    (note,) = report.notes
    assert note.startswith(
        f"{lost.id} cannot be its parent: it ended at {lost.backup.stop_lsn}, after timeline 1"
        " was left at "
    )
    lab.check(report)
    with lab.restored(report) as server:
        assert server.value("SELECT count(*) FROM t WHERE t = 'lost'") == 0
        assert sums(server, ["t", "u"]) == sums(lab.pg, ["t", "u"])


@methods(*OLD_AND_NEW)
def test_scenario_127_the_server_went_back(lab: Lab) -> None:
    fill(lab.pg, "t", "u")
    full = lab.full()
    with dead_end(lab):
        lab.pg.sql("UPDATE t SET t = repeat('lost', 100)")
        lost = lab.incremental(full)
    lab.pg.start()
    lab.pg.sql("UPDATE u SET t = 'kept' WHERE g % 50 = 0")
    report = lab.incremental(full)
    assert [note.partition(", and")[0] for note in report.notes] == [
        f"{lost.id} cannot be its parent: it ended at {lost.backup.stop_lsn}"
    ]
    lab.check(report)


@methods(*OLD_AND_NEW)
def test_scenario_127_the_server_went_back_and_ran_ahead(lab: Lab) -> None:
    fill(lab.pg, "t", "u")
    lab.full()
    with dead_end(lab):
        lab.pg.sql("UPDATE t SET t = 'lost' WHERE g % 200 = 0")
        lost = lab.incremental()
    lab.pg.start()
    lab.pg.sql("UPDATE t SET t = 'kept' WHERE g % 333 = 0")
    run_ahead(lab, lost.backup.stop_lsn)
    report = lab.backup()
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t", "u"]) == sums(lab.pg, ["t", "u"])


def run_ahead(lab: Lab, lsn: Lsn) -> None:
    while Lsn.parse(lab.pg.value("SELECT pg_current_wal_lsn()::text")) <= lsn:
        lab.pg.switch_wal()


@methods(*FEW)
def test_scenario_127_the_disk_was_set_back_and_the_server_ran_ahead(lab: Lab) -> None:
    """As from a snapshot: the very same files. Nothing but their content tells."""
    fill(lab.pg, "t", "u")
    lab.full()
    lab.pg.stop()
    before = {path: path.read_bytes() for path in lab.root.rglob("*") if path.is_file()}
    lab.pg.start()
    lab.pg.sql("UPDATE t SET t = 'lost' WHERE g % 200 = 0")
    lost = lab.incremental()
    lab.pg.stop()
    for path in [path for path in lab.root.rglob("*") if path.is_file()]:
        if path not in before:
            path.unlink()
        elif path.read_bytes() != before[path]:
            path.write_bytes(before[path])
    for path in before.keys() - set(lab.root.rglob("*")):
        path.write_bytes(before[path])
        owner = lab.root.stat()
        shutil.chown(path, owner.st_uid, owner.st_gid)
    lab.pg.start()
    lab.pg.sql("UPDATE t SET t = 'kept' WHERE g % 333 = 0")
    run_ahead(lab, lost.backup.stop_lsn)
    report = lab.incremental(lost)
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t", "u"]) == sums(lab.pg, ["t", "u"])


@methods(*FEW)
def test_scenario_129_a_stretch_of_wal_that_tells_nothing(archived: Lab) -> None:
    lab = archived
    fill(lab.pg, "t", "u")
    full = lab.full()
    lab.pg.configure(
        wal_level="minimal", archive_mode="off", max_wal_senders=0, summarize_wal=_off(lab)
    )
    lab.pg.restart()
    with lab.pg.connect() as connection:
        connection.execute("BEGIN; CREATE TABLE silent (g int, t text)")
        with connection.cursor().copy("COPY silent FROM STDIN") as copy:
            for row in range(3000):
                copy.write_row((row, "x" * 100))
        connection.execute("COMMIT")
        connection.execute("BEGIN; TRUNCATE t")
        connection.execute("INSERT INTO t SELECT g, 'silent' FROM generate_series(1, 9000) g")
        connection.execute("COMMIT")
        connection.execute("CREATE INDEX ON silent (g)")
        connection.execute("UPDATE u SET t = 'told' WHERE g % 50 = 0")
    settings = {"summarize_wal": "on"} if lab.method == "summaries" else {}
    lab.pg.configure(wal_level="replica", archive_mode="on", max_wal_senders=10, **settings)
    lab.pg.restart()
    lab.pg.sql("UPDATE t SET t = 'new' WHERE g % 50 = 0")
    report = lab.backup()
    assert reuse(report).parent == full.id
    assert reuse(report).method == "lsn"
    if lab.method == "summaries":
        assert reuse(report).reason.startswith("no WAL summary covers timeline 1 from ")
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t", "u", "silent"]) == sums(lab.pg, ["t", "u", "silent"])
    lab.check(lab.incremental(report))


def _off(lab: Lab) -> str | None:
    return "off" if lab.method == "summaries" else None


@pytest.mark.parametrize("how", ["removed", "damaged", "cut off"])
@pytest.mark.parametrize(
    ("postgres_version", "method"), [(18, "summaries")], indirect=["postgres_version"], ids=["pg18"]
)
def test_a_wal_summary_is_lost(lab: Lab, how: str) -> None:
    fill(lab.pg, "t")
    full = lab.full()
    lab.pg.sql("UPDATE t SET t = 'new' WHERE g % 50 = 0")
    lab.pg.sql("CHECKPOINT")
    lab.pg.sql("UPDATE t SET t = 'newer' WHERE g % 60 = 0")
    pattern = f"00000001{int(full.backup.start_lsn):016X}*.summary"
    folder = lab.root / "pg_wal" / "summaries"
    (victim,) = wait_for(lambda: list(folder.glob(pattern)), what=pattern)
    content = victim.read_bytes()
    if how == "removed":
        victim.unlink()
    elif how == "damaged":
        victim.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    else:
        victim.write_bytes(content[:-30])
    report = lab.backup()
    assert reuse(report).parent == full.id
    assert reuse(report).method == "lsn"
    why = reuse(report).reason
    assert why.startswith("no WAL summary covers") if how == "removed" else victim.name in why
    lab.check(report)


@methods((18, "summaries"))
def test_scenario_127_an_archive_refuses_the_wal_of_another_past(archived: Lab) -> None:
    lab = archived
    fill(lab.pg, "t")
    full = lab.full()
    with dead_end(lab):
        lab.pg.sql("UPDATE t SET t = 'lost' WHERE g % 200 = 0")
        lost = lab.incremental(full)
    lab.pg.start()
    lab.pg.sql("UPDATE t SET t = 'kept' WHERE g % 333 = 0")
    run_ahead(lab, lost.backup.stop_lsn)
    with pytest.raises(WalIncomplete) as caught:
        lab.backup(archive_timeout=2)
    assert "archiving 0000000100000000000000" in caught.value.why
    assert len(catalog.backups(lab.folder).backups) == 2
