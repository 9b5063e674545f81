"""What the archived WAL says of a target: the record at which recovery will stop. Pure nouns."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment


def moment(time: datetime) -> str:
    """Return a time as every message shows it: in UTC, no more digits than it has."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')} UTC"


def typed_time(time: datetime) -> str:
    """Return a time as PostgreSQL and `--to` take it: with its offset, so that no zone matters."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}+00"


@dataclass(frozen=True, slots=True)
class Change:
    """A transaction's end on record: the only WAL records that carry a time of their own."""

    lsn: Lsn  # where its record starts
    xid: int
    time: datetime
    committed: bool

    def __str__(self) -> str:
        kind = "commit" if self.committed else "abort"
        return f"the {kind} of transaction {self.xid} at {moment(self.time)}"


@dataclass(frozen=True, slots=True)
class StopPoint:
    """The record at which recovery stops: before it, or after having applied it."""

    lsn: Lsn  # where the record starts
    applied: bool
    record: str  # 'the commit of transaction 812 at ...', 'restore point ...'
    last: Change | None = None  # the last transaction that is in the result, where it is known
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'right after' if self.applied else 'right before'} {self.record} ({self.lsn})"


@dataclass(frozen=True, slots=True)
class Damage:
    """An archived segment that was met and cannot be used: WAL is as good as ended before it."""

    segment: Segment
    why: str  # with the object that is damaged


@dataclass(frozen=True, slots=True)
class Search:
    """The answer of the archive: where the target is, or what is the last thing on record."""

    stop: StopPoint | None = None
    newest: Change | None = None  # of the WAL that was looked at; None when it holds no change
    why: str = ""  # what was found instead of the target
    damage: Damage | None = None  # behind all that was looked at
