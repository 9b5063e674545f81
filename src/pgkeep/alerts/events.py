"""How events go on from look to look: they begin, get worse, ease, and end. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from pgkeep.alerts.memory import Event
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, State

HOLDS: Final = timedelta(seconds=60)  # what begins, eases or ends is so for as long, and two looks
_CLOCK_SET: Final = timedelta(minutes=-5)  # a moment further ahead: the clock was set back
_MOST: Final = 10_000  # warnings that are remembered; of what is critical, all
# While one of these is there, that another condition is not seen does not mean that it is over.
_BLIND: Final = frozenset({Kind.UNKNOWN, Kind.REPOSITORY_AWAY, Kind.SERVER_AWAY})


def renewed(
    before: Mapping[str, Event], healths: Sequence[Health], clusters: Collection[str]
) -> dict[str, Event]:
    """Return the events as of the newest looks; those of clusters no longer configured are gone."""
    looks = {health.cluster: health for health in healths}
    events: dict[str, Event] = {}
    for key, event in before.items():
        if event.condition.cluster in clusters:
            health = looks.get(event.condition.cluster)
            events[key] = event if health is None else _as_seen(event, health)
    found = [(condition, health) for health in looks.values() for condition in health.conditions]
    for condition, health in sorted(found, key=lambda one: order(one[0])):
        critical = condition.level is Level.CRITICAL
        if condition.key not in events and (critical or len(events) < _MOST):
            events[condition.key] = Event(condition, health.looked_at, health.looked_at)
    return events


def order(condition: Condition) -> tuple[bool, str]:
    """Return what puts the worst first."""
    return condition.level is not Level.CRITICAL, condition.key


def holds(event: Event, now: datetime) -> bool:
    """Tell whether two looks found it, some time apart."""
    return event.looked_at != event.seen_at and passed(event.seen_at, now, HOLDS)


def has_eased(event: Event, now: datetime) -> bool:
    """Tell whether it has been a warning for a while, and was critical before."""
    at = event.eased_at
    return at is not None and event.looked_at != at and passed(at, now, HOLDS)


def is_over(event: Event, now: datetime) -> bool:
    """Tell whether two looks did not find it, some time apart."""
    at = event.gone_at
    return at is not None and event.looked_at != at and passed(at, now, HOLDS)


def passed(since: datetime, now: datetime, span: timedelta) -> bool:
    """Tell whether a span has passed; true as well if the clock was set back meanwhile."""
    return not _CLOCK_SET <= now - since < span


def _as_seen(event: Event, health: Health) -> Event:
    at = health.looked_at
    seen = next((one for one in health.conditions if one.key == event.condition.key), None)
    if seen is not None:
        eased_at = event.eased_at
        if seen.level is Level.CRITICAL:
            eased_at = None
        elif event.condition.level is Level.CRITICAL:
            eased_at = at
        return replace(event, condition=seen, looked_at=at, eased_at=eased_at, gone_at=None)
    if _is_blind(health, event.condition):
        return event
    return replace(event, looked_at=at, gone_at=event.gone_at or at)


def _is_blind(health: Health, condition: Condition) -> bool:
    if condition.kind in _BLIND:
        # Another reason not to know is no end of not knowing.
        return condition.kind is not Kind.UNKNOWN and health.state is State.UNKNOWN
    return health.state is State.UNKNOWN or any(one.kind in _BLIND for one in health.conditions)
