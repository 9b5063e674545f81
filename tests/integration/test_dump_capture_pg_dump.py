"""What pg_dump writes of a real database is stored byte for byte, and it is never left behind."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import CapturedFiles
from pgkeep.logical.capture.capture import Capture, CaptureSetup
from pgkeep.logical.capture.scratch_space import scratch_space
from pgkeep.repository.manifest.builder import StoredChunks
from pgkeep.repository.packs.known import KnownChunks
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.server.scratch import ScratchCluster
from support.captures import contents, new_bytes, on_disk, read_back, setup_for, tables_of
from support.clusters import NewCluster, only
from support.wait import wait_for

MIB = 1 << 20
FILL = """
CREATE TABLE large AS SELECT id, md5(id::text) AS word, repeat(md5((id / 3)::text), 3) AS words
FROM generate_series(1, 500000) AS id;
CREATE TABLE narrow AS SELECT id, id % 7 AS kind FROM generate_series(1, 200000) AS id;
CREATE TABLE documents AS
SELECT id, (SELECT string_agg(md5((id * 100000 + part)::text), ' ')
            FROM generate_series(1, CASE WHEN id = 7 THEN 100000 ELSE 900 END) AS part) AS body
FROM generate_series(1, 100) AS id;
CREATE TABLE empty (id int);
SELECT lo_from_bytea(0, ('large object ' || id)::bytea) FROM generate_series(1, 1500) AS id;
SELECT lo_from_bytea(0, (SELECT decode(string_agg(md5(part::text), ''), 'hex')
                         FROM generate_series(1, 200000) AS part));
DO $$ BEGIN
    FOR number IN 1..2000 LOOP
        EXECUTE format('CREATE TABLE tiny_%s AS SELECT %s AS id', number, number);
    END LOOP;
END $$;
"""


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterFolder:
    store = make_store(str(tmp_path / "repository"))
    return Repository(store, "00" * 16, None).cluster("main")


@pytest.fixture
def filled(new_cluster: NewCluster) -> ScratchCluster:
    pg = new_cluster(settings={"max_locks_per_transaction": 256})
    pg.sql(FILL)
    return pg


def words(pg: ScratchCluster, directory: Path, *more: str) -> list[str]:
    options = ["-Fd", "-j2", "--compress=0", "--no-sync", "-f", str(directory), *more]
    return [pg.binaries.tool("pg_dump"), *options, "-d", pg.conninfo]


@contextmanager
def exported(pg: ScratchCluster) -> Iterator[str]:
    with pg.connect() as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield f"--snapshot={row[0]}"


def captured(
    pg: ScratchCluster, setup: CaptureSetup, scratch: Path, *more: str
) -> tuple[CapturedFiles, list[StoredChunks], int]:
    """Return what was captured of a pg_dump, and how many bytes lay on the disk at once."""
    directory, most = scratch / "1", 0

    def look(_: int) -> None:
        nonlocal most
        most = max(most, on_disk(directory))

    with Capture(setup, 2) as capture:
        process = Popen(words(pg, directory, *more), process_group=0)
        files = capture.run(process, directory, 0, look, lambda: None)
        assert process.returncode == 0
        return files, capture.finish(), most


def test_what_pg_dump_writes_is_stored_byte_for_byte_and_once(
    filled: ScratchCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    setup = setup_for(cluster, limit=32 * MIB)
    with exported(filled) as snapshot:
        filled.sql("UPDATE large SET word = 'changed' WHERE id = 250000")  # not in the snapshot
        subprocess.run(words(filled, tmp_path / "plain", snapshot), check=True)
        with scratch_space(str(tmp_path)) as space:
            files, stored, most = captured(filled, setup, space.directory, snapshot)
            assert os.listdir(space.directory / "1") == ["toc.dat"]
    first = tables_of(files, stored)
    expected = contents(tmp_path / "plain")
    assert dict(read_back(cluster, first, files)) == expected
    assert sum(map(len, expected.values())) > 70 * MIB
    assert any(name.startswith("blobs") and name.endswith(".toc") for name in expected)
    assert most < 70 * MIB  # 32, and what is written until a busy machine sees it
    assert new_bytes(stored) > 15 * MIB
    assert first.chunk.plain.max() <= MIB
    with scratch_space(str(tmp_path)) as space:
        setup = setup._replace(known=KnownChunks.of(first))
        files, stored, _ = captured(filled, setup, space.directory)
    assert new_bytes(stored) < MIB
    second = tables_of(files, stored, first)
    read = dict(read_back(cluster, second, files))
    (changed,) = [name for name, content in read.items() if content != expected[name]]
    assert read[changed].count(b"\tchanged\t") == 1


@only(17)
def test_a_worker_that_dies_ends_pg_dump(
    filled: ScratchCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    setup = setup_for(cluster, limit=4 * MIB, rate=4 * MIB)
    with scratch_space(str(tmp_path)) as space, Capture(setup, 2) as capture:
        process = Popen(words(filled, space.directory / "1"), process_group=0)

        def kill_one(read: int) -> None:
            if read:
                multiprocessing.active_children()[0].kill()

        with pytest.raises(CaptureAborted, match="a worker process was killed"):
            capture.run(process, space.directory / "1", 0, kill_one, lambda: None)
        assert list(space.directory.iterdir()) == []
        assert process.returncode == -signal.SIGKILL
    assert dumping(filled) == 0


PROGRAM = """
import json, sys
from pathlib import Path
from subprocess import Popen
from pgkeep.logical.capture.capture import Capture, CaptureSetup
from pgkeep.logical.capture.scratch_space import scratch_space

def main():
    store, scratch, words = json.loads(sys.argv[1])
    setup = CaptureSetup(store, "00" * 16, None, "main", limit=4 << 20, rate=4 << 20)
    with scratch_space(scratch) as space, Capture(setup, 2) as capture:
        directory = space.directory / "1"
        process = Popen([*words, "-f", str(directory)], process_group=0)
        print(process.pid, flush=True)
        capture.run(process, directory, 0, lambda _: None, lambda: None)

if __name__ == "__main__":
    main()
"""


def dumping(pg: ScratchCluster) -> int:
    """Return how many sessions pg_dump has."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
    return int(pg.value(query))


def is_stopped(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat.rpartition(b")")[2].split()[0] == b"T"


@only(17)
def test_nothing_is_left_when_its_owner_is_killed(
    filled: ScratchCluster, cluster: ClusterFolder, tmp_path: Path
) -> None:
    """A stopped pg_dump would hold its locks for ever."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    facts = [cluster.store.url, str(scratch), words(filled, tmp_path / "-")]
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(facts)]
    with Popen(arguments, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        group = int(owner.stdout.readline())
        wait_for(lambda: is_stopped(group), what="pg_dump to be stopped")
        assert dumping(filled) == 3
        owner.kill()
    wait_for(lambda: not list(scratch.iterdir()), what="removal of the scratch directory")
    wait_for(lambda: dumping(filled) == 0, what="the end of pg_dump's sessions")
    assert not is_there(group)


def is_there(group: int) -> bool:
    """Tell whether any process of a group lives; zombies that nobody collects don't."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_bytes().rpartition(b")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != b"Z":
            return True
    return False
