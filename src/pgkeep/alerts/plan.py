"""Who is told of what now. Pure: what was told, what is wrong, the config and the clock.

- One message for each channel and round, whatever is in it; one event is told once, then only as a
  reminder, when it gets worse, and when it is over.
- What is critical is told at once, at any hour. A warning must hold for a minute and two looks.
- What is over must stay over for two looks; who was never told of it is not told of its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from pgkeep.alerts.memory import Event, Memory, Told
from pgkeep.config.service import AlertsConfig, ChannelConfig
from pgkeep.health.condition import Condition, Level
from pgkeep.health.health import Health
from pgkeep.schedule.times import newest_until
from pgkeep.schedule.windows import is_within, parse_windows
from pgkeep.schedule.words import parse_times

DIGEST: Final = "digest"
_HOLDS: Final = timedelta(seconds=60)  # a warning that is told
_LOOKS: Final = 2
_OVER: Final = timedelta(seconds=60)  # an event whose end is told
_LONGEST: Final = timedelta(hours=24)  # between reminders of a warning
_MOST: Final = 10_000  # events that are remembered


class Reason(StrEnum):
    """Why an event is told of now."""

    NEW = "new"
    WORSE = "worse"
    STILL = "still"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Item:
    """One event in a message."""

    reason: Reason
    event: Event


@dataclass(frozen=True, slots=True)
class Message:
    """What one channel is told now."""

    channel: str
    items: tuple[Item, ...] = ()  # the worst first
    digest: tuple[Health, ...] | None = None  # all clusters, for the daily message

    @property
    def level(self) -> Level | None:
        """How bad the worst of it is; None when all of it is over, or a digest."""
        levels = {item.event.condition.level for item in self.items if item.reason != Reason.OVER}
        if Level.CRITICAL in levels:
            return Level.CRITICAL
        return Level.WARNING if levels else None


def plan_messages(
    memory: Memory,
    healths: Sequence[Health],
    config: AlertsConfig,
    now: datetime,
    zone: tzinfo,
) -> tuple[list[Message], Memory]:
    """Return what to tell now and what to remember; told is what is in these messages."""
    events = _renewed(memory.events, healths, now)
    digests = dict(memory.digests)
    messages = []
    for channel in config.channels:
        items = tuple(_items(events, channel, config, now, zone))
        for item in items:
            events[item.event.condition.key] = _with_told(
                events[item.event.condition.key], channel.name, item.reason, now
            )
        if items:
            messages.append(Message(channel.name, items))
        if _digest_is_due(digests, channel, config.digest, now, zone):
            messages.append(Message(channel.name, digest=_relevant(healths, channel)))
    known = {channel.name for channel in config.channels}
    kept = {key: event for key, event in events.items() if not _is_done(event, known, now)}
    digests = {name: at for name, at in digests.items() if name in known}
    return messages, Memory(kept, digests)


def not_told(memory: Memory, channel: str, since: datetime) -> Memory:
    """Return the memory as if a channel had heard nothing since: its messages did not arrive."""

    def before(event: Event) -> Event:
        told = event.told.get(channel)
        if told is None or told.at < since:
            return event
        return replace(event, told={n: t for n, t in event.told.items() if n != channel})

    return replace(memory, events={key: before(event) for key, event in memory.events.items()})


def _renewed(
    before: Mapping[str, Event], healths: Sequence[Health], now: datetime
) -> dict[str, Event]:
    """Return the events as of this look."""
    conditions = {c.key: c for health in healths for c in health.conditions}
    looked = {health.cluster for health in healths}
    events: dict[str, Event] = {}
    for key, event in before.items():
        seen = conditions.pop(key, None)
        if seen is not None:
            events[key] = replace(event, condition=seen, looks=event.looks + 1, gone_at=None)
        elif event.gone_at is None and event.condition.cluster in looked:
            events[key] = replace(event, gone_at=now)
        else:
            events[key] = event
    for key, condition in conditions.items():
        if len(events) < _MOST:
            events[key] = Event(condition, now)
    return events


def _items(
    events: Mapping[str, Event],
    channel: ChannelConfig,
    config: AlertsConfig,
    now: datetime,
    zone: tzinfo,
) -> Iterator[Item]:
    quiet = is_within(parse_windows(channel.quiet), now, zone)
    order = sorted(events.values(), key=lambda event: _order(event.condition))
    for event in order:
        condition = event.condition
        if not _hears(channel, condition.cluster, condition.level.value):
            continue
        if quiet and (condition.level is not Level.CRITICAL or event.gone_at is not None):
            continue
        reason = _reason(event, event.told.get(channel.name), config, now)
        if reason is not None:
            yield Item(reason, event)


def _order(condition: Condition) -> tuple[bool, str]:
    return condition.level is not Level.CRITICAL, condition.key


def _reason(event: Event, told: Told | None, config: AlertsConfig, now: datetime) -> Reason | None:
    level = event.condition.level
    if event.gone_at is not None:
        return Reason.OVER if told is not None and now - event.gone_at >= _OVER else None
    if told is None:
        holds = event.looks >= _LOOKS and now - event.seen_at >= _HOLDS
        return Reason.NEW if holds or level is Level.CRITICAL else None
    if level is Level.CRITICAL and told.level is not Level.CRITICAL:
        return Reason.WORSE
    every = timedelta(seconds=config.remind_every)
    if level is Level.WARNING:
        every = max(every, min(_LONGEST, every * 2 ** min(told.times - 1, 10)))
    return Reason.STILL if every and now - told.at >= every else None


def _hears(channel: ChannelConfig, cluster: str, level: str) -> bool:
    of_level = not channel.levels or level in channel.levels
    return of_level and (not channel.clusters or cluster in channel.clusters)


def _with_told(event: Event, channel: str, reason: Reason, now: datetime) -> Event:
    others = {name: told for name, told in event.told.items() if name != channel}
    if reason is Reason.OVER:
        return replace(event, told=others)
    before = event.told.get(channel)
    times = before.times + 1 if before else 1
    return replace(event, told={**others, channel: Told(event.condition.level, now, times)})


def _is_done(event: Event, channels: set[str], now: datetime) -> bool:
    """Tell whether an event is over and everybody who was told of it knows."""
    if event.gone_at is None or now - event.gone_at < _OVER:
        return False
    return not channels & event.told.keys()


def _digest_is_due(
    digests: dict[str, datetime], channel: ChannelConfig, times: str, now: datetime, zone: tzinfo
) -> bool:
    """Tell whether it is time, and note that it was; a new channel waits for the next time."""
    if channel.levels and DIGEST not in channel.levels:
        return False
    before = digests.setdefault(channel.name, now)
    due = newest_until(parse_times(times), min(before, now), now, zone)
    if due is None:
        return False
    digests[channel.name] = now
    return True


def _relevant(healths: Sequence[Health], channel: ChannelConfig) -> tuple[Health, ...]:
    return tuple(h for h in healths if not channel.clusters or h.cluster in channel.clusters)
