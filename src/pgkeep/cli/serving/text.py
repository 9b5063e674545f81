"""Jobs as text."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pgkeep.cli.text import Look, fields, safe, table
from pgkeep.units import format_amount, format_duration

_UPCOMING = 5  # of what comes next, in the list


def jobs(runs: Sequence[Any], upcoming: Sequence[Any], look: Look) -> str:
    """Return what runs and ran, the newest last, and what comes next."""
    rows = [_row(run, look) for run in reversed(runs)]
    header = ("job", "cluster", "what", "state", "began", "took", "by")
    lines = [table(header, rows, look)]
    if not runs:
        lines = ["no jobs yet"]
    if upcoming:
        lines.append("\nnext:")
        lines += [
            f"  {look.at(_moment(one['due_at']))}  {safe(one['cluster'])}  "
            f"{safe(shlex.join(one['words']))}"
            for one in upcoming[:_UPCOMING]
        ]
    return "\n".join(lines)


def _row(run: Any, look: Look) -> tuple[str, ...]:
    job = run["job"]
    began = look.at(_moment(run["began_at"])) if run["began_at"] else "-"
    state = _state(run, look)
    what = safe(job["kind"])
    return (job["id"], safe(job["cluster"]), what, state, began, _took(run), safe(job["by"]))


def _state(run: Any, look: Look) -> str:
    state = str(run["state"])
    if state == "done":
        return look.good(state)
    return look.bad(state) if state in ("failed", "timed out", "no") else state


def _took(run: Any) -> str:
    if not run["began_at"] or not run["ended_at"]:
        return "-"
    seconds = (_moment(run["ended_at"]) - _moment(run["began_at"])).total_seconds()
    return format_duration(seconds)


def job(run: Any, log: str, look: Look) -> str:
    """Return everything about one job; `log` is what its process said."""
    asked = run["job"]
    pairs = [
        ("job", asked["id"]),
        ("command", safe(shlex.join(["pgkeep", "--cluster", asked["cluster"], *asked["words"]]))),
        ("asked by", f"{safe(asked['by'])}, {look.when(_moment(asked['asked_at']))}"),
        ("state", _state(run, look)),
    ]
    if asked["due_at"]:
        pairs.append(("due", look.when(_moment(asked["due_at"]))))
    if run["began_at"]:
        pairs.append(("began", look.when(_moment(run["began_at"]))))
    if run["ended_at"]:
        pairs.append(("ended", f"{look.when(_moment(run['ended_at']))}, after {_took(run)}"))
    if run["progress"]:
        pairs.append(("progress", _progress(run["progress"])))
    if run["error"]:
        pairs.append(("error", safe(str(run["error"].get("message")))))
        pairs.append(("hint", safe(str(run["error"].get("hint") or "-"), lines=True)))
    text = fields(pairs)
    return f"{text}\n\n{safe(log, lines=True)}" if log else text


def _progress(found: Any) -> str:
    done = format_amount(found["done"], found["unit"])
    of = f" of {format_amount(found['total'], found['unit'])}" if found["total"] else ""
    left = f", {format_duration(found['left_s'])} left" if found["left_s"] is not None else ""
    return f"{safe(found['phase'])}: {done}{of}{left}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
