"""Restores of real clusters: what comes back is exactly what was committed then."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgkeep.inspect.look import inspect
from pgkeep.inspect.seen import State
from pgkeep.restore.preflight import Need, NoRoom, TargetNotEmpty, TargetUnsafe, check_room
from pgkeep.restore.prepare import prepare
from pgkeep.restore.restore import carry_out, run
from pgkeep.restore.start import Ending
from pgkeep.restore.target.unreachable import NothingToRestore, TargetTooEarly
from pgkeep.restore.writing.copy import CannotWrite
from pgkeep.server.instance import ServerProcess
from pgkeep.server.processes import Process
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger
from support.wait import wait_for


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def test_scenario_1_full_backup_then_latest(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    scene.archive()
    before = sorted(os.listdir(scene.pg.data_directory))
    report = scene.restore(jobs=2)
    target = report.plan.target_dir
    assert inspect(target).state is State.RESTORED
    with scene.started(report) as (restored, outcome):
        assert read_ledger(restored) == "a b"
        assert outcome.ending is Ending.PROMOTED
        assert re.match(
            r"promoted, on timeline 2: all WAL was replayed; the last transaction in it is of 2",
            outcome.words,
        )
        assert restored.value("SHOW archive_mode") == "off"
        assert inspect(target).state is State.RUNNING
        restored.server_tool("pg_ctl", "-D", target, "-m", "fast", "stop")
    restored.tool("pg_checksums", "--check", "-D", target)
    assert inspect(target).state is State.CLEAN
    assert scene.entries() == "a b"
    assert sorted(os.listdir(scene.pg.data_directory)) == before


@only(17)
def test_scenario_2_nothing_after_the_backup_is_archived(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    assert scene.content_at("immediate") == "a"
    for path in Path(scene.folder.store.url).rglob("wal/*/*/*/0*"):
        path.unlink()
    with pytest.raises(NothingToRestore) as caught:
        scene.restore("latest", "other")
    assert "which is not archived" in str(caught.value)
    assert not (scene.place / "other").exists()


def test_scenario_5_the_label_decides_where_recovery_begins(scene: Scene) -> None:
    scene.backup()
    scene.enter("canary")
    scene.archive()
    report = scene.restore()
    label = Path(report.plan.target_dir, "backup_label").read_text()
    assert label.startswith(f"START WAL LOCATION: {report.plan.backup.start_lsn} ")
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "canary"
        assert f"redo starts at {report.plan.backup.start_lsn}" in restored.log


def test_scenario_6_open_and_prepared_transactions(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    settings = {"max_prepared_transactions": 5}
    scene = make_scene(new_cluster, repository_directory, tmp_path, settings)
    with scene.pg.connect() as open_one:
        open_one.execute("BEGIN")
        open_one.execute("INSERT INTO ledger VALUES ('open')")
        scene.pg.sql("BEGIN; INSERT INTO ledger VALUES ('prepared'); PREPARE TRANSACTION 'p'")
        scene.pg.sql(
            "BEGIN; INSERT INTO ledger VALUES ('kept'); SAVEPOINT s;"
            " INSERT INTO ledger VALUES ('undone'); ROLLBACK TO s; COMMIT"
        )
        scene.backup()
        open_one.execute("COMMIT")
    scene.pg.sql("COMMIT PREPARED 'p'")
    scene.archive()
    with scene.started(scene.restore("immediate", "early")) as (early, _):
        assert read_ledger(early) == "kept"
        early.sql("COMMIT PREPARED 'p'")
        assert read_ledger(early) == "kept prepared"
    assert scene.content_at("latest", "late") == "kept open prepared"


@only(18)
def test_scenario_24_unlogged_tables_come_back_empty(scene: Scene) -> None:
    scene.pg.sql(
        "CREATE UNLOGGED TABLE u (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text)"
    )
    scene.pg.sql("INSERT INTO u (t) SELECT repeat('x', 5000) FROM generate_series(1, 50)")
    scene.backup()
    scene.archive()
    with scene.started(scene.restore()) as (restored, _):
        assert restored.value("SELECT count(*) FROM u") == 0
        assert restored.value("INSERT INTO u (t) VALUES ('y') RETURNING id") == 1


@only(18)
def test_modes_are_those_of_the_source(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(
        new_cluster, repository_directory, tmp_path, initdb_args=["--allow-group-access"]
    )
    scene.backup()
    before = os.umask(0o077)
    try:
        target = Path(scene.restore().plan.target_dir)
    finally:
        os.umask(before)
    for name in (
        "",
        "base",
        "pg_wal",
        "pg_tblspc",
        "PG_VERSION",
        "backup_label",
        "recovery.signal",
    ):
        expected = 0o640 if (target / name).is_file() else 0o750
        assert (target / name).stat().st_mode & 0o7777 == expected, name
    assert not (target / "pgkeep-restore-in-progress").exists()


@only(15)
def test_the_place_is_checked_before_anything(scene: Scene, tmp_path: Path) -> None:
    scene.backup()
    full = tmp_path / "full"
    full.mkdir()
    (full / "holiday.jpg").touch()
    with pytest.raises(TargetNotEmpty, match=r"it is not empty \(holiday\.jpg\)"):
        scene.restore("latest", "full")
    with pytest.raises(TargetUnsafe, match="is using it: PostgreSQL process"):
        scene.restore("latest", "main/data")
    with pytest.raises(TargetUnsafe, match=r"and the repository .* lie one inside the other"):
        scene.restore("latest", "repository/here")
    with pytest.raises(TargetUnsafe, match="it is not a directory"):
        scene.restore("latest", "full/holiday.jpg")
    half = tmp_path / "half"
    half.mkdir()
    (half / "pgkeep-restore-in-progress").write_text('{"started": "T", "backup": "B"}')
    with pytest.raises(TargetNotEmpty) as caught:
        scene.restore("latest", "half")
    assert "it was half-restored by pgkeep at T from backup B, safe to delete" in str(caught.value)
    assert caught.value.hint.startswith(f"remove it (rm -r {half})")
    scene.pg.stop()
    with pytest.raises(TargetNotEmpty, match="there is a PostgreSQL data directory in it"):
        scene.restore("latest", "main/data")


@only(15)
def test_an_empty_directory_is_fine(scene: Scene, tmp_path: Path) -> None:
    scene.enter("a")
    scene.backup()
    (tmp_path / "restored").mkdir(0o755)
    assert scene.content_at("immediate") == "a"
    assert (tmp_path / "restored").stat().st_mode & 0o777 == 0o700


def test_scenario_92_no_room_by_file_system(tmp_path: Path) -> None:
    here = str(tmp_path / "restored")
    free = shutil.disk_usage(tmp_path).free
    check_room([Need(here, free // 2, "data files"), Need("/dev/shm/ts", 1, "tablespace 16384")])
    with pytest.raises(NoRoom) as caught:
        check_room([Need(here, free // 2, "data files"), Need(here, free, "WAL to replay")])
    assert re.search(r"are needed \(data files .*, WAL to replay .*\) and", str(caught.value))
    assert str(caught.value).endswith("nothing was written")


@only(15)
def test_a_moment_before_the_first_backup(scene: Scene) -> None:
    early = scene.now()
    scene.backup()
    scene.enter("a")
    scene.archive()
    with pytest.raises(TargetTooEarly) as caught:
        scene.restore(early)
    proposed = re.search(r"--to '(.+)'", caught.value.hint)
    assert proposed
    assert scene.content_at(proposed[1], "proposed") == ""


@only(18)
def test_the_repository_may_be_read_only(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.archive()
    notes: list[str] = []

    class Notes:
        def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None: ...
        def advance(self, done: int) -> None: ...

        def detail(self, text: str) -> None: ...
        def note(self, text: str) -> None:
            notes.append(text)

    locks = Path(scene.folder.store.url, "clusters/main/locks")
    for path in locks.glob("*"):
        path.unlink()
    if locks.is_dir():
        locks.rmdir()
    locks.write_text("in the way of every lock")
    run(scene.folder, scene.request(), now=datetime.now(UTC), progress=Notes())
    assert notes
    assert notes[0].startswith("without a lock")


@only(17)
def test_an_encrypted_backup_with_two_workers(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path, passphrase="correct horse")
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    scene.archive()
    report = scene.restore(jobs=2)
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a b"
    assert "horse" not in (scene.place / "restored/postgresql.auto.conf").read_text()


@only(18)
def test_configuration_from_elsewhere_is_put_in_place(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.pg.stop()
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    data = scene.pg.data_directory
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (data / name).rename(elsewhere / name)
    with (elsewhere / "postgresql.conf").open("a") as file:
        file.write(f"data_directory = '{data}'\nhba_file = '{elsewhere}/pg_hba.conf'\n")
        file.write(f"ident_file = '{elsewhere}/pg_ident.conf'\nwork_mem = '7MB'\n")
    options = [f"config_file={elsewhere}/postgresql.conf"]
    log = tmp_path / "source.log"
    server = ServerProcess.start(scene.pg.binaries, data, options, log_file=log)
    try:
        server.wait_ready()
        scene.enter("a")
        scene.backup()
        scene.archive()
    finally:
        server.kill()
    report = scene.restore()
    target = Path(report.plan.target_dir)
    assert report.notes[0].startswith("postgresql.conf is ")
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a"
        assert restored.value("SHOW hba_file") == f"{target}/pg_hba.conf"


def test_killing_pgkeep_ends_its_workers(tmp_path: Path) -> None:
    """No orphan goes on writing into a directory that somebody may be clearing."""
    program = (
        "import os, sys, time\n"
        "from pgkeep.workers.pool import make_pool\n"
        "def begin(): pass\n"
        "if __name__ == '__main__':\n"
        "    pool = make_pool(2, print)\n"
        "    futures = [pool.submit(os.getpid) for _ in range(2)]\n"
        "    print('PID', futures[0].result(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    path = tmp_path / "parent.py"
    path.write_text(program)
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        line = next(text for text in parent.stdout if text.startswith("PID"))
        worker = Process.find(int(line.split()[1]))
        assert worker
        parent.kill()
        wait_for(lambda: not worker.is_alive(), what="the worker to end")


@only(17)
def test_two_restores_into_one_directory(scene: Scene) -> None:
    scene.backup()
    scene.archive()
    first = prepare(scene.folder, scene.request())
    second = prepare(scene.folder, scene.request())
    carry_out(scene.folder, first, now=datetime.now(UTC))
    with pytest.raises(TargetNotEmpty, match="it is not empty any more"):
        carry_out(scene.folder, second, now=datetime.now(UTC))
    assert inspect(first.plan.target_dir).state is State.RESTORED
    third = prepare(scene.folder, scene.request("latest", "other"))
    target = Path(third.plan.target_dir)
    target.mkdir()
    (target / "pgkeep-restore-in-progress").touch()
    with pytest.raises(CannotWrite, match="File exists"):
        carry_out(scene.folder, third, now=datetime.now(UTC))
