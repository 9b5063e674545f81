"""Reads what a job's process says until that process has ended, whoever else holds the pipe."""

import os
import select
from collections.abc import Callable, Iterator
from typing import Final

_GLANCE_MS: Final = 1000  # between two looks at a process that says nothing
_PIECE: Final = 64 << 10  # bytes: what a pipe holds
_LAST_PIECES: Final = 16  # read of what is said after the end, by what the process has left behind
_LONGEST: Final = 1 << 20  # bytes of a line; what is longer is cut


def lines_of(pipe: int, has_ended: Callable[[], bool]) -> Iterator[str]:
    """Yield lines without their ends.

    The end of the pipe is not waited for: a server that a job starts and leaves running may keep
    it open for ever.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    rest, last = b"", _LAST_PIECES
    while last:
        # Asked before the look at the pipe: what it said before its end is in there then.
        ended = has_ended()
        if not poll.poll(0 if ended else _GLANCE_MS):
            if ended:
                break
            continue
        piece = os.read(pipe, _PIECE)
        if not piece:
            break
        last -= ended
        *whole, rest = (rest + piece).split(b"\n")
        yield from map(_text, whole)
        if len(rest) > _LONGEST:
            yield _text(rest)
            rest = b""
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line[:_LONGEST].decode(errors="replace")
