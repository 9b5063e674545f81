"""Archiving with real servers: what arrives, what is refused, what the server sees."""

import os
import subprocess
from pathlib import Path

import pytest

from support.archives import Archived, archive
from support.clusters import NewCluster, only
from support.command import PGKEEP_WAL, write_config
from support.wait import wait_for


@pytest.fixture
def archived(new_cluster: NewCluster, tmp_path: Path) -> Archived:
    return archive(new_cluster, tmp_path)


def test_a_busy_server_s_wal_arrives_whole_and_in_order(archived: Archived, tmp_path: Path) -> None:
    archived.pg.fill()
    archived.pg.work(300)
    last = archived.switch()
    (timeline,) = archived.status().archives[0].timelines
    assert timeline.last.name == last
    assert timeline.segments > 5
    assert timeline.holes == ()
    assert archived.failed() == 0
    assert archived.status().problems == ()
    kept = [path for path in archived.pg_wal.glob("0*") if path.name in archived.files()]
    assert kept
    for path in kept:
        archived.fetch(path.name, tmp_path / "fetched").ok()
        assert (tmp_path / "fetched").read_bytes() == path.read_bytes()


@only(15, 18)
def test_archive_timeout_brings_the_last_transactions(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    archived = archive(new_cluster, tmp_path, archive_timeout=1)
    # A checkpointer that came up before the startup process was done sleeps without this timeout
    # until something wakes it (checkpointer.c: CheckpointerMain, RecoveryInProgress).
    archived.pg.sql("CHECKPOINT")
    archived.pg.sql("CREATE TABLE t AS SELECT 1")
    wait_for(archived.files, what="an unfinished segment in the archive")


def test_scenario_56_identical_segment_pushed_again(archived: Archived) -> None:
    name = archived.switch()
    before = archived.object(name).stat()
    archived.push(f"pg_wal/{name}").ok()
    # The server is killed before it noted the success, and offers the segment again.
    archived.pg.kill9()
    status = archived.pg_wal / "archive_status"
    (status / f"{name}.done").rename(status / f"{name}.ready")
    archived.pg.start()
    wait_for((status / f"{name}.done").exists, what="the second success")
    after = archived.object(name).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert archived.failed() == 0


@only(18)
def test_scenario_56_another_compression_makes_no_difference(archived: Archived) -> None:
    name = archived.switch()
    before = archived.object(name).stat()
    text = archived.config.read_text().replace('"\n', '"\ncompression_level = 9\n', 1)
    archived.config.write_text(text)
    archived.push(f"pg_wal/{name}").ok()
    after = archived.object(name).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@only(18)
def test_scenario_57_different_content_under_an_existing_name(
    archived: Archived, tmp_path: Path
) -> None:
    name = archived.switch()
    content = (archived.pg_wal / name).read_bytes()
    stored = archived.object(name).read_bytes()
    other = tmp_path / name
    other.write_bytes(content[:-1] + b"\x01")
    refused = archived.push(other)
    assert refused.exit == 78
    assert f"cannot archive {name}: cluster main, generation {archived.generation} holds" in (
        refused.stderr
    )
    other.write_bytes(content[: len(content) // 2])
    shorter = archived.push(other)
    assert shorter.exit == 47
    assert shorter.stderr.startswith(
        f"pgkeep-wal: cannot take {name} as WAL: it has 524288 bytes instead of 1048576\n"
    )
    assert archived.object(name).read_bytes() == stored


@only(18)
def test_scenario_57_the_server_and_the_status_show_the_refusal(
    archived: Archived, tmp_path: Path
) -> None:
    archived.switch()
    name = archived.pg.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    archived.pg.sql("CHECKPOINT")
    early = tmp_path / name
    early.write_bytes((archived.pg_wal / name).read_bytes())
    archived.push(early).ok()
    stored = archived.object(name).read_bytes()
    assert archived.pg.switch_wal() == name
    wait_for(lambda: archived.failed() > 0, what="the server to see the refusal")
    status = archived.status()
    assert status.failing
    assert status.waiting is not None
    assert (status.waiting.count, status.waiting.oldest) == (1, name)
    assert status.problems[0].startswith(f"the server failed to archive {name} at ")
    assert f"pgkeep-wal: cannot archive {name}: " in archived.pg.log
    assert archived.object(name).read_bytes() == stored


@only(18)
def test_histories_partials_and_backup_files_are_checked_too(
    archived: Archived, tmp_path: Path
) -> None:
    pg_wal = archived.pg_wal
    history = pg_wal / "00000002.history"
    history.write_text("1\t0/3000000\tno recovery target specified\n\n")
    archived.push("pg_wal/00000002.history").ok()
    archived.push("pg_wal/00000002.history").ok()
    history.write_text("1\t0/4000000\tno recovery target specified\n\n")
    assert archived.push("pg_wal/00000002.history").exit == 78
    history.write_text("")
    assert archived.push("pg_wal/00000002.history").exit == 14
    history.unlink()
    foreign = pg_wal / "RECOVERYXLOG"
    foreign.write_bytes(b"x")
    assert archived.push("pg_wal/RECOVERYXLOG").exit == 70
    foreign.unlink()
    backup = tmp_path / f"{'0' * 23}1.00000028.backup"
    backup.write_text("nonsense")
    assert archived.push(backup).exit == 46
    missing = archived.push(f"pg_wal/{'0' * 23}1")
    assert missing.exit == 71
    assert missing.stderr == (
        f"pgkeep-wal: cannot archive pg_wal/{'0' * 23}1: No such file or directory\n"
        "hint: PostgreSQL starts this in its data directory; here it is "
        f"{archived.pg.data_directory}\n"
    )


@only(18)
def test_pg_basebackup_s_history_file_is_archived(archived: Archived, tmp_path: Path) -> None:
    archived.base_backup(tmp_path / "copy")
    wait_for(lambda: [f for f in archived.files() if f.endswith(".backup")])
    assert archived.failed() == 0


@only(18)
def test_scenario_59_two_pushes_of_one_segment_at_once(archived: Archived, tmp_path: Path) -> None:
    names = [archived.switch() for _ in range(4)]
    for name in names:
        archived.object(name).unlink()
        content = (archived.pg_wal / name).read_bytes()
        assert at_once(archived, [archived.pg_wal / name] * 2) == [0, 0]
        archived.object(name).unlink()
        (tmp_path / "other").mkdir(exist_ok=True)
        other = tmp_path / "other" / name
        other.write_bytes(content[:-1] + b"\x01")
        statuses = at_once(archived, [archived.pg_wal / name, other])
        assert sorted(statuses) == [0, 78]
        winner = (archived.pg_wal / name, other)[statuses.index(0)]
        archived.fetch(name, tmp_path / "fetched").ok()
        assert (tmp_path / "fetched").read_bytes() == winner.read_bytes()


def at_once(archived: Archived, paths: list[Path]) -> list[int]:
    running = [
        subprocess.Popen(
            [PGKEEP_WAL, "--config", archived.config, "push", path], stderr=subprocess.DEVNULL
        )
        for path in paths
    ]
    return [process.wait(60) for process in running]


@only(18)
def test_scenario_63_segments_of_another_cluster(
    archived: Archived, new_cluster: NewCluster, tmp_path: Path
) -> None:
    name = archived.switch()
    stranger = new_cluster("stranger", fresh_identity=True)
    alien = stranger.data_directory / "pg_wal" / stranger.switch_wal()
    refused = archived.push(alien)
    assert refused.exit == 73
    assert "belongs to system identifier" in refused.stderr
    assert archived.generation.partition("-")[2] in refused.stderr
    assert "was this server upgraded or initialised again?" in refused.stderr
    # A history file does not say whose it is: the data directory does.
    history = stranger.data_directory / "pg_wal/00000002.history"
    history.write_text("1\t0/3000000\tno recovery target specified\n")
    assert archived.push(history).exit == 73
    # One that was renamed to a name that is wanted.
    renamed = tmp_path / f"{int(name, 16) + 1:024X}"
    renamed.write_bytes((archived.pg_wal / name).read_bytes())
    assert archived.push(renamed).exit == 48


@only(18)
def test_a_cluster_that_was_never_set_up_is_refused(archived: Archived, tmp_path: Path) -> None:
    name = archived.switch()
    config = write_config(tmp_path / "two.toml", archived.repository, {"other": ""})
    refused = archived.push(f"pg_wal/{name}", env={"PGKEEP_CONFIG": str(config)})
    assert refused.exit == 0  # --config goes first
    command = [str(PGKEEP_WAL), "--config", str(config), "push", str(archived.pg_wal / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 73
    assert done.stderr == (
        f"pgkeep-wal: cannot archive {name}: cluster other is not set up in "
        f"{archived.repository}\nhint: set it up with: pgkeep --cluster other init\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@only(18)
def test_scenario_68_archive_storage_full_then_freed(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    (tmp_path / "repository").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path / "repository")]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        archived = archive(new_cluster, tmp_path)
        ballast = archived.repository / "ballast"
        ballast.write_bytes(os.urandom(2 << 20))
        archived.pg.sql(
            "CREATE TABLE noise AS SELECT gen_random_uuid() u FROM generate_series(1,9)"
        )
        fill = "INSERT INTO noise SELECT gen_random_uuid() FROM generate_series(1, 20000)"

        def failed() -> int:
            archived.pg.sql(fill)
            archived.pg.switch_wal()
            return archived.failed()

        wait_for(failed, what="the archive to be full")
        assert archived.status().failing
        assert "free space in" in archived.pg.log
        complete = archived.files()
        for name in complete:
            archived.fetch(name, tmp_path / "fetched").ok()
        assert list(archived.repository.glob(".tmp/*")) == []
        ballast.unlink()
        subprocess.run([*mount[:1], "-o", "remount,size=60m", mount[-1]], check=True)
        last = archived.switch()
        (timeline,) = archived.status().archives[0].timelines
        assert (timeline.last.name, timeline.holes) == (last, ())
        wait_for(lambda: not archived.status().failing)
        archived.pg.stop()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "repository")], check=False)


@only(15, 18)
def test_scenario_70_hostile_characters_in_configured_paths(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    hostile = tmp_path / "a b'c\"d%f%x$HOME\\e-äöü馬"
    hostile.mkdir()
    archived = archive(new_cluster, hostile)
    name = archived.switch()
    assert archived.failed() == 0
    archived.fetch(name, tmp_path / "fetched").ok()
