"""Which alert channels take no messages, so that the others tell of it. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pgkeep.alerts.events import passed
from pgkeep.alerts.memory import Event
from pgkeep.config.service import ChannelConfig
from pgkeep.health.condition import Condition, Kind, Level

# A mail server that greylists, or is restarted, is none that fails.
TRIES: Final = 3
LASTS: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Delivering:
    """How well a channel takes messages, since the service began."""

    failing_since: datetime | None = None
    tries: int = 0  # in vain, since then
    why: str = ""
    has_taken: bool = False  # any message at all


def failing(
    channels: Sequence[ChannelConfig],
    delivering: Mapping[str, Delivering],
    before: Mapping[str, Event],
    now: datetime,
) -> tuple[Condition, ...]:
    """Return a condition of the service itself for each channel that takes no messages.

    It is critical where no other channel hears of warnings: somebody must hear it. What was told
    `before` holds until the channel has taken a message, also by another run of the service.
    """
    told = {
        event.condition.subject: event
        for event in before.values()
        if event.condition.kind is Kind.CHANNEL_FAILS
    }
    found = {}
    for channel in channels:
        how = delivering[channel.name]
        if _fails(how, told.get(channel.name), now):
            found[channel.name] = _as_condition(channel.name, how, told.get(channel.name))
    is_heard = any(_hears_level(one, Level.WARNING) for one in channels if one.name not in found)
    level = Level.WARNING if is_heard else Level.CRITICAL
    return tuple(replace(condition, level=level) for condition in found.values())


def _fails(how: Delivering, told: Event | None, now: datetime) -> bool:
    since = how.failing_since
    if told is not None:
        # Nobody knows yet, after a restart: the mail that it could not take may be a day old.
        is_unknown = not how.has_taken and told.gone_at is None
        return since is not None or is_unknown
    return since is not None and how.tries >= TRIES and passed(since, now, LASTS)


def _as_condition(name: str, how: Delivering, told: Event | None) -> Condition:
    if how.failing_since is None:
        assert told is not None
        return told.condition
    return Condition(
        "",
        Kind.CHANNEL_FAILS,
        Level.WARNING,
        f"alert channel {name} takes no messages: whoever is told by it hears nothing",
        f"the newest try failed: {how.why}",
        f"pgkeep alert test {shlex.quote(name)}",
        subject=name,
        since=told.condition.since if told else how.failing_since,
    )


def hears(channel: ChannelConfig, condition: Condition) -> bool:
    """Tell whether a channel is for this; of the service itself all hear but who is meant."""
    if not _hears_level(channel, condition.level):
        return False
    if condition.kind is Kind.CHANNEL_FAILS:
        return condition.subject != channel.name
    return not channel.clusters or condition.cluster in channel.clusters


def _hears_level(channel: ChannelConfig, level: Level) -> bool:
    return not channel.levels or level.value in channel.levels
