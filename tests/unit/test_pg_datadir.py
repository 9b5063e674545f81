"""Listing data directories, made by hand; real ones: integration/test_pg_files."""

import os
import socket
from pathlib import Path

import pytest

from pgkeep.postgres import datadir
from pgkeep.postgres.datadir import (
    Entry,
    Kind,
    MissingTablespace,
    NotADataDirectory,
    Skipped,
    Unreadable,
    walk,
)
from pgkeep.postgres.layout import RelationFile, Rule

FOLDER = "PG_18_202506291"

# The whole of a small cluster; a name that ends with / is a directory.
CLUSTER = """
PG_VERSION global/pg_control global/1262 base/5/PG_VERSION base/5/16384 base/5/16384.1
base/5/pgsql_tmp/x base/5/t1_99 base/5/50 base/5/50_init pg_wal/000000010000000000000001
pg_wal/archive_status/x pg_replslot/slot/state pg_xact/0000 pg_twophase/ pg_tblspc/
postmaster.pid log/today.log mine/notes pg_notify/ pg_logical/snapshots/
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    make(root, CLUSTER)
    return root


def make(root: Path, names: str) -> None:
    for name in names.split():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")


def kept(root: Path, emptied: frozenset[str] = frozenset()) -> dict[str, Entry]:
    found = walk(str(root), FOLDER, summaries=True, emptied=emptied)
    return {entry.path: entry for entry in found if isinstance(entry, Entry)}


def skipped(root: Path) -> dict[str, Rule]:
    found = walk(str(root), FOLDER)
    return {entry.path: entry.rule for entry in found if isinstance(entry, Skipped)}


def names(entries: dict[str, Entry]) -> str:
    return " ".join(p + ("/" if e.kind is Kind.DIRECTORY else "") for p, e in entries.items())


def test_a_cluster_is_listed_parents_first_and_pg_control_last(data: Path) -> None:
    (data / "base/5/16384").chmod(0o640)
    found = kept(data, frozenset({"log"}))
    assert names(found) == (
        "PG_VERSION base/ base/5/ base/5/16384 base/5/16384.1 base/5/50_init base/5/PG_VERSION "
        "global/ global/1262 log/ mine/ mine/notes pg_logical/ pg_logical/snapshots/ pg_notify/ "
        "pg_replslot/ pg_tblspc/ pg_twophase/ pg_wal/ pg_wal/archive_status/ pg_wal/summaries/ "
        "pg_xact/ pg_xact/0000 global/pg_control"
    )
    facts = (data / "base/5/16384").stat()
    assert found["base/5/16384"] == Entry(
        "base/5/16384", Kind.FILE, 1, 0o640, facts.st_uid, facts.st_gid, facts.st_mtime_ns,
        facts.st_ctime_ns, facts.st_ino, RelationFile(1663, 5, 16384),
    )  # fmt: skip


def test_what_stays_behind_says_why(data: Path) -> None:
    assert skipped(data) == {
        "base/5/50": Rule.UNLOGGED,
        "base/5/pgsql_tmp": Rule.SORT_SPACE,
        "base/5/t1_99": Rule.TEMPORARY_RELATION,
        "pg_notify/": Rule.CONTENTS,
        "pg_replslot/": Rule.CONTENTS,
        "pg_wal/": Rule.WAL,
        "postmaster.pid": Rule.RUNNING,
    }


def test_a_tablespace_is_followed_into_its_versions_directory_only(
    data: Path, tmp_path: Path
) -> None:
    make(tmp_path / "space", f"{FOLDER}/5/77 {FOLDER}/5/77_init PG_17_202406281/5/1 other")
    (data / "pg_tblspc/16400").symlink_to(tmp_path / "space")
    found = kept(data)
    inside = {path: entry for path, entry in found.items() if path.startswith("pg_tblspc/")}
    assert names(inside) == (
        f"pg_tblspc/16400 pg_tblspc/16400/{FOLDER}/ pg_tblspc/16400/{FOLDER}/5/ "
        f"pg_tblspc/16400/{FOLDER}/5/77_init"
    )
    assert (inside["pg_tblspc/16400"].kind, inside["pg_tblspc/16400"].target) == (
        Kind.LINK,
        str(tmp_path / "space"),
    )
    relation = inside[f"pg_tblspc/16400/{FOLDER}/5/77_init"].relation
    assert relation is not None
    assert (relation.tablespace, relation.database) == (16400, 5)


def test_a_tablespace_in_place_is_a_directory(data: Path) -> None:
    make(data, f"pg_tblspc/16400/{FOLDER}/5/77")
    found = kept(data)
    assert found["pg_tblspc/16400"].kind is Kind.DIRECTORY
    assert f"pg_tblspc/16400/{FOLDER}/5/77" in found


def test_a_tablespace_inside_the_data_directory_is_copied_once(data: Path) -> None:
    make(data, f"space/{FOLDER}/5/77")
    (data / "pg_tblspc/16400").symlink_to(data / "space")
    found = kept(data)
    assert [path for path in found if path.endswith("/77")] == [f"pg_tblspc/16400/{FOLDER}/5/77"]
    assert found["space"].kind is Kind.DIRECTORY
    assert skipped(data)["space/"] is Rule.TABLESPACE_INSIDE


@pytest.mark.parametrize("target", ["/nowhere/at all", "16400", "..", "."])
def test_a_tablespace_that_is_not_there_is_an_error(data: Path, target: str) -> None:
    (data / "pg_tblspc/16400").symlink_to(target)
    with pytest.raises(MissingTablespace) as caught:
        kept(data)
    assert str(caught.value) == (
        f"cannot back up tablespace 16400: there is no {FOLDER} in {target}"
    )


def test_strangers_in_pg_tblspc_stay_behind(data: Path) -> None:
    make(data, "pg_tblspc/notes pg_tblspc/16400")
    assert skipped(data)["pg_tblspc/notes"] is Rule.NOT_A_TABLESPACE
    assert skipped(data)["pg_tblspc/16400"] is Rule.NOT_A_TABLESPACE


def test_links_are_not_followed(data: Path, tmp_path: Path) -> None:
    make(tmp_path / "outside", "secret")
    (data / "link").symlink_to(tmp_path / "outside")
    (data / "base/5/99").symlink_to(tmp_path / "outside/secret")
    (data / "circle").symlink_to("circle")
    (data / "mine/up").symlink_to("..")
    links = {path for path, rule in skipped(data).items() if rule is Rule.LINK}
    assert links == {"link", "base/5/99", "circle", "mine/up"}
    assert not any("secret" in path for path in kept(data))


def test_a_linked_pg_wal_becomes_an_empty_directory(data: Path, tmp_path: Path) -> None:
    make(tmp_path, "wal/000000010000000000000001 wal/archive_status/")
    for name in ("pg_wal", "log"):
        (data / name).rename(tmp_path / f"old_{name}")
        (data / name).symlink_to(tmp_path / "wal")
    (tmp_path / "wal").chmod(0o750)
    found = kept(data, frozenset({"log"}))
    assert (found["pg_wal"].kind, found["pg_wal"].mode) == (Kind.DIRECTORY, 0o750)
    assert found["log"].kind is Kind.DIRECTORY
    assert [p for p in found if p.startswith("pg_wal/")] == [
        "pg_wal/archive_status",
        "pg_wal/summaries",
    ]


def test_special_files_are_passed_over(data: Path) -> None:
    os.mkfifo(data / "base/5/100")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "s"))
    assert skipped(data)["base/5/100"] is Rule.SPECIAL
    assert skipped(data)["s"] is Rule.SPECIAL


def test_names_that_are_no_utf_8_come_back_whole(data: Path) -> None:
    odd = [b"mine/\xff\xfe", b"mine/a\nb\tc", b"mine/" + b"n" * 255, b"mine/-x '\"\\=[#"]
    for name in odd:
        with open(os.path.join(os.fsencode(data), name), "wb"):
            pass
    found = {os.fsencode(path) for path in kept(data)}
    assert found >= set(odd)


def test_a_directory_without_its_essential_files_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "global/pg_control").unlink()
    with pytest.raises(NotADataDirectory, match="it has no global/pg_control"):
        kept(data)
    (data / "PG_VERSION").unlink()
    with pytest.raises(NotADataDirectory, match="it has no PG_VERSION"):
        kept(data)
    with pytest.raises(NotADataDirectory, match="no such directory"):
        kept(tmp_path / "nowhere")


def test_vanished_files_are_normal(data: Path) -> None:
    found = walk(str(data), FOLDER)
    for entry in found:
        if entry.path == "base/5":  # its files are listed only when asked for
            (data / "base/5/16384").unlink()
            break
    assert "base/5/16384" not in {e.path for e in found if isinstance(e, Entry)}


def test_the_refusal_names_both_users_and_the_mode() -> None:
    error = Unreadable("/pg/base/5/1", "backup", "postgres:postgres", "0600", "permission denied")
    assert str(error) == (
        "cannot back up /pg/base/5/1: permission denied as user backup "
        "(it belongs to postgres:postgres, mode 0600)"
    )
    assert error.hint == (
        "run pgkeep as postgres, or give backup that group and the cluster group access "
        "(initdb --allow-group-access)"
    )


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    make(tmp_path, "file")
    descriptor = datadir.open_file(str(tmp_path / "file"))
    assert descriptor is not None
    os.close(descriptor)
    assert datadir.open_file(str(tmp_path / "gone")) is None
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    for name in ("fifo", "link", "."):
        with pytest.raises(Unreadable):
            datadir.open_file(str(tmp_path / name))
