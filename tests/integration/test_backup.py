"""Backups of real servers: what is in them, and what is not."""

import os
import re
import stat
from pathlib import Path

import pytest

from pgkeep.backup.report import CorruptPages
from pgkeep.postgres.control import parse_control
from pgkeep.repository import catalog
from pgkeep.repository.manifest.tables import EntryKind
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.binaries import give_to_server_user
from pgkeep.server.scratch import ScratchCluster
from support.backups import back_up, contents, damage, directories, new_folder
from support.clusters import NewCluster, only
from support.command import archive_settings, write_config

LEFT_OUT = re.compile(
    r"postmaster\.(pid|opts)|pg_wal/.*|pg_(notify|replslot|subtrans|dynshmem|serial|snapshots|stat_tmp)"
    r"/.*|.*pg_internal\.init.*|global/pg_control|.*/pgsql_tmp.*|pg_stat/.*|pg_logical/.*"
    r"|base/\d+/t\d+_\d+"
)


@pytest.fixture
def cluster(repository_directory: Path) -> ClusterFolder:
    return new_folder(repository_directory)


def files_below(root: Path) -> dict[str, bytes]:
    """Return what a stopped cluster consists of, but for what a backup leaves out."""
    found = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            path = Path(folder) / name
            relative = str(path.relative_to(root))
            if not LEFT_OUT.fullmatch(relative):
                found[relative] = path.read_bytes()
    return found


