"""Makes conditions of a cluster, and the health of one that could not be told. Pure."""

from dataclasses import replace
from datetime import datetime
from functools import partial

from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, State
from pgkeep.health.seen import Seen


def _condition(  # noqa: PLR0913, PLR0917 - a condition's own fields, in their order
    level: Level,
    seen: Seen,
    kind: Kind,
    effect: str,
    cause: str,
    todo: str,
    subject: str = "",
    since: datetime | None = None,
) -> Condition:
    return Condition(seen.cluster, kind, level, effect, cause, todo, subject, since)


critical = partial(_condition, Level.CRITICAL)
warning = partial(_condition, Level.WARNING)


def unknown(last: Health | None, cluster: str, now: datetime, cause: str, hint: str = "") -> Health:
    """Return what is left to say: what the last look found, and that it may be so no longer."""
    condition = Condition(
        cluster,
        Kind.UNKNOWN,
        Level.CRITICAL,
        "nobody knows what can be restored now",
        cause,
        hint or f"pgkeep --cluster {cluster} check",
    )
    if last is None:
        return Health(cluster, State.UNKNOWN, now, None, None, None, (condition,))
    others = tuple(one for one in last.conditions if one.kind is not Kind.UNKNOWN)
    return replace(last, state=State.UNKNOWN, looked_at=now, conditions=(condition, *others))
