"""What incremental backups build on, and that each stands alone once it is made."""

import os
import shutil
from pathlib import Path

import pytest

from pgkeep.backup.report import BackupReport
from pgkeep.model.backup import BackupType
from pgkeep.postgres.layout import Fork, relation_of_path
from pgkeep.repository import catalog, names
from pgkeep.retention.delete import delete as carry_out
from support.clusters import NewCluster
from support.incremental import (
    OLD_AND_NEW,
    Lab,
    as_replayed,
    different_pages,
    fill,
    make_lab,
    methods,
    pgbench,
    sums,
)


@pytest.fixture
def lab(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, method: str) -> Lab:
    return make_lab(new_cluster, repository_directory, tmp_path, method)


def chain(lab: Lab, links: int = 3) -> list[BackupReport]:
    """Make a full backup, and incremental ones with a change before each."""
    fill(lab.pg, "t", "u")
    made = [lab.full()]
    for link in range(1, links):
        lab.pg.sql(f"UPDATE t SET t = 'link {link}' WHERE g % 100 = {link}")
        made.append(lab.incremental(made[-1]))
    return made


@methods(*OLD_AND_NEW)
def test_scenario_132_each_backup_restores_without_the_others(lab: Lab) -> None:
    first, second, third = chain(lab)
    delete(lab, first)
    lab.pg.sql("UPDATE u SET t = 'more' WHERE g % 100 = 7")
    expected = sums(lab.pg, ["t", "u"])
    fourth = lab.incremental(third)
    delete(lab, second, third)
    assert [backup.id for backup in catalog.backups(lab.folder).backups] == [fourth.id]
    lab.check(fourth)
    with lab.restored(fourth) as server:
        assert sums(server, ["t", "u"]) == expected


@methods(*OLD_AND_NEW)
def test_scenario_128_choosing_the_parent(
    lab: Lab, new_cluster: NewCluster, repository_directory: Path
) -> None:
    first, second, third = chain(lab)
    place = repository_directory / names.manifest("main", third.id)
    content = place.read_bytes()
    place.write_bytes(content[: len(content) // 2])
    stranger = Lab(lab.scene, lab.method)
    report = lab.incremental(second)
    assert any(note.startswith(f"{third.id} cannot be its parent") for note in report.notes)
    lab.check(report)
    delete(lab, third, report)
    other = new_cluster("other", fresh_identity=True, settings={"autovacuum": "off"})
    stranger.scene = type(lab.scene)(other, lab.folder, lab.scene.place)
    assert stranger.backup().backup.type is BackupType.FULL
    delete(lab, first)
    lab.check(lab.incremental(second))


@methods(*OLD_AND_NEW)
@pytest.mark.parametrize("how", ["gone", "cut off"])
def test_scenario_78_the_parent_lost_a_pack(lab: Lab, repository_directory: Path, how: str) -> None:
    first, second = chain(lab, 2)
    packs = catalog.read_packs(lab.folder, second.id)
    largest = max(range(len(packs)), key=lambda row: int(packs.size[row]))
    place = repository_directory / names.pack("main", packs.name(largest))
    if how == "gone":
        place.unlink()
    else:
        os.truncate(place, place.stat().st_size - 1)
    report = lab.incremental(second)
    assert list(report.notes) == [
        f"1 packs that {second.id} needs are gone or damaged, so it cannot be restored whole; this "
        "backup reads their files again"
    ]
    lab.check(report)
    with lab.restored(report) as server:
        assert sums(server, ["t", "u"]) == sums(lab.pg, ["t", "u"])
    lab.pg.sql("UPDATE t SET t = 'after' WHERE g = 1")
    following = lab.incremental(report)
    assert not following.notes
    lab.check(following)
    assert first.id != following.id


@methods(*OLD_AND_NEW)
def test_scenario_130_two_roads_lead_to_the_same_pages(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, method: str
) -> None:
    lab = make_lab(new_cluster, repository_directory, tmp_path, method, archiving=True)
    lab.pg.fill(1)
    first = lab.full()
    backups = [first]
    with pgbench(lab):
        for number in range(10):
            lab.pg.sql(f"CREATE TABLE made_{number} AS SELECT * FROM pgbench_accounts LIMIT 500")
            if number % 3 == 2:
                lab.pg.sql(f"DROP TABLE made_{number - 1}")
                lab.pg.sql("VACUUM pgbench_tellers")
                lab.pg.sql("DELETE FROM pgbench_history")
                lab.pg.sql("VACUUM pgbench_history")
            backups.append(lab.incremental(backups[-1]))
            lab.pg.sql(f"SELECT pg_create_restore_point('point-{number}')")
    lab.scene.archive()
    for number in (3, 9):
        trees = [
            recovered(lab, backup, f"name:point-{number}", f"{number}-{road}")
            for road, backup in enumerate((first, backups[number + 1]))
        ]
        assert trees[0].keys() == trees[1].keys()
        found = [
            page
            for path, content in trees[0].items()
            for page in different_pages(path, content, trees[1][path], as_replayed)
        ]
        assert found == []


def recovered(lab: Lab, report: BackupReport, to: str, name: str) -> dict[str, bytes]:
    """Return the main forks and visibility maps of all relations after a recovery."""
    restoring = lab.scene.restore(to, name, backup=report.id)
    root = Path(restoring.plan.target_dir)
    with lab.scene.started(restoring) as (server, _):
        server.server_tool("pg_ctl", "-D", str(root), "-m", "fast", "stop")
    found = {}
    for path in (*root.glob("base/*/*"), *root.glob("global/*")):
        relation = relation_of_path(str(path.relative_to(root)))
        if relation is not None and relation.fork in {Fork.MAIN, Fork.VM}:
            content = path.read_bytes()
            # A map without a bit says nothing: that it was made is in no WAL.
            if relation.fork is Fork.MAIN or _says_something(content):
                found[str(path.relative_to(root))] = content
    shutil.rmtree(root)
    return found


def _says_something(visibility_map: bytes) -> bool:
    starts = range(0, len(visibility_map), 8192)
    return any(any(visibility_map[start + 24 : start + 8192]) for start in starts)


def delete(lab: Lab, *reports: BackupReport) -> None:
    """Delete backups as `pgkeep delete` does."""
    for report in reports:
        carry_out(lab.folder, report.id)
