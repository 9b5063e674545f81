"""Who is told of what now. Pure: what was told, what is wrong, the config and the clock.

- One message for each channel and round, whatever is in it; one event is told once, then only as a
  reminder, when it gets worse or better, and when it is over.
- What is critical is told at once, at any hour. A warning must hold for a minute and two looks.
- What is over must stay over as long; who was never told of it is not told of its end.
- After one event of a kind the next ones of that kind are told together a minute later: a store
  that is away from 200 clusters is found out cluster by cluster.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from pgkeep.alerts.channels import hears
from pgkeep.alerts.events import has_eased, holds, is_over, order, passed, renewed
from pgkeep.alerts.memory import Event, Memory, Told
from pgkeep.config.service import AlertsConfig, ChannelConfig
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, State
from pgkeep.schedule.times import newest_until
from pgkeep.schedule.windows import is_within, parse_windows
from pgkeep.schedule.words import parse_times

DIGEST: Final = "digest"
GATHER: Final = timedelta(seconds=60)  # from one event of a kind to the next ones
_ENDS_GATHER: Final = timedelta(minutes=5)  # the longest that an end waits for others
_LONGEST: Final = timedelta(hours=24)  # between reminders of a warning
_SOON: Final = 0.75  # of the time to a reminder: then it comes with another's


class Reason(StrEnum):
    """Why an event is told of now."""

    NEW = "new"
    WORSE = "worse"
    STILL = "still"
    EASED = "eased"
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


@dataclass(frozen=True, slots=True)
class Rules:
    """What the config says about telling."""

    alerts: AlertsConfig
    clusters: frozenset[str]
    zone: tzinfo


def plan_messages(
    memory: Memory,
    healths: Sequence[Health],
    rules: Rules,
    now: datetime,
    own: tuple[Condition, ...] = (),
) -> tuple[list[Message], Memory]:
    """Return what to tell now and what to remember; told is what is in these messages.

    A cluster that is configured and not among the healths has not been looked at yet. `own` is
    what is wrong with the service itself.
    """
    known = [health for health in healths if health.cluster in rules.clusters]
    names = {channel.name for channel in rules.alerts.channels}
    before = {key: event for key, event in memory.events.items() if not _is_gone(event, names)}
    itself = Health("", State.AT_RISK if own else State.PROTECTED, now, None, None, None, own)
    events = renewed(before, [*known, itself], {*rules.clusters, itself.cluster})
    looked_at = frozenset({itself.cluster, *(health.cluster for health in known)})
    digests = dict(memory.digests)
    messages = []
    for channel in rules.alerts.channels:
        quiet = is_within(parse_windows(channel.quiet), now, rules.zone)
        view = _View(events, channel, rules.alerts, quiet, now)
        items = _gathered(view, looked_at)
        for item in items:
            key = item.event.condition.key
            events[key] = _with_told(events[key], channel, item.reason, now)
        if items:
            messages.append(Message(channel.name, items))
        complete = len(known) == len(rules.clusters) and not quiet
        if _digest_is_due(digests, channel, rules, now, complete=complete):
            messages.append(Message(channel.name, digest=_relevant(known, channel)))
    kept = {key: event for key, event in events.items() if not _is_done(event, names, now)}
    return messages, Memory(kept, {name: at for name, at in digests.items() if name in names})


@dataclass(frozen=True, slots=True)
class _View:
    """What one channel may be told of now."""

    events: Mapping[str, Event]
    channel: ChannelConfig
    alerts: AlertsConfig
    quiet: bool
    now: datetime

    def told(self, event: Event) -> Told | None:
        return event.told.get(self.channel.name)

    def items(self, clusters: frozenset[str], share: float) -> Iterator[Item]:
        """Yield what is to be told, the worst first; a reminder when this share has passed."""
        events = (e for e in self.events.values() if e.condition.cluster in clusters)
        for event in sorted(events, key=lambda one: order(one.condition)):
            reason = self._reason(event, share)
            if reason is None:
                continue
            better = reason in (Reason.OVER, Reason.EASED)
            if self.quiet and (better or event.condition.level is not Level.CRITICAL):
                continue
            yield Item(reason, event)

    def _reason(self, event: Event, share: float) -> Reason | None:
        level, told = event.condition.level, self.told(event)
        if event.gone_at is not None:
            return Reason.OVER if told is not None and is_over(event, self.now) else None
        if told is not None and told.level is Level.CRITICAL and level is Level.WARNING:
            return Reason.EASED if has_eased(event, self.now) else None
        if not hears(self.channel, event.condition):
            return None
        if told is None:
            return Reason.NEW if level is Level.CRITICAL or holds(event, self.now) else None
        if told.level is not level:
            return Reason.WORSE
        every = timedelta(seconds=self.alerts.remind_every)
        if level is Level.WARNING:
            every = max(every, min(_LONGEST, every * 2 ** min(told.times - 1, 10)))
        return Reason.STILL if every and passed(told.at, self.now, every * share) else None


def _gathered(view: _View, clusters: frozenset[str]) -> tuple[Item, ...]:
    """Return what a channel is told now, without what is better told a little later with more."""
    items = list(view.items(clusters, 1.0))
    if any(item.reason is Reason.STILL for item in items):
        items = list(view.items(clusters, _SOON))
    fresh, ending = set(), set()
    for event in view.events.values():
        told, condition = view.told(event), event.condition
        if told is None:
            continue
        if told.times == 1 and not passed(told.at, view.now, GATHER):
            fresh.add((condition.kind, told.level))
        if event.gone_at is not None and not is_over(event, view.now):
            ending.add(condition.kind)

    def waits(item: Item) -> bool:
        condition, gone_at = item.event.condition, item.event.gone_at
        if gone_at is not None:
            return condition.kind in ending and not passed(gone_at, view.now, _ENDS_GATHER)
        return item.reason is not Reason.STILL and (condition.kind, condition.level) in fresh

    found = (item for item in items if not waits(item))
    return tuple(sorted(found, key=lambda item: item.reason is Reason.OVER))


def _with_told(event: Event, channel: ChannelConfig, reason: Reason, now: datetime) -> Event:
    level, name = event.condition.level, channel.name
    others = {other: told for other, told in event.told.items() if other != name}
    if reason is Reason.OVER or not hears(channel, event.condition):
        return replace(event, told=others)
    before = event.told.get(name)
    times = before.times + 1 if before is not None and reason is Reason.STILL else 1
    return replace(event, told={**others, name: Told(level, now, times)})


def _is_gone(event: Event, channels: set[str]) -> bool:
    """Tell whether it is about a channel that the config has no longer."""
    condition = event.condition
    return condition.kind is Kind.CHANNEL_FAILS and condition.subject not in channels


def _is_done(event: Event, channels: set[str], now: datetime) -> bool:
    """Tell whether an event is over and everybody who was told of it knows."""
    return is_over(event, now) and not channels & event.told.keys()


def _digest_is_due(
    digests: dict[str, datetime],
    channel: ChannelConfig,
    rules: Rules,
    now: datetime,
    *,
    complete: bool,
) -> bool:
    """Tell whether it is time, and note that it was; a new channel waits for the next time."""
    if channel.levels and DIGEST not in channel.levels:
        return False
    before = digests.setdefault(channel.name, now)
    times = parse_times(rules.alerts.digest)
    if not complete or newest_until(times, min(before, now), now, rules.zone) is None:
        return False
    digests[channel.name] = now
    return True


def _relevant(healths: Sequence[Health], channel: ChannelConfig) -> tuple[Health, ...]:
    return tuple(h for h in healths if not channel.clusters or h.cluster in channel.clusters)
