"""A push or fetch that dies at any point: nothing half-done is ever seen."""

import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from support.command import PGKEEP_WAL, Result, run_pgkeep_wal
from support.segments import GENERATION, SEGMENT, SIZE, segment_content
from support.wait import wait_for

CALLS = ("openat", "mkdir", "writev", "fchmod", "fsync", "link", "unlink", "close")


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False).returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace cannot trace here")


class Desk:
    """A repository, a data directory with one segment in it, and the commands on them."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        store = make_store(str(self.repository))
        self.cluster: ClusterFolder = Repository.create(store, "none", None).cluster("main")
        self.cluster.add_generation(GENERATION)
        self.wal = self.cluster.wal(GENERATION.id)
        self.data = folder / "data"
        (self.data / "pg_wal").mkdir(parents=True)
        self.path = self.data / "pg_wal" / SEGMENT.name
        self.content = segment_content(1)
        self.path.write_bytes(self.content)
        self.fetched = self.data / "pg_wal/RECOVERYXLOG"
        self.options = ["--repository", str(self.repository), "--cluster", "main"]

    def push(self) -> Result:
        return run_pgkeep_wal(*self.options, "push", f"pg_wal/{SEGMENT.name}", cwd=self.data)

    def fetch(self) -> Result:
        words = ["fetch", SEGMENT.name, "pg_wal/RECOVERYXLOG"]
        return run_pgkeep_wal(*self.options, *words, cwd=self.data)

    def start(self, *words: str, trace: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        command = [*trace, str(PGKEEP_WAL), *self.options, *words]
        return subprocess.Popen(command, cwd=self.data, stderr=subprocess.DEVNULL)

    def what_fetch_sees(self) -> bytes | None:
        """Return the fetched content, None if there is none; anything else fails the test."""
        self.fetched.unlink(missing_ok=True)
        done = self.fetch()
        assert done.exit in (0, 1), done
        return self.fetched.read_bytes() if done.exit == 0 else None

    def objects(self) -> list[Path]:
        return list(self.repository.rglob(SEGMENT.name))

    def forget(self) -> None:
        """Make the repository as if nothing had been archived yet."""
        shutil.rmtree(self.repository / "clusters/main/wal", ignore_errors=True)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def kill_at(call: str, when: int) -> tuple[str, ...]:
    """Return the words that run a command and kill it at its `when`-th `call` in our own files."""
    inject = f"inject={call}:signal=SIGKILL:when={when}"
    return ("strace", "-qq", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject)


def counted(desk: Desk, call: str, *words: str, log: Path) -> int:
    """Return how often a whole run of a command makes a system call."""
    trace = ("strace", "-qq", "-f", "-o", str(log), "-e", f"trace={call}")
    assert desk.start(*words, trace=trace).wait(60) == 0
    return sum(f" {call}(" in line for line in log.read_text().splitlines())


def moments(count: int) -> list[int]:
    """Return up to six moments, the last ones among them: interpreters start with many calls."""
    return sorted({1, *range(max(1, count - 4), count + 1)})


@needs_strace
@pytest.mark.parametrize("call", CALLS)
def test_scenario_58_push_killed_at_every_system_call(
    desk: Desk, tmp_path: Path, call: str
) -> None:
    words = ("push", f"pg_wal/{SEGMENT.name}")
    desk.push().ok()  # the first one may compile modules, which are calls too
    desk.forget()
    count = counted(desk, call, *words, log=tmp_path / "trace")
    assert count > 0
    for when in moments(count):
        desk.forget()
        status = desk.start(*words, trace=kill_at(call, when)).wait(60)
        assert status in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, when)
        assert desk.what_fetch_sees() in (None, desk.content), (call, when)
        # What was left behind is never taken for a segment, nor in the way of the next try.
        listing = desk.wal.list(SIZE)
        assert (listing.foreign, listing.cut_off) == ([], []), (call, when)
        assert desk.push().exit == 0, (call, when)
        assert desk.what_fetch_sees() == desk.content, (call, when)
        assert len(desk.objects()) == 1, (call, when)


@needs_strace
@pytest.mark.parametrize("call", ["writev", "fsync", "rename", "openat"])
def test_fetch_killed_at_every_system_call(desk: Desk, tmp_path: Path, call: str) -> None:
    desk.push().ok()
    words = ("fetch", SEGMENT.name, "pg_wal/RECOVERYXLOG")
    count = counted(desk, call, *words, log=tmp_path / "trace")
    assert count > 0
    for when in moments(count):
        desk.fetched.unlink(missing_ok=True)
        desk.start(*words, trace=kill_at(call, when)).wait(60)
        if desk.fetched.exists():
            assert desk.fetched.read_bytes() == desk.content, (call, when)
        assert desk.what_fetch_sees() == desk.content, (call, when)
        left = sorted(path.name for path in desk.fetched.parent.iterdir())
        assert left == [SEGMENT.name, "RECOVERYXLOG"], (call, when)


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["writev", "fsync", "link"])
def test_a_push_that_could_not_be_made_durable_is_not_acknowledged(
    desk: Desk, call: str, error: str
) -> None:
    fail = ("strace", "-qq", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e")
    words = ("push", f"pg_wal/{SEGMENT.name}")
    status = desk.start(*words, trace=(*fail, f"inject={call}:error={error}:when=1+")).wait(60)
    assert status == (25 if error == "ENOSPC" else 24)
    assert desk.push().exit == 0
    assert desk.what_fetch_sees() == desk.content


def test_a_push_killed_at_any_moment_is_never_seen_torn(desk: Desk) -> None:
    """kill -9 at moments spread over the whole run, with fetches in between."""
    for turn in range(12):
        desk.forget()
        process = desk.start("push", f"pg_wal/{SEGMENT.name}")
        if turn % 2:
            # as soon as anything of it can be seen in the repository
            wait_for(lambda: desk.objects() or list(desk.repository.glob(".tmp/*")))
        else:
            wait_for(partial(has_used, process.pid, turn))
        process.kill()
        process.wait(60)
        assert desk.what_fetch_sees() in (None, desk.content)
    assert desk.push().exit == 0
    assert desk.what_fetch_sees() == desk.content


def has_used(pid: int, ticks: int) -> bool:
    """Tell whether a process has used so much processor time, or has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return True
    return fields[0] == "Z" or int(fields[11]) + int(fields[12]) >= ticks
