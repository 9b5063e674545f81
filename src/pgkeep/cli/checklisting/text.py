"""The checklist as text that fits 80 columns."""

import shlex
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pgkeep.checklist.row import Checklist, Row, State
from pgkeep.cli.text import Look, safe
from pgkeep.units import plural

_WIDE: Final = 80
_COLUMN: Final = max(len(state.value) for state in State) + 2


def checklist(found: Checklist, look: Look, words: Sequence[str] = ("pgkeep",)) -> str:
    """Show every row with its proof, and of those that are not ok why it matters and what to do."""
    lines = [line for row in found.rows for line in _row(row, look, words)]
    return "\n".join([*lines, "", _sum(found, look)])


def _row(row: Row, look: Look, words: Sequence[str]) -> list[str]:
    paint = {
        State.OK: look.good,
        State.UNKNOWN: look.weak,
        State.DUE: look.bad,
        State.NOT_SET_UP: look.weak,
        State.FAILED: look.bad,
    }[row.state]
    state = row.state.value if row.state is State.OK else row.state.value.upper()
    head = f"{paint(state.ljust(_COLUMN))}{look.bold(row.name)}: {row.how_often}"
    lines = [head, *_wrapped(f"{_dates(row, look)}{row.proof}")]
    if row.state is not State.OK:
        lines += _wrapped(f"why: {row.why}")
    if row.todo.startswith("pgkeep "):
        # Never wrapped: it is to be copied.
        typed = f"{shlex.join(words)} {row.todo.removeprefix('pgkeep ')}"
        lines.append(f"{' ' * _COLUMN}do: {safe(typed)}")
    elif row.todo:
        lines += _wrapped(f"fix: {row.todo}")
    return lines


def _dates(row: Row, look: Look) -> str:
    last = f"last {_short(row.last_done, look)}" if row.last_done else ""
    due = f"next by {_short(row.next_due, look)}" if row.next_due else ""
    dates = ", ".join(filter(None, (last, due)))
    return f"{dates}; " if dates else ""


def _short(moment: datetime, look: Look) -> str:
    """Return the time to the minute, in the user's zone."""
    here = moment.astimezone(look.zone)
    return f"{here:%Y-%m-%d %H:%M}{'Z' if not here.utcoffset() else f'{here:%z}'}"


def _wrapped(text: str) -> list[str]:
    indent = " " * _COLUMN
    return textwrap.wrap(
        safe(text),
        _WIDE,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sum(found: Checklist, look: Look) -> str:
    counts = [(sum(row.state is state for row in found.rows), state) for state in State]
    told = ", ".join(f"{count} {state.value}" for count, state in counts if count)
    head = f"cluster {safe(found.cluster)}: {plural(len(found.rows), 'row')}: {told}"
    return look.bad(head) if found.wanting else look.good(head)
