"""Runs a program of PostgreSQL's that tells on stderr how far it is, and hears it to its end."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Final, NamedTuple

_NOT_RUN: Final = 127  # as a shell says it
_KEPT: Final = 2000  # lines of what a program says


class Said(NamedTuple):
    """How a program ended, and what it said: progress left out."""

    status: int
    output: tuple[str, ...]

    def having(self, *words: str) -> list[str]:
        return [line for line in self.output if any(word in line for word in words)]

    @property
    def last(self) -> str:
        return self.output[-1] if self.output else f"exit status {self.status}, without a word"


def follow(
    argv: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], bool],
    *,
    stdout: int = subprocess.STDOUT,
) -> Said:
    """Run a program; `on_line` takes each line and returns whether it was progress.

    The program never outlives this call.
    """
    quiet = stdout == subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else subprocess.STDOUT,
        )
    except OSError as error:
        return Said(_NOT_RUN, (f"it cannot be run: {error.strerror or error}",))
    with process:
        try:
            source = process.stderr if quiet else process.stdout
            assert source is not None
            said = (line for line in _lines(source) if not on_line(line))
            kept = [line for number, line in enumerate(said) if number < _KEPT]
            return Said(process.wait(), tuple(kept))
        finally:
            if process.poll() is None:
                process.kill()


def _lines(source: IO[bytes]) -> Iterator[str]:
    """Yield lines; progress ends with a carriage return instead of a line end."""
    pending = b""
    while piece := source.read1(1 << 16):  # type: ignore[attr-defined]
        *whole, pending = (pending + piece).replace(b"\r", b"\n").split(b"\n")
        yield from (line.decode(errors="replace").rstrip() for line in whole if line.strip())
    if pending.strip():
        yield pending.decode(errors="replace").rstrip()
