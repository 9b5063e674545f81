"""Drills of real backups: good ones pass, and what is wrong with bad ones is said."""

from pathlib import Path

import pytest

from pgkeep.repository.drills.report import Status
from pgkeep.repository.drills.storing import read_reports
from support.clusters import NewCluster
from support.drills import drilled, query, states
from support.restores import Scene, make_scene


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.pg.sql("CREATE DATABASE shop")
    scene.pg.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);"
        "INSERT INTO orders SELECT g, 'order ' || g FROM generate_series(1, 2000) g;"
        "CREATE TABLE queue (id int); INSERT INTO queue VALUES (1);"
        "CREATE UNLOGGED TABLE session (id int); INSERT INTO session VALUES (1)",
        dbname="shop",
    )
    return scene


def test_a_good_backup_passes(scene: Scene) -> None:
    scene.enter("a")
    backup = scene.backup()
    scene.enter("b")
    scene.archive()
    report = drilled(
        scene, queries=[query("SELECT count(*) FROM ledger", "2", "entries are missing")]
    )
    print(report)
    assert states(report) == {}
    assert report.status is Status.PASSED
    assert report.of == backup
    assert read_reports(scene.folder).found == (report,)
