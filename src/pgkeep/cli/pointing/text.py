"""Restore points as text, and the commands that lead back to them."""

import shlex
from typing import NamedTuple

from pgkeep.cli.text import Look, safe
from pgkeep.points.plan import Point


class WaysBack(NamedTuple):
    """What to type to come back to a point."""

    look: str
    table: str
    restore: str


def ways_back(point: Point, config: str | None, cluster: str | None) -> WaysBack:
    """Return the commands, with the global options that this run was given."""
    words = ["pgkeep"]
    words += ["--config", config] if config else []
    words += ["--cluster", cluster] if cluster else []
    pgkeep, target = shlex.join(words), shlex.quote(point.target)
    return WaysBack(
        f"{pgkeep} undo sandbox --at {target}",
        f"{pgkeep} undo table DATABASE.SCHEMA.TABLE --at {target}",
        f"{pgkeep} restore --to {target} --target-dir DIR",
    )


def point(set_: Point, back: WaysBack, look: Look) -> str:
    """Say that a point is set and how to come back to it."""
    lines = [
        f"restore point {look.bold(safe(set_.name))} is set at {set_.lsn}, {look.when(set_.time)}",
        _archived(set_, look),
    ]
    if not set_.restorable:
        lines.append(look.weak("there is no backup yet: make one, then points after it are of use"))
    if not set_.searched:
        lines.append("no WAL before it is archived: whether its name is new was not to be seen")
    return "\n".join([*filter(None, lines), *ways(back)])


def ways(back: WaysBack) -> list[str]:
    """Return the commands, each with what it is for."""
    return [
        f"to look at that moment:         {safe(back.look)}",
        f"to bring one table back:        {safe(back.table)}",
        f"to restore all, somewhere else: {safe(back.restore)}",
    ]


def failed(command: str, status: int, set_: Point, back: WaysBack, look: Look) -> str:
    """Say what a failed command leaves to do."""
    return "\n".join(
        [
            f"{safe(command)} ended with exit status {status}; nothing was undone",
            f"the moment before it is restore point {look.bold(safe(set_.name))} ({set_.lsn})",
            *ways(back),
        ]
    )


def _archived(set_: Point, look: Look) -> str:
    if set_.archived is None:
        return f"WAL segment {set_.segment} is on its way into the repository"
    if set_.archived:
        return look.good(f"WAL segment {set_.segment} is in the repository")
    return look.bad(f"WAL segment {set_.segment} is not in the repository: {safe(set_.why)}")
