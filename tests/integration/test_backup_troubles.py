"""What goes wrong during a backup of a real server, and what is left of it then: nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgkeep.backup.backup import BackupOptions, run
from pgkeep.backup.copying.file_reader import FileReader, LocalFile
from pgkeep.backup.datadir_source import StandbyRefused, Unfit, WrongCluster
from pgkeep.backup.source import BackupAborted, Listing
from pgkeep.backup.wait_wal import WalIncomplete
from pgkeep.errors import PgkeepError
from pgkeep.postgres.datadir import Unreadable
from pgkeep.repository import catalog
from pgkeep.repository.claims.locks import LockTaken
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.processes import Process, all_pids
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import BackupSessionLost
from support.backups import Watched, back_up, contents, new_folder
from support.clusters import NewCluster, only
from support.wait import wait_for


@pytest.fixture
def pg(new_cluster: NewCluster) -> ScratchCluster:
    """A server that keeps its WAL: the checkpoints made here would remove what is not archived."""
    return new_cluster(settings={"wal_keep_size": "1GB"})


@pytest.fixture
def cluster(repository_directory: Path) -> ClusterFolder:
    return new_folder(repository_directory)


def demand_nothing_left(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    """No backup is listed, no lock is held, and the next backup needs no repair."""
    assert catalog.backups(cluster).backups == ()
    assert list(cluster.store.list("clusters/main/locks/")) == []
    assert back_up(pg, cluster).id


def test_scenario_10_five_hundred_tables_dropped_while_copying(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    with pg.connect() as connection:
        for number in range(500):
            connection.execute(f"CREATE TABLE doomed{number} AS SELECT 1 AS n".encode())
    paths = [row[0] for row in pg.sql(
        "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relname LIKE 'doomed%'"
    )]  # fmt: skip

    def drop_all() -> None:
        with pg.connect() as connection:
            for number in range(500):
                connection.execute(f"DROP TABLE doomed{number}".encode())
            connection.execute("CHECKPOINT")
            connection.execute("CHECKPOINT")  # only now the files are gone
        assert not any((pg.data_directory / path).exists() for path in paths)

    report = back_up(pg, cluster, after_listing=drop_all)
    assert not set(paths) & contents(cluster, report.id).keys()


def test_scenario_12_tables_grow_while_copying(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    pg.sql("CREATE TABLE growing AS SELECT g, repeat('x', 100) AS t FROM generate_series(1, 9) g")
    pg.sql("CHECKPOINT")

    def grow() -> None:
        pg.sql("INSERT INTO growing SELECT g, repeat('y', 100) FROM generate_series(1, 90000) g")
        pg.sql("CHECKPOINT")

    report = back_up(pg, cluster, after_listing=grow)
    assert report.exit_status == 0
    assert report.backup.size == report.read


def test_scenario_14_no_false_alarm_under_load(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    pg.fill(2)
    command = [pg.binaries.tool("pgbench"), "-n", "-c", "2", "-T", "30"]
    environment = {"PGHOST": str(pg.socket_directory), "PGPORT": str(pg.port), "PGUSER": "postgres"}
    load = subprocess.Popen(
        [*command, "postgres"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(4):
            assert back_up(pg, cluster).exit_status == 0
    finally:
        load.kill()
        load.wait()


def test_a_database_dropped_while_copying(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    pg.sql("CREATE DATABASE doomed")
    oid = pg.value("SELECT oid FROM pg_database WHERE datname = 'doomed'")
    report = back_up(pg, cluster, after_listing=lambda: pg.sql("DROP DATABASE doomed"))
    left = {p: c for p, c in contents(cluster, report.id).items() if p.startswith(f"base/{oid}/")}
    assert not any(left.values())  # files that were empty anyway are not looked at again


@pytest.mark.parametrize("how", ["kill -9", "immediate shutdown", "fast restart"])
@only(15, 18)
def test_scenario_87_the_server_crashes(
    pg: ScratchCluster, cluster: ClusterFolder, how: str
) -> None:
    def crash() -> None:
        if how == "kill -9":
            pg.kill9()
        else:
            pg.stop("immediate" if how == "immediate shutdown" else "fast")
        pg.start()

    with pytest.raises(BackupSessionLost, match="no backup was made"):
        back_up(pg, cluster, after_listing=crash)
    assert not (pg.data_directory / "backup_label").exists()
    demand_nothing_left(pg, cluster)


def test_scenario_88_the_session_is_terminated(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    def terminate() -> None:
        pg.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'pgkeep' AND pid <> pg_backend_pid()"
        )

    with pytest.raises(BackupSessionLost, match="terminating connection"):
        back_up(pg, cluster, after_listing=terminate)
    demand_nothing_left(pg, cluster)


@only(15, 18)
def test_an_archive_command_that_fails(new_cluster: NewCluster, cluster: ClusterFolder) -> None:
    pg = new_cluster(settings={"archive_mode": "on", "archive_command": "false"})
    with pytest.raises(WalIncomplete) as caught:
        back_up(pg, cluster, archive_timeout=2.0)
    assert str(caught.value).startswith("no backup was made: what was copied is not restorable")
    assert "nothing arrived for 2.0 s" in str(caught.value)
    assert "pgkeep check" in caught.value.hint
    assert catalog.backups(cluster).backups == ()


@only(18)
def test_an_archive_command_that_archives_elsewhere(
    new_cluster: NewCluster, cluster: ClusterFolder
) -> None:
    pg = new_cluster(settings={"archive_mode": "on", "archive_command": "true"})
    with pytest.raises(WalIncomplete, match=r"server says that it archived 0000.*, but not to"):
        back_up(pg, cluster, archive_timeout=2.0)


@only(15)
def test_scenario_16_wal_recycled_before_it_is_stored(
    new_cluster: NewCluster, cluster: ClusterFolder
) -> None:
    pg = new_cluster()

    def recycle() -> None:
        for _ in range(100):
            pg.switch_wal()
        pg.sql("CHECKPOINT")

    with pytest.raises(WalIncomplete, match="which the server has removed from pg_wal already"):
        back_up(pg, cluster, after_listing=recycle)
    demand_nothing_left(pg, cluster)


def test_two_at_once_one_is_refused(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    refused: list[LockTaken] = []

    def second() -> None:
        with pytest.raises(LockTaken) as caught:
            back_up(pg, cluster)
        refused.append(caught.value)

    assert back_up(pg, cluster, after_listing=second).id
    assert refused


@only(15, 18)
def test_scenario_4_unfit_servers(new_cluster: NewCluster, cluster: ClusterFolder) -> None:
    minimal = new_cluster("minimal", settings={"wal_level": "minimal", "max_wal_senders": 0})
    with pytest.raises(Unfit, match="wal_level is minimal"):
        back_up(minimal, cluster)
    empty = new_cluster("empty", settings={"archive_mode": "on", "archive_command": ""})
    with pytest.raises(Unfit, match="archive_mode is on, but archive_command is empty"):
        back_up(empty, cluster)
    demand_nothing_left(new_cluster("fit"), cluster)


@only(18)
def test_scenario_4_the_wrong_directory(new_cluster: NewCluster, cluster: ClusterFolder) -> None:
    """A clone has the same system identifier, and even the same port: its checkpoints differ."""
    one, clone = new_cluster("one"), new_cluster("clone")
    other = new_cluster("other", fresh_identity=True, start=False)
    for directory, why in [
        (clone.data_directory, "it belongs to a copy of the cluster"),
        (other.data_directory, "its system identifier is"),
        (one.directory / "nowhere", "there is no such directory on this host"),
    ]:
        with Watched.connect(one.conninfo, str(directory)) as source:
            clone.sql("CHECKPOINT")
            with pytest.raises(WrongCluster, match=why):
                run(source, cluster, BackupOptions(jobs=1))
    assert list(cluster.store.list("clusters/main/generations/")) == []


@only(15, 18)
def test_a_standby_is_refused_by_name(new_cluster: NewCluster, cluster: ClusterFolder) -> None:
    pg = new_cluster(start=False, settings={"max_connections": 100})  # no less than initdb's
    (pg.data_directory / "standby.signal").touch()
    pg.start()
    with pytest.raises(StandbyRefused, match="is a standby"):
        back_up(pg, cluster)


@only(18)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_user_who_may_not_read_is_told_whose_files_they_are(
    pg: ScratchCluster, cluster: ClusterFolder
) -> None:
    for folder in pg.data_directory.parents:
        if folder.is_relative_to("/tmp/pytest-of-root") or folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    with Watched.connect(pg.conninfo) as source:
        os.seteuid(65534)
        try:
            with pytest.raises(Unreadable, match="permission denied") as caught:
                source.facts()
        finally:
            os.seteuid(0)
    assert "run pgkeep as root" in caught.value.hint


class DeadlyReader(FileReader):
    """Kills the worker that opens a certain file."""

    def open(
        self, path: str, start: int = 0, end: int | None = None, *, sparse: bool = False
    ) -> LocalFile | None:
        if path.endswith("/1259"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open(path, start, end, sparse=sparse)


class DeadlySource(Watched):
    def reader(self) -> FileReader:
        return DeadlyReader(self._root)


@only(18)
def test_scenario_83_a_worker_is_killed(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    with (
        DeadlySource.connect(pg.conninfo) as source,
        pytest.raises(BackupAborted, match="a worker process was killed") as caught,
    ):
        run(source, cluster, BackupOptions(jobs=2))
    assert "dmesg" in caught.value.hint
    demand_nothing_left(pg, cluster)


@dataclass
class Running:
    """pgkeep in a process of its own, in the middle of a backup."""

    process: subprocess.Popen[str]
    family: list[Process]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        wait_for(lambda: not any(member.is_alive() for member in self.family), what="all gone")
        return self.process.returncode, errors


SCRIPT = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from pgkeep.errors import PgkeepError
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import open_store
from support.backups import back_up

def hang():
    print("copying", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    class Cluster:
        conninfo = sys.argv[1]
    cluster = Repository.open(open_store(sys.argv[2]), None).cluster("main")
    try:
        back_up(Cluster, cluster, after_listing=hang)
    except PgkeepError as error:
        print(json.dumps([error.code, str(error)]), file=sys.stderr)
        sys.exit(error.exit_status)
"""


