"""Servers on this machine: found, started, followed, stopped, and noticed before we write."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pgkeep.server.binaries import Binaries, PgToolsMissing, find_binaries, installed
from pgkeep.server.instance import (
    FOLLOW_OPTIONS,
    Occupant,
    PidFile,
    ServerProcess,
    ServerWontStart,
    running_server,
)
from pgkeep.server.scratch import ScratchCluster, ScratchPlaceTaken, ToolFailed
from support.clusters import NewCluster, only
from support.wait import wait_for


def test_a_running_server_is_noticed(pg: ScratchCluster) -> None:
    pid = pg.server.pid
    assert running_server(pg.data_directory) == Occupant(
        pid, True, f"PostgreSQL process {_worker(pg)} works there"
    )


def _worker(pg: ScratchCluster) -> int:
    occupant = running_server(pg.data_directory)
    assert occupant is not None
    return int(occupant.why.split()[2])


@only(18)
def test_a_server_whose_pid_file_is_gone_is_noticed(pg: ScratchCluster) -> None:
    (pg.data_directory / "postmaster.pid").unlink()
    occupant = running_server(pg.data_directory)
    assert occupant is not None
    assert occupant.certain


@only(18)
def test_a_server_is_noticed_through_a_symlink(pg: ScratchCluster, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pg.data_directory)
    assert running_server(tmp_path / "link") is not None


def test_a_stopped_server_is_nobody(pg: ScratchCluster) -> None:
    pg.stop()
    assert running_server(pg.data_directory) is None


def test_a_crashed_server_is_nobody_and_starts_again(pg: ScratchCluster) -> None:
    pg.sql("CREATE TABLE kept AS SELECT 42 AS answer")
    pg.kill9()
    assert PidFile.read(pg.data_directory) is not None
    assert running_server(pg.data_directory) is None
    pg.start()
    assert pg.value("SELECT answer FROM kept") == 42


def test_no_directory_is_used_by_nobody(tmp_path: Path) -> None:
    assert running_server(tmp_path / "missing") is None
    assert running_server(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param(f"{os.getpid()}\n/d\n1\n5432\n\n\n", None, id="number was reused"),
        pytest.param("999999999\n/d\n1\n5432\n/nowhere\n\n", None, id="process is gone"),
        pytest.param(
            "",
            Occupant(None, False, "postmaster.pid names no process: a server may be starting"),
            id="empty",
        ),
        pytest.param(
            "1\n/var/lib/postgresql/data\n1700000000\n5432\n\n*\n",
            Occupant(
                None, False, "postmaster.pid names process 1, as a server in a container does"
            ),
            id="container",
        ),
    ],
)
def test_pid_files_without_a_visible_server(
    tmp_path: Path, text: str, answer: Occupant | None
) -> None:
    (tmp_path / "postmaster.pid").write_text(text)
    assert running_server(tmp_path) == answer


def test_a_server_says_how_far_it_is(new_cluster: NewCluster, binaries: Binaries) -> None:
    cluster = new_cluster(start=False)
    server = ServerProcess.start(
        binaries,
        cluster.data_directory,
        [*FOLLOW_OPTIONS, 'application_name=it\'s a "name" with blanks'],
        log_file=cluster.log_path,
    )
    try:
        assert server.status() in ("starting", "ready")
        server.wait_ready(30)
        assert server.status() == "ready"
        assert "database system is ready to accept connections" in server.log_text()
        assert cluster.value("SHOW application_name") == 'it\'s a "name" with blanks'
        attached = ServerProcess.attach(cluster.data_directory, log_file=cluster.log_path)
        assert attached is not None
        assert attached.process == server.process
    finally:
        server.stop("immediate")
    assert server.status() == ""
    assert server.exit_code is not None
    server.stop()  # stopping a stopped one succeeds


def test_a_server_that_cannot_start_tells_why(new_cluster: NewCluster, binaries: Binaries) -> None:
    cluster = new_cluster(start=False)
    server = ServerProcess.start(
        binaries, cluster.data_directory, ["max_connections=none"], log_file=cluster.log_path
    )
    with pytest.raises(ServerWontStart) as failure:
        server.wait_ready(30)
    assert 'invalid value for parameter "max_connections": "none"' in str(failure.value)
    assert failure.value.hint == f"read its log: {cluster.log_path}"


@only(18)
def test_the_log_of_an_earlier_start_is_left_out(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.sql("DO $$ BEGIN RAISE LOG 'from the first life'; END $$")
    cluster.restart()
    assert "from the first life" in cluster.log
    assert "from the first life" not in cluster.server.log_text()


@only(17)
def test_a_failing_program_is_quoted(pg: ScratchCluster) -> None:
    with pytest.raises(ToolFailed, match="psql failed with exit status 1: ERROR: division by zero"):
        pg.tool("psql", "-c", "SELECT 1/0")


def test_pgbench_and_segments(pg: ScratchCluster) -> None:
    pg.fill()
    pg.work(10)
    assert pg.value("SELECT count(*) FROM pgbench_history") == 20
    first, second = pg.switch_wal(), pg.switch_wal()
    assert int(second, 16) == int(first, 16) + 1


@only(18)
def test_copies_share_their_identity_unless_asked(new_cluster: NewCluster) -> None:
    query = "SELECT system_identifier FROM pg_control_system()"
    one = new_cluster("one").value(query)
    assert new_cluster("two").value(query) == one
    assert new_cluster("three", fresh_identity=True).value(query) != one


@only(18)
def test_a_restored_directory_can_be_opened(new_cluster: NewCluster, tmp_path: Path) -> None:
    cluster = new_cluster()
    cluster.sql("CREATE TABLE kept AS SELECT 1")
    cluster.stop()
    cluster.data_directory.rename(tmp_path / "moved")
    with ScratchCluster.over(cluster.binaries, tmp_path / "moved") as moved:
        assert moved.sql("SELECT * FROM kept") == [(1,)]
        assert moved.value("SHOW data_directory") == str(tmp_path / "moved")
    assert (tmp_path / "moved" / "PG_VERSION").exists()


@only(18)
def test_nothing_is_left_when_the_owner_is_killed(binaries: Binaries, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pgkeep.server.binaries import find_binaries\n"
        "from pgkeep.server.scratch import ScratchCluster\n"
        f"with ScratchCluster(find_binaries({binaries.major}), sys.argv[1]) as cluster:\n"
        "    print(cluster.server.pid, cluster.socket_directory, flush=True)\n"
        "    time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, sockets = owner.stdout.readline().split()
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    wait_for(lambda: not (tmp_path / "c").exists() and not Path(sockets).exists(), 30)
    wait_for(lambda: not Path(f"/proc/{pid}/cwd").exists(), 30)


@only(18)
def test_a_failing_start_leaves_nothing(binaries: Binaries, tmp_path: Path) -> None:
    with (
        pytest.raises(ServerWontStart),
        ScratchCluster(binaries, tmp_path / "c", settings={"max_connections": "none"}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@only(18)
def test_a_place_that_holds_anything_is_left_alone(binaries: Binaries, tmp_path: Path) -> None:
    (tmp_path / "treasure").touch()
    with (
        pytest.raises(ScratchPlaceTaken, match="it is not empty"),
        ScratchCluster(binaries, tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["treasure"]


def test_programs_are_found_by_version(binaries: Binaries, postgres_version: int) -> None:
    assert binaries.major == postgres_version
    assert find_binaries(postgres_version, str(binaries.directory)) == binaries
    assert binaries.tool("pg_dump").endswith("/pg_dump")
    assert find_binaries().major == max(b.major for b in installed() if b.major <= 18)


@only(18)
def test_missing_programs_are_named(binaries: Binaries, tmp_path: Path) -> None:
    with pytest.raises(PgToolsMissing) as missing:
        find_binaries(17, str(binaries.directory))
    assert str(missing.value) == (
        f"cannot run PostgreSQL 17: its programs are not in {binaries.directory}; found {binaries}"
    )
    with pytest.raises(PgToolsMissing) as missing:
        find_binaries(9, str(tmp_path))
    assert str(missing.value) == (f"cannot run PostgreSQL 9: its programs are not in {tmp_path}")


@only(15)  # the packaged one: a wheel may lie where only root can go
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_user_namespaces_switches_the_user(binaries: Binaries) -> None:
    script = (
        "import os, sys\n"
        "from pgkeep.server.binaries import *\n"
        "from pgkeep.server.scratch import ScratchCluster\n"
        f"here = find_binaries(15, {str(binaries.directory)!r})\n"
        "with ScratchCluster(here, sys.argv[1] + '/c') as cluster:\n"
        "    print(cluster.value('SELECT 1'), os.stat(cluster.data_directory).st_uid != 0)\n"
        "try:\n"
        "    as_server_user(['postgres'], sys.argv[1])\n"
        "except NoServerUser as error:\n"
        "    print(error.hint)\n"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        programs = Path(place, "programs")
        programs.mkdir()
        for name in ("setpriv", "sh", "head", "rm", "readlink", "sleep"):  # no unshare
            (programs / name).symlink_to(str(shutil.which(name)))
        done = subprocess.run(
            [sys.executable, "-c", script, place],
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == [
            "1 True",
            f"give the directory to the server's user (chown -R postgres {place}), "
            "or run pgkeep as that user",
        ]
