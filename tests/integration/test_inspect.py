"""What inspect says of real directories, and whether a server then does just that."""

import os
import shutil
from pathlib import Path

import pytest

from pgkeep.inspect.follow import NothingToFollow, follow, reports
from pgkeep.inspect.look import CannotLook, inspect
from pgkeep.inspect.seen import State
from pgkeep.server.instance import ServerWontStart
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger
from support.wait import wait_for


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def try_to_start(scene: Scene, directory: Path) -> str:
    """Start a server on a directory; return 'starts', or why it did not."""
    cluster = ScratchCluster.over(scene.pg.binaries, directory)
    cluster.create()
    try:
        cluster.start()
    except ServerWontStart as error:
        return error.last_words
    else:
        return "starts"
    finally:
        cluster.destroy()


def test_the_life_of_a_cluster(scene: Scene) -> None:
    directory = str(scene.pg.data_directory)
    assert inspect(directory).state is State.RUNNING
    scene.pg.stop()
    clean = inspect(directory)
    assert clean.state is State.CLEAN
    assert clean.starts
    scene.pg.start()
    scene.enter("a", "b")
    scene.pg.kill9()
    crashed = inspect(directory)
    assert crashed.state is State.CRASHED
    assert crashed.starts
    assert "about" in crashed.what_happens[0]
    assert crashed.warnings == (
        "postmaster.pid was left behind by a server that is gone: the next start replaces it",
    )
    shutil.copytree(directory, scene.place / "copy", symlinks=True)
    wal = scene.place / "copy/pg_wal"
    for path in wal.glob("0*"):
        path.unlink()
    broken = inspect(str(scene.place / "copy"))
    assert not broken.starts
    assert broken.problems[0].startswith("pg_wal lacks 0000000100000000000000")
    assert "checkpoint record" in try_to_start(scene, scene.place / "copy")


@only(15, 18)
def test_what_would_fail_does_fail(scene: Scene) -> None:
    scene.pg.stop()
    source = scene.pg.data_directory
    cases = {
        "control": ("global/pg_control is missing", "could not find the database system"),
        "mode": ("its permissions are 0755", "invalid permissions"),
        "pg_wal": ("the directory pg_wal is missing", "required WAL directory"),
        "pg_notify": ("the directory pg_notify is missing", "could not open directory"),
        "version": ("PG_VERSION is missing", "is not a valid data directory"),
        "signal": ("restore_command is not set", "restore_command"),
        "targets": ("more than one recovery target", "multiple recovery targets"),
    }
    for name, (problem, words) in cases.items():
        directory = scene.place / name
        shutil.copytree(source, directory, symlinks=True)
        directory.chmod(0o700)
        spoil(directory, name)
        report = inspect(str(directory))
        assert not report.starts, name
        assert any(problem in found for found in report.problems), (name, report.problems)
        assert words in log_of(scene, directory), name


def spoil(directory: Path, name: str) -> None:
    match name:
        case "control":
            (directory / "global/pg_control").unlink()
        case "mode":
            directory.chmod(0o755)
        case "pg_wal" | "pg_notify":
            shutil.rmtree(directory / name)
        case "version":
            (directory / "PG_VERSION").unlink()
        case "signal":
            (directory / "recovery.signal").touch()
        case "targets":
            (directory / "recovery.signal").touch()
            with (directory / "postgresql.auto.conf").open("a") as file:
                file.write("restore_command='false'\nrecovery_target_name='a'\n")
                file.write("recovery_target_xid='5'\n")


def log_of(scene: Scene, directory: Path) -> str:
    try_to_start(scene, directory)
    return Path(f"{directory}.log").read_text()


def test_restored_directories(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    scene.archive()
    target = Path(scene.restore("latest").plan.target_dir)
    restored = inspect(str(target))
    assert restored.state is State.RESTORED
    assert restored.starts
    assert restored.facts["restored_by"].startswith("backup 2")
    assert any(line.startswith("backup_label:") for line in restored.never_delete)

    without_signal = scene.place / "without_signal"
    shutil.copytree(target, without_signal)
    (without_signal / "recovery.signal").unlink()
    report = inspect(str(without_signal))
    assert report.state is State.BACKUP_COPY
    assert not report.starts
    assert "pg_wal lacks" in report.problems[0]
    assert "could not locate required checkpoint record" in log_of(scene, without_signal)

    without_label = scene.place / "without_label"
    shutil.copytree(target, without_label)
    (without_label / "backup_label").unlink()
    assert "backup_label is gone: do not start it" in inspect(str(without_label)).warnings[0]


def test_follow_a_recovery(scene: Scene) -> None:
    scene.backup()
    scene.enter("a")
    scene.pg.sql("SELECT pg_create_restore_point('here')")
    scene.enter("b")
    scene.archive()
    report = scene.restore("name:here", action="pause")
    target = report.plan.target_dir
    with pytest.raises(NothingToFollow, match="no server is running there"):
        follow(target)
    with scene.started(report) as (server, _):
        told = follow(target)
        assert told.recovering
        assert told.words.startswith('paused at its target (at restore point "here"')
        server.sql("SELECT pg_wal_replay_resume()")
        *_, last = reports(target)
        wait_for(lambda: "no recovery is going on" in follow(target).words)
        assert last.running
        assert read_ledger(server) == "a"


@only(17)
def test_a_standby_is_followed(scene: Scene) -> None:
    scene.backup()
    scene.archive()
    with scene.started(scene.restore("latest", standby=True)) as (standby, _):
        first = next(reports(str(standby.data_directory)))
        assert first.recovering
        assert "replaying as a standby" in first.words


def test_directories_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CannotLook, match="no such file or directory"):
        inspect(str(tmp_path / "nowhere"))
    with pytest.raises(CannotLook):
        inspect(os.devnull)
    assert inspect(str(tmp_path)).state is State.NOT_A_DATA_DIRECTORY


@only(17)
def test_a_missing_tablespace(scene: Scene, tmp_path: Path) -> None:
    place = tmp_path / "space"
    place.mkdir(mode=0o700)
    scene.pg.sql(f"CREATE TABLESPACE s LOCATION '{place}'")
    scene.pg.stop()
    place.rename(tmp_path / "away")
    report = inspect(str(scene.pg.data_directory))
    assert any(f"{place} does not exist" in found for found in report.problems)
