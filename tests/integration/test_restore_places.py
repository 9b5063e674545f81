"""Tablespaces and timelines: where things go, and which branch of history they come from."""

import os
from pathlib import Path

import pytest

from pgkeep.model.timeline import BadHistory, History, history_name
from pgkeep.repository.catalog import read_facts
from pgkeep.restore.prepare import prepare
from pgkeep.restore.tablespaces import BadTablespace
from pgkeep.restore.target.unreachable import BackupCannotReach, WrongTimeline
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def add_tablespace(scene: Scene, name: str, location: Path) -> None:
    location.mkdir(parents=True)
    location.chmod(0o700)
    quoted = str(location).replace("'", "''")
    scene.pg.sql(f"CREATE TABLESPACE {name} LOCATION '{quoted}'")


def move_away(scene: Scene, *locations: Path) -> None:
    """Stop the source and let its tablespaces be on no machine we know."""
    scene.pg.stop()
    for location in locations:
        location.rename(location.with_name(f"{location.name} away"))


def test_scenario_17_remapped_tablespaces(scene: Scene, tmp_path: Path) -> None:
    one, two = tmp_path / "ts/one", tmp_path / "ts/two"
    add_tablespace(scene, "one", one)
    add_tablespace(scene, "two", two)
    scene.pg.sql("CREATE TABLE t1 (id int PRIMARY KEY) TABLESPACE one")
    scene.pg.sql("INSERT INTO t1 SELECT generate_series(1, 1000)")
    scene.pg.sql("CREATE INDEX ON t1 (id) TABLESPACE two")
    scene.pg.sql("CREATE DATABASE other TABLESPACE two")
    scene.backup()
    scene.pg.sql("INSERT INTO t1 VALUES (1001)")
    scene.archive()
    moves = (f"{one}={tmp_path}/new/one", f"{two}={tmp_path}/new/two")
    with pytest.raises(BadTablespace) as caught:
        scene.restore("latest", "half", tablespaces=moves[:1])
    assert str(caught.value) == (
        f"cannot place tablespace {str(two)!r}: the directory is in use (it is not empty); "
        "nothing was written"
    )
    assert caught.value.hint == f"say where it shall go: --tablespace {two}=/new/location"
    assert not (tmp_path / "half").exists()
    assert not (tmp_path / "new").exists()
    report = scene.restore("latest", tablespaces=moves)
    with scene.started(report) as (restored, _):
        assert restored.value("SELECT count(*) FROM t1") == 1001
        assert restored.value("SELECT 1", dbname="other") == 1
        assert {
            row[0]
            for row in restored.sql(
                "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16000"
            )
        } == {f"{tmp_path}/new/one", f"{tmp_path}/new/two"}
    assert scene.pg.value("SELECT count(*) FROM t1") == 1001


@only(15, 18)
def test_scenario_18_a_location_full_of_traps(scene: Scene, tmp_path: Path) -> None:
    odd = tmp_path / "größe a=b"
    add_tablespace(scene, "odd", odd)
    scene.pg.sql("CREATE TABLE t TABLESPACE odd AS SELECT 1 AS id")
    scene.backup()
    scene.archive()
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "x").touch()
    file.touch()
    left = str(odd).replace("=", "\\=")
    bad = (
        "/elsewhere=/n",
        f"{left}=relative",
        f"={tmp_path}/n",
        f"{left}=",
        f"{left}={tmp_path}/restored/inside",
        f"{left}={full}",
        f"{left}={file}",
        f"{left}={odd}/below",
        f"{odd}={tmp_path}/n",
    )
    for mapping in bad[:7] + bad[8:]:
        with pytest.raises(BadTablespace, match="nothing was written"):
            scene.restore("latest", tablespaces=(mapping,))
    assert not (tmp_path / "restored").exists()
    report = scene.restore(
        "latest", tablespaces=(f"{left}/={tmp_path}/neu =ß".replace(" =", " \\="),)
    )
    with scene.started(report) as (restored, _):
        assert restored.value("SELECT count(*) FROM t") == 1
    assert os.listdir(tmp_path / "neu =ß")


@only(18)
def test_scenario_20_tablespaces_inside_the_data_directory(scene: Scene, tmp_path: Path) -> None:
    inside = scene.pg.data_directory / "space"
    add_tablespace(scene, "inside", inside)
    with scene.pg.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE placed LOCATION ''")
    scene.pg.sql("CREATE TABLE t1 TABLESPACE inside AS SELECT 1 AS id")
    scene.pg.sql("CREATE TABLE t2 TABLESPACE placed AS SELECT 2 AS id")
    scene.backup()
    scene.archive()
    report = scene.restore()
    assert [move.new for move in report.plan.tablespaces] == [str(tmp_path / "restored/space")]
    with scene.started(report) as (restored, _):
        assert restored.value("SELECT sum(id) FROM (TABLE t1 UNION ALL TABLE t2) t") == 3
        location = restored.value(
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'inside'"
        )
        assert location == str(tmp_path / "restored/space")


@only(17)
def test_scenario_21_a_tablespace_made_and_dropped_after_the_backup(
    scene: Scene, tmp_path: Path
) -> None:
    scene.backup()
    scene.pg.sql("SELECT pg_create_restore_point('before')")
    later = tmp_path / "later"
    add_tablespace(scene, "later", later)
    scene.pg.sql("CREATE TABLE t TABLESPACE later AS SELECT 1 AS id")
    scene.enter("between")
    moment = scene.now()
    scene.pg.sql("DROP TABLE t")
    scene.pg.sql("DROP TABLESPACE later")
    scene.enter("after")
    scene.archive()
    # the place must be there for recovery, as on the source
    assert scene.content_at("name:before", "r1") == ""
    assert scene.content_at("latest", "r2") == "after between"
    with scene.started(scene.restore(moment, "r3")) as (restored, _):
        assert restored.value("SELECT id FROM t") == 1


