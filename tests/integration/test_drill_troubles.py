"""Drills that fail, or that cannot be made: it is said which, and why."""

from pathlib import Path

import pytest

from pgkeep.drill.random_target import draw_moment
from pgkeep.model.lsn import Lsn
from pgkeep.model.target import AtLsn
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.drills.report import CheckKind, Status
from pgkeep.repository.drills.storing import read_reports
from pgkeep.repository.names import packs_prefix, wal
from pgkeep.restore.target.unreachable import TargetTooEarly
from pgkeep.server.binaries import Binaries
from support.clusters import NewCluster, only
from support.drills import check_of, drilled, failed, query, states
from support.restores import CLUSTER, Scene, make_scene


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


@only(18)
def test_missing_wal_fails(scene: Scene) -> None:
    scene.backup()
    for entry in "abc":
        scene.enter(entry)
        scene.archive()
    (generation,) = scene.folder.generation_ids()
    stored = sorted(scene.folder.wal(generation).list(1 << 20).stats)
    lost = stored[-2]
    scene.folder.store.delete(wal(CLUSTER, generation, lost))
    report = drilled(scene)
    assert report.status is Status.FAILED
    assert report.of == ""
    words = failed(report, CheckKind.RECOVERY)
    assert lost in words
    assert states(report)["connect"] == "could not test"
    assert read_reports(scene.folder).last == report
    # What is asked wrong is no fault of the backup's: nothing is reported.
    with pytest.raises(UnknownBackup):
        drilled(scene, "20200101T000000Z-0000")
    with pytest.raises(TargetTooEarly):
        drilled(scene, to="lsn:0/1")
    assert read_reports(scene.folder).found == (report,)


@only(15)
def test_damage_in_the_repository_fails(scene: Scene) -> None:
    backup = scene.backup()
    scene.archive()
    store = scene.folder.store
    for blob in list(store.list(packs_prefix(CLUSTER))):
        content = bytearray(store.get(blob.name))
        content[200:210] = b"\0" * 10
        store.put(blob.name, [bytes(content)])
    report = drilled(scene)
    assert (report.status, report.of) == (Status.FAILED, backup)
    assert "damaged" in failed(report, CheckKind.RESTORE)


@only(17)
def test_a_server_that_does_not_start_fails(scene: Scene) -> None:
    (scene.pg.data_directory / "PG_VERSION").write_text("9.6\n")
    backup = scene.backup()
    scene.archive()
    report = drilled(scene)
    assert (report.status, report.of) == (Status.FAILED, backup)
    assert states(report)["restore"] == "passed"
    words = failed(report, CheckKind.RECOVERY)
    assert "database files are incompatible with server" in words


@only(18)
def test_a_database_that_lets_nobody_in_fails(scene: Scene) -> None:
    scene.pg.sql("CREATE DATABASE broken")
    oid = scene.pg.value("SELECT oid FROM pg_database WHERE datname = 'broken'")
    (scene.pg.data_directory / f"base/{oid}/PG_VERSION").write_text("9.6\n")
    scene.backup()
    scene.archive()
    report = drilled(scene, queries=[query("SELECT 1", "1", database="broken")])
    assert report.status is Status.FAILED
    words = failed(report, CheckKind.CONNECT)
    assert words.startswith("1 of 3 databases let nobody in\nbroken: cannot connect")
    assert states(report)["query SELECT 1"] == "failed"
    assert states(report)["checksums"] == "passed"


@only(17)
def test_a_moment_drawn_by_lot_holds_what_was_there_then(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    """In a repository that is encrypted: the report is sealed as well."""
    secret = "correct horse battery"
    scene = make_scene(new_cluster, repository_directory, tmp_path, passphrase=secret)
    scene.backup()
    began: list[Lsn] = []
    ended: list[Lsn] = []
    for number in range(8):
        began.append(Lsn.parse(scene.lsn()))
        scene.enter(str(number))
        ended.append(Lsn.parse(scene.lsn()))
    scene.archive()
    drawn = draw_moment(scene.folder, "seed").lsn
    assert draw_moment(scene.folder, "seed").lsn == drawn
    # It may be the server's own transaction beside one of ours.
    least, most = (sum(lsn <= drawn for lsn in lsns) for lsns in (ended, began))
    asked = query(f"SELECT count(*) BETWEEN {least} AND {most} FROM ledger", "true")
    report = drilled(scene, to="random", seed="seed", queries=[asked])
    assert report.status is Status.PASSED
    assert (report.asked, report.seed, report.target) == ("random", "seed", str(AtLsn(drawn)))
    assert report.measures.age_s is None
    stored = b"".join(p.read_bytes() for p in (repository_directory / "clusters").rglob("drills/*"))
    assert b"sealed" in stored
    assert b"ledger" not in stored
    assert read_reports(scene.folder).found == (report,)


@only(18)
def test_what_cannot_be_tested_is_named_and_never_passed(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, binaries: Binaries
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path, checksums=False)
    scene.backup()
    scene.archive()
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in binaries.directory.iterdir():
        if program.name != "pg_amcheck":
            (programs / program.name).symlink_to(program)
    report = drilled(scene, pg_bin=str(programs))
    assert report.status is Status.PASSED
    assert report.untested == ["checksums", "amcheck", "expected"]
    assert "no page checksums" in check_of(report, CheckKind.CHECKSUMS).words
    assert "pg_amcheck" in check_of(report, CheckKind.AMCHECK).words
    nowhere = drilled(scene, pg_bin=str(tmp_path))
    assert nowhere.status is Status.NOT_TESTED
    assert "cannot run PostgreSQL 18" in check_of(nowhere, CheckKind.RESTORE).words
