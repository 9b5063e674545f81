"""What each name in a data directory means."""

import pytest

from pgkeep.postgres.layout import (
    EMPTIED,
    Fork,
    RelationFile,
    Rule,
    log_folder,
    relation_of_path,
    skip_anywhere,
    skip_in_root,
    skip_relation,
    unlogged_in,
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("base/5/16384", RelationFile(1663, 5, 16384)),
        ("base/5/16384.3", RelationFile(1663, 5, 16384, Fork.MAIN, 3)),
        ("base/5/16384_fsm", RelationFile(1663, 5, 16384, Fork.FSM)),
        ("base/5/16384_vm.1", RelationFile(1663, 5, 16384, Fork.VM, 1)),
        ("base/5/16384_init", RelationFile(1663, 5, 16384, Fork.INIT)),
        ("base/5/4294967295", RelationFile(1663, 5, 4294967295)),
        ("global/1262_vm", RelationFile(1664, 0, 1262, Fork.VM)),
        ("pg_tblspc/16400/PG_15_202209061/5/99", RelationFile(16400, 5, 99)),
        ("base/5/4294967296", None),
        ("base/5/016384", None),
        ("base/5/16384.0", None),
        ("base/5/16384_other", None),
        ("base/5/t3_16384", None),
        ("base/5/PG_VERSION", None),
        ("base/5/pg_filenode.map", None),
        ("base/16384", None),
        ("base/x/16384", None),
        ("global/pg_control", None),
        ("pg_xact/0000", None),
        ("pg_tblspc/16400/other/5/99", None),
        ("mine/5/16384", None),
        ("base/5/16384\n", None),
        ("base/5/\uff11", None),
    ],
)
def test_relations_files_are_told_from_others(path: str, found: RelationFile | None) -> None:
    assert relation_of_path(path) == found


def test_blocks_are_counted_over_all_segments() -> None:
    assert RelationFile(1663, 5, 1, Fork.MAIN, 2).first_block(131072) == 262144


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("pgsql_tmp", Rule.SORT_SPACE),
        ("pgsql_tmp123.4", Rule.SORT_SPACE),
        ("pg_internal.init", Rule.RELATION_CACHE),
        ("pg_internal.init.4711", Rule.RELATION_CACHE),
        ("lost+found", Rule.LOST_FOUND),
        (".nfs000000012", Rule.NFS),
        (".DS_Store", Rule.DESKTOP),
        ("16384", None),
        ("PG_VERSION", None),
        ("pg_internal", None),
    ],
)
def test_some_names_stay_behind_anywhere(name: str, rule: Rule | None) -> None:
    assert skip_anywhere(name) is rule


@pytest.mark.parametrize(
    "name",
    [
        "postmaster.pid",
        "postmaster.opts",
        "backup_label",
        "backup_label.old",
        "tablespace_map",
        "tablespace_map.old",
        "backup_manifest",
        "backup_manifest.tmp",
        "recovery.signal",
        "standby.signal",
        "recovery.conf",
        "recovery.done",
        "postgresql.auto.conf.tmp",
        "current_logfiles.tmp",
        "core",
        "core.1234",
    ],
)
def test_some_files_of_the_top_directory_stay_behind(name: str) -> None:
    assert skip_in_root(name) is not None


@pytest.mark.parametrize(
    "name",
    ["postgresql.auto.conf", "PG_VERSION", "current_logfiles", "core_data", "corelli", "core.x"],
)
def test_other_files_of_the_top_directory_are_kept(name: str) -> None:
    assert skip_in_root(name) is None


def test_the_directories_that_the_server_wants_empty() -> None:
    assert " ".join(sorted(EMPTIED)) == (
        "pg_dynshmem pg_notify pg_replslot pg_serial pg_snapshots pg_stat_tmp pg_subtrans pg_wal"
    )


def test_of_unlogged_relations_only_the_init_forks_are_kept() -> None:
    names = ["10", "10_init", "10_vm", "10.1", "10_fsm", "11", "11_vm", "100", "12_init.1", "12"]
    unlogged = unlogged_in(names)
    kept = [name for name in names if skip_relation(name, unlogged) is None]
    assert kept == ["10_init", "11", "11_vm", "100", "12_init.1"]


@pytest.mark.parametrize("name", ["t3_16384", "t12_16384_vm", "t0_1.2", "t3_16384_fsm.1"])
def test_temporary_relations_stay_behind(name: str) -> None:
    assert skip_relation(name, frozenset()) is Rule.TEMPORARY_RELATION


@pytest.mark.parametrize("name", ["t3", "t_16384", "t3_16384x", "table"])
def test_similar_names_are_kept(name: str) -> None:
    assert skip_relation(name, frozenset()) is None


@pytest.mark.parametrize(
    ("setting", "folder"),
    [
        ("log", "log"),
        ("./log/", "log"),
        ("log//a/../b", "log/b"),
        ("/pg/data/pg_log", "pg_log"),
        ("/pg//data/./log", "log"),
        ("pg_stat_tmp", "pg_stat_tmp"),
        ("/var/log/postgresql", None),
        ("/pg/data2/log", None),
        ("/pg/data", None),
        ("..", None),
        ("../log", None),
        (".", None),
        ("", None),
        ("base", None),
        ("pg_xact/log", None),
        ("/pg/data/global", None),
    ],
)
def test_only_a_directory_of_logs_counts_as_log_directory(setting: str, folder: str | None) -> None:
    assert log_folder(setting, "/pg/data/") == folder
