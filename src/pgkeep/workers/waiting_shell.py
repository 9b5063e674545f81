"""A shell that waits for the end of this process, to do what a killed one no longer can."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress


class WaitingShell:
    """Runs a script, whose standard input says `done`, or just ends when this process is killed."""

    def __init__(self, script: str, words: Sequence[str]) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", script, "pgkeep-watchdog", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal must not end it first
            cwd="/",
        )

    def end(self) -> None:
        """Say that there is nothing left to do."""
        with suppress(BrokenPipeError):
            self._shell.communicate(b"done\n")

    def let_go(self, word: str) -> None:
        """Tell it a last line, and leave the rest to it."""
        stdin = self._shell.stdin
        assert stdin is not None
        stdin.write(f"{word}\n".encode())
        stdin.close()
        self._shell.returncode = 0  # not ours to wait for any more
