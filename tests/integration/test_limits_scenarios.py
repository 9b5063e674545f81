"""Two commands at once, a lock lost while asleep, and little of what a process needs."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgkeep.model.cluster import GenerationId, generation_id
from pgkeep.repository import catalog
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store
from pgkeep.server.processes import all_pids
from pgkeep.server.scratch import ScratchCluster
from support.backups import page
from support.clusters import NewCluster, only
from support.command import PGKEEP, archive_settings, run_pgkeep, run_pgkeep_wal, write_config
from support.wait import wait_for

MIB = 1 << 20
PAGE = page(0)
LOCKS = "clusters/main/locks/"

SCRIPT = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[3])
from pgkeep.errors import PgkeepError
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import open_store
from support.backups import back_up

def fall_asleep():
    os.kill(os.getpid(), signal.SIGSTOP)

if __name__ == "__main__":
    class Cluster:
        conninfo = sys.argv[1]
    cluster = Repository.open(open_store(sys.argv[2]), None).cluster("main")
    try:
        print(back_up(Cluster, cluster, after_listing=fall_asleep).id)
    except PgkeepError as error:
        print(json.dumps([error.code, str(error), error.hint]), file=sys.stderr)
        sys.exit(error.exit_status)
"""


@dataclass
class Site:
    """A cluster that archives into a repository, and the config of both."""

    pg: ScratchCluster
    config: Path
    cluster: ClusterFolder

    @property
    def generation(self) -> GenerationId:
        query = "SELECT system_identifier FROM pg_control_system()"
        return generation_id(self.pg.binaries.major, self.pg.value(query))

    def backups(self) -> list[str]:
        listing = catalog.backups(self.cluster)
        assert not listing.unreadable
        return [str(backup.id) for backup in listing.backups]

    def locks(self) -> list[str]:
        return [blob.name for blob in self.cluster.store.list(LOCKS)]

    def add_files(self, count: int) -> Path:
        """Put relation files of one page into a database, as of tables that nobody knows."""
        database = self.pg.data_directory / "base" / "1"
        for number in range(count):
            (database / str(900_000 + number)).write_bytes(PAGE)
        return database


