"""Health as text: one block for each cluster, in the words of whoever must act."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pgkeep.cli.text import Look, plural, safe
from pgkeep.health.condition import Condition, Level
from pgkeep.health.health import Health, State
from pgkeep.units import format_duration, format_size

_INDENT = "  "


def is_good(healths: Sequence[Health]) -> bool:
    """Tell whether nothing is critical, and everything known."""
    return not any(
        health.state is State.UNKNOWN or health.worst is Level.CRITICAL for health in healths
    )


def status(healths: Sequence[Health], look: Look, *, by_service: bool) -> str:
    """Return one block for each cluster, and a summary of several."""
    blocks = ["\n".join(_block(health, look)) for health in healths]
    if by_service:
        oldest = min(health.looked_at for health in healths)
        ago = format_duration(max(0.0, (datetime.now(UTC) - oldest).total_seconds()))
        blocks.append(f"as the running service saw it up to {ago} ago; to look now: --fresh")
    if len(healths) > 1:
        counts = Counter(health.state for health in healths)
        words = ", ".join(f"{counts[s]} {s.value}" for s in reversed(State) if counts[s])
        blocks.append(f"{plural(len(healths), 'cluster')}: {words}")
    return "\n\n".join(blocks)


def _block(health: Health, look: Look) -> Iterator[str]:
    yield f"{look.bold(safe(health.cluster))}: {headline(health, look)}"
    yield from (f"{_INDENT}{line}" for line in _facts(health, look))
    for condition in health.conditions:
        yield from (f"{_INDENT}{line}" for line in _condition(condition, look))
    yield from (f"{_INDENT}note: {safe(note)}" for note in health.notes)


def headline(health: Health, look: Look) -> str:
    """Return 'protected to 14:02:31 (38 s ago)'; the state first, when it is another."""
    state = {
        State.PROTECTED: look.good,
        State.AT_RISK: look.weak,
        State.IN_DANGER: look.bad,
        State.UNKNOWN: look.bad,
    }[health.state](health.state.value)
    if health.protected_to is not None:
        ago = format_duration(max(0.0, (health.looked_at - health.protected_to).total_seconds()))
        to = f"to {look.when(health.protected_to)} ({ago} ago)"
        return f"{state} {to}" if health.state is State.PROTECTED else f"{state}, protected {to}"
    if health.newest_dump_at is not None:
        return f"{state}, by dumps alone: the newest of {look.when(health.newest_dump_at)}"
    if health.state is State.UNKNOWN:
        return f"{state}: what can be restored could not be told"
    return f"{state}: nothing can be restored yet"


def _facts(health: Health, look: Look) -> Iterator[str]:
    if health.protected_from is not None:
        yield f"from {look.when(health.protected_from)}; {_proven(health, look)}"
    told = []
    if health.restore_s is not None:
        told.append(f"a restore takes about {format_duration(health.restore_s)}")
    if health.wal_behind_bytes:
        told.append(f"{format_size(health.wal_behind_bytes)} of WAL is not archived yet")
    if told:
        yield "; ".join(told)
    for room in health.repositories:
        used = f"{format_size(room.bytes)} of this cluster" if room.bytes is not None else ""
        free = f"{format_size(room.free)} free" if room.free is not None else ""
        full = f"full by {room.full_at:%Y-%m-%d}" if room.full_at is not None else ""
        yield f"in {safe(room.name)}: {', '.join(filter(None, (used, free, full)))}"


def _proven(health: Health, look: Look) -> str:
    if health.proven is None:
        return "never proven by a drill"
    took = format_duration(health.proven.seconds)
    return f"last proven {look.when(health.proven.at)} by drill in {took}"


def _condition(condition: Condition, look: Look) -> Iterator[str]:
    word = condition.level.value.upper()
    shown = look.bad(word) if condition.level is Level.CRITICAL else look.weak(word)
    yield f"{shown} {condition.kind.value}: {safe(condition.effect)}"
    since = f", since {look.when(condition.since)}" if condition.since is not None else ""
    yield f"{_INDENT}because {safe(condition.cause)}{since}"
    yield f"{_INDENT}to do: {safe(condition.todo)}"
