"""Restores over an old data directory: exact, with only what differs written, or refused."""

import os
import shutil
from pathlib import Path

import pytest

from pgkeep.inspect.look import inspect
from pgkeep.inspect.seen import State
from pgkeep.repository.catalog import read_manifest
from pgkeep.restore.delta.existing import OtherCluster
from pgkeep.restore.delta.plan import LocalWalAtRisk
from pgkeep.restore.preflight import TargetNotEmpty, TargetUnsafe
from pgkeep.restore.prepare import prepare
from pgkeep.restore.restore import RestoreReport
from pgkeep.restore.tablespaces import BadTablespace
from pgkeep.server.binaries import find_binaries
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import run_pgkeep, write_config
from support.restores import Scene, make_scene, read_ledger


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def in_place(scene: Scene, to: str = "latest", **more: object) -> RestoreReport:
    """Restore over the source's own data directory."""
    return scene.restore(to, str(scene.pg.data_directory), delta=True, **more)


def snapshot(directory: Path) -> dict[str, bytes | str | None]:
    """Return every file with its content, every link with its target, every directory."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def same_as_plain(scene: Scene, report: RestoreReport, to: str = "latest", **more: object) -> None:
    """Assert that what was restored over the directory is what an empty one would have got."""
    plain = scene.restore(to, "plain", **more)
    one, other = (Path(r.plan.target_dir) for r in (report, plain))
    left, right = snapshot(one), snapshot(other)
    for names in (left, right):
        names.pop("postgresql.auto.conf")  # tells when it was restored
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []
    modes = [{name: (d / name).lstat().st_mode for name in left} for d in (one, other)]
    assert modes[0] == modes[1]
    shutil.rmtree(other)


def test_scenario_135_over_the_same_cluster_that_diverged(scene: Scene) -> None:
    rows = "AS SELECT g, repeat('x', 900) t FROM generate_series(1, 9000) g"
    scene.pg.sql(f"CREATE TABLE big {rows}")
    scene.pg.sql("CREATE TABLE gone AS SELECT 1 AS id")
    scene.pg.sql(f"CREATE TABLE same {rows}")
    scene.pg.sql("VACUUM FREEZE")
    scene.enter("a")
    scene.backup()
    lsn = scene.lsn()
    scene.enter("b")
    scene.pg.sql("DROP TABLE gone; UPDATE big SET t = 'y' WHERE g = 4711")
    scene.pg.sql("CREATE DATABASE more")
    scene.pg.sql(
        "DELETE FROM ledger; CREATE TABLE new AS SELECT 1 AS id; CREATE UNLOGGED TABLE u()"
    )
    scene.archive()
    scene.pg.stop()
    directory = scene.pg.data_directory
    (directory / "base/mine").write_text("a user's own file")
    (directory / "a link").symlink_to("/etc")
    (directory / "log").mkdir()
    (directory / "log/server.log").write_text("evidence")
    os.mkfifo(directory / "a pipe")
    report = in_place(scene, f"lsn:{lsn}", inclusive=False)
    counts = report.delta
    assert counts is not None
    assert counts.rewritten_bytes < counts.compared_bytes / 4
    assert counts.fetched_bytes < report.plan.backup.stored / 4
    assert counts.deleted_files > 3
    assert 0 < counts.rewritten_files < counts.compared_files
    assert (directory / "log/server.log").read_text() == "evidence"
    shutil.rmtree(directory / "log")
    same_as_plain(scene, report, f"lsn:{lsn}", inclusive=False)
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a"
        assert restored.value("SELECT count(*) FROM big WHERE t <> 'y'") == 9000
        assert restored.value("SELECT count(*) FROM gone") == 1
    assert Path("/etc/passwd").exists()


def test_wal_that_is_not_archived_is_not_lost(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    """The server crashed before it could archive: latest means latest."""
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.backup()
    scene.enter("archived")
    time = scene.now()
    scene.enter("archived too")
    scene.archive()
    scene.pg.configure(archive_command="false")
    scene.pg.sql("SELECT pg_reload_conf()")
    for number in range(3):
        scene.enter(f"here {number}")
        scene.pg.sql("SELECT pg_switch_wal()")
    scene.enter("unfinished segment")
    scene.pg.kill9()
    before = snapshot(scene.pg.data_directory)
    with pytest.raises(LocalWalAtRisk) as caught:
        in_place(scene, time)
    segment = caught.value.segments[0]
    assert len(caught.value.segments) == 4
    assert "changes would be lost for good" in str(caught.value)
    assert str(caught.value.hint).startswith(
        f"archive it first: pgkeep wal push {scene.pg.data_directory}/pg_wal/{segment}"
    )
    assert snapshot(scene.pg.data_directory) == before
    report = in_place(scene)
    assert len(report.plan.local_wal) == 4
    assert any("recovery replays them" in warning for warning in report.plan.warnings)
    with scene.started(report) as (restored, _):
        everything = "archived archived too here 0 here 1 here 2 unfinished segment"
        assert read_ledger(restored) == everything
    again = in_place(scene, time, discard_wal=True)
    with scene.started(again) as (restored, _):
        assert read_ledger(restored) == "archived"


@only(15, 17)
def test_from_an_incremental_backup(scene: Scene, tmp_path: Path) -> None:
    """Files with overlays, in a tablespace inside the data directory too."""
    rows = "AS SELECT g, repeat('x', 900) t FROM generate_series(1, 9000) g"
    inside = scene.pg.data_directory / "space"
    add_tablespace(scene.pg, "inside", inside)
    scene.pg.sql(f"CREATE TABLE big {rows}")
    scene.pg.sql(f"CREATE TABLE small TABLESPACE inside {rows}")
    scene.pg.sql("VACUUM FREEZE")
    scene.backup()
    for table in ("big", "small"):
        scene.pg.sql(f"UPDATE {table} SET t = 'changed' WHERE g % 500 = 0")
    scene.enter("a")
    incremental = scene.backup()
    manifest = read_manifest(scene.folder, incremental)
    assert len(manifest.tables.overlaid()) >= 2
    scene.pg.sql("UPDATE big SET t = 'later' WHERE g % 300 = 0")
    scene.pg.sql("DROP TABLE small")
    scene.archive()
    scene.pg.stop()
    plain = scene.restore("immediate", "plain")
    expected = snapshot(Path(plain.plan.target_dir))
    with scene.started(plain) as (restored, _):
        assert restored.value("SELECT count(*) FROM big WHERE t = 'changed'") == 18
        assert restored.value("SELECT count(*) FROM small WHERE t = 'changed'") == 18
    report = in_place(scene, "immediate", discard_wal=True)
    assert report.delta is not None
    assert 0 < report.delta.rewritten_bytes < report.delta.compared_bytes / 2
    left = snapshot(scene.pg.data_directory)
    links = {name for name in left if name.startswith("pg_tblspc/")}
    differing = {name for name in left if left[name] != expected.get(name)} - links
    # The tablespace lies where the directory is, and so do two texts that tell its place.
    assert differing <= {"postgresql.auto.conf", "tablespace_map"}
    assert left.keys() == expected.keys()


@only(18)
def test_a_clean_stop_leaves_nothing_at_risk(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    time = scene.now()
    scene.enter("b")
    scene.archive()
    scene.pg.stop()
    with scene.started(in_place(scene, time)) as (restored, _):
        assert read_ledger(restored) == "a"


@only(17)
def test_scenario_136_another_clusters_directory(scene: Scene, new_cluster: NewCluster) -> None:
    scene.enter("a")
    scene.backup()
    scene.archive()
    other = new_cluster("other", fresh_identity=True)
    other.sql("CREATE TABLE precious AS SELECT 1 AS id")
    identifier = other.value("SELECT system_identifier FROM pg_control_system()")
    ours = scene.pg.value("SELECT system_identifier FROM pg_control_system()")
    other.stop()
    before = snapshot(other.data_directory)
    with pytest.raises(OtherCluster) as caught:
        scene.restore("latest", str(other.data_directory), delta=True)
    assert str(identifier) in str(caught.value)
    assert str(ours) in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    with pytest.raises(TargetNotEmpty) as plain:
        scene.restore("latest", str(other.data_directory))
    assert "--delta" not in str(plain.value.hint)
    assert snapshot(other.data_directory) == before
    scene.pg.stop()
    with pytest.raises(TargetNotEmpty) as own:
        scene.restore("latest", str(scene.pg.data_directory))
    assert "add --delta" in str(own.value.hint)
    elsewhere = scene.place / "no cluster"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("my life")
    with pytest.raises(TargetUnsafe, match="it is no data directory"):
        scene.restore("latest", "no cluster", delta=True)
    assert (elsewhere / "thesis.txt").read_text() == "my life"


@only(17)
def test_scenario_138_a_server_is_running_there(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.archive()
    for delta in (False, True):
        with pytest.raises(TargetUnsafe, match="is using it"):
            scene.restore("latest", str(scene.pg.data_directory), delta=delta)
    assert scene.entries() == "a"
    directory = scene.pg.data_directory
    pid_file = (directory / "postmaster.pid").read_text()
    scene.pg.stop()
    # A process id that has gone to another program is no server.
    (directory / "postmaster.pid").write_text(pid_file.replace(pid_file.split()[0], "2", 1))
    prepared_before = prepare(scene.folder, scene.request("latest", str(directory), delta=True))
    assert prepared_before.over is not None
    # The number of a container's server: doubtful, so it is refused.
    (directory / "postmaster.pid").write_text(pid_file.replace(pid_file.split()[0], "1", 1))
    with pytest.raises(TargetUnsafe, match="may be using it"):
        in_place(scene)
    (directory / "postmaster.pid").unlink()
    with scene.started(in_place(scene)) as (restored, _):
        assert read_ledger(restored) == "a"


@only(17)
def test_a_server_that_starts_between_check_and_work_is_left_alone(scene: Scene) -> None:
    from datetime import UTC, datetime

    from pgkeep.restore.restore import carry_out

    scene.backup()
    scene.archive()
    scene.pg.stop()
    prepared = prepare(
        scene.folder, scene.request("latest", str(scene.pg.data_directory), delta=True)
    )
    scene.pg.start()
    with pytest.raises(TargetUnsafe, match="is using it"):
        carry_out(scene.folder, prepared, now=datetime.now(UTC))
    scene.enter("alive")
    assert not (scene.pg.data_directory / "pgkeep-restore-in-progress").exists()
    scene.pg.stop()
    scene.pg.start()
    assert scene.entries() == "alive"


def add_tablespace(pg: ScratchCluster, name: str, location: Path) -> int:
    location.mkdir(parents=True)
    location.chmod(0o700)
    pg.sql(f"CREATE TABLESPACE {name} LOCATION '{location}'")
    return int(pg.value("SELECT oid FROM pg_tablespace WHERE spcname = %s", name))


def test_scenario_140_tablespaces_changed_since(scene: Scene, tmp_path: Path) -> None:
    pg, spaces = scene.pg, tmp_path / "ts"
    dropped = add_tablespace(pg, "dropped", spaces / "dropped")
    moved = add_tablespace(pg, "moved", spaces / "moved")
    pg.sql("CREATE TABLE in_dropped TABLESPACE dropped AS SELECT 1 AS id")
    pg.sql("CREATE TABLE in_moved TABLESPACE moved AS SELECT 2 AS id")
    scene.backup()
    lsn = scene.lsn()
    pg.sql("DROP TABLE in_dropped")
    pg.sql("DROP TABLESPACE dropped")
    added = add_tablespace(pg, "added", spaces / "added")
    pg.sql("CREATE TABLE in_added TABLESPACE added AS SELECT 3 AS id")
    scene.archive()
    pg.stop()
    links = pg.data_directory / "pg_tblspc"
    shutil.copytree(spaces / "moved", spaces / "elsewhere", copy_function=shutil.copy2)
    for path in [spaces / "elsewhere", *(spaces / "elsewhere").rglob("*")]:
        owner = (spaces / "moved").stat()
        os.chown(path, owner.st_uid, owner.st_gid)
    (links / str(moved)).unlink()
    (links / str(moved)).symlink_to(spaces / "elsewhere")
    (spaces / "added/not ours").write_text("stays")
    (spaces / "elsewhere/not ours").write_text("stays")
    report = in_place(scene, f"lsn:{lsn}", inclusive=False)
    assert {path.name: os.readlink(path) for path in links.iterdir()} == {
        str(dropped): str(spaces / "dropped"),
        str(moved): str(spaces / "moved"),
    }
    assert os.listdir(spaces / "added") == ["not ours"]
    assert os.listdir(spaces / "elsewhere") == ["not ours"]
    assert not (links / str(added)).exists()
    with scene.started(report) as (restored, _):
        both = "SELECT sum(id) FROM (TABLE in_dropped UNION ALL TABLE in_moved) t"
        assert restored.value(both) == 3
        assert restored.value("SELECT to_regclass('in_added')") is None
    moves = tuple(f"{spaces / name}={spaces / 'new' / name}" for name in ("dropped", "moved"))
    again = in_place(scene, f"lsn:{lsn}", inclusive=False, tablespaces=moves, discard_wal=True)
    assert os.listdir(spaces / "moved") == []
    with scene.started(again) as (restored, _):
        assert restored.value("SELECT count(*) FROM in_moved") == 1


@only(18)
def test_a_copy_never_writes_into_its_originals_tablespace(scene: Scene, tmp_path: Path) -> None:
    add_tablespace(scene.pg, "space", tmp_path / "space")
    scene.pg.sql("CREATE TABLE t TABLESPACE space AS SELECT 1 AS id")
    scene.backup()
    scene.archive()
    scene.pg.stop()
    copy = tmp_path / "copy"
    shutil.copytree(scene.pg.data_directory, copy, symlinks=True)
    before = snapshot(tmp_path / "space")
    with pytest.raises(BadTablespace) as caught:
        scene.restore("latest", "copy", delta=True)
    assert f"the data directory {scene.pg.data_directory} has its tablespace there" in str(
        caught.value
    )
    assert snapshot(tmp_path / "space") == before
    mapping = (f"{tmp_path}/space={tmp_path}/own",)
    report = scene.restore("latest", "copy", delta=True, tablespaces=mapping)
    assert snapshot(tmp_path / "space") == before
    assert any("stays as it is" in word for word in report.plan.warnings)
    with scene.started(report) as (restored, _):
        assert restored.value("SELECT count(*) FROM t") == 1


@only(18)
def test_links_and_shared_files_of_the_old_directory(scene: Scene, tmp_path: Path) -> None:
    """pg_wal elsewhere stays there; a file with a second name is not written through."""
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    scene.archive()
    scene.pg.stop()
    directory = scene.pg.data_directory
    shutil.move(directory / "pg_wal", tmp_path / "wal")
    (directory / "pg_wal").symlink_to(tmp_path / "wal")
    conf = tmp_path / "postgresql.conf"
    shutil.move(directory / "postgresql.conf", conf)
    (directory / "postgresql.conf").symlink_to(conf)
    conf.write_text(conf.read_text() + "# mine\n")
    clog = next((directory / "pg_xact").iterdir())
    os.link(clog, tmp_path / "second name")
    clog.write_bytes(b"\xff" * clog.stat().st_size)
    report = in_place(scene)
    assert os.readlink(directory / "pg_wal") == str(tmp_path / "wal")
    assert not (directory / "postgresql.conf").is_symlink()
    assert conf.read_text().endswith("# mine\n")
    assert set((tmp_path / "second name").read_bytes()) == {0xFF}
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a b"


@only(17)
def test_dry_run_and_an_empty_directory(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.archive()
    scene.pg.stop()
    before = snapshot(scene.pg.data_directory)
    plan = prepare(
        scene.folder, scene.request("latest", str(scene.pg.data_directory), delta=True)
    ).plan
    assert plan.delta
    assert snapshot(scene.pg.data_directory) == before
    report = scene.restore("latest", "nothing there", delta=True)
    assert report.delta is None
    assert inspect(report.plan.target_dir).state is State.RESTORED


@only(18)
def test_a_rate_holds_for_all_workers_together(scene: Scene) -> None:
    scene.backup()
    scene.archive()
    free = scene.restore("latest", "slow", jobs=2)
    rate = free.size // 2
    for delta in (False, True):
        name = "slow" if delta else "slow too"
        report = scene.restore("latest", name, jobs=2, rate=rate, delta=delta)
        assert report.seconds > 1.5


@only(17)
def test_the_command_tells_what_it_did(scene: Scene, tmp_path: Path) -> None:
    scene.pg.sql("CREATE DATABASE other")
    scene.enter("a")
    scene.backup()
    scene.archive()
    scene.pg.stop()
    config = write_config(tmp_path / "pgkeep.toml", scene.folder.store.url, {"main": ""})
    directory = scene.pg.data_directory
    refused = run_pgkeep("restore", "--target-dir", directory, config=config)
    assert refused.exit == 87
    assert "to write over it what differs, add --delta" in refused.stderr
    into = ("restore", "--target-dir", directory, "--delta")
    dry = run_pgkeep(*into, "--dry-run", config=config).ok()
    assert "over what is in" in dry.stdout
    assert "nothing was written" in dry.stdout
    done = run_pgkeep(*into, "--database", "postgres", config=config).ok()
    for words in ("compared", "rewritten", "deleted", "fetched", 'DROP DATABASE "other"'):
        assert words in done.stdout
    assert "empty shells" in done.stderr
    facts = run_pgkeep(*into, "--json", config=config).ok().json
    assert facts["delta"] is True
    assert facts["delta_counts"]["rewritten_files"] > 0
    assert facts["shells"] == []


@only(17)
def test_scenario_162_wrong_binaries(scene: Scene, tmp_path: Path) -> None:
    """The version is the backup's; programs of another one are refused before a byte is written."""
    scene.enter("a")
    scene.backup()
    scene.archive()
    scene.pg.stop()
    config = write_config(tmp_path / "pgkeep.toml", scene.folder.store.url, {"main": ""})
    directory = scene.pg.data_directory
    before = snapshot(directory)
    for wrong in (str(find_binaries(18).directory), str(tmp_path)):
        command = ("restore", "--target-dir", directory, "--delta", "--start", "--pg-bin", wrong)
        done = run_pgkeep(*command, config=config)
        assert done.exit > 2
        assert "17" in done.stderr
        assert snapshot(directory) == before
    report = in_place(scene)
    assert str(scene.pg.binaries.directory) in report.start_command
