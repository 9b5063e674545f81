"""Processes of a server: alive or not, where they work, and waiting for them. Reads /proc.

And the memory that there is for one.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

_IPC_RMID: Final = 0  # <sys/ipc.h>
_CGROUP: Final = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


class Process(NamedTuple):
    """One process, told from a later one with the same number by its start time."""

    pid: int
    started: int  # in clock ticks since boot

    @classmethod
    def find(cls, pid: int) -> "Process | None":
        """Return the live process of that number; zombies count as gone."""
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else cls(pid, int(fields[19]))

    def is_alive(self) -> bool:
        return Process.find(self.pid) == self


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_postgres(pid: int) -> bool:
    """Tell whether a process calls itself a PostgreSQL server."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False
    return name.strip() in ("postgres", "postmaster")


def working_directory(pid: int) -> str | None:
    """Return where a process works; None when it is gone or not ours to ask."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def kill_tree(root: Process) -> None:
    """Kill a process and all its descendants, as a power cut would; wait until they are gone."""
    if not root.is_alive():
        return
    os.kill(root.pid, signal.SIGSTOP)  # so that it starts no new children while we list them
    family = [found for pid in _descendants(root.pid) if (found := Process.find(pid)) is not None]
    for member in [root, *family]:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not any(m.is_alive() for m in [root, *family]), 30)


def remove_shared_memory(segment: int | None) -> None:
    """Remove a System V segment, of a server that is gone; one that is not there is no error."""
    if segment is not None:
        ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)


def free_memory() -> int:
    """Return how many bytes can be taken without swapping, within a container's limit.

    0 where nothing tells.
    """
    try:
        with open("/proc/meminfo", encoding="ascii") as facts:
            kib = next(line.split()[1] for line in facts if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 0
    limit, used = _number_in(_CGROUP / "memory.max"), _number_in(_CGROUP / "memory.current")
    free = int(kib) * 1024
    return free if limit is None or used is None else min(free, max(0, limit - used))


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None  # 'max' is no limit


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again, ever less often, until it holds; False when time ran out first."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return True


def reap(pid: int) -> int | None:
    """Collect a dead child of ours and return its exit code; None: alive, or not our child."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if found else None


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for pid in all_pids():
        fields = _stat(pid)
        if fields is not None:
            parents.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    open_ends = [root]
    while open_ends:
        children = parents.get(open_ends.pop(), [])
        found += children
        open_ends += children
    return found


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on; the name before may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
