"""Runs somebody else's command as if pgkeep were not there."""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pgkeep.cli.context import say
from pgkeep.cli.text import safe

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP)
_NOT_STARTED: Final = 126  # a shell's word for it


def find_program(name: str) -> str | None:
    """Return where a program is, as a shell would look for it."""
    return shutil.which(name)


def run_beside(program: str, command: Sequence[str]) -> int:
    """Run a command with our own stdin, stdout and stderr; return its exit status as a shell does.

    It decides what a signal does: Ctrl-C reaches it from the terminal, other signals from here.
    """
    with _signals_for_others() as others:
        try:
            process = subprocess.Popen(command, executable=program)
        except OSError as error:
            say(f"cannot start {safe(program)}: {(error.strerror or str(error)).lower()}")
            return _NOT_STARTED
        others.append(process)
        status = process.wait()
    return 128 - status if status < 0 else status


@contextmanager
def _signals_for_others() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Leave signals to the processes that are put into the list."""
    others: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for process in others:
            process.send_signal(number)

    def leave(_number: int, _frame: FrameType | None) -> None:
        """The terminal has sent it to the whole foreground already."""

    # Handlers, not SIG_IGN, which the command would inherit.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_PASSED_ON)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave if number == signal.SIGINT else pass_on)
    try:
        yield others
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
