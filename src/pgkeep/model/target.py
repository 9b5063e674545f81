"""Recovery targets: how far to recover, as PostgreSQL understands it and as people write it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import Literal

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import BadLsn, Lsn


class BadTarget(PgkeepError):
    """A recovery target that cannot be read."""

    code = "bad-target"
    exit_status = 16

    text: str
    why: str
    advice: str = (
        "write latest, immediate, a time like '2026-01-15 15:47:21+00', xid:1234567, "
        "lsn:0/4A000028 or name:before_v2"
    )

    def __str__(self) -> str:
        return f"cannot read {self.text!r} as a recovery target: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class BadTime(BadTarget):
    """A moment that cannot be read, or that is none."""

    code = "bad-time"

    advice: str = "write it like '2026-01-15 15:47:21+00'"

    def __str__(self) -> str:
        return f"cannot read {self.text!r} as a time: {self.why}"


class NoTime(BadTime):
    """A word that is not written like a moment at all."""

    code = "no-time"


@dataclass(frozen=True, slots=True)
class Latest:
    """All WAL there is."""

    def __str__(self) -> str:
        return "latest"


@dataclass(frozen=True, slots=True)
class Immediate:
    """The backup's own end: the first consistent moment."""

    def __str__(self) -> str:
        return "immediate"


@dataclass(frozen=True, slots=True)
class AtTime:
    """The state at a moment (aware, UTC)."""

    time: datetime

    def __str__(self) -> str:
        return self.time.astimezone(UTC).isoformat(sep=" ")


@dataclass(frozen=True, slots=True)
class AtXid:
    """A transaction's commit or abort; 64-bit ids with an epoch are fine."""

    xid: int

    def __str__(self) -> str:
        return f"xid:{self.xid}"


@dataclass(frozen=True, slots=True)
class AtLsn:
    """A WAL position: compared with where records start."""

    lsn: Lsn

    def __str__(self) -> str:
        return f"lsn:{self.lsn}"


@dataclass(frozen=True, slots=True)
class AtName:
    """A restore point made by `pgkeep point` or pg_create_restore_point()."""

    name: str

    def __str__(self) -> str:
        return f"name:{self.name}"


Target = Latest | Immediate | AtTime | AtXid | AtLsn | AtName


class Action(StrEnum):
    """What the server does at the target."""

    PROMOTE = "promote"
    PAUSE = "pause"
    SHUTDOWN = "shutdown"


TimelineChoice = Literal["latest", "current"] | int


@dataclass(frozen=True, slots=True)
class RecoveryTarget:
    """Everything that decides where recovery ends."""

    target: Target = Latest()
    inclusive: bool = True
    timeline: TimelineChoice = "latest"
    action: Action = Action.PROMOTE


def parse_target(text: str, zone: tzinfo) -> Target:
    """Read what `--to` takes; a time without a zone is meant in `zone`. Raise BadTarget."""
    text = text.strip()
    match text:
        case "latest":
            return Latest()
        case "immediate":
            return Immediate()
    kind, colon, value = text.partition(":")
    if colon and kind == "xid":
        return _xid(text, value)
    if colon and kind == "lsn":
        try:
            return AtLsn(Lsn.parse(value))
        except BadLsn as error:
            raise BadTarget(text, str(error), error.hint) from error
    if colon and kind == "name":
        return _name(text, value)
    try:
        return AtTime(parse_time(text, zone))
    except NoTime as error:
        raise BadTarget(text, "it is neither a known word nor an ISO 8601 time") from error
    except BadTime as error:
        raise BadTarget(text, error.why, error.advice) from error


def parse_timeline(text: str) -> TimelineChoice:
    """Read what `--timeline` takes. Raise BadTarget."""
    if text == "latest":
        return "latest"
    if text == "current":
        return "current"
    if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 32:
        return int(text)
    raise BadTarget(text, "it is no timeline", "write --timeline latest, current or a number")


def parse_time(text: str, zone: tzinfo) -> datetime:
    """Read an ISO 8601 time and return it in UTC. Raise BadTime if it names no single moment."""
    try:
        moment = datetime.fromisoformat(_iso(text))
    except ValueError as error:
        raise NoTime(text, "it is not in ISO 8601") from error
    try:
        return _single_moment(text, moment, zone)
    except (OverflowError, ValueError) as error:  # as UTC has it
        raise NoTime(text, "it is in no year from 1 to 9999") from error


def _single_moment(text: str, moment: datetime, zone: tzinfo) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    early, late = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if early.utcoffset() != late.utcoffset():
        # fold=0 is the earlier of two readings in autumn, and past the gap in spring
        either = " or ".join(f"'{m.astimezone(UTC):%Y-%m-%d %H:%M:%S+00}'" for m in (early, late))
        gone = early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment
        why = f"there is no such local time in {zone}" if gone else f"it comes twice in {zone}"
        raise BadTime(text, why, f"say which moment you mean: {either}")
    return early.astimezone(UTC)


def _iso(text: str) -> str:
    """Return `text` with a blank before the offset removed and UTC spelt as an offset."""
    text = re.sub(r"\s*(?:UTC|GMT|Z)$", "+00:00", text.strip())
    return re.sub(r"\s+([+-]\d\d(?::?\d\d)?)$", r"\1", text)


def _xid(text: str, value: str) -> AtXid:
    if not value.isascii() or not value.isdigit() or not 3 <= int(value) < 1 << 64:
        raise BadTarget(text, "a transaction id is a number from 3 on", "write it like xid:1234567")
    return AtXid(int(value))


def _name(text: str, value: str) -> AtName:
    if not value or len(value.encode()) > 63 or "\n" in value:
        raise BadTarget(text, "a restore point has a name of 1 to 63 bytes")
    return AtName(value)
