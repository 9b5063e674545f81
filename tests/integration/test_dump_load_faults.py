"""What stops a load, and that nothing of it goes on then."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from pgkeep.logical.load.tables import CannotLoad
from pgkeep.repository.seal import Damaged
from pgkeep.server.connecting import CannotConnect, ServerDown
from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.loads import StoredDump, dump_directory, restore_section, store, to
from support.wait import wait_for

SCHEMA = """
CREATE TABLE big (id int, v text);
INSERT INTO big SELECT k, repeat(md5(k::text), 30) FROM generate_series(1, 20000) k;
CREATE TABLE other AS TABLE big;
CREATE TABLE small AS SELECT k id, md5(k::text) v FROM generate_series(1, 1000) k;
"""
# A row that waits for a lock which the test holds: a load that is in its middle for as long.
GATE = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.id = 10000 THEN PERFORM pg_advisory_xact_lock_shared(7); END IF; RETURN NEW; END $$;
CREATE TRIGGER gate BEFORE INSERT ON big FOR EACH ROW EXECUTE FUNCTION gate();
"""
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgkeep'"
LOADER = """
import pickle, sys
from pgkeep.logical.load.load import load_tables
from pgkeep.progress import Silent
from support.loads import StoredDump
if __name__ == "__main__":
    dump, conninfo = pickle.load(sys.stdin.buffer)
    dump.load(conninfo)
"""


@pytest.fixture
def dump(pg: ScratchCluster, tmp_path: Path) -> StoredDump:
    pg.sql("CREATE DATABASE shop")
    pg.sql(SCHEMA, dbname="shop")
    directory = dump_directory(pg, "shop", tmp_path / "dump")
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, directory, "copy", "pre-data")
    return store(directory, tmp_path / "repository")


def failure(work: Callable[[], Any]) -> Callable[[], BaseException | None]:
    """Begin work in a thread; return what ends it and gives its exception."""
    raised = list[BaseException]()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # the test looks at it
            raised.append(error)

    thread = Thread(target=run)
    thread.start()

    def end() -> BaseException | None:
        thread.join(60)
        assert not thread.is_alive()
        return raised[0] if raised else None

    return end


@pytest.mark.parametrize("jobs", [1, 2])
@only(15, 18)
def test_a_row_that_does_not_fit(pg: ScratchCluster, dump: StoredDump, jobs: int) -> None:
    pg.sql("ALTER TABLE big ADD CHECK (id <> 12345)", dbname="copy")
    with pytest.raises(CannotLoad) as caught:
        dump.load(to(pg, "copy"), jobs=jobs)
    error = caught.value
    assert error.what == "table public.big"
    assert (error.line, error.start, error.file) == (12345, 0, dump.file("big").file)
    assert error.sqlstate == "23514"
    assert str(error).startswith(
        "cannot load table public.big: the server says: new row for relation "
        '"big" violates check constraint "big_id_check": Failing row contains (12345, 827ccb0eea'
    )
    assert f"(line 12345 of {error.file}; COPY big, line 12345: " in str(error)
    assert error.hint == (
        f"pgkeep dump export --format directory writes {error.file}, with that line in it"
    )
    wait_for(lambda: pg.value(OURS) == 0)


@only(17)
def test_other_reasons(pg: ScratchCluster, dump: StoredDump, tmp_path: Path) -> None:
    pg.sql("ALTER TABLE small ALTER id TYPE date USING NULL", dbname="copy")
    with pytest.raises(CannotLoad, match=r"table public\.small.* line 1, column id: \"1\"\)"):
        dump.load(to(pg, "copy"))
    pg.sql("ALTER TABLE small DROP COLUMN id", dbname="copy")
    with pytest.raises(
        CannotLoad, match=r'public\.small: the server says: column "id" of relation'
    ):
        dump.load(to(pg, "copy"))
    pg.sql("DROP TABLE small", dbname="copy")
    with pytest.raises(CannotLoad, match=r'relation "public.small" does not exist'):
        dump.load(to(pg, "copy"))
    with pytest.raises(CannotLoad, match=r"cannot be prepared: .*invalid value for parameter"):
        dump.load(to(pg, "copy"), "WTF16")
    with pytest.raises(CannotConnect, match='database "nowhere" does not exist'):
        dump.load(to(pg, "nowhere"))


