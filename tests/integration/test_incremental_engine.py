"""Incremental backups of real servers where the engine could be fooled, or is killed."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from pgkeep.backup.backup import Kind
from pgkeep.repository import catalog
from pgkeep.repository.packs.attempts import list_packs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.processes import all_pids
from pgkeep.server.scratch import ScratchCluster
from support.backups import back_up, contents, new_folder
from support.clusters import NewCluster, only
from support.wait import wait_for


@pytest.fixture
def cluster(repository_directory: Path) -> ClusterFolder:
    return new_folder(repository_directory)


@pytest.mark.parametrize(
    ("postgres_version", "summaries"),
    [(15, "off"), (17, "on")],
    indirect=["postgres_version"],
    ids=["pg15", "pg17-summaries"],
)
def test_pages_that_vacuum_marked_all_visible_without_a_new_lsn(
    new_cluster: NewCluster, cluster: ClusterFolder, postgres_version: int, summaries: str
) -> None:
    """Without checksums no LSN tells. A map that is ahead of its pages makes reads go wrong.

    So pages that are kept come without their map; where summaries tell, all is as it was.
    """
    settings: dict[str, str | int | None] = {"wal_keep_size": "1GB", "autovacuum": "off"}
    if postgres_version >= 17:
        settings["summarize_wal"] = summaries
    pg = new_cluster(checksums=False, settings=settings)
    pg.sql("CREATE TABLE t AS SELECT g, repeat('x', 100) AS t FROM generate_series(1, 20000) g")
    pg.sql("CHECKPOINT")
    path = pg.value("SELECT pg_relation_filepath('t')")
    first = back_up(pg, cluster)
    pg.sql("VACUUM t")
    pg.sql("CHECKPOINT")
    second = back_up(pg, cluster)
    assert second.reuse is not None
    assert second.reuse.parent == first.id
    assert second.reuse.method == ("summaries" if summaries == "on" else "lsn")
    assert marks(contents(cluster, first.id)[path]) == {False}
    got = contents(cluster, second.id)
    if summaries == "on":
        assert got[path] == (pg.data_directory / path).read_bytes()
        assert marks(got[path]) == {True}
        assert f"{path}_vm" in got
    else:
        assert second.reuse.maps_left_out > 0
        assert marks(got[path]) == {False}
        assert f"{path}_vm" not in got


def marks(content: bytes) -> set[bool]:
    """Return what pages say of PD_ALL_VISIBLE (bufpage.h)."""
    return {bool(content[at + 10] & 4) for at in range(0, len(content), 8192)}


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[3])
from pgkeep.errors import PgkeepError
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import open_store
from support.backups import back_up

if __name__ == "__main__":
    class Cluster:
        conninfo = sys.argv[1]
    cluster = Repository.open(open_store(sys.argv[2]), None).cluster("main")
    try:
        copying = lambda: print("copying", flush=True)
        back_up(Cluster, cluster, rate=40_000_000, after_listing=copying)
    except PgkeepError as error:
        sys.exit(error.exit_status)
"""


@only(18)
def test_scenario_83_kill_9_of_workers_and_of_the_backup_at_many_moments(
    new_cluster: NewCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    """What dead attempts have stored is made use of, and the backup in the end is exact."""
    pg = new_cluster(settings={"wal_keep_size": "1GB", "autovacuum": "off"})
    pg.sql("CREATE TABLE t AS SELECT g, repeat('x', 900) AS t FROM generate_series(1, 30000) g")
    first = back_up(pg, cluster).id
    pg.sql("UPDATE t SET t = repeat('y', 900) WHERE g % 3 = 0")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for worker in (True, False):
        script = Attempt.start(pg, cluster, tmp_path)
        script.wait(chance.uniform(0.0, 1.0))
        script.kill(worker=worker)
        assert catalog.backups(cluster).backups[0].id == first
    pg.sql("UPDATE t SET t = repeat('z', 900) WHERE g % 2 = 0")
    script = Attempt.start(pg, cluster, tmp_path)
    packs = len(list_packs(cluster))
    wait_for(lambda: len(list_packs(cluster)) > packs, what="a pack of the attempt")
    script.kill(worker=False)
    last = back_up(pg, cluster)
    assert last.resumed > 0
    assert list(cluster.store.list("clusters/main/attempts/")) == []
    whole = back_up(pg, cluster, kind=Kind.FULL)
    got, expected = contents(cluster, last.id), contents(cluster, whole.id)
    tables = [path for path in expected if path.startswith(("base/", "pg_xact/"))]
    assert [path for path in tables if got[path] != expected[path]] == []
    for backup in catalog.backups(cluster).backups:
        contents(cluster, backup.id)


class Attempt(NamedTuple):
    """A backup in a process of its own, copying."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, pg: ScratchCluster, cluster: ClusterFolder, directory: Path) -> Self:
        script = directory / "script.py"
        script.write_text(SCRIPT)
        tests = str(Path(__file__).parent.parent)
        command = [sys.executable, str(script), pg.conninfo, cluster.store.url, tests]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n"
        return cls(process)

    def wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def kill(self, *, worker: bool) -> None:
        """End a worker, or the process itself, and wait until all of them are gone."""
        family = descendants(self.process.pid)
        workers = [pid for pid in family if parent_of(pid) not in (0, self.process.pid)]
        victim = workers[0] if worker and workers else self.process.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        self.process.communicate(timeout=30)
        ended = 64 if victim != self.process.pid else -signal.SIGKILL
        assert self.process.returncode in (0, ended)  # 0: it was faster
        wait_for(lambda: not any(map(parent_of, family)), what="all workers gone")


def descendants(root: int) -> list[int]:
    parents = {pid: parent_of(pid) for pid in all_pids()}
    found = [root]
    for parent in found:
        found += [pid for pid in parents if parents[pid] == parent]
    return found[1:]


def parent_of(pid: int) -> int:
    """Return a process's parent, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
