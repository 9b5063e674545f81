"""Sandboxes over real archives: what they show, what they leave alone, and that they go away."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgkeep.backup import backup
from pgkeep.backup.datadir_source import DataDirectorySource
from pgkeep.model.target import Action, RecoveryTarget, parse_target
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.start import Ending
from pgkeep.sandbox import cleaning
from pgkeep.sandbox.mark import Fate
from pgkeep.sandbox.request import SandboxRequest, SandboxServerFailed, SandboxTooSmall
from pgkeep.sandbox.sandbox import Sandbox, open_sandbox
from pgkeep.server import processes
from pgkeep.server.binaries import as_server_user
from pgkeep.server.instance import PidFile
from pgkeep.server.processes import Process
from pgkeep.server.session import Session
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene
from support.wait import wait_for


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    return make_scene(new_cluster, repository_directory, tmp_path)


@contextmanager
def sandbox(
    scene: Scene,
    to: str = "latest",
    *,
    action: str = "promote",
    inclusive: bool = True,
    **more: Any,
) -> Iterator[Sandbox]:
    recovery = RecoveryTarget(parse_target(to, UTC), inclusive, action=Action(action))
    request = SandboxRequest(
        recovery,
        directory=str(scene.place / "sandboxes"),
        jobs=1,
        fetch_command=scene.request().fetch_command,
        environment=tuple(scene.environment.items()),
        **more,
    )
    with open_sandbox(scene.folder, request) as found:
        yield found


def entries(session: Session) -> str:
    rows = session.query("SELECT string_agg(entry, ' ' ORDER BY entry) FROM public.ledger")
    return str(rows[0][0])


def test_a_sandbox_shows_exactly_the_moment_asked_for(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    lsn = scene.lsn()
    scene.enter("c")
    scene.archive()
    archived = sorted(Path(scene.folder.store.url).rglob("wal/**/*"))
    with sandbox(scene, f"lsn:{lsn}", inclusive=False) as found:
        with found.session() as session:
            assert entries(session) == "a b"
            session.query("INSERT INTO public.ledger VALUES ('mine')")
        found.stop()
        assert not found.is_running()
        check = [found.binaries.tool("pg_checksums"), "--check", "-D", str(found.data_directory)]
        subprocess.run(as_server_user(check, found.data_directory), check=True)
        found.start()
        with found.session() as session:
            assert entries(session) == "a b mine"
            assert session.query("SHOW listen_addresses")[0][0] == ""
            assert session.query("SHOW archive_mode")[0][0] == "off"
        assert found.outcome.ending is Ending.PROMOTED
        measured = found.measured
        assert measured.wal_files >= 1
        assert measured.wal_bytes > 0
        assert measured.newest_change is not None
        assert measured.seconds >= measured.restore_seconds + measured.recovery_seconds
    assert list((scene.place / "sandboxes").iterdir()) == []
    assert sorted(Path(scene.folder.store.url).rglob("wal/**/*")) == archived
    assert scene.entries() == "a b c"


@only(17)
def test_a_sandbox_that_waits_at_its_target_can_only_be_read(scene: Scene) -> None:
    scene.enter("a")
    scene.backup()
    scene.enter("b")
    lsn = scene.lsn()
    scene.enter("c")
    scene.archive()
    with sandbox(scene, f"lsn:{lsn}", inclusive=False, action="pause") as found:
        assert found.is_read_only
        for _ in range(2):
            with found.session() as session:
                assert entries(session) == "a b"
                assert session.query("SELECT pg_is_in_recovery()")[0][0]
            found.stop()
            found.start()


def left_in(scene: Scene) -> list[str]:
    return os.listdir(scene.place / "sandboxes")


@only(15, 18)
def test_tablespaces_and_passphrases_come_along(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, postgres_version: int
) -> None:
    secret = "secret words" if postgres_version == 18 else None  # each file fetched takes seconds
    scene = make_scene(new_cluster, repository_directory, tmp_path, passphrase=secret)
    space = tmp_path / "space"
    space.mkdir(mode=0o700)
    scene.pg.sql(f"CREATE TABLESPACE space LOCATION '{space}'")
    scene.pg.sql("CREATE DATABASE away TABLESPACE space")
    scene.pg.sql("CREATE DATABASE other")
    for name in ("away", "other"):
        scene.pg.sql("CREATE TABLE t AS SELECT 1 AS n", dbname=name)
    scene.backup()
    scene.pg.sql("INSERT INTO t VALUES (2)", dbname="away")
    scene.archive()
    before = sorted(space.rglob("*"))
    with sandbox(scene, databases=("away",)) as found:
        with found.session("away") as session:
            assert session.query("SELECT sum(n) FROM public.t")[0][0] == 3
            location = session.query(
                "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'"
            )[0][0]
        assert Path(location).is_relative_to(found.directory)
        assert [shell.name for shell in found.plan.shells] == ["other"]
        assert "secret words" not in found.log_file.read_text()
    assert left_in(scene) == []
    assert sorted(space.rglob("*")) == before


@only(17)
def test_the_superuser_may_have_any_name_and_postgres_be_gone(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.pg.sql("CREATE ROLE chief SUPERUSER LOGIN")
    scene.pg.sql("ALTER ROLE postgres NOLOGIN")
    with scene.pg.connect(user="chief", dbname="template1") as connection:
        connection.execute("DROP DATABASE postgres")
        connection.execute("CREATE ROLE keeper LOGIN")
        connection.execute("CHECKPOINT")
    with DataDirectorySource.connect(f"{scene.pg.conninfo} user=chief dbname=template1") as source:
        backup.run(source, scene.folder, backup.BackupOptions(jobs=1))
    with sandbox(scene, "immediate", role="keeper") as found:
        assert found.login == ("chief", "template1")
        with found.session() as session:
            assert session.role == "chief"


@only(17)
def test_what_the_source_loads_and_runs_does_not_follow(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(
        new_cluster,
        repository_directory,
        tmp_path,
        {
            "search_path": "app, public",
            "synchronous_commit": "on",
            "max_logical_replication_workers": 4,
            "app.tenant": "x",
            "wal_level": "logical",
        },
    )
    scene.pg.sql("CREATE SCHEMA app")
    scene.pg.sql(
        "CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)"
    )
    scene.pg.sql("ALTER SUBSCRIPTION s ENABLE")
    scene.pg.sql("ALTER SYSTEM SET synchronous_standby_names = 'other'")
    scene.pg.sql("ALTER SYSTEM SET shared_preload_libraries = 'not_here'")
    scene.pg.sql("UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'template1'")
    scene.backup()
    with sandbox(scene, "immediate") as found:
        assert found.notes == (
            "not_here is not loaded: it is not installed here",
            "database template1 was sorted by version 0.1 of its collation and is by none here: "
            "indexes on text may look broken",
        )
        with found.session() as session:
            rows = session.query(
                "SELECT current_setting('synchronous_standby_names'),"
                " current_setting('autovacuum'), reset_val"
                " FROM pg_settings WHERE name = 'search_path'"
            )
            assert rows == [("", "off", "app, public")]
            assert session.query("SELECT current_setting('app.tenant')")[0][0] == "x"
            session.query("CREATE TABLE public.written AS SELECT 1 AS n")  # waits for no standby
            workers = session.query(
                "SELECT backend_type FROM pg_stat_activity WHERE backend_type LIKE '%logical%'"
            )
            assert workers == []


@only(17)
def test_settings_that_were_raised_after_the_backup_are_raised_for_a_server_that_waits(
    scene: Scene,
) -> None:
    scene.backup()
    scene.pg.configure(max_connections=160)
    scene.pg.restart()
    scene.enter("a")
    lsn = scene.lsn()
    scene.enter("b")
    scene.archive()
    with (
        sandbox(scene, f"lsn:{lsn}", inclusive=False, action="pause") as found,
        found.session() as session,
    ):
        assert entries(session) == "a"
        assert session.query("SHOW max_connections")[0][0] == "160"


@only(18)
def test_a_server_that_cannot_start_shows_its_log(scene: Scene) -> None:
    scene.backup()
    with (
        pytest.raises(SandboxServerFailed) as caught,
        sandbox(scene, "immediate", settings=(("shared_buffers", "1kB"),)),
    ):
        pass
    error = caught.value
    assert error.exit_status == 96
    assert re.match(
        "cannot recover in a sandbox: configuration file .* contains errors, before", str(error)
    )
    assert 'is outside the valid range for parameter "shared_buffers"' in error.log
    assert error.log in error.hint
    assert left_in(scene) == []


@only(17)
def test_a_place_that_is_too_small_is_refused_before_anything_is_written(scene: Scene) -> None:
    scene.backup()
    plans: list[RestorePlan] = []
    request = SandboxRequest(
        RecoveryTarget(parse_target("immediate", UTC)),
        directory=str(scene.place / "sandboxes"),
        room=1 << 50,
    )
    with (
        pytest.raises(SandboxTooSmall) as caught,
        open_sandbox(scene.folder, request, on_plan=plans.append),
    ):
        pass
    assert plans == []
    assert caught.value.needed > 1 << 50
    assert "are missing there" in str(caught.value)
    assert "room to work in 1,024 TiB" in str(caught.value)
    assert left_in(scene) == []


OWNER = """
import sys
from datetime import UTC, datetime, timedelta
from pgkeep.model.target import RecoveryTarget, parse_target
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from pgkeep.sandbox.request import SandboxRequest
from pgkeep.sandbox.sandbox import open_sandbox

