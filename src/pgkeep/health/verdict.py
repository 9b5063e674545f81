"""Makes conditions of a cluster. Pure."""

from datetime import datetime
from functools import partial

from pgkeep.health.condition import Condition, Kind, Level
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
