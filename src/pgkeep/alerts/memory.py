"""What was told to whom, and what is wrong just now: plain data, kept between rounds."""

from datetime import datetime

from msgspec import Struct

from pgkeep.health.condition import Condition, Level


class Told(Struct, frozen=True):
    """What one channel was told last of an event."""

    level: Level
    at: datetime
    times: int = 1


class Event(Struct, frozen=True):
    """A condition from when it was first seen until its end was told."""

    condition: Condition  # as it was seen last
    seen_at: datetime  # first
    looks: int = 1  # in which it was seen
    gone_at: datetime | None = None  # first look in which it was not; None: it holds
    told: dict[str, Told] = {}  # by channel


class Memory(Struct, frozen=True):
    """Everything that has to be remembered. By channel: the moment of the newest digest."""

    events: dict[str, Event] = {}
    digests: dict[str, datetime] = {}
