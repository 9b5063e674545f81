"""What was told to whom, and what is wrong just now: plain data, kept between rounds."""

from datetime import datetime

from msgspec import Struct

from pgkeep.health.condition import Condition, Level


class Told(Struct, frozen=True):
    """What one channel was told last of an event."""

    level: Level
    at: datetime
    times: int = 1  # at this level


class Event(Struct, frozen=True):
    """A condition from when it was first seen until its end was told.

    Moments are those of looks, not of rounds: one look that is seen in two rounds is one look.
    """

    condition: Condition  # as it was seen last
    seen_at: datetime  # the first look that found it
    looked_at: datetime  # the newest look that could tell
    eased_at: datetime | None = None  # the first look since which it is a warning, and was more
    gone_at: datetime | None = None  # the first look that did not find it; None: it holds
    told: dict[str, Told] = {}  # by channel


class Memory(Struct, frozen=True):
    """Everything that has to be remembered. By channel: the moment of the newest digest."""

    events: dict[str, Event] = {}
    digests: dict[str, datetime] = {}


class Queued(Struct, frozen=True):
    """A message that one channel still has to get."""

    title: str
    body: str
    level: str
    at: datetime


class Kept(Struct, frozen=True):
    """What is in the state directory, so that a restart neither repeats nor loses messages."""

    memory: Memory = Memory()
    waiting: dict[str, tuple[Queued, ...]] = {}  # by channel
