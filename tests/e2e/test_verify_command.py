"""`pgkeep verify` as a process: interrupted, and with a worker killed."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import make_store
from support.command import PGKEEP
from support.small_repository import Small
from support.wait import wait_for


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of 40 MiB: enough to be read by workers."""
    path = tmp_path_factory.mktemp("verify") / "repository"
    store = make_store(str(path))
    Repository.create(store, "none", None)
    chance = random.Random(77)
    files = {f"base/5/{16384 + n}": chance.randbytes(4 << 20) for n in range(10)}
    Small(store).begin().backup(files, packs=4)
    return path


@contextmanager
def verifying(repository: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """Run a verify that would take long; yield it once its workers are there, with their pids."""
    command = [str(PGKEEP), "--repository", str(repository), "verify", "--level", "bytes"]
    command += ["--jobs", "2", "--rate", "1MB/s"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            workers = wait_for(lambda: two_workers(process.pid), what="two workers")
            yield process, workers
        finally:
            process.kill()


def two_workers(pid: int) -> set[int]:
    """Return the fork server's children, once there are two."""
    found = {grandchild for child in children(pid) for grandchild in children(child)}
    return found if len(found) == 2 else set()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def gone(pids: set[int]) -> bool:
    def state(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"

    return all(state(pid) in "ZX" for pid in pids)


def left(repository: Path) -> list[str]:
    """Return the proofs and locks in a repository."""
    main = repository / "clusters/main"
    return [path.name for name in ("proofs", "locks") for path in (main / name).glob("*")]


def test_scenario_77_a_verify_that_is_interrupted_proves_nothing(repository: Path) -> None:
    with verifying(repository) as (process, workers):
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("stopped by Ctrl-C\n")
    wait_for(lambda: gone(workers), what="the end of the workers")
    assert left(repository) == []


def test_scenario_77_a_verify_whose_worker_is_killed_proves_nothing(repository: Path) -> None:
    with verifying(repository) as (process, workers):
        os.kill(min(workers), signal.SIGKILL)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 232
    assert (
        "error: cannot verify, nothing was proven and nothing recorded: a worker process was "
        "killed, perhaps because memory ran out\n"
        "hint: look into dmesg, then run it again with --jobs 1\n"
    ) in stderr
    wait_for(lambda: gone(workers), what="the end of the workers")
    assert left(repository) == []


def test_scenario_77_the_workers_of_a_verify_die_with_it(repository: Path) -> None:
    with verifying(repository) as (process, workers):
        process.kill()
        process.communicate(timeout=30)
    wait_for(lambda: gone(workers), what="the end of the workers")
    assert [name for name in left(repository) if not name.startswith("verify-")] == []
    for path in (repository / "clusters/main/locks").glob("*"):
        path.unlink()  # of the dead: the next one that minds would remove it