def test_a_backup_of_an_idle_cluster_is_the_cluster(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    pg.fill(1)
    pg.sql("CREATE DATABASE second")
    pg.sql("CHECKPOINT")
    report = back_up(pg, cluster)
    pg.stop()
    stored = contents(cluster, report.id)
    control = parse_control(stored.pop("global/pg_control"))
    stored = {path: plain for path, plain in stored.items() if not LEFT_OUT.fullmatch(path)}
    assert stored == files_below(pg.data_directory)
    assert control.system_identifier == report.backup.generation.system_identifier
    facts = catalog.read_facts(cluster, report.id)
    assert facts.backup_label.startswith(f"START WAL LOCATION: {report.backup.start_lsn} ")
    assert {database.name for database in facts.databases} >= {"postgres", "second", "template1"}
    assert facts.settings["wal_level"] == "replica"
    assert facts.checksums


def test_every_segment_of_it_is_in_the_repository(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    report = back_up(pg, cluster, after_listing=lambda: [pg.switch_wal() for _ in range(5)])
    archive = cluster.wal(report.backup.generation.id)
    numbers = range(report.backup.first_segment.number, report.backup.last_segment.number + 1)
    assert len(numbers) > 5
    assert archive.list(report.backup.generation.segment_size).segments == {1: list(numbers)}


def test_scenario_26_the_exclusion_contract(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    root = pg.data_directory
    base = root / "base" / str(pg.value("SELECT oid FROM pg_database WHERE datname = 'postgres'"))
    planted = [
        "backup_label.old", "tablespace_map.old", "postgresql.auto.conf.tmp", "recovery.done",
        "pg_replslot/slot/state", "pg_notify/0001", "pg_dynshmem/x", "pg_serial/x",
        "pg_snapshots/x", "pg_subtrans/0009", "pg_stat_tmp/x", "pgsql_tmp_root", "pg_wal/junk",
        f"base/{base.name}/pgsql_tmp1.1", f"base/{base.name}/t3_99999",
        f"base/{base.name}/pg_internal.init.77",
    ]  # fmt: skip
    kept = ["mine/notes.txt", "mine/empty", f"base/{base.name}/not_a_relation.txt"]
    for path in [*planted, *kept]:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text("" if path.endswith("empty") else path)
        (root / path).parent.chmod(0o700)
    report = back_up(pg, cluster)
    stored = contents(cluster, report.id)
    assert not set(planted) & stored.keys()
    assert set(kept) <= stored.keys()
    folders = directories(cluster, report.id)
    for path in ("pg_replslot", "pg_notify", "pg_subtrans", "pg_wal", "pg_wal/archive_status"):
        assert folders[path] == 0o700
        assert not [name for name in stored if name.startswith(f"{path}/")]
    assert "pg_replslot/slot" not in folders


def test_scenario_24_only_init_forks_of_unlogged_tables(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    pg.sql("CREATE UNLOGGED TABLE cache AS SELECT g FROM generate_series(1, 5000) g")
    path = pg.value("SELECT pg_relation_filepath('cache')")
    pg.sql("CHECKPOINT")
    stored = contents(cluster, back_up(pg, cluster).id)
    assert f"{path}_init" in stored
    assert path not in stored


def test_tablespaces_with_odd_names(
    pg: ScratchCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    places = [tmp_path / name for name in ("with blank", "a=b", "spaß", "back\\slash")]
    for number, place in enumerate(places):
        place.mkdir()
        give_to_server_user(place)
        quoted = str(place).replace("'", "''")
        pg.sql(f"CREATE TABLESPACE space{number} LOCATION '{quoted}'")
        pg.sql(f"CREATE TABLE t{number} TABLESPACE space{number} AS SELECT {number} AS n")
    pg.sql("CHECKPOINT")
    report = back_up(pg, cluster)
    facts = catalog.read_facts(cluster, report.id)
    assert [space.path for space in facts.tablespaces] == [str(place) for place in places]
    assert len(facts.tablespace_map.splitlines()) == len(places)
    stored = contents(cluster, report.id)
    for number in range(len(places)):
        path = pg.value("SELECT pg_relation_filepath(%s::regclass)", f"t{number}")
        assert stored[path] == (pg.data_directory / path).read_bytes()
    links = [
        entry
        for entry in catalog.read_manifest(cluster, report.id).tables.entries()
        if entry.kind is EntryKind.SYMLINK
    ]
    assert [link.link for link in links] == [str(place) for place in places]


def test_scenario_20_a_tablespace_inside_pgdata_is_copied_once(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    inside = pg.data_directory / "inside"
    inside.mkdir()
    give_to_server_user(inside)
    with pg.connect() as connection:
        connection.execute(f"CREATE TABLESPACE inside LOCATION '{inside}'".encode())
    pg.sql("CREATE TABLE t TABLESPACE inside AS SELECT 1 AS n")
    pg.sql("CHECKPOINT")
    stored = contents(cluster, back_up(pg, cluster).id)
    path = pg.value("SELECT pg_relation_filepath('t')")
    assert [name for name in stored if name.endswith(path.rpartition("/")[2])] == [path]


@pytest.mark.parametrize("megabytes", [1, 64])
@only(15, 18)
def test_wal_segments_of_other_sizes(
    new_cluster: NewCluster, cluster: ClusterFolder, megabytes: int
) -> None:
    pg = new_cluster(wal_segsize=megabytes)
    report = back_up(pg, cluster)
    assert report.backup.generation.segment_size == megabytes << 20
    assert cluster.wal(report.backup.generation.id).has(report.segments[-1])


def test_scenario_8_two_backups_within_one_second(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    ids = [back_up(pg, cluster).id for _ in range(2)]
    assert len(set(ids)) == 2
    assert {backup.id for backup in catalog.backups(cluster).backups} == set(ids)


def test_an_encrypted_repository_shows_nothing(
    pg: ScratchCluster, repository_directory: Path
) -> None:
    pg.sql("CREATE TABLE canary AS SELECT repeat('canary-7f3a', 50) AS bird")
    pg.sql("CHECKPOINT")
    cluster = new_folder(repository_directory, encryption="passphrase")
    stored = contents(cluster, back_up(pg, cluster).id)
    path = pg.value("SELECT pg_relation_filepath('canary')")
    assert b"canary-7f3a" in stored[path]
    for blob in cluster.store.list():
        assert b"canary-7f3a" not in cluster.store.get(blob.name)


def test_scenario_14_exactly_the_damaged_block_is_reported(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    pg.fill(1)
    path = pg.value("SELECT pg_relation_filepath('pgbench_accounts')")
    pg.stop()
    damage(pg.data_directory / path, block=1234)
    pg.start()
    for _ in range(2):
        report = back_up(pg, cluster)
        assert [(page.path, page.block) for page in report.corrupt] == [(path, 1234)]
        assert report.corrupt[0].relation == "postgres.public.pgbench_accounts"
        assert isinstance(report.problem, CorruptPages)
    assert contents(cluster, report.id)[path] == (pg.data_directory / path).read_bytes()
    assert catalog.read_facts(cluster, report.id).corrupt_pages == 1


def test_scenario_72_a_zero_page_at_the_end_is_legal(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    pg.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 3000) g")
    path = pg.value("SELECT pg_relation_filepath('t')")
    pg.stop()
    with (pg.data_directory / path).open("ab") as file:
        file.write(bytes(8192))
    pg.start()
    assert back_up(pg, cluster).exit_status == 0


def test_scenario_73_an_odd_tail_is_stored_as_it_is(
    new_cluster: NewCluster, cluster: ClusterFolder
) -> None:
    pg = new_cluster(checksums=False)
    pg.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 3000) g")
    path = pg.value("SELECT pg_relation_filepath('t')")
    pg.stop()
    with (pg.data_directory / path).open("r+b") as file:
        file.truncate(5 * 8192 + 777)
    pg.start()
    report = back_up(pg, cluster)
    assert report.exit_status == 0
    assert contents(cluster, report.id)[path] == (pg.data_directory / path).read_bytes()


def test_configuration_outside_the_data_directory_comes_along(
    new_cluster: NewCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    hba, extra = tmp_path / "etc_hba.conf", tmp_path / "extra.conf"
    pg = new_cluster(start=False, settings={"hba_file": str(hba)})
    hba.write_text("local all all trust\n")
    extra.write_text("work_mem = '5MB'\n")
    for path in (hba, extra):
        give_to_server_user(path)
    with (pg.data_directory / "postgresql.conf").open("a") as file:
        file.write(f"include '{extra}'\n")
    pg.start()
    report = back_up(pg, cluster)
    stored = contents(cluster, report.id)
    files = {file.path: file.name for file in catalog.read_facts(cluster, report.id).config_files}
    assert stored[f"pgkeep_config/{files[str(hba)]}"] == hba.read_bytes()
    assert stored[f"pgkeep_config/{files[str(extra)]}"] == extra.read_bytes()


def test_a_surprising_symlink_is_named(
    pg: ScratchCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    (pg.data_directory / "elsewhere").symlink_to(tmp_path)
    assert back_up(pg, cluster).notes == [
        "left out elsewhere: a symbolic link: what it points to is not part of the data directory"
    ]


@only(18)
def test_twenty_thousand_small_files_share_packs(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    folder = pg.data_directory / "base" / "1"
    for number in range(20_000):
        (folder / f"{9_000_000 + number}").write_bytes(b"")
        with (folder / f"{8_000_000 + number}").open("wb") as file:
            file.write(bytes(8192) if number % 2 else b"")
    report = back_up(pg, cluster)
    assert report.backup.files > 40_000
    packs = list(cluster.store.list("clusters/main/packs/"))
    assert len(packs) < 100
    assert report.copy_s < 20


@only(15, 17, 18)
def test_the_archive_command_delivers_what_a_backup_needs(
    new_cluster: NewCluster, cluster: ClusterFolder, repository_directory: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "pgkeep.toml", repository_directory, {"main": ""})
    pg = new_cluster(settings=archive_settings(config))
    pg.fill(1)
    report = back_up(pg, cluster)
    archive = cluster.wal(report.backup.generation.id)
    assert all(archive.has(name) for name in report.segments)
    assert report.segments[0] <= report.segments[-1]


def test_modes_and_owners_are_kept(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    report = back_up(pg, cluster)
    tables = catalog.read_manifest(cluster, report.id).tables
    for entry in tables.entries():
        found = (pg.data_directory / entry.path).lstat()
        assert (entry.mode, entry.uid) == (stat.S_IMODE(found.st_mode), found.st_uid)
