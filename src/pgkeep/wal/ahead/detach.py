"""Processes of pgkeep-wal's own, which neither PostgreSQL nor a terminal waits for.

Such a process is started anew, not forked off: a client of an object store has threads and
connections that do not survive a fork.
"""

import gc
import os
import sys
from contextlib import suppress

from pgkeep import config_file
from pgkeep.light_typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgkeep.wal.main import Call

_NICENESS: Final = 5  # behind the server, which has the use of what is done here
_POSTGRESQL: Final = (b"postgres\n", b"postmaster\n")


def start(words: list[str], lock: int) -> None:
    """Start pgkeep-wal with `words`, holding `lock`, an open file. Raise OSError.

    It must call settle() first of all.
    """
    nowhere = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    # -P: whatever lies in the data directory, which is where we are, is not to be imported.
    program = [sys.executable, "-P", "-m", "pgkeep.wal.main"]
    os.set_inheritable(lock, True)
    try:
        os.posix_spawn(
            program[0],
            [*program, f"--lock={lock}", *words],
            config_file.environment(),
            file_actions=nowhere,
        )
    finally:
        os.set_inheritable(lock, False)


def origin(call: "Call") -> list[str]:
    """Return the options that lead to the same cluster, for start()."""
    given = {
        "config": call.config,
        "cluster": call.cluster,
        "repository": call.repository,
        "generation": call.generation,
    }
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def settle(lock: int) -> None:
    """Leave the group and session of who started this process, and what others wait for."""
    gc.enable()  # this one may live for months
    with suppress(PermissionError):  # it leads a session already
        os.setsid()  # PostgreSQL signals its children's groups when it shuts down
    if os.fork():
        os._exit(0)  # who leads a session could be given a terminal
    os.set_inheritable(lock, False)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (*range(3), lock):
            with suppress(OSError):  # the listing's own
                os.close(int(name))
    os.nice(_NICENESS)


def leave_folder() -> None:
    """Keep no directory busy: it may be unmounted, moved or removed."""
    os.chdir("/")


def adopted_by_postgresql() -> bool:
    """Tell whether orphans become the postmaster's children, as in a container without an init.

    It takes a child of its own that was killed for a crash, and ends every session
    (postmaster.c: CleanupBackend).
    """
    try:
        with open("/proc/1/comm", "rb") as file:
            return file.read(16) in _POSTGRESQL
    except OSError:
        return False
