"""Restores of real clusters: what comes back is exactly what was committed then."""

from pathlib import Path

import pytest

from support.clusters import NewCluster
from support.restores import Scene, make_scene


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def test_scenario_1_full_backup_then_latest(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    scene.archive()
    report = scene.restore()
    with scene.started(report) as (restored, outcome):
        assert restored.value("SELECT string_agg(entry, ' ' ORDER BY entry) FROM ledger") == "a b"
        assert outcome.words.startswith("promoted, on timeline 2: all WAL was replayed")
    assert scene.entries() == "a b"
