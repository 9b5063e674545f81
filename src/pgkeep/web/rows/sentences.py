"""Health in words, as every page says it. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

from pgkeep.health.condition import Condition, Level
from pgkeep.health.health import WORST_FIRST, Health, State
from pgkeep.units import format_duration
from pgkeep.web.words import ago, short


def protection(health: Health, now: datetime, zone: tzinfo) -> str:
    """'protected to 28 Nov 14:02:31 (38 s ago), from 3 Nov 02:00:00'."""
    if health.protected_to is None:
        return "nothing can be restored yet"
    to = f"protected to {short(health.protected_to, zone, now)} ({ago(health.protected_to, now)})"
    if health.protected_from is None:
        return to
    return f"{to}, from {short(health.protected_from, zone, now)}"


def proof(health: Health, now: datetime, zone: tzinfo) -> str:
    """'last proven 2 Nov 03:00:10 by drill in 4 min 10 s'."""
    proven = health.proven
    if proven is None:
        return "never proven by a drill"
    when = short(proven.at, zone, now)
    return f"last proven {when} by drill in {format_duration(proven.seconds)}"


def sentence(health: Health | None, now: datetime, zone: tzinfo) -> str:
    """Say all of a cluster in one line."""
    if health is None:
        return "the first look is under way"
    return f"{protection(health, now, zone)}; {proof(health, now, zone)}"


def worst_first(clusters: Sequence[str], healths: Sequence[Health | None]) -> list[str]:
    """Return clusters in the order in which somebody should look at them."""
    by_name = dict(zip(clusters, healths, strict=True))

    def rank(name: str) -> tuple[int, int, str]:
        health = by_name[name]
        if health is None:
            return len(WORST_FIRST) - 1, 0, name
        critical = sum(one.level is Level.CRITICAL for one in health.conditions)
        return WORST_FIRST.index(health.state), -critical, name

    return sorted(clusters, key=rank)


def todo(healths: Iterable[Health | None]) -> list[Condition]:
    """Return what is wrong, critical first, in the clusters' order."""
    found = [one for health in healths if health for one in health.conditions]
    return sorted(found, key=lambda one: one.level is not Level.CRITICAL)


def counts(healths: Iterable[Health | None]) -> dict[State, int]:
    """Return how many clusters are in which state, the worst first, without empty ones."""
    states = [health.state for health in healths if health]
    return {state: states.count(state) for state in WORST_FIRST if state in states}
