"""Locks: two never work at once, and the dead are in nobody's way."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import BEAT_S, STALE_S, Lock, LockLost, LockTaken, Timing, hold
from pgkeep.repository.marker import encode_document
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import BlobStat, StoreFailed
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.memory import MemoryStore

HOLDER = """
import sys
from pgkeep.repository.claims.locks import hold
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.local import LocalStore
cluster = Repository(LocalStore(sys.argv[1]), "id", None).cluster("main")
with hold(cluster, "backup", "pgkeep backup", {"backup"}):
    print("held", flush=True)
    sys.stdin.read()
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def no_pause(seconds: float) -> None:
    assert 0 < seconds < 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(clock: Clock) -> ClusterFolder:
    return Repository(MemoryStore("test", clock), "id", None).cluster("main")


def take(
    cluster: ClusterFolder, kind: str = "backup", clock: Callable[[], float] = time.monotonic
) -> Lock:
    timing = Timing(clock, no_pause)
    return hold(cluster, kind, f"pgkeep {kind}", {"backup", "expire"}, timing=timing)


def names(cluster: ClusterFolder) -> list[str]:
    return [blob.name for blob in cluster.store.list("clusters/main/locks/")]


def foreign(cluster: ClusterFolder, *, kind: str = "backup", **facts: object) -> str:
    """Write the lock of somebody on another host."""
    name = f"clusters/main/locks/{kind}-0123456789abcdef.json"
    there = {
        **locks.this_process()._asdict(),
        "host": "db2",
        "boot_id": "another",
        "pid": 42,
        "user": "postgres",
        "kind": kind,
        "command": f"pgkeep {kind}",
        "started_at": "2026-11-23T04:42:25.000000+00:00",
        "seen_at": "2026-11-23T04:42:25.000000+00:00",
        **facts,
    }
    cluster.store.put(name, [encode_document(there)])
    return name


def test_held_and_given_back(cluster: ClusterFolder) -> None:
    with take(cluster) as lock:
        assert len(names(cluster)) == 1
        lock.check()
        lock.beat()
        assert lock.took_over == []
    assert names(cluster) == []


def test_given_back_after_an_error(cluster: ClusterFolder) -> None:
    with pytest.raises(KeyError), take(cluster):
        raise KeyError
    assert names(cluster) == []


def test_a_second_one_hears_who_is_at_work(cluster: ClusterFolder, clock: Clock) -> None:
    with take(cluster) as lock:
        clock.now += 7
        with pytest.raises(LockTaken) as caught, take(cluster, "expire"):
            pass
        error = caught.value
        assert (error.command, error.pid) == ("pgkeep backup", os.getpid())
        start = "cannot work on cluster main now: 'pgkeep backup' is at work, process "
        assert str(error).startswith(f"{start}{os.getpid()} of ")
        assert str(error).endswith("last heard of 7.0 s ago")
        assert error.hint == f"wait for it, or end it: kill {os.getpid()}"
        lock.check()
    with take(cluster, "expire"):
        pass


def test_other_kinds_and_other_clusters_do_not_matter(cluster: ClusterFolder) -> None:
    with take(cluster, "wal"), take(cluster), take(cluster.repository.cluster("main2")):
        assert len(names(cluster)) == 2


def test_a_living_holder_elsewhere(cluster: ClusterFolder, clock: Clock) -> None:
    foreign(cluster)
    clock.now += STALE_S - 1
    with pytest.raises(LockTaken) as caught, take(cluster):
        pass
    assert "process 42 of postgres on db2, since 2026-11-23T04:42:25" in str(caught.value)
    assert caught.value.hint.startswith("wait for it, or end it on db2; should that host be dead")
    assert len(names(cluster)) == 1


def test_scenario_87_a_silent_holder_elsewhere_gives_way(
    cluster: ClusterFolder, clock: Clock
) -> None:
    name = foreign(cluster)
    clock.now += STALE_S + 1
    with take(cluster) as lock:
        assert name not in names(cluster)
        (gone,) = lock.took_over
        assert str(gone) == (
            "'pgkeep backup', process 42 of postgres on db2, since 2026-11-23T04:42:25.000000+00:00"
        )


def test_in_another_container_of_this_host_only_the_heartbeat_counts(
    cluster: ClusterFolder, clock: Clock
) -> None:
    here = locks.this_process()
    foreign(cluster, boot_id=here.boot_id, pid_namespace="pid:[1]", pid=1 << 22)
    clock.now += 10
    with pytest.raises(LockTaken), take(cluster):
        pass


def test_a_pid_that_was_used_again_is_another_process(cluster: ClusterFolder) -> None:
    here = locks.this_process()
    foreign(cluster, **{**here._asdict(), "pid_start": "1"})
    with take(cluster) as lock:
        assert len(lock.took_over) == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}'])
def test_an_unreadable_lock_protects_for_a_while(
    cluster: ClusterFolder, clock: Clock, content: bytes
) -> None:
    cluster.store.put("clusters/main/locks/backup-1.json", [content])
    clock.now += 10
    with pytest.raises(LockTaken, match="an unreadable lock"), take(cluster):
        pass
    clock.now += STALE_S
    with take(cluster) as lock:
        assert len(lock.took_over) == 1


def test_the_heartbeat_is_written_every_30_seconds(cluster: ClusterFolder, clock: Clock) -> None:
    with take(cluster, clock=clock) as lock:
        (name,) = names(cluster)
        written = cluster.store.stat(name).modified
        clock.now += BEAT_S - 1
        lock.beat()
        assert cluster.store.stat(name).modified == written
        clock.now += 1
        lock.beat()
        assert cluster.store.stat(name).modified == clock.now


