"""Unusual data directories: links, names, special files, modes and sizes. Group Q and its kin."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from pgkeep.postgres.datadir import Unreadable
from pgkeep.server.scratch import ScratchCluster
from support.backups import back_up, contents, page
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger

pytestmark = only(18)

MODES = [0o000, 0o077]
LINK_NOTE = "a symbolic link: what it points to is not part of the data directory"
ODD_NAMES = [
    b"line\nbreak", b"tab\there", b"quo'te\"s", b"back\\slash", b"a=b", b"[x]", b"#note",
    b"-dash", b" blank ", b"not \xff\xfe utf-8", b"x" * 255, "spa\u00df".encode(), b"\x1b[31mred",
]  # fmt: skip
GIB = 1 << 30


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


def link_wal_out(pg: ScratchCluster, elsewhere: Path) -> None:
    """Move pg_wal of a stopped cluster, and leave a link to it."""
    (pg.data_directory / "pg_wal").rename(elsewhere)
    (pg.data_directory / "pg_wal").symlink_to(elsewhere)


def test_scenario_142_links_everywhere(scene: Scene, tmp_path: Path) -> None:
    data = scene.pg.data_directory
    scene.pg.stop()
    link_wal_out(scene.pg, tmp_path / "wal_elsewhere")
    scene.pg.start()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not of the cluster")
    (data / "inside").mkdir()
    (data / "inside" / "file").write_text("of the cluster")
    links = {
        "out": str(outside),
        "out_again": "../../outside",
        "to_a_file": str(outside / "secret"),
        "to_a_link": "out",
        "itself": "itself",
        "ring_1": "ring_2",
        "ring_2": "ring_1",
        "up": "..",
        "dangling": "/nowhere/at/all",
        "inward": "inside",
        "base/inward": "../inside",
        "inside/parent": "..",
    }
    for name, target in links.items():
        (data / name).symlink_to(target)
    report = back_up(scene.pg, scene.folder, jobs=1)
    assert set(report.notes) == {f"left out {name}: {LINK_NOTE}" for name in links}
    stored = contents(scene.folder, report.id)
    assert [name for name, plain in stored.items() if plain == b"not of the cluster"] == []
    assert [name for name, plain in stored.items() if plain == b"of the cluster"] == ["inside/file"]
    scene.enter("a")
    scene.archive()
    restored = scene.restore()
    place = Path(restored.plan.target_dir)
    assert [path for path in place.rglob("*") if path.is_symlink()] == []
    with scene.started(restored) as (pg, _):
        assert read_ledger(pg) == "a"
    assert (outside / "secret").read_text() == "not of the cluster"


def test_scenario_142_linked_configuration(scene: Scene, tmp_path: Path) -> None:
    data = scene.pg.data_directory
    scene.pg.stop()
    for name in ("postgresql.conf", "pg_hba.conf"):
        with (data / name).open("a") as file:
            file.write("# from elsewhere\n")
        (data / name).rename(tmp_path / name)
        (data / name).symlink_to(tmp_path / name)
    scene.pg.start()
    assert back_up(scene.pg, scene.folder, jobs=1).notes == []
    scene.enter("a")
    scene.archive()
    report = scene.restore()
    target = Path(report.plan.target_dir)
    with scene.started(report) as (pg, _):
        assert read_ledger(pg) == "a"
    for name in ("postgresql.conf", "pg_hba.conf"):
        assert not (target / name).is_symlink()
        assert "# from elsewhere\n" in (target / name).read_text()


@pytest.mark.parametrize("variant", ["missing", "empty", "huge"])
def test_scenario_143_auto_configuration(scene: Scene, variant: str) -> None:
    auto = scene.pg.data_directory / "postgresql.auto.conf"
    lines = []
    if variant == "missing":
        auto.unlink()
    elif variant == "empty":
        auto.write_text("")
    else:
        lines = [f"my.setting_{number} = '{'x' * 200}'" for number in range(5_000)]
        lines += ["# a comment of mine", "work_mem = '7MB'"]
        auto.write_text("\n".join(lines) + "\n")
    scene.backup()
    scene.enter("a")
    scene.archive()
    report = scene.restore()
    found = Path(report.plan.target_dir, "postgresql.auto.conf").read_text().splitlines()
    assert found[: len(lines)] == lines
    with scene.started(report) as (pg, _):
        assert read_ledger(pg) == "a"
        assert pg.value("SHOW archive_mode") == "off"
        if lines:
            assert pg.value("SHOW work_mem") == "7MB"


def test_scenario_144_odd_names_come_back_byte_for_byte(scene: Scene) -> None:
    data = os.fsencode(scene.pg.data_directory)
    deep = b"/".join([b"mine", *[b"d" * 200] * 6])
    os.makedirs(data + b"/" + deep)
    names = [b"mine/" + name for name in ODD_NAMES] + [b"base/5/" + name for name in ODD_NAMES]
    names += [deep + b"/file", *[b"mine/folder " + name[:200] + b"/file" for name in ODD_NAMES]]
    for name in names:
        path = data + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(b"content of " + name)
    report = back_up(scene.pg, scene.folder, jobs=1)
    assert report.notes == []
    scene.archive()
    restored = scene.restore(jobs=2)
    target = os.fsencode(restored.plan.target_dir)
    found = {
        os.path.relpath(os.path.join(folder, name), target)
        for folder, _, files in os.walk(os.path.join(target, b"mine"))
        for name in files
    }
    assert found == {name for name in names if name.startswith(b"mine/")}
    for name in names:
        assert Path(os.fsdecode(target + b"/" + name)).read_bytes() == b"content of " + name
    with scene.started(restored) as (pg, _):
        assert read_ledger(pg) == ""


def test_scenario_145_special_files_are_left_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = scene.pg.data_directory
    os.mkfifo(data / "pipe")
    os.mkfifo(data / "base" / "5" / "999999")
    monkeypatch.chdir(data)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("door")
        report = back_up(scene.pg, scene.folder, jobs=1)
    special = ("pipe", "base/5/999999", "door")
    assert set(report.notes) == {f"left out {path}: not a regular file" for path in special}
    scene.enter("a")
    scene.archive()
    restored = scene.restore()
    for path in special:
        assert not os.path.lexists(Path(restored.plan.target_dir, path))
    with scene.started(restored) as (pg, _):
        assert read_ledger(pg) == "a"


def test_scenario_145_a_file_that_turned_into_a_pipe(scene: Scene) -> None:
    changing = scene.pg.data_directory / "changing"
    changing.write_text("a file, still")

    def turn() -> None:
        changing.unlink()
        os.mkfifo(changing)

    with pytest.raises(Unreadable, match="no longer a regular file"):
        back_up(scene.pg, scene.folder, jobs=1, after_listing=turn)
    changing.unlink()
    assert back_up(scene.pg, scene.folder, jobs=1).notes == []


def test_scenario_146_twenty_thousand_files_come_back(scene: Scene) -> None:
    folder = scene.pg.data_directory / "base" / "1"
    sizes = {f"{8_000_000 + number}": 8192 * (number % 2) for number in range(20_000)}
    for name, size in sizes.items():
        with (folder / name).open("wb") as file:
            file.truncate(size)
    scene.backup()
    scene.enter("a")
    scene.archive()
    report = scene.restore(jobs=2)
    with os.scandir(Path(report.plan.target_dir, "base", "1")) as entries:
        found = {entry.name: entry.stat().st_size for entry in entries if entry.name in sizes}
    assert found == sizes
    with scene.started(report) as (pg, _):
        assert read_ledger(pg) == "a"


def test_scenario_147_exactly_a_gibibyte_with_a_hole(scene: Scene) -> None:
    """A full first segment, mostly a hole, and a second one; blocks count across both."""
    scene.pg.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 20000) g")
    scene.pg.sql("CHECKPOINT")
    path = scene.pg.value("SELECT pg_relation_filepath('t')")
    first = scene.pg.data_directory / path
    pages = first.read_bytes()
    with first.open("r+b") as file:
        file.truncate(GIB)
    second = bytes(8192) * 5 + page(GIB // 8192 + 5) + bytes(8192) * 3
    first.with_name(f"{first.name}.1").write_bytes(second)
    report = back_up(scene.pg, scene.folder, jobs=1)
    assert report.backup.corrupt_pages == 0
    assert report.backup.size > GIB
    assert report.backup.stored < 20 << 20
    restored = scene.restore("immediate")
    copy = Path(restored.plan.target_dir, path)
    assert copy.stat().st_size == GIB
    with copy.open("rb") as file:
        assert file.read(len(pages)) == pages
        file.seek(GIB - 8192)
        assert file.read() == bytes(8192)
    assert copy.with_name(f"{copy.name}.1").read_bytes() == second


def test_scenario_149_a_wal_directory_elsewhere(scene: Scene, tmp_path: Path) -> None:
    scene.pg.stop()
    link_wal_out(scene.pg, tmp_path / "wal_elsewhere")
    scene.pg.start()
    scene.backup()
    scene.enter("a")
    scene.archive()
    before = sorted(os.listdir(tmp_path / "wal_elsewhere"))
    report = scene.restore()
    wal = Path(report.plan.target_dir, "pg_wal")
    assert wal.is_dir()
    assert not wal.is_symlink()
    with scene.started(report) as (pg, _):
        assert read_ledger(pg) == "a"
        assert [name for name in os.listdir(wal) if name.startswith("00000002")]
    assert sorted(os.listdir(tmp_path / "wal_elsewhere")) == before


def test_scenario_158_files_from_the_past_and_the_future(scene: Scene) -> None:
    moments = {"epoch": 0, "before": -86_400, "future": 4_070_908_800, "coarse": 1_700_000_000}
    for name, at in moments.items():
        path = scene.pg.data_directory / name
        path.write_text(name)
        os.utime(path, (at, at))
    relation = scene.pg.data_directory / scene.pg.value("SELECT pg_relation_filepath('pg_proc')")
    os.utime(relation, (4_070_908_800, 4_070_908_800))
    scene.backup()
    second = scene.backup()
    stored = contents(scene.folder, second)
    assert {name: stored[name].decode() for name in moments} == {name: name for name in moments}
    assert str(relation.relative_to(scene.pg.data_directory)) in stored
    scene.enter("a")
    scene.archive()
    report = scene.restore()
    for name in moments:
        assert Path(report.plan.target_dir, name).read_text() == name
    with scene.started(report) as (pg, _):
        assert read_ledger(pg) == "a"


def test_scenario_15_catalogs_rewritten_meanwhile(scene: Scene) -> None:
    scene.pg.sql("CREATE DATABASE second")
    scene.pg.sql("CREATE TABLE clustered AS SELECT g AS n FROM generate_series(1, 5000) g")
    scene.pg.sql("CREATE INDEX by_n ON clustered (n)")
    done = threading.Event()
    rounds = 0

    def rewrite() -> None:
        nonlocal rounds
        while not done.is_set():
            for dbname in ("postgres", "second"):
                for name in ("pg_class", "pg_type", "pg_database", "pg_proc", "pg_attribute"):
                    scene.pg.sql(f"VACUUM FULL {name}", dbname=dbname)
                scene.pg.sql("REINDEX INDEX pg_class_oid_index", dbname=dbname)
            scene.pg.sql("CLUSTER clustered USING by_n")
            scene.pg.sql("CHECKPOINT")
            rounds += 1

    def wait_a_round() -> None:
        before = rounds
        while rounds < before + 2 and thread.is_alive():
            done.wait(0.01)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        back_up(scene.pg, scene.folder, jobs=1, after_listing=wait_a_round)
    finally:
        done.set()
        thread.join()
    assert rounds >= 2
    scene.enter("a")
    scene.archive()
    for number, to in enumerate(("immediate", "latest")):
        with scene.started(scene.restore(to, f"restored{number}")) as (pg, _):
            for (dbname,) in pg.sql("SELECT datname FROM pg_database WHERE datallowconn"):
                names = pg.value("SELECT count(oid::regclass::text) FROM pg_class", dbname=dbname)
                assert names > 300
            assert pg.value("SELECT count(*) FROM clustered") == 5000
            assert read_ledger(pg) == ("a" if to == "latest" else "")


@pytest.mark.parametrize("umask", MODES, ids=["umask000", "umask077"])
@pytest.mark.parametrize("group", [False, True], ids=["private", "group"])
def test_scenario_96_modes_are_the_source_s_whatever_the_umask(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, umask: int, group: bool
) -> None:
    arguments = ["--allow-group-access"] if group else []
    before = os.umask(umask)
    try:
        scene = make_scene(new_cluster, repository_directory, tmp_path, initdb_args=arguments)
        scene.enter("a")
        scene.backup()
        scene.archive()
        report = scene.restore(jobs=2)
    finally:
        os.umask(before)
    target = Path(report.plan.target_dir)
    source = scene.pg.data_directory
    assert stat.S_IMODE(target.stat().st_mode) == (0o750 if group else 0o700)
    compared = 0
    for path in target.rglob("*"):
        twin = source / path.relative_to(target)
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == (0o750 if group else 0o700), path
        elif twin.exists():
            assert mode == stat.S_IMODE(twin.stat().st_mode), path
            compared += 1
        else:
            assert mode == (0o640 if group else 0o600), path
    assert compared > 500
    wide = [path for path in repository_directory.rglob("*") if path.stat().st_mode & 0o007]
    assert wide == []
    with scene.started(report) as (pg, _):
        assert read_ledger(pg) == "a"