@pytest.fixture
def site(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Site:
    config = tmp_path / "pgkeep.toml"
    pg = new_cluster(settings=archive_settings(config), start=False)
    write_config(config, repository_directory, {"main": pg.conninfo})
    pg.start()
    run_pgkeep("init", config=config).ok()
    repository = Repository.open(open_store(str(repository_directory)), None)
    return Site(pg, config, repository.cluster("main"))


@contextlib.contextmanager
def sleeping_backup(site: Site, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a backup that stops itself, by SIGSTOP, when files are listed and none is copied."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, str(script), site.pg.conninfo, site.cluster.store.url, tests],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: state_of(process.pid) in ("T", "Z"), what="the backup asleep")
        assert state_of(process.pid) == "T"
        yield process
    finally:
        process.kill()
        process.communicate()


def awake(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Let a sleeper go on; return its exit status and what it said."""
    process.send_signal(signal.SIGCONT)
    said, errors = process.communicate(timeout=30)
    return process.returncode, said, errors


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the command's name; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def state_of(pid: int) -> str:
    return (stat_of(pid) or [""])[0]


@only(18)
def test_scenario_164_everything_but_a_second_backup_works_during_a_backup(
    site: Site, tmp_path: Path
) -> None:
    older = run_pgkeep("backup", "--json", config=site.config).ok().json["id"]
    site.pg.sql("CREATE TABLE later AS SELECT 1 AS n")
    with sleeping_backup(site, tmp_path) as sleeper:
        # The server archives on, and a push and a fetch by hand work.
        segment = site.pg.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
        site.pg.switch_wal()
        archive = site.cluster.wal(site.generation)
        wait_for(lambda: archive.has(segment), what=f"{segment} in the archive")
        in_pg_wal = site.pg.data_directory / "pg_wal" / segment
        copy = tmp_path / segment
        shutil.copyfile(in_pg_wal, copy)
        run_pgkeep_wal("push", copy, config=site.config).ok()
        fetched = tmp_path / "fetched"
        run_pgkeep_wal("fetch", segment, fetched, config=site.config).ok()
        assert fetched.read_bytes() == copy.read_bytes()

        listed = run_pgkeep("list", "--json", config=site.config).ok().json
        assert [backup["id"] for backup in listed["backups"]] == [older]
        assert run_pgkeep("show", "--json", config=site.config).ok().json["id"] == older
        assert run_pgkeep("wal", "status", "--json", config=site.config).ok().json["problems"] == []
        run_pgkeep("point", "meanwhile", config=site.config).ok()
        back = tmp_path / "back"
        run_pgkeep("restore", older, "--target-dir", back, config=site.config).ok()
        assert (back / "PG_VERSION").read_text() == "18\n"

        refused = run_pgkeep("backup", config=site.config)
        assert refused.exit == 40
        assert f"process {sleeper.pid} of " in refused.stderr
        assert f"kill {sleeper.pid}" in refused.stderr
        assert len(site.locks()) == 1  # all others gave theirs back, the sleeper has its own

        status, said, errors = awake(sleeper)
    assert status == 0, errors
    assert site.backups() == [older, said.strip()]
    assert site.locks() == []
    run_pgkeep("restore", "--target-dir", tmp_path / "new", config=site.config).ok()


@pytest.mark.parametrize("taken_over", [False, True], ids=["removed", "taken over"])
@only(18)
def test_scenario_166_a_backup_whose_lock_went_while_it_slept_gives_up(
    site: Site, tmp_path: Path, *, taken_over: bool
) -> None:
    with sleeping_backup(site, tmp_path) as sleeper:
        (lock,) = site.locks()
        site.cluster.store.delete(lock)
        if taken_over:
            run_pgkeep("backup", config=site.config).ok()
        others = site.backups()
        assert len(others) == taken_over
        status, said, errors = awake(sleeper)
    assert status == 41
    code, words, _ = json.loads(errors.splitlines()[-1])
    assert code == "lock-lost"
    assert words.startswith("cannot finish 'pgkeep backup' on cluster main: its lock was removed")
    assert said == ""
    assert site.backups() == others
    assert site.locks() == []
    run_pgkeep("backup", config=site.config).ok()
    run_pgkeep("restore", "--target-dir", tmp_path / "back", config=site.config).ok()


def limited(folder: Path, files: int) -> Path:
    """Return a program that is pgkeep where no process may have more files open."""
    program = folder / f"pgkeep-{files}"
    program.write_text(f'#!/bin/sh\nulimit -n {files}\nexec {PGKEEP} "$@"\n')
    program.chmod(0o755)
    return program


@only(18)
def test_scenario_167_few_file_descriptors(site: Site, tmp_path: Path) -> None:
    database = site.add_files(3000)
    jobs = ("--jobs", "16")
    program = limited(tmp_path, 128)
    made = run_pgkeep("backup", *jobs, "--json", config=site.config, program=program).ok().json
    assert made["files"] > 3000
    back = tmp_path / "back"
    restore = ("restore", *jobs, "--target-dir", back)
    run_pgkeep(*restore, config=site.config, program=program).ok()
    names = {path.name for path in database.glob("9*")}
    assert len(names) >= 3000
    assert names == {path.name for path in (back / "base" / "1").glob("9*")}
    assert (back / "base" / "1" / "902999").read_bytes() == PAGE


def memory_of(root: int) -> int:
    """Return the memory of a process and its descendants; what they share counts once."""
    parents = {pid: int(stat[1]) for pid in all_pids() if (stat := stat_of(pid))}
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sum(map(pss_of, family))


def pss_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


@only(18)
def test_scenario_168_memory_of_a_backup_of_many_files(site: Site) -> None:
    site.add_files(30_000)
    process = subprocess.Popen(
        [str(PGKEEP), "--config", str(site.config), "backup", "--jobs", "2", "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    try:
        while process.returncode is None:
            peak = max(peak, memory_of(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    (made,) = catalog.backups(site.cluster).backups
    assert made.files > 30_000
    assert 20 * MIB < peak < 400 * MIB


@only(18)
def test_scenario_176_another_server_behind_the_same_address(
    site: Site, new_cluster: NewCluster
) -> None:
    ours = site.generation
    run_pgkeep("backup", config=site.config).ok()
    site.pg.stop()  # which archives what it has: nothing comes later
    before = stored(site.cluster)
    other = new_cluster("other", fresh_identity=True)
    theirs = Site(other, site.config, site.cluster).generation
    write_config(site.config, site.cluster.store.url, {"main": other.conninfo})

    refused = run_pgkeep("backup", "--json", config=site.config)
    assert refused.exit == 73
    error = refused.json["error"]
    assert error["code"] == "unknown-generation"
    for generation in (ours, theirs):
        assert generation.partition("-")[2] in error["message"]
    assert "pgkeep --cluster main init" in error["hint"]

    name = other.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    other.switch_wal()
    pushed = run_pgkeep_wal("push", other.data_directory / "pg_wal" / name, config=site.config)
    assert pushed.exit == 73
    assert theirs.partition("-")[2] in pushed.stderr
    assert stored(site.cluster) == before


def stored(cluster: ClusterFolder) -> list[tuple[str, int]]:
    """Return the names and sizes of all that a repository holds."""
    return sorted((blob.name, blob.size) for blob in cluster.store.list(""))
