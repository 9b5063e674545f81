"""Real servers whose WAL is pushed ahead of their asking."""

import subprocess
from pathlib import Path

import pytest

from pgkeep.repository import catalog
from pgkeep.server.pg_wal import look_at_pg_wal
from support.archives import Archived, archive
from support.clusters import NewCluster, only
from support.command import run_pgkeep
from support.wait import wait_for

BURST = "SELECT pg_logical_emit_message(false, 'x', repeat(md5(random()::text), 90000))"


def burst(archived: Archived, megabytes: int) -> None:
    for _ in range(megabytes):
        archived.pg.sql(BURST)


def pushers(archived: Archived) -> list[str]:
    """Return the processes that push for this server."""
    found = subprocess.run(
        ["pgrep", "-f", f"push-ahead -- {archived.pg_wal}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.split()


@pytest.fixture
def archived(new_cluster: NewCluster, tmp_path: Path) -> Archived:
    return archive(new_cluster, tmp_path, ahead=True)


@only(15, 18)
def test_a_burst_of_wal_arrives_whole_and_the_server_sees_no_failure(
    archived: Archived, tmp_path: Path
) -> None:
    burst(archived, 40)
    last = archived.switch()
    (timeline,) = archived.status().archives[0].timelines
    assert (timeline.last.name, timeline.holes) == (last, ())
    assert timeline.segments > 40
    done = archived.pg_wal / "archive_status" / f"{last}.done"
    wait_for(done.exists, what="the server to take the last acknowledgement")
    assert archived.failed() == 0
    kept = [path for path in archived.pg_wal.glob("0*") if path.name in archived.files()]
    for path in kept[:5]:
        archived.fetch(path.name, tmp_path / "fetched").ok()
        assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    # A fast shutdown archives what is left, and the pusher goes with the server.
    burst(archived, 5)
    archived.pg.stop()
    assert not list(archived.pg_wal.glob("archive_status/*.ready"))
    wait_for(lambda: not pushers(archived), what="the end of the pusher")


@only(15, 18)
def test_hostile_characters_in_configured_paths(new_cluster: NewCluster, tmp_path: Path) -> None:
    hostile = tmp_path / "a b'c\"d%f%x$HOME\\e-äöü馬"
    hostile.mkdir()
    archived = archive(new_cluster, hostile, ahead=True)
    burst(archived, 8)
    last = archived.switch()
    wait_for((archived.pg_wal / f"archive_status/{last}.done").exists)
    assert archived.failed() == 0


@only(18)
def test_the_server_dies_while_wal_is_pushed_ahead(archived: Archived) -> None:
    burst(archived, 20)
    archived.pg.kill9()
    archived.pg.start()
    burst(archived, 5)
    last = archived.switch()
    wait_for((archived.pg_wal / f"archive_status/{last}.done").exists)
    (timeline,) = archived.status().archives[0].timelines
    assert (timeline.last.name, timeline.holes) == (last, ())


@only(18)
def test_what_waited_while_the_repository_was_away_arrives(archived: Archived) -> None:
    archived.switch()
    away = archived.repository.rename(archived.repository.with_name("away"))
    burst(archived, 12)
    wait_for(lambda: archived.failed() > 0, what="the server to see the failure")
    assert "the repository's directory is not there" in archived.pg.log
    away.rename(archived.repository)
    last = archived.switch()
    (timeline,) = archived.status().archives[0].timelines
    assert (timeline.last.name, timeline.holes) == (last, ())


@only(18)
def test_the_database_is_protected_and_the_chain_mended(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    archived = archive(new_cluster, tmp_path, ahead=True)
    options = 'on_archive_failure = "protect-database"\narchive_backlog_limit = "5MB"'
    text = f'[repository]\nurl = "{archived.repository}"\n[clusters.main]\n{options}\n'
    archived.config.write_text(f'{text}conninfo = "{archived.pg.conninfo}"\n')
    archived.switch()
    away = archived.repository.rename(archived.repository.with_name("away"))
    burst(archived, 15)
    wait_for(lambda: "GIVEN UP" in archived.pg.log, what="WAL to be given up")
    assert look_at_pg_wal(str(archived.pg.data_directory)) is not None
    note = archived.pg_wal / "pgkeep-lost"
    assert note.exists()
    found = run_pgkeep("--json", "check", "--no-switch", config=archived.config)
    (given_up,) = [c for c in found.json["checks"] if c["name"] == "given up"]
    assert given_up["state"] == "failed"
    assert "and there is no backup after that: no recovery goes across" in given_up["says"]
    away.rename(archived.repository)
    burst(archived, 3)
    wait_for(lambda: catalog.backups(archived.cluster), 60, what="a new backup")
    wait_for(lambda: not note.exists(), 60, what="the loss to be mended")
    archived.switch()
    (problem,) = [p for p in archived.status().problems if "missing on timeline" in p]
    assert "so that the server could go on" in problem
    found = run_pgkeep("--json", "check", config=archived.config)
    (given_up,) = [c for c in found.json["checks"] if c["name"] == "given up"]
    assert given_up["state"] == "note"
    assert "the newest backup is after it" in given_up["says"]
