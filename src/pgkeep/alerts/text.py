"""Messages as text: the effect first, then the cause, then what to type. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple

from pgkeep.alerts.plan import Item, Message, Reason
from pgkeep.health.condition import Level
from pgkeep.health.health import Health, State
from pgkeep.units import format_duration

_TOGETHER: Final = 3  # events of one kind and cause that are told as one
_NAMES: Final = 10  # clusters that are named then
_LONGEST: Final = 12_000  # characters: what most services take


class Text(NamedTuple):
    """A message as it is sent."""

    title: str
    body: str


def text_of(message: Message, now: datetime, zone: tzinfo) -> Text:
    """Return the title and body of a message."""
    if message.digest is not None:
        return _digest(message.digest, now, zone)
    blocks = [_block(group, now, zone) for group in _groups(message.items)]
    body = "\n\n".join(blocks)
    if len(body) > _LONGEST:
        body = body[:_LONGEST].rpartition("\n\n")[0] + "\n\nand more: pgkeep status"
    return Text(_title(message), body)


def _title(message: Message) -> str:
    wrong = [item for item in message.items if item.reason is not Reason.OVER]
    if not wrong:
        first = message.items[0].event.condition
        more = _more(len(message.items) - 1)
        return f"pgkeep: over: {_of(first.cluster)}{first.kind.value}{more}"
    first = wrong[0].event.condition
    word = "CRITICAL" if message.level is Level.CRITICAL else "warning"
    return f"pgkeep: {word}: {_of(first.cluster)}{first.effect}{_more(len(wrong) - 1)}"


def _of(cluster: str) -> str:
    return f"{cluster}: " if cluster else ""


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def _groups(items: Sequence[Item]) -> list[list[Item]]:
    """Put together what many clusters have in common: one store that is away is one event."""
    found: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        condition = item.event.condition
        key = (item.reason, condition.kind, condition.level, condition.cause)
        found.setdefault(key, []).append(item)
    groups = []
    for group in found.values():
        groups += [group] if len(group) > _TOGETHER else [[item] for item in group]
    return groups


def _block(group: Sequence[Item], now: datetime, zone: tzinfo) -> str:
    item = group[0]
    event, condition = item.event, item.event.condition
    clusters = _names(sorted({one.event.condition.cluster for one in group}))
    since = condition.since or event.seen_at
    age = format_duration(max(0.0, (now - since).total_seconds()))
    if item.reason is Reason.OVER:
        ended = event.gone_at or now
        took = format_duration(max(0.0, (ended - since).total_seconds()))
        return f"OVER after {took}: {clusters}{condition.effect}\n  (was: {condition.cause})"
    word = "CRITICAL" if condition.level is Level.CRITICAL else "WARNING"
    still = {Reason.STILL: "STILL ", Reason.WORSE: "NOW "}.get(item.reason, "")
    return "\n".join(
        (
            f"{still}{word}: {clusters}{condition.effect}",
            f"  cause: {condition.cause}",
            f"  do:    {condition.todo}",
            f"  since: {when(since, zone)}, {age}",
        )
    )


def _names(clusters: Sequence[str]) -> str:
    named = [name for name in clusters if name]
    if not named:
        return ""
    if len(named) == 1:
        return f"{named[0]}: "
    shown = ", ".join(named[:_NAMES])
    left = f" and {len(named) - _NAMES} more" if len(named) > _NAMES else ""
    return f"{len(named)} clusters ({shown}{left}): "


def _digest(healths: Iterable[Health], now: datetime, zone: tzinfo) -> Text:
    found = sorted(healths, key=lambda one: (one.state is State.PROTECTED, one.cluster))
    bad = sum(one.state is not State.PROTECTED for one in found)
    total = len(found)
    said = f"{bad} of {total} need attention" if bad else f"all {total} clusters are protected"
    lines = [sentence(health, now, zone) for health in found]
    return Text(f"pgkeep: {said}", "\n\n".join(lines) or "no clusters are configured")


def sentence(health: Health, now: datetime, zone: tzinfo) -> str:
    """Return 'shop: protected to ... (38 s ago), from ...; last proven ...', and what is wrong."""
    to, since, proven = health.protected_to, health.protected_from, health.proven
    if to is None:
        said = f"{health.cluster}: {health.state.value}; nothing can be restored"
    else:
        age = format_duration(max(0.0, (now - to).total_seconds()))
        said = f"{health.cluster}: {health.state.value}; protected to {when(to, zone)} ({age} ago)"
        said += f", from {when(since, zone)}" if since else ""
    if proven:
        took = format_duration(proven.seconds)
        said += f"; last proven {when(proven.at, zone)} by drill in {took}"
    elif to is not None:
        said += "; never proven by a drill"
    wrong = [f"\n  {one.level.value}: {one.effect}: {one.cause}" for one in health.conditions]
    return said + "".join(wrong)


def when(moment: datetime, zone: tzinfo) -> str:
    """Return a time in the reader's zone, and in UTC."""
    utc, here = moment.astimezone(UTC), moment.astimezone(zone)
    if here.utcoffset() == utc.utcoffset():
        return f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return f"{here.isoformat(sep=' ', timespec='seconds')} ({utc:%H:%M:%S} UTC)"
