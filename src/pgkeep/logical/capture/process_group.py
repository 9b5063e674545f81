"""pg_dump and its workers: stopped when they run too far ahead, and never left behind.

They hold locks on the server as long as they live, so they must not outlive us, whatever ends us.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pgkeep.workers.waiting_shell import WaitingShell

# Waits for a word on its standard input. The end of it instead of a word means that we were killed.
_WATCHDOG: Final = """
read -r word
[ "$word" = done ] && exit 0
[ -n "$1" ] && kill -KILL "-$1" 2>/dev/null
shift
count=0
# Whoever dies may have made a file after rm had looked.
until rm -rf -- "$@" 2>/dev/null || [ $count -ge 100 ]; do
    sleep 0.1
    count=$((count + 1))
done
"""
_DYING_S: Final = 5.0  # how long killed processes may take to be gone
_NAP_S: Final = 0.005


def watchdog(group: int | None, directories: Sequence[Path]) -> WaitingShell:
    """Kill a process group and remove directories when this process is killed. Call `end`."""
    return WaitingShell(_WATCHDOG, [str(group or ""), *map(str, directories)])


class ProcessGroup:
    """A process that leads a group of its own, and the directory that it writes into.

    A context manager: leaving it by an error kills the group and removes the directory, and so does
    the death of our own process. After a bad end of theirs the directory is removed as well.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path) -> None:
        self._process = process
        self._directory = directory
        self._stopped = False
        self._pidfd = -1

    def __enter__(self) -> Self:
        if self._process.returncode is None and os.getpgid(self._process.pid) == os.getpgrp():
            raise ValueError("pg_dump must lead a process group of its own")
        group = self._process.pid if self._process.returncode is None else None
        self._watchdog = watchdog(group, [self._directory])
        with suppress(OSError):  # before Linux 5.3 its end is noticed a little later
            self._pidfd = os.pidfd_open(self._process.pid)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None or self.failed:
                self._abandon()
        finally:
            self._watchdog.end()
            if self._pidfd >= 0:
                os.close(self._pidfd)

    def waitable(self) -> Sequence[int]:
        """Return what is readable when the process has ended."""
        return [self._pidfd] if self._pidfd >= 0 and self._process.returncode is None else []

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def failed(self) -> bool:
        """Tell whether the process has ended, and not well."""
        return bool(self._process.returncode)

    def stop(self) -> None:
        """Let none of them go on."""
        self._signal(signal.SIGSTOP)
        self._stopped = True

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)
        self._stopped = False

    def has_ended(self) -> bool:
        """Tell whether the leader has ended; then nobody else of the group is left either."""
        if self._process.returncode is not None:
            return True
        # Not collected yet: until then its number, which is the group's, is not given again.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, self._process.pid, flags) is None:
            return False
        self._kill()
        return True

    def _abandon(self) -> None:
        if self._process.returncode is None:
            self._kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _kill(self) -> None:
        group = self._process.pid
        self._signal(signal.SIGKILL)
        self._process.wait()  # the number of the group may be given again only from here on
        deadline = time.monotonic() + _DYING_S
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(group, 0)
                time.sleep(_NAP_S)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