def test_a_beating_holder_is_never_taken_for_dead(cluster: ClusterFolder, clock: Clock) -> None:
    with take(cluster, clock=clock) as lock:
        for _ in range(20):
            clock.now += BEAT_S
            lock.beat()
        (holder,) = locks.holders(cluster, clock.now)
        assert (holder.silent_s, holder.command) == (0, "pgkeep backup")


def test_a_lock_that_was_taken_over_is_noticed(cluster: ClusterFolder, clock: Clock) -> None:
    with take(cluster, clock=clock) as lock:
        cluster.store.delete(names(cluster)[0])
        clock.now += 400
        for call in (lock.check, lock.beat):
            with pytest.raises(LockLost) as caught:
                call()
            assert str(caught.value) == (
                "cannot finish 'pgkeep backup' on cluster main: its lock was removed, "
                "6 min 40 s after its last heartbeat"
            )
        assert names(cluster) == []  # not brought back to life


def test_a_failing_store_while_looking_leaves_no_lock(clock: Clock) -> None:
    class Failing(MemoryStore):
        def list(self, prefix: str = "") -> Iterator[BlobStat]:
            raise StoreFailed(self.url, "list", "timeout")

    store = Failing("test", clock)
    cluster = Repository(store, "id", None).cluster("main")
    with pytest.raises(StoreFailed), take(cluster):
        pass
    assert [blob.name for blob in MemoryStore.list(store)] == []


def test_an_error_is_not_hidden_by_a_store_that_fails_too(clock: Clock) -> None:
    class Failing(MemoryStore):
        def delete(self, name: str) -> None:
            raise StoreFailed(self.url, "delete", "timeout")

    cluster = Repository(Failing("test", clock), "id", None).cluster("main")
    with pytest.raises(KeyError), take(cluster):
        raise KeyError
    with pytest.raises(StoreFailed), take(cluster.repository.cluster("other")):
        pass


def test_two_that_come_at_once_do_not_both_fail(cluster: ClusterFolder) -> None:
    """The other one's lock is seen and then withdrawn: the next attempt succeeds."""
    name = foreign(cluster)

    def withdraw(seconds: float) -> None:
        cluster.store.delete(name)

    timing = Timing(Clock(), withdraw)
    with hold(cluster, "backup", "pgkeep backup", {"backup"}, timing=timing) as lock:
        assert len(names(cluster)) == 1
        assert lock.took_over == []


def test_of_many_at_once_never_two_hold(tmp_path: Path) -> None:
    cluster = Repository(LocalStore(str(tmp_path)), "id", None).cluster("main")
    gate, inside, most, served = threading.Barrier(6), [0], [0], []
    guard = threading.Lock()

    def work() -> None:
        gate.wait()
        try:
            with hold(cluster, "backup", "x", {"backup"}):
                with guard:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                served.append(1)
                with guard:
                    inside[0] -= 1
        except LockTaken:
            pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 1
    assert names(cluster) == []


def start_holder(root: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def on_disk(tmp_path: Path) -> ClusterFolder:
    return Repository(LocalStore(str(tmp_path)), "id", None).cluster("main")


def test_two_living_processes(on_disk: ClusterFolder, tmp_path: Path) -> None:
    process = start_holder(tmp_path)
    with pytest.raises(LockTaken) as caught, take(on_disk):
        pass
    assert caught.value.pid == process.pid
    process.communicate()  # its stdin ends, and so does it
    with take(on_disk) as lock:
        assert lock.took_over == []


def test_scenario_87_a_killed_holder_gives_way_at_once(
    on_disk: ClusterFolder, tmp_path: Path
) -> None:
    process = start_holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with take(on_disk) as lock:  # still a zombie
        (gone,) = lock.took_over
        assert gone.process.pid == process.pid
    process.communicate()


def test_a_stopped_holder_is_alive(on_disk: ClusterFolder, tmp_path: Path) -> None:
    process = start_holder(tmp_path)
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(LockTaken), take(on_disk):
            pass
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate()


def test_lock_errors_pickle() -> None:
    import pickle

    error: PgkeepError = LockTaken(
        "main", "backup", "pgkeep backup", "db1", 1, "postgres", "now", 3.0
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_end_of_an_expire_is_waited_for(cluster: ClusterFolder) -> None:
    told: list[str] = []
    other = hold(cluster, "expire", "pgkeep expire", {"backup"})
    other.__enter__()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            other.__exit__(None, None, None)

    timing = Timing(clock=lambda: 0.0, pause=pause)
    wanted = hold(
        cluster, "backup", "pgkeep backup", {"expire"}, waiting=told.append, timing=timing
    )
    with wanted:
        assert told == ["pgkeep expire"]
        assert len(pauses) == 3


def test_nobody_waits_for_an_expire_for_ever(cluster: ClusterFolder) -> None:
    times = iter([0.0, 1.0, 1.0, 1.0, 700.0, 700.0, 700.0, *[701.0] * 100])
    timing = Timing(clock=lambda: next(times), pause=lambda _: None)
    with (
        hold(cluster, "expire", "pgkeep expire", {"backup"}),
        pytest.raises(LockTaken, match="'pgkeep expire' is at work"),
        hold(cluster, "backup", "pgkeep backup", {"expire"}, waiting=lambda _: None, timing=timing),
    ):
        pass


def test_another_backup_is_not_waited_for(cluster: ClusterFolder) -> None:
    told: list[str] = []
    timing = Timing(clock=lambda: 0.0, pause=lambda _: None)
    with (
        hold(cluster, "backup", "pgkeep backup", {"backup"}),
        pytest.raises(LockTaken),
        hold(cluster, "backup", "pgkeep backup", {"backup"}, waiting=told.append, timing=timing),
    ):
        pass
    assert told == []
