"""Politeness of workers: a rate that all of them share, and steps back for others.

Sources: ioprio_set(2), linux/ioprio.h, and the kernel's tables of system call numbers.
"""

import ctypes
import errno
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pgkeep.errors import PgkeepError

_AHEAD_S: Final = 0.1  # how much may be read at once after nobody read
_NAP_S: Final = 0.2  # how long a wait goes on before it asks whether to give up
_LOCK_S: Final = 1.0  # whoever holds the lock for longer is dead: it is held for microseconds

_MOST_NICE: Final = 19  # anybody may go down as far as that
_WHO_PROCESS: Final = 1
_CLASS_SHIFT: Final = 13
_IOPRIO: Final = {"best-effort": 2 << _CLASS_SHIFT | 7, "idle": 3 << _CLASS_SHIFT}
# Of ioprio_set, for programs of 64 bits (arm: 32); ioprio_get has the next number everywhere.
_SYSCALLS: Final = {
    "x86_64": 251,
    "aarch64": 30,
    "riscv64": 30,
    "loongarch64": 30,
    "ppc64le": 273,
    "ppc64": 273,
    "s390x": 282,
    "armv7l": 314,
}


class CannotStepBack(PgkeepError):
    """Workers cannot be given the low priority that is configured."""

    code = "cannot-step-back"
    exit_status = 251

    setting: str  # 'ionice'
    value: str
    why: str

    def __str__(self) -> str:
        return f"nothing was begun: {self.setting} = {self.value} cannot be had here: {self.why}"

    @property
    def hint(self) -> str:
        return f"take {self.setting} out of the configuration, or give --rate instead"


class SharedRate:
    """Bytes per second for all processes together that got this through make_pool's initargs.

    Whoever asks gets a place in a queue of time: first come, first served, whatever their number.
    """

    def __init__(
        self,
        bytes_per_second: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,  # one for all processes of a machine
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """0 or None: no limit."""
        self._rate = bytes_per_second or 0
        self._clock, self._sleep = clock, sleep
        if self._rate:
            context = multiprocessing.get_context("forkserver")
            self._taken: Any = context.RawValue("d", 0.0)  # until when all time is given away
            self._lock: Any = context.Lock()

    def take(self, count: int, stopped: Callable[[], bool] = lambda: False) -> None:
        """Return when `count` more bytes may be read, or `stopped()` says that none will be."""
        if not self._rate or not count:
            return
        with self._locked():
            until = max(self._taken.value, self._clock()) + count / self._rate
            self._taken.value = until
        while (wait := until - _AHEAD_S - self._clock()) > 0 and not stopped():
            self._sleep(min(wait, _NAP_S))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A worker that was killed with the lock in its hand must not stop the others.
        held = self._lock.acquire(timeout=_LOCK_S)
        try:
            yield
        finally:
            if held:
                self._lock.release()


def check_step_back(nice: int, ionice: str) -> None:
    """Raise CannotStepBack unless step_back() will work in processes that begin from here.

    Call it before any work: a worker can only die of it.
    """
    if not 0 <= nice <= _MOST_NICE:
        raise CannotStepBack("nice", str(nice), f"it goes from 0 to {_MOST_NICE}")
    if ionice:
        try:
            # The priority that it has already: nothing changes.
            _ioprio(0, _WHO_PROCESS, 0, _ioprio(1, _WHO_PROCESS, 0))
        except OSError as error:
            raise CannotStepBack("ionice", ionice, _why(error)) from error


def step_back(nice: int, ionice: str) -> None:
    """Lower the calling process's priority by `nice`, and for the disk to `ionice` ('' neither).

    Raise CannotStepBack.
    """
    if nice:
        os.nice(nice)
    if ionice:
        try:
            _ioprio(0, _WHO_PROCESS, 0, _IOPRIO[ionice])
        except OSError as error:
            raise CannotStepBack("ionice", ionice, _why(error)) from error


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _ioprio(call: int, *arguments: int) -> int:
    """Do ioprio_set (0) or ioprio_get (1). Raise OSError."""
    about = os.uname()
    number = syscall_number(about.sysname, about.machine) + call
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(answer)


def syscall_number(system: str, machine: str) -> int:
    """Return the number of ioprio_set. Raise OSError where nobody knows it."""
    if system != "Linux" or machine not in _SYSCALLS:
        raise OSError(errno.ENOSYS, f"pgkeep knows no way on {system} {machine}")
    return _SYSCALLS[machine]
