"""Run one command as a user would and count what it cost: wall, CPU, memory of all processes."""

import contextlib
import ctypes
import os
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Cost:
    wall: float  # seconds
    cpu: float  # seconds, user and system, all processes
    memory: int  # bytes: the largest sum of proportional set sizes seen


class CommandFailed(Exception):
    """A benchmarked command ended with an error: its figures would mean nothing."""


def measure(command: Sequence[str], cwd: Path | None = None) -> Cost:
    """Run `command`; raise CommandFailed unless it exits with 0."""
    # Orphans of the command become our children, so that their CPU time is counted as well.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    children = _children(os.getpid())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with subprocess.Popen(
        list(command), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        sampler = _Sampler(process.pid)
        sampler.start()
        output = process.communicate()[0]
        wall = time.monotonic() - began
        sampler.stop()
    _reap_orphans(children)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)} exited with {process.returncode}:\n{output}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, sampler.peak)


def _reap_orphans(before: set[int]) -> None:
    """Wait for what the command left behind, but not for children that were ours before."""
    deadline = time.monotonic() + 10
    while (left := _children(os.getpid()) - before) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


class _Sampler(threading.Thread):
    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._root = root
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self.peak = max(self.peak, sum(map(_pss, _descendants(self._root))))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _descendants(root: int) -> set[int]:
    """Return the process and all below it."""
    found: set[int] = set()
    todo = {root}
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo |= _children(pid) - found
    return found


def _children(pid: int) -> set[int]:
    try:
        lists = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        return {int(word) for children in lists for word in children.read_text().split()}
    except (OSError, ValueError):
        return set()


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