@pytest.fixture
def running(pg: ScratchCluster, cluster: ClusterFolder, tmp_path: Path) -> Iterator[Running]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, str(script), pg.conninfo, cluster.store.url, tests],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "copying\n"
    try:
        yield Running(process, family_of(process.pid))
    finally:
        process.kill()
        process.communicate()


def family_of(root: int) -> list[Process]:
    """Return the descendants of a process."""
    parents = {pid: parent_of(pid) for pid in all_pids()}
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return [found for pid in family - {root} if (found := Process.find(pid)) is not None]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def sessions_of(pg: ScratchCluster) -> int:
    found: int = pg.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgkeep'")
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@only(18)
def test_scenario_89_signals(
    pg: ScratchCluster, cluster: ClusterFolder, running: Running, number: signal.Signals
) -> None:
    status, errors = running.end(number)
    assert status == 67
    assert json.loads(errors.splitlines()[-1]) == [
        "backup-interrupted",
        f"no backup was made: {number.name} ended it before it was complete",
    ]
    assert "Traceback" not in errors
    wait_for(lambda: sessions_of(pg) == 0, what="the session ended")
    demand_nothing_left(pg, cluster)


def test_scenario_83_pgkeep_is_killed(
    pg: ScratchCluster, cluster: ClusterFolder, running: Running
) -> None:
    assert len(running.family) >= 2
    status, _ = running.end(signal.SIGKILL)
    assert status == -signal.SIGKILL
    wait_for(lambda: sessions_of(pg) == 0, what="the session ended")
    assert catalog.backups(cluster).backups == ()
    report = back_up(pg, cluster)  # takes over the dead one's lock
    assert [backup.id for backup in catalog.backups(cluster).backups] == [report.id]


def test_errors_are_pgkeeps_own(pg: ScratchCluster, cluster: ClusterFolder) -> None:
    """A data directory that changes its nature under our hands ends in a sentence."""

    class Torn(Watched):
        def listing(self) -> Listing:
            listing = super().listing()
            victim = Path(self._root) / "postgresql.auto.conf"
            victim.unlink()
            os.mkfifo(victim)
            return listing

    with Torn.connect(pg.conninfo) as source, pytest.raises(PgkeepError, match="regular file"):
        run(source, cluster, BackupOptions(jobs=1))
