"""Segments fetched ahead: only whole ones are ever seen, and whatever dies leaves no trace."""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pgkeep.model.segment import Segment
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.wal.ahead import prefetch
from pgkeep.wal.ahead.spool import Spool
from pgkeep.wal.commands import restore_command
from support.command import PGKEEP_WAL
from support.segments import GENERATION, SIZE, segment_content
from support.wait import wait_for

FIRST, COUNT = 7, 14
NAMES = [Segment(1, FIRST + n, SIZE).name for n in range(COUNT)]
CONTENTS = {name: segment_content(n, Segment(1, FIRST + n, SIZE)) for n, name in enumerate(NAMES)}


class Recovery:
    """A data directory that asks for segments as a recovering server does."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        store = make_store(str(self.repository))
        self.cluster: ClusterFolder = Repository.create(store, "none", None).cluster("main")
        self.cluster.add_generation(GENERATION)
        self.archive = self.cluster.wal(GENERATION.id)
        for name, content in CONTENTS.items():
            self.archive.push(name, content)
        self.data = folder / "data"
        (self.data / "pg_wal").mkdir(parents=True)
        self.xlog = self.data / "pg_wal/RECOVERYXLOG"
        self.command = restore_command(
            "main", GENERATION.id, repository=str(self.repository), program=str(PGKEEP_WAL)
        )
        name = self.command.partition("pg_wal/")[2].partition("/")[0]
        self.spool = self.data / "pg_wal" / name

    def ask(self, name: str) -> int:
        """Return the status of restore_command; if 0, the content was the right one."""
        self.xlog.unlink(missing_ok=True)
        text = self.command.replace("%f", name).replace("%p", "pg_wal/RECOVERYXLOG")
        done = subprocess.run(["/bin/sh", "-c", text], cwd=self.data, check=False)
        if done.returncode == 0:
            assert self.xlog.read_bytes() == CONTENTS[name]
        return done.returncode

    def ready(self) -> list[str]:
        return sorted(path.name for path in self.spool.glob("0*") if len(path.name) == 24)

    def is_working(self) -> bool:
        """Tell whether somebody fetches ahead."""
        try:
            with (self.spool / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def prefetchers(self) -> list[int]:
        """Return the processes that hold the spool's lock open."""
        found = []
        for folder in Path("/proc").glob("[0-9]*/fd"):
            try:
                targets = [os.readlink(fd) for fd in folder.iterdir()]
            except OSError:
                continue
            if any(target.startswith(str(self.spool)) for target in targets):
                found.append(int(folder.parent.name))
        return found


@pytest.fixture
def recovery(tmp_path: Path) -> Iterator[Recovery]:
    made = Recovery(tmp_path)
    yield made
    for pid in made.prefetchers():
        os.kill(pid, signal.SIGKILL)


def test_what_follows_lies_ready(recovery: Recovery) -> None:
    assert recovery.ask(NAMES[0]) == 0
    wait_for(lambda: recovery.ready() == NAMES[1:9], what="eight segments")
    (pid,) = recovery.prefetchers()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {os.devnull}
    assert os.getsid(pid) not in (os.getsid(0), pid)  # a terminal can never become its own
    away = recovery.repository.rename(recovery.repository.with_name("away"))
    assert recovery.ask(NAMES[1]) == 0  # without the program, and without a repository
    away.rename(recovery.repository)


def test_all_segments_arrive_in_order(recovery: Recovery) -> None:
    assert [recovery.ask(name) for name in NAMES] == [0] * COUNT
    following = Segment(1, FIRST + COUNT, SIZE).name
    assert recovery.ask(following) == 1
    wait_for(lambda: not recovery.is_working(), what="the end of prefetching")


def test_histories_are_never_spooled(recovery: Recovery) -> None:
    recovery.archive.push("00000002.history", b"1\t0/700000\tx\n")
    CONTENTS["00000002.history"] = b"1\t0/700000\tx\n"
    assert recovery.ask("00000002.history") == 0
    assert not recovery.spool.exists()


@pytest.mark.parametrize("turn", range(6))
def test_a_killed_prefetcher_leaves_nothing_that_is_used(recovery: Recovery, turn: int) -> None:
    assert recovery.ask(NAMES[0]) == 0
    wait_for(lambda: len(list(recovery.spool.iterdir())) > turn or len(recovery.ready()) == 8)
    for pid in recovery.prefetchers():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not recovery.is_working())
    (recovery.spool / f"{NAMES[turn + 1]}.part-4711").write_bytes(b"half")
    for name in recovery.ready():
        assert (recovery.spool / name).read_bytes() == CONTENTS[name]
    assert [recovery.ask(name) for name in NAMES] == [0] * COUNT
    assert not [p for p in recovery.spool.iterdir() if p.name.endswith("-4711")]