@only(17)
def test_a_role_that_may_not(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql("CREATE ROLE clerk LOGIN")
    clerk = to(pg, "copy").replace("user=postgres", "user=clerk")
    with pytest.raises(CannotLoad, match=r"permission denied for table (big|other)"):
        dump.load(clerk)
    with pytest.raises(CannotLoad, match="permission denied to set parameter"):
        dump.load(clerk, disable_triggers=True)
    pg.sql("GRANT INSERT ON ALL TABLES IN SCHEMA public TO clerk", dbname="copy")
    # It may not empty tables, so rows are not frozen.
    assert sum(dump.load(clerk).rows.values()) == 41_000


@only(17)
def test_rows_that_are_there_stay(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql("INSERT INTO big VALUES (0, 'mine')", dbname="copy")
    dump.load(to(pg, "copy"))
    assert pg.value("SELECT v FROM big WHERE id = 0", dbname="copy") == "mine"
    assert pg.value("SELECT count(*) FROM big", dbname="copy") == 20_001


@only(17)
def test_triggers_are_passed_over_if_asked(pg: ScratchCluster, dump: StoredDump) -> None:
    trigger = (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER no BEFORE INSERT ON small FOR EACH ROW EXECUTE FUNCTION no()"
    )
    pg.sql(trigger, dbname="copy")
    assert dump.load(to(pg, "copy")).rows[dump.file("small").dump_id] == 0
    dump.load(to(pg, "copy"), disable_triggers=True)
    assert pg.value("SELECT count(*) FROM small", dbname="copy") == 1000


@only(17)
def test_data_without_its_end(pg: ScratchCluster, dump: StoredDump, tmp_path: Path) -> None:
    """The rows are whole, but who knows how many there were."""
    directory = tmp_path / "dump"
    path = directory / Path(dump.file("small").file).name
    for content in (path.read_bytes()[:-5], path.read_bytes()[:-1], path.read_bytes()[:3], b""):
        path.write_bytes(content)
        broken = store(directory, tmp_path / "other")
        with pytest.raises(CannotLoad, match=r"small: its data .* does not end as it must"):
            broken.load(to(pg, "copy"))
        assert pg.value("SELECT count(*) FROM small", dbname="copy") == 0


@only(17)
def test_files_that_are_missing(pg: ScratchCluster, dump: StoredDump, tmp_path: Path) -> None:
    dump.data[0:0] = [dump.file("small").__class__(9, "s", "gone", "", "1/9.dat", None, 5)]
    with pytest.raises(CannotLoad, match=r"table s\.gone: the dump has no such file as 1/9\.dat"):
        dump.load(to(pg, "copy"))
    del dump.data[0]
    for pack in (tmp_path / "repository").rglob("packs/*/*"):
        content = bytearray(pack.read_bytes())
        content[1000] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    with pytest.raises(Damaged, match=r"table public\.(big|other) of backup D2026"):
        dump.load(to(pg, "copy"))
    wait_for(lambda: pg.value(OURS) == 0)


def test_a_session_that_is_ended(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql(GATE, dbname="copy")
    with pg.connect(dbname="copy") as holder:
        pids = blocked(pg, dump, holder)
        pg.sql("SELECT pg_terminate_backend(%s)", pids[0])
        error = ended()
    assert isinstance(error, CannotLoad)
    assert error.what == "table public.big"
    assert error.hint == "look into the server's log, and restore again"
    assert "terminating connection due to administrator command" in str(error)
    wait_for(lambda: pg.value(OURS) == 0)


@only(15, 18)
def test_a_server_that_is_killed(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql(GATE, dbname="copy")
    with pg.connect(dbname="copy") as holder:
        blocked(pg, dump, holder)
        pg.kill9()
        error = ended()
    if isinstance(error, ServerDown):  # a worker was about to connect
        return
    assert isinstance(error, CannotLoad)
    assert error.what in {"table public.big", "table public.other", "table public.small"}
    assert error.hint == "look into the server's log, and restore again"


@only(17)
def test_the_first_failure_stops_all_others(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql(GATE + "ALTER TABLE other ADD CHECK (id <> 19999)", dbname="copy")
    with pg.connect(dbname="copy") as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        # The lock is never given back: a worker that waits must be stopped.
        with pytest.raises(CannotLoad, match=r"table public\.other: .*line 19999"):
            dump.load(to(pg, "copy"))
        wait_for(lambda: pg.value(OURS) == 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_loader_that_is_killed_leaves_nothing(
    pg: ScratchCluster, dump: StoredDump, tmp_path: Path, how: int
) -> None:
    pg.sql(GATE, dbname="copy")
    script = tmp_path / "loader.py"
    script.write_text(LOADER)
    tests = Path(__file__).parent.parent
    with pg.connect(dbname="copy") as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        with subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(tests)},
        ) as loader:
            assert loader.stdin is not None
            loader.stdin.write(pickle.dumps((dump, to(pg, "copy"))))
            loader.stdin.close()
            wait_for(lambda: pg.sql(WAITING))
            loader.send_signal(how)
        wait_for(lambda: pg.value(OURS) == 0)
    assert pg.value("SELECT count(*) FROM big", dbname="copy") == 0


@only(17)
def test_a_worker_that_is_killed(pg: ScratchCluster, dump: StoredDump) -> None:
    pg.sql(GATE, dbname="copy")
    with pg.connect(dbname="copy") as holder:
        blocked(pg, dump, holder)
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        error = ended()
        wait_for(lambda: pg.value(OURS) == 0)
    assert str(error) == (
        "cannot load the dump's data: a worker process was killed, perhaps because memory ran out"
    )


_ends = list[Callable[[], BaseException | None]]()


def blocked(
    pg: ScratchCluster, dump: StoredDump, holder: psycopg.Connection[tuple[Any, ...]]
) -> list[int]:
    """Begin a load and return when it waits in the middle of a table: the server's processes."""
    holder.execute("SELECT pg_advisory_lock(7)")
    _ends.append(failure(lambda: dump.load(to(pg, "copy"))))
    return [pid for (pid,) in wait_for(lambda: pg.sql(WAITING))]


def ended() -> BaseException | None:
    return _ends.pop()()


@only(17)
def test_statements_without_their_end(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE DATABASE shop")
    pg.sql("CREATE TABLE t AS SELECT 'a''b' AS v FROM generate_series(1, 9)", dbname="shop")
    directory = dump_directory(pg, "shop", tmp_path / "dump", "--inserts")
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, directory, "copy", "pre-data")
    found = store(directory, tmp_path / "repository")
    path = directory / Path(found.file("t").file).name
    content = path.read_bytes()
    for cut in (1, 2, 3, 8, len(content) - 30, len(content)):
        path.write_bytes(content[:-cut])
        broken = store(directory, tmp_path / "repository")
        with pytest.raises(CannotLoad, match=r"table public\.t: its data in the dump .* does not"):
            broken.load(to(pg, "copy"))
    path.write_bytes(content.replace(b"'a''b'", b"oops", 1))
    with pytest.raises(CannotLoad, match=r'public\.t: the server says: column "oops" does not'):
        store(directory, tmp_path / "repository").load(to(pg, "copy"))
