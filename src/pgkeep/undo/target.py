"""Which moment an undo goes back to: --before, --at or --event, as recovery understands it. Pure.

`--before` stops before the record that ends a transaction, so that all others which ended earlier
are there: a position is exact where times are not, for they need not be in order.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from pgkeep.model.target import (
    AtLsn,
    AtName,
    AtTime,
    AtXid,
    BadTarget,
    Immediate,
    Latest,
    RecoveryTarget,
    Target,
    parse_target,
)
from pgkeep.undo.event import Event

_TIME_OF_DAY: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?")
_ADVICE: Final = (
    "say to which moment: --before xid:120765 (as pgkeep undo find shows it), --at '15:47:21', "
    "or --event 3 of the last find"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment to go back to."""

    recovery: RecoveryTarget
    words: str  # 'right before transaction 120765 ended'


def before(text: str, zone: tzinfo, now: datetime) -> Moment:
    """Read --before: what stands there is not in the result. Raise BadTarget."""
    target = _read(text, zone, now)
    match target:
        case AtXid(xid):
            words = f"right before transaction {xid} ended"
        case AtLsn() | AtTime():
            words = f"right before {_words(target)}"
        case Latest() | Immediate() | AtName():
            why = "nothing can be said to stand before it"
            raise BadTarget(text, why, "write --before xid:120765, lsn:0/4A000028 or a time")
    return Moment(RecoveryTarget(target, inclusive=False), words)


def xid_of(text: str, zone: tzinfo) -> int | None:
    """Return the transaction that --before names, if it names one. Raise BadTarget."""
    target = parse_target(text, zone) if text.strip().startswith("xid:") else None
    return target.xid if isinstance(target, AtXid) else None


def at(text: str, zone: tzinfo, now: datetime) -> Moment:
    """Read --at: as restore's --to, and a time of day alone is the most recent one."""
    target = _read(text, zone, now)
    return Moment(RecoveryTarget(target), f"at {_words(target)}")


def of_event(event: Event) -> Moment:
    """Return the moment before an event."""
    words = f"right before transaction {event.xid} ({event.kind.words}) did its work"
    return Moment(event.target, words)


def demand_one(given: int) -> None:
    """Raise BadTarget unless exactly one of the three options was given."""
    if given != 1:
        what = "nothing" if not given else "several moments"
        raise BadTarget(what, "one moment is needed", _ADVICE)


def _read(text: str, zone: tzinfo, now: datetime) -> Target:
    text = text.strip()
    if not _TIME_OF_DAY.fullmatch(text):
        return parse_target(text, zone)
    clock = text if text.index(":") == 2 else f"0{text}"
    today = now.astimezone(zone).date()
    found = parse_target(f"{today} {clock}", zone)
    if isinstance(found, AtTime) and found.time > now:
        found = parse_target(f"{today - timedelta(days=1)} {clock}", zone)
    return found


def _words(target: Target) -> str:
    match target:
        case AtTime(time):
            return f"{time:%Y-%m-%d %H:%M:%S} UTC"
        case Latest():
            return "the newest moment on record"
        case Immediate():
            return "the end of the backup"
        case AtXid(xid):
            return f"the end of transaction {xid}"
        case AtLsn(lsn):
            return f"WAL position {lsn}"
        case AtName(name):
            return f"restore point {name}"