def test_a_damaged_segment_is_not_spooled_and_still_stops_recovery(recovery: Recovery) -> None:
    (path,) = recovery.repository.rglob(NAMES[3])
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert recovery.ask(NAMES[0]) == 0
    wait_for(lambda: not recovery.is_working())
    assert recovery.ready() == NAMES[1:3]
    assert [recovery.ask(name) for name in NAMES[1:4]] == [0, 0, 200]


def test_the_spool_of_another_generation_is_not_touched(recovery: Recovery) -> None:
    other = recovery.spool.with_name("pgkeep-spool-17-4711-00000000")
    other.mkdir()
    (other / NAMES[1]).write_bytes(b"of another server")
    assert [recovery.ask(name) for name in NAMES[:3]] == [0, 0, 0]
    assert (other / NAMES[1]).read_bytes() == b"of another server"


def test_segments_that_nobody_asks_for_do_not_gather(recovery: Recovery) -> None:
    recovery.spool.mkdir()
    for name in ("000000010000000000000001", "000000030000000000000009", NAMES[3]):
        (recovery.spool / name).write_bytes(b"left behind")
    assert recovery.ask(NAMES[0]) == 0
    wait_for(lambda: recovery.ready() == NAMES[1:9], what="the window, and nothing else")
    assert recovery.ask(NAMES[3]) == 0


def test_one_prefetcher_at_a_time(recovery: Recovery) -> None:
    assert [recovery.ask(name) for name in (NAMES[0], NAMES[0], NAMES[12])] == [0, 0, 0]
    wait_for(lambda: len(recovery.ready()) == 8)
    assert len(recovery.prefetchers()) == 1
    assert recovery.ready() == NAMES[1:9]


def test_recovery_ends_while_segments_are_fetched(recovery: Recovery) -> None:
    for _ in range(4):
        assert recovery.ask(NAMES[0]) == 0
        subprocess.run(["rm", "-rf", str(recovery.spool)], check=False)
        wait_for(lambda: not recovery.is_working(), what="the prefetcher to notice")
        assert not recovery.spool.exists() or list(recovery.spool.iterdir()) == []


@pytest.mark.parametrize("place", ["fetched", "./pg_wal/RECOVERYXLOG"])
def test_nothing_is_fetched_ahead_for_people_and_pg_rewind(recovery: Recovery, place: str) -> None:
    options = ["--repository", str(recovery.repository), "--cluster", "main", "--spool", "s"]
    command = [str(PGKEEP_WAL), *options, "fetch", NAMES[0], place]
    assert subprocess.run(command, cwd=recovery.data, check=False).returncode == 0
    assert list(recovery.data.rglob("s")) == []


class Full(Spool):
    def free_space(self) -> int:
        return prefetch.ROOM


def test_a_full_disk_ends_it_quietly(recovery: Recovery) -> None:
    spool = Full(str(recovery.xlog), "s")
    lock = spool.lock()
    assert lock is not None
    prefetch.fill([recovery.archive], spool, Segment(1, FIRST, SIZE), 8, lock)
    assert spool.ready() == []
    os.close(lock)


def test_a_small_file_system_is_left_to_the_server(recovery: Recovery) -> None:
    place = str(recovery.xlog.parent)
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("cannot mount a small file system here")
    try:
        assert [recovery.ask(name) for name in NAMES[:4]] == [0] * 4
        wait_for(lambda: not recovery.is_working())
        assert recovery.ready() == []
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_failing_write_leaves_nothing(recovery: Recovery) -> None:
    def blocks() -> Iterable[bytes]:
        yield b"first"
        raise OSError(28, "No space left on device")

    spool = Spool(str(recovery.xlog), "s")
    lock = spool.lock()
    assert lock is not None
    with pytest.raises(OSError, match="No space"):
        spool.put(NAMES[0], blocks())
    assert os.listdir(spool.folder) == ["lock"]
    os.close(lock)


def test_a_segment_that_is_being_written_is_waited_for(recovery: Recovery) -> None:
    go = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"con"
        go.wait(10)
        yield b"tent"

    spool = Spool(str(recovery.xlog), "s")
    lock = spool.lock()
    assert lock is not None
    writer = threading.Thread(target=spool.put, args=(NAMES[0], blocks()))
    writer.start()
    wait_for(lambda: len(os.listdir(spool.folder)) == 2)
    threading.Timer(0.05, go.set).start()
    assert Spool(str(recovery.xlog), "s").take(NAMES[0], str(recovery.xlog))
    assert recovery.xlog.read_bytes() == b"content"
    writer.join()
    os.close(lock)