url, directory, fetch, keep = sys.argv[1:]
folder = Repository.open(make_store(url), None).cluster("main")
request = SandboxRequest(RecoveryTarget(parse_target("immediate", UTC)), directory=directory,
                         jobs=1, fetch_command=tuple(fetch.split()), purpose="a test")
with open_sandbox(folder, request) as box:
    if keep:
        box.keep(datetime.now(UTC) + timedelta(seconds=float(keep)))
    print(box.data_directory, flush=True)
    if not keep:
        sys.stdin.read()
"""


def owner(scene: Scene, keep: str = "") -> "subprocess.Popen[str]":
    """Start a process that has a sandbox; its first line is the data directory."""
    fetch = " ".join(scene.request().fetch_command)
    words = [sys.executable, "-c", OWNER, scene.folder.store.url]
    return subprocess.Popen(
        [*words, str(scene.place / "sandboxes"), fetch, keep],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def watchdogs_of(owner: int) -> list[int]:
    """Return the shells that wait for the end of a process."""
    found = []
    for pid in processes.all_pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"pgkeep-watchdog" in words and parent == owner:
            found.append(pid)
    return found


def server_of(process: "subprocess.Popen[str]") -> Process:
    assert process.stdout is not None
    data = process.stdout.readline().strip()
    file = PidFile.read(data)
    assert file is not None
    assert file.pid is not None
    found = Process.find(file.pid)
    assert found is not None
    return found


@only(17)
def test_kill_9_of_the_owner_leaves_no_server_and_no_files(scene: Scene) -> None:
    scene.backup()
    with owner(scene) as process:
        server = server_of(process)
        process.kill()
    wait_for(lambda: not server.is_alive(), timeout=60, what="the watchdog to end the server")
    wait_for(lambda: left_in(scene) == [], timeout=60, what="the watchdog to remove the files")


@only(18)
def test_the_next_one_ends_what_even_the_watchdog_left(scene: Scene) -> None:
    scene.backup()
    with owner(scene) as process:
        server = server_of(process)
        (watchdog,) = watchdogs_of(process.pid)
        os.kill(watchdog, signal.SIGKILL)
        process.kill()
    assert server.is_alive()
    (name,) = left_in(scene)
    with sandbox(scene, "immediate"):
        assert not server.is_alive()
        assert name not in left_in(scene)


@only(17)
def test_a_kept_one_outlives_its_owner_until_its_time(scene: Scene) -> None:
    scene.backup()
    with owner(scene, keep="3600") as process:
        server = server_of(process)
    assert process.returncode == 0
    assert server.is_alive()
    place = str(scene.place / "sandboxes")
    now = datetime.now(UTC)
    (found,) = cleaning.sandboxes_in(place, now)
    assert found.fate is Fate.KEPT
    assert cleaning.clean(place, now) == []
    assert server.is_alive()
    (said,) = cleaning.clean(place, now + timedelta(hours=2))
    assert said == f"{found.root}, left behind by a test, with a server that still ran, was removed"
    assert not server.is_alive()
    with owner(scene, keep="1") as process:
        assert process.stdout is not None
        data = process.stdout.readline().strip()
    wait_for(lambda: left_in(scene) == [], timeout=60, what="the watchdog to remove the kept one")
    assert not cleaning.end_servers(Path(data)), "its server was ended before"
