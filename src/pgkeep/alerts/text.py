"""Messages as text: the effect first, then the cause, then what to type. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from pgkeep.alerts.memory import Queued
from pgkeep.alerts.plan import Item, Message, Reason
from pgkeep.health.condition import Level
from pgkeep.health.health import WORST_FIRST, Health, State
from pgkeep.units import format_duration
from pgkeep.zone import in_both_zones

_TOGETHER: Final = 3  # events of one kind and cause that are told as one
_MANY: Final = 10  # events of one kind that are told as one, whatever their causes are
_NAMES: Final = 10  # clusters that are named then
_LONGEST: Final = 12_000  # characters: what mail and most chats take
_TITLE: Final = 200  # characters


class Text(NamedTuple):
    """A message as it is sent."""

    title: str
    body: str


def text_of(message: Message, now: datetime, zone: tzinfo) -> Text:
    """Return the title and body of a message."""
    if message.digest is not None:
        return _digest(message.digest, now, zone)
    blocks = [_block(group, now, zone) for group in _groups(message.items)]
    return Text(_title(message), _cut(blocks))


def merged(queue: Sequence[Queued], zone: tzinfo) -> tuple[Text, str]:
    """Return what waited while a channel failed as one message, the worst first, and its level."""
    if len(queue) == 1:
        return Text(queue[0].title, queue[0].body), queue[0].level
    order = [level.value for level in Level]

    def badness(one: Queued) -> int:
        return order.index(one.level) if one.level in order else len(order)

    found = sorted(queue, key=badness)
    blocks = [f"--- {in_both_zones(one.at, zone)}: {one.title}\n\n{one.body}" for one in found]
    more = len(found) - 1
    title = f"{found[0].title} (and {more} more message{'s' * (more > 1)} that waited)"
    return Text(title, _cut(blocks)), found[0].level


def _cut(blocks: Sequence[str]) -> str:
    """Join paragraphs, without those that would make it too long."""
    body = "\n\n".join(blocks)
    if len(body) <= _LONGEST:
        return body
    head = body[:_LONGEST]
    return (head.rpartition("\n\n")[0] or head) + "\n\nand more: pgkeep status"


def _title(message: Message) -> str:
    wrong = [item for item in message.items if item.reason is not Reason.OVER]
    first = (wrong or message.items)[0].event.condition
    groups = len(_groups(wrong or message.items))
    if not wrong:
        said = f"over: {first.kind.value}"
    elif message.level is Level.CRITICAL:
        said = f"CRITICAL: {first.effect}"
    elif all(item.reason is Reason.EASED for item in wrong):
        said = f"better, still a warning: {first.effect}"
    else:
        said = f"warning: {first.effect}"
    word, _, rest = said.partition(": ")
    clusters = _names(_clusters(_groups(wrong or message.items)[0]))
    more = f" (and {groups - 1} more)" if groups > 1 else ""
    return _line(f"pgkeep: {word}: {clusters}{rest}")[: _TITLE - len(more)] + more


def _line(text: str) -> str:
    """Return text on one line: titles become headers of mail."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _groups(items: Sequence[Item]) -> list[list[Item]]:
    """Put together what many clusters have in common: one store that is away is one event."""

    def cause(item: Item) -> tuple[str, ...]:
        return (*kind(item), item.event.condition.cause)

    def kind(item: Item) -> tuple[str, ...]:
        condition = item.event.condition
        return (item.reason, condition.kind, condition.level)

    groups = []
    for group in _by(kind, items):
        alike = _by(cause, group)
        if len(alike) > _MANY:
            groups.append(group)
            continue
        for one in alike:
            groups += [one] if len(one) > _TOGETHER else [[item] for item in one]
    return groups


def _by(key: Callable[[Item], tuple[str, ...]], items: Sequence[Item]) -> list[list[Item]]:
    found: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def _block(group: Sequence[Item], now: datetime, zone: tzinfo) -> str:
    item = group[0]
    event, condition = item.event, item.event.condition
    clusters = _names(_clusters(group))
    since = min(one.event.condition.since or one.event.seen_at for one in group)
    causes = len({one.event.condition.cause for one in group})
    cause = _line(condition.cause) + (f"; and {causes - 1} other causes" if causes > 1 else "")
    if item.reason is Reason.OVER:
        took = _age(since, event.gone_at or now)
        return f"OVER after {took}: {clusters}{_line(condition.effect)}\n  (was: {cause})"
    word = "CRITICAL" if condition.level is Level.CRITICAL else "WARNING"
    still = {Reason.STILL: "STILL ", Reason.WORSE: "NOW ", Reason.EASED: "NO LONGER CRITICAL, "}
    return "\n".join(
        (
            f"{still.get(item.reason, '')}{word}: {clusters}{_line(condition.effect)}",
            f"  cause: {cause}",
            f"  do:    {_line(condition.todo)}",
            f"  since: {in_both_zones(since, zone)}, {_age(since, now)}",
        )
    )


def _age(since: datetime, until: datetime) -> str:
    return format_duration(max(0.0, (until - since).total_seconds()))


def _clusters(group: Iterable[Item]) -> list[str]:
    return sorted({item.event.condition.cluster for item in group})


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
    found = sorted(healths, key=lambda one: (WORST_FIRST.index(one.state), one.cluster))
    bad = sum(one.state is not State.PROTECTED for one in found)
    total = len(found)
    if bad:
        said = f"{bad} of {total} need attention"
    elif total == 1:
        said = f"{found[0].cluster} is protected"
    else:
        said = f"all {total} clusters are protected" if total else "no clusters are configured"
    lines = [sentence(health, now, zone) for health in found]
    return Text(f"pgkeep: {said}", _cut(lines) or "no clusters are configured")


def sentence(health: Health, now: datetime, zone: tzinfo) -> str:
    """Return 'shop: protected to ... (38 s ago), from ...; last proven ...', and what is wrong."""
    to, since, proven = health.protected_to, health.protected_from, health.proven
    if to is None:
        said = f"{health.cluster}: {health.state.value}; nothing can be restored"
    else:
        said = f"{health.cluster}: {health.state.value}; protected to {in_both_zones(to, zone)}"
        said += f" ({_age(to, now)} ago)"
        said += f", from {in_both_zones(since, zone)}" if since else ""
    if proven:
        took = format_duration(proven.seconds)
        said += f"; last proven {in_both_zones(proven.at, zone)} by drill in {took}"
    elif to is not None:
        said += "; never proven by a drill"
    wrong = [
        f"\n  {one.level.value}: {_line(one.effect)}: {_line(one.cause)}"
        for one in health.conditions
    ]
    return said + "".join(wrong)
