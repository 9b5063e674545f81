"""What is drawn on the timeline of a cluster. Nouns; pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class MarkKind(StrEnum):
    """What happened at a moment."""

    BACKUP = "backup"
    DUMP = "dump"
    POINT = "restore point"
    DRILL = "drill"
    EVENT = "destructive event"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one moment."""

    kind: MarkKind
    at: datetime
    title: str
    words: tuple[str, ...] = ()  # what else is known of it
    good: bool | None = None  # a drill that passed, a backup that cannot be restored; None: neither
    target: str = ""  # what `restore --to` takes for it; '': the moment
    before: bool = False  # stop just before the target: it destroyed something


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of which every moment can be restored."""

    start: datetime
    end: datetime
    backups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of which WAL is missing, as far as its ends have times."""

    start: datetime
    end: datetime
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What can be restored along one timeline of one generation."""

    title: str
    bands: tuple[Band, ...]
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything on record of a cluster that has a time."""

    cluster: str
    now: datetime
    lanes: tuple[Lane, ...] = ()
    marks: tuple[Mark, ...] = ()
    archived: tuple[float, ...] = ()  # when each WAL segment was stored: seconds since 1970, sorted
    segment_size: int = 16 << 20
    notes: tuple[str, ...] = ()  # what could not be put on the axis, and why
