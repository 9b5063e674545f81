"""A stand-in for pg_dump, followed from its start to its end."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest

from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import CapturedFiles
from pgkeep.logical.capture.capture import Capture
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.open import make_store
from support.captures import (
    known_of,
    new_bytes,
    on_disk,
    read_back,
    setup_for,
    start_writer,
    tables_of,
    written,
)
from support.wait import wait_for

MIB = 1 << 20
KEY = Key(bytes(range(32)))
FILES = "1.dat=50000000 2.dat=5 3.dat=3000000 4.dat=0 5.dat=70000 blobs.toc=100 toc.dat=1000"


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterFolder:
    store = make_store(str(tmp_path / "repository"))
    return Repository(store, "00" * 16, None).cluster("main")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "1"


def run(
    capture: Capture,
    process: "Popen[bytes]",
    directory: Path,
    *,
    first: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> CapturedFiles:
    """Follow to the end, demanding that progress never goes back; `tick` is called often."""
    seen = [0]

    def advance(read: int) -> None:
        assert read >= seen[-1]
        seen.append(read)
        tick()

    files = capture.run(process, directory, first, advance, lambda: None)
    assert seen[-1] <= sum(file.size for file in files)
    return files


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("key", [pytest.param(None, id="open"), pytest.param(KEY, id="encrypted")])
def test_files_are_stored_byte_for_byte(
    tmp_path: Path, directory: Path, jobs: int, key: Key | None
) -> None:
    store = make_store(str(tmp_path / "repository"))
    cluster = Repository(store, "00" * 16, key).cluster("main")
    expected = written(FILES, tmp_path / "plain")
    with Capture(setup_for(cluster, key=key), jobs) as capture:
        files = run(capture, start_writer(directory, FILES), directory, first=3)
        stored = capture.finish()
        assert len(multiprocessing.active_children()) == jobs
    assert multiprocessing.active_children() == []
    assert [file.number for file in files] == [3, 4, 5, 6, 7, 8]
    assert [path.name for path in directory.iterdir()] == ["toc.dat"]
    assert dict(read_back(cluster, tables_of(files, stored), files)) == expected


def test_several_runs_and_content_of_our_own_come_into_the_same_packs(
    cluster: ClusterFolder, tmp_path: Path
) -> None:
    with Capture(setup_for(cluster), 2) as capture:
        everything = [capture.store(0, [b"CREATE ROLE"])._replace(path="globals.sql")]
        for number in (1, 2):
            first = len(everything)
            directory = tmp_path / str(number)
            process = start_writer(directory, f"{number}.dat=40000000 toc.dat=10")
            everything += run(capture, process, directory, first=first)
        stored = capture.finish()
    assert [file.path for file in everything] == ["globals.sql", "1.dat", "2.dat"]
    read = dict(read_back(cluster, tables_of(everything, stored), everything))
    assert read["globals.sql"] == b"CREATE ROLE"
    assert len(read["2.dat"]) == 40_000_000
    assert sum(len(part.packs) for part in stored) <= 3


def test_known_chunks_are_not_stored_again(cluster: ClusterFolder, directory: Path) -> None:
    with Capture(setup_for(cluster), 2) as capture:
        files = run(capture, start_writer(directory, FILES), directory)
        stored = capture.finish()
    parent = tables_of(files, stored)
    assert new_bytes(stored) > 5 * MIB
    with Capture(setup_for(cluster, known=known_of(parent)), 2) as capture:
        again = run(capture, start_writer(directory, FILES), directory)
        stored = capture.finish()
    assert new_bytes(stored) == 0
    tables = tables_of(again, stored, parent)
    assert dict(read_back(cluster, tables, again)) == dict(read_back(cluster, parent, files))


def test_small_dumps_start_no_processes(cluster: ClusterFolder, directory: Path) -> None:
    with Capture(setup_for(cluster), 2) as capture:
        run(capture, start_writer(directory, "1.dat=1000000 2.dat=100 toc.dat=1"), directory)
        assert multiprocessing.active_children() == []


def test_many_small_files(cluster: ClusterFolder, directory: Path) -> None:
    names = " ".join(f"{number}.dat=5" for number in range(20_000))
    with Capture(setup_for(cluster), 2) as capture:
        files = run(capture, start_writer(directory, names), directory)
        stored = capture.finish()
    assert len(files) == 20_000
    assert {(file.size, file.lines) for file in files} == {(5, 0)}
    some = files[::500]
    assert len(dict(read_back(cluster, tables_of(files, stored), some))) == 40


class Watch:
    """Looks at a directory and a process, again and again, from a thread."""

    def __init__(self, directory: Path, process: "Popen[bytes]") -> None:
        self.most = 0
        self.stopped = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(directory, process.pid))
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        self._thread.join()

    def _look(self, directory: Path, pid: int) -> None:
        while not self._end.wait(0.01):
            self.most = max(self.most, on_disk(directory))
            with suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_bytes()
                self.stopped |= stat.rpartition(b")")[2].split()[0] == b"T"


def test_whoever_runs_too_far_ahead_is_stopped(cluster: ClusterFolder, directory: Path) -> None:
    """A slow machine may be late to see it: by half a second here."""
    setup = setup_for(cluster, limit=8 * MIB, rate=20 * MIB)
    with Capture(setup, 1) as capture:
        process = start_writer(directory, "1.dat=62914560@60 2.dat=5 toc.dat=1")
        watch = Watch(directory, process)
        try:
            files = run(capture, process, directory)
        finally:
            watch.end()
        stored = capture.finish()
    assert process.returncode == 0
    assert watch.stopped
    assert watch.most < 45 * MIB
    assert dict(read_back(cluster, tables_of(files, stored), files)).keys() == {"1.dat", "2.dat"}


def test_files_too_short_to_be_cut_do_not_stop_it_for_ever(
    cluster: ClusterFolder, directory: Path
) -> None:
    """A limit that is smaller than what a worker waits for."""
    with Capture(setup_for(cluster, limit=100_000), 1) as capture:
        process = start_writer(directory, "1.dat=3000000 2.dat=900000 toc.dat=1")
        files = run(capture, process, directory)
    assert {file.path: file.size for file in files} == {"1.dat": 3_000_000, "2.dat": 900_000}


def test_what_is_written_now_is_told(cluster: ClusterFolder, directory: Path) -> None:
    seen: list[tuple[str, int]] = []
    with Capture(setup_for(cluster), 1) as capture:
        process = start_writer(directory, "1.dat=6000000@10 2.dat=6000000@10")
        run(capture, process, directory, tick=lambda: seen.extend(capture.current()))
        assert capture.current() == []
    assert {name for name, _ in seen} == {"1.dat", "2.dat"}
    assert max(read for _, read in seen) >= 2 * MIB


def test_a_bad_end_leaves_nothing_and_gives_its_numbers_away(
    cluster: ClusterFolder, directory: Path
) -> None:
    with Capture(setup_for(cluster), 1) as capture:
        process = start_writer(directory, "1.dat=3000000@10 2.dat=500000@10 fail")
        files = run(capture, process, directory)
        assert process.returncode == 1
        assert [file.path for file in files] == ["1.dat", "2.dat"]
        assert not directory.exists()
        with pytest.raises(ValueError, match="file number 1 was given before; the next is 2"):
            capture.store(1, [b"x"])
        process = start_writer(directory, "3.dat=5 toc.dat=1")
        files = run(capture, process, directory, first=2)
        assert [file.path for file in files] == ["3.dat"]


def test_a_program_that_never_makes_its_directory(cluster: ClusterFolder, directory: Path) -> None:
    with Capture(setup_for(cluster), 1) as capture:
        process = Popen(["sh", "-c", "exit 3"], process_group=0)
        assert len(run(capture, process, directory)) == 0
        assert process.returncode == 3


def test_helpers_of_a_dead_leader_are_killed(cluster: ClusterFolder, directory: Path) -> None:
    directory.mkdir()
    script = f"(exec sleep 1000) & echo x > {directory}/1.dat; kill -KILL $$"
    with Capture(setup_for(cluster), 1) as capture:
        process = Popen(["sh", "-c", script], process_group=0)
        run(capture, process, directory)
    assert process.returncode == -signal.SIGKILL
    assert not is_alive(process.pid)


def test_errors_of_the_owner_end_everything(cluster: ClusterFolder, directory: Path) -> None:
    process = start_writer(directory, "1.dat=1000000000@50")

    def interrupt() -> None:
        if directory.exists() and on_disk(directory):
            raise KeyboardInterrupt

    with Capture(setup_for(cluster), 2) as capture, pytest.raises(KeyboardInterrupt):
        run(capture, process, directory, tick=interrupt)
    assert process.returncode == -signal.SIGKILL
    assert not is_alive(process.pid)
    assert not directory.exists()


def test_the_death_of_a_worker_is_an_error(cluster: ClusterFolder, directory: Path) -> None:
    process = start_writer(directory, "1.dat=1000000000@200")

    def kill() -> None:
        for worker in multiprocessing.active_children():
            if worker.pid is not None:
                os.kill(worker.pid, signal.SIGKILL)

    with Capture(setup_for(cluster), 2) as capture, pytest.raises(CaptureAborted) as raised:
        run(capture, process, directory, tick=kill)
    assert str(raised.value) == (
        "no dump was made: a worker process was killed, perhaps because memory ran out"
    )
    assert raised.value.hint == "look into dmesg, then run it again with --jobs 1"
    assert not is_alive(process.pid)
    assert not directory.exists()


def test_the_death_of_a_worker_is_noticed_in_the_end(
    cluster: ClusterFolder, directory: Path
) -> None:
    with Capture(setup_for(cluster), 2) as capture:
        run(capture, start_writer(directory, FILES), directory)
        victim = multiprocessing.active_children()[0]
        victim.kill()
        victim.join()
        with pytest.raises(CaptureAborted):
            capture.finish()


def test_errors_of_workers_reach_the_owner(
    cluster: ClusterFolder, directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "repository" / "clusters").write_bytes(b"in the way")
    process = start_writer(directory, "1.dat=400000000")
    with Capture(setup_for(cluster), 2) as capture, pytest.raises(StoreFailed):
        run(capture, process, directory)  # a pack is full before the end
    wait_for(lambda: not is_alive(process.pid), what="the end of the writer")


def test_the_process_must_lead_a_group_of_its_own(cluster: ClusterFolder, directory: Path) -> None:
    with (
        Capture(setup_for(cluster), 1) as capture,
        Popen(["sleep", "0.1"]) as process,
        pytest.raises(ValueError, match="must lead a process group of its own"),
    ):
        run(capture, process, directory)
