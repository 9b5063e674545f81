"""What a find found, and where it was blind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_changes.piece import Sample
from pgkeep.postgres.wal_decode import to_time
from pgkeep.undo.event import Event, EventKind

BUCKETS: Final = 48  # of the picture of activity: half an hour each for a day


@dataclass(frozen=True, slots=True)
class Blind:
    """WAL that is missing or cannot be read: what was done there is not seen."""

    first: str  # names of segments
    last: str
    why: str
    after: datetime | None = None  # the last transaction seen before it
    before: datetime | None = None  # the first one seen behind it


@dataclass(frozen=True, slots=True)
class Activity:
    """Rows changed in equal stretches of time, whoever changed them."""

    since: datetime
    until: datetime
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NameSource:
    """The newest census before the last event, or the moment looked at."""

    id: str
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """The report of `pgkeep undo find`."""

    cluster: str
    generation: str
    timeline: int
    since: datetime | None  # None: from the beginning of the WAL there is
    until: datetime | None  # None: to its end
    events: tuple[Event, ...]
    not_shown: tuple[tuple[EventKind, int], ...]  # rewrites, unless asked for
    blind: tuple[Blind, ...]
    activity: Activity | None
    first: datetime | None  # times of the first and last transactions that were seen
    last: datetime | None
    start: Lsn | None
    end: Lsn | None
    bytes: int
    segments: int
    live_segments: int  # of these, not archived yet
    census: NameSource | None
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what --json shows: docs/undo.md."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "events": [event.to_dict() for event in self.events],
            "not_shown": {kind.value: count for kind, count in self.not_shown},
            "start": self.start,
            "end": self.end,
        }


def activity_of(
    samples: Sequence[Sample], since: datetime | None, until: datetime | None
) -> Activity | None:
    """Put samples into buckets of time; what lies outside is left out."""
    timed = [(to_time(sample.time_us), sample.rows) for sample in samples]
    timed = [
        (moment, rows)
        for moment, rows in timed
        if (since is None or moment >= since) and (until is None or moment <= until)
    ]
    if not timed:
        return None
    first, last = min(moment for moment, _ in timed), max(moment for moment, _ in timed)
    width = max(last - first, timedelta(microseconds=1))
    rows = [0] * BUCKETS
    for moment, count in timed:
        rows[min(BUCKETS - 1, int((moment - first) / width * BUCKETS))] += count
    return Activity(first, last, tuple(rows))
