"""The demo's small picture of time: what happened, where it was undone. Pure."""

from collections.abc import Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """Something that happened, in order."""

    sign: str  # one column wide
    word: str


def timeline(marks: Sequence[Mark], back_to: int, width: int = 72) -> str:
    """Draw the marks along a line, and the new timeline that leaves just before mark `back_to`."""
    step = (width - 4) // max(len(marks), 1)
    line, words = "", ""
    for mark in marks:
        line += mark.sign + "─" * (step - 1)
        words += mark.word.ljust(step)
    turn = back_to * step - 2
    branch = " " * turn + "╰─▶ timeline 2, as it was just before " + marks[back_to].word
    below = line[:turn] + "┬" + line[turn + 1 :]
    return "\n".join((below + "▶ timeline 1", words.rstrip(), branch))