@only(17)
def test_scenario_28_sibling_branches_keep_their_own_truth(scene: Scene) -> None:
    first = scene.backup()
    scene.enter("a")
    scene.pg.sql("SELECT pg_create_restore_point('fork')")
    scene.enter("one")
    scene.archive()
    backups = {}
    for timeline in (2, 3):
        report = scene.restore(
            "name:fork", f"branch{timeline}", timeline=1, backup=first, keep_archiving=True
        )
        with scene.started(report) as (branch, outcome):
            assert outcome.timeline == timeline
            side = Scene(branch, scene.folder, scene.place)
            side.enter(f"t{timeline}")
            backups[timeline] = side.backup()
            side.enter(f"u{timeline}")
            side.archive()
    for timeline, expected in ((1, "a one"), (2, "a t2 u2"), (3, "a t3 u3")):
        assert scene.content_at("latest", f"own{timeline}", timeline=timeline) == expected
        named = scene.content_at("latest", f"far{timeline}", timeline=timeline, backup=first)
        assert named == expected
    assert scene.content_at("latest", "newest") == "a t3 u3"
    current = scene.content_at("latest", "current", timeline="current", backup=backups[2])
    assert current == "a t2 u2"
    with pytest.raises(BackupCannotReach, match="no part of the history of timeline 3"):
        scene.restore("latest", "wrong", timeline=3, backup=backups[2])
    with pytest.raises(WrongTimeline, match="there is no timeline 9 on record"):
        scene.restore("latest", "wrong", timeline=9)
    damage_history(scene, 2)
    with pytest.raises(WrongTimeline) as caught:
        scene.restore("latest", "wrong", timeline=2, backup=first)
    assert caught.value.hint
    assert scene.content_at("latest", "unhurt", timeline=3) == "a t3 u3"


def damage_history(scene: Scene, timeline: int) -> None:
    """Scenario 31: one branch's history is gone, and so are the backups that carry it."""
    for path in Path(scene.folder.store.url).rglob(history_name(timeline)):
        path.unlink()
    for backup in list(Path(scene.folder.store.url).glob("clusters/main/backups/*")):
        plan_timeline = timeline_of(scene, backup.name)
        if plan_timeline == timeline:
            for path in backup.iterdir():
                path.unlink()
            backup.rmdir()


def timeline_of(scene: Scene, backup: str) -> int:
    return read_facts(scene.folder, backup).timeline


@only(18)
def test_scenario_27_recoveries_in_a_row(scene: Scene) -> None:
    scene.backup()
    scene.enter("e1")
    scene.archive()
    for timeline in range(2, 6):
        report = scene.restore("latest", f"n{timeline}", keep_archiving=True)
        with scene.started(report) as (server, outcome):
            assert outcome.timeline == timeline
            side = Scene(server, scene.folder, scene.place)
            side.enter(f"e{timeline}")
            side.archive()
    for timeline in range(1, 6):
        expected = " ".join(f"e{n}" for n in range(1, timeline + 1))
        assert scene.content_at("latest", f"to{timeline}", timeline=timeline) == expected
    plan = prepare(scene.folder, scene.request("latest", "plan")).plan
    assert plan.timeline == 5
    assert dict(plan.settings)["recovery_target_timeline"] == "5"


def test_a_history_is_put_into_pg_wal(scene: Scene) -> None:
    scene.backup()
    scene.archive()
    report = scene.restore("latest", "second", keep_archiving=True)
    with scene.started(report) as (server, _):
        side = Scene(server, scene.folder, scene.place)
        side.enter("a")
        side.backup()
        side.archive()
    for path in Path(scene.folder.store.url).rglob("00000002.history"):
        path.unlink()
    report = scene.restore("latest", "third")
    text = Path(report.plan.target_dir, "pg_wal/00000002.history").read_text()
    assert History.parse(2, text).ancestors[0].timeline == 1
    with scene.started(report) as (server, outcome):
        assert read_ledger(server) == "a"
        assert outcome.timeline == 3


@only(17)
def test_scenario_31_a_history_full_of_garbage(scene: Scene) -> None:
    scene.backup()
    scene.enter("a")
    scene.archive()
    generation = scene.folder.generation_ids()[0]
    scene.folder.wal(generation).push("00000002.history", b"what is this\n")
    with pytest.raises(BadHistory) as caught:
        scene.restore("latest", timeline=2)
    assert str(caught.value) == (
        "cannot follow timeline 2: its history file has an unreadable line 'what is this'"
    )
    report = scene.restore("latest")
    assert report.plan.timeline == 1
    assert any("cannot follow timeline 2" in warning for warning in report.plan.warnings)
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a"


@only(18)
def test_a_target_on_another_timeline_is_told(scene: Scene) -> None:
    scene.backup()
    scene.pg.sql("SELECT pg_create_restore_point('fork')")
    scene.enter("one")
    scene.pg.sql("SELECT pg_create_restore_point('only_on_one')")
    scene.archive()
    report = scene.restore("name:fork", "branch", keep_archiving=True)
    with scene.started(report) as (branch, _):
        side = Scene(branch, scene.folder, scene.place)
        side.enter("two")
        side.archive()
    with pytest.raises(WrongTimeline) as caught:
        scene.restore("name:only_on_one")
    assert "it lies on timeline 1, which timeline 2 left at 0/" in str(caught.value)
    assert caught.value.hint == "add --timeline 1"
    assert scene.content_at("name:only_on_one", timeline=1) == "one"
