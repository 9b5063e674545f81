"""Health as text: one block for each cluster, the worst first."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pgkeep.cli.text import Look, safe
from pgkeep.health.condition import Level
from pgkeep.health.health import WORST_FIRST, Health, State
from pgkeep.units import format_duration, format_size

_MANY: Final = 5  # clusters: then those without trouble take one line


def status(found: Sequence[Health], now: datetime, look: Look, *, by_service: bool) -> str:
    ordered = sorted(found, key=lambda one: (WORST_FIRST.index(one.state), one.cluster))
    brief = len(ordered) > _MANY
    blocks = [_block(health, now, look, brief=brief) for health in ordered]
    if len(ordered) > 1:
        counts = Counter(health.state for health in ordered)
        words = ", ".join(
            f"{counts[state]} {state.value}" for state in WORST_FIRST if counts[state]
        )
        blocks.append(f"{len(ordered)} clusters: {words}")
    joined = "\n".join(blocks) if brief else "\n\n".join(blocks)
    if by_service:
        age = max((now - health.looked_at).total_seconds() for health in ordered)
        joined += f"\n\nas the service saw it up to {format_duration(max(0.0, age))} ago"
        joined += "; to look now: --look"
    else:
        joined += "\n\nlooked just now; pgkeep serve looks all the time, and tells who must know"
    return joined


def _block(health: Health, now: datetime, look: Look, *, brief: bool) -> str:
    name, state = look.bold(safe(health.cluster)), _state(health.state, look)
    lines = [f"{name}: {state}, {_reach(health, now, look)}"]
    for one in health.conditions:
        mark = look.bad("critical") if one.level is Level.CRITICAL else look.weak("warning ")
        since = f", since {look.at(one.since)}" if one.since else ""
        lines.append(f"  {mark}  {safe(one.effect)}")
        lines.append(f"            cause: {safe(one.cause)}{since}")
        lines.append(f"            do:    {safe(one.todo)}")
    if not brief:
        lines += [f"  {line}" for line in _measures(health)]
        lines += [f"  note: {safe(note)}" for note in health.notes]
    return "\n".join(lines)


def _state(state: State, look: Look) -> str:
    if state is State.PROTECTED:
        return look.good(state.value)
    return look.weak(state.value) if state is State.AT_RISK else look.bad(state.value)


def _reach(health: Health, now: datetime, look: Look) -> str:
    """Return 'to 14:02:31 (38 s ago), from ...; last proven ... by drill in 4 min 10 s'."""
    to, since, proven = health.protected_to, health.protected_from, health.proven
    if to is None and health.newest_dump_at is not None:
        return f"by dumps alone, the newest of {look.when(health.newest_dump_at)}"
    if to is None:
        return "nothing can be restored" if health.state is not State.UNKNOWN else "not known"
    age = format_duration(max(0.0, (now - to).total_seconds()))
    said = f"to {look.when(to)} ({age} ago)"
    said += f", from {look.at(since)}" if since else ""
    if proven is None:
        return f"{said}; never proven by a drill"
    return f"{said}; last proven {look.at(proven.at)} by drill in {format_duration(proven.seconds)}"


def _measures(health: Health) -> list[str]:
    found = []
    if health.rpo_s is not None:
        found.append(f"would be lost now: {_span(health.rpo_s)}{_goal(health.rpo_goal_s)}")
    if health.restore_s is not None:
        found.append(f"a restore takes about {_span(health.restore_s)}{_goal(health.rto_goal_s)}")
    for room in health.repositories:
        parts = [
            f"{format_size(room.bytes)} of this cluster" if room.bytes is not None else "",
            f"{format_size(room.free)} free" if room.free is not None else "",
            f"full by {room.full_at:%Y-%m-%d}" if room.full_at else "",
        ]
        found.append(f"{safe(room.name)}: {', '.join(filter(None, parts))}")
    return found


def _span(seconds: float) -> str:
    return format_duration(seconds) if seconds else "nothing"


def _goal(seconds: float | None) -> str:
    return f" (objective: {format_duration(seconds)})" if seconds else ""
