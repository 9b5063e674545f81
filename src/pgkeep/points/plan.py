"""What a restore point is, and when none can be set. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import BadTarget
from pgkeep.units import MIB

_NAME_BYTES: Final = 63  # xlog.c: MAXFNAMELEN, less its end
_LOOK_BACK: Final = 16  # segments that are searched for the same name
_LOOK_BACK_BYTES: Final = 256 * MIB  # a second's work


class CannotSetPoint(BadTarget):
    """A restore point that would be none, or not the one that is meant."""

    code = "cannot-set-point"

    def __str__(self) -> str:
        return f"cannot set restore point {self.text!r}: {self.why}"


@dataclass(frozen=True, slots=True)
class Server:
    """What is asked of the server before a point is set."""

    in_recovery: bool
    wal_level: str
    archive_mode: str
    generation: str


@dataclass(frozen=True, slots=True)
class Point:
    """A restore point that is set."""

    name: str
    lsn: Lsn  # where its record ends: 'lsn:... --exclusive' is the same moment
    time: datetime  # by the server's clock, right after it
    segment: Segment
    searched: int  # segments before it in which the name is not
    archived: bool | None = None  # None: nobody waited
    why: str = ""  # why it is not known to be archived
    restorable: bool = True  # there is a backup to begin with

    @property
    def target(self) -> str:
        """What `--to` takes for it."""
        return f"name:{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return the point as --json shows it."""
        return {
            "name": self.name,
            "lsn": str(self.lsn),
            "time": self.time,
            "segment": self.segment.name,
            "archived": self.archived,
            "why": self.why or None,
            "restorable": self.restorable,
        }


def check_name(name: str) -> None:
    """Raise CannotSetPoint unless PostgreSQL takes the name, and a terminal shows it."""
    advice = "a name has 1 to 63 bytes: letters, digits, '_' are best"
    if not name:
        raise CannotSetPoint(name, "it has no name", advice)
    size = len(name.encode(errors="surrogateescape"))
    if size > _NAME_BYTES:
        raise CannotSetPoint(name, f"its name has {size} bytes, {_NAME_BYTES} at most", advice)
    if not name.isprintable() or name != name.strip():
        raise CannotSetPoint(name, "its name has characters that nobody sees", advice)


def check_server(name: str, server: Server, known: Collection[str]) -> None:
    """Raise CannotSetPoint unless a point set there can be restored from the archive.

    `known` are the generations that the repository has of this cluster.
    """
    if server.in_recovery:
        why = "this server is a standby, and only a primary writes WAL"
        raise CannotSetPoint(name, why, "let conninfo name the primary")
    if server.wal_level == "minimal":
        why = "wal_level is minimal, so WAL lacks what a restore needs"
        advice = "set wal_level = replica (pgkeep init --apply) and restart the server"
        raise CannotSetPoint(name, why, advice)
    if server.archive_mode == "off":
        why = "archive_mode is off, so it would never reach the repository"
        advice = "have the server archive: pgkeep init --apply, then restart it"
        raise CannotSetPoint(name, why, advice)
    if server.generation not in known:
        why = f"the repository knows nothing of this server, {server.generation}"
        raise CannotSetPoint(name, why, "check conninfo, or run pgkeep init")


def segments_before(segment: Segment) -> list[Segment]:
    """Return the segments that are searched for the same name, the newest first."""
    count = max(1, min(_LOOK_BACK, _LOOK_BACK_BYTES // segment.size))
    first = max(1, segment.number - count)
    return [segment._replace(number=n) for n in range(segment.number, first - 1, -1)]


def used_before(name: str, lsn: Lsn) -> CannotSetPoint:
    """Return the error that says that recovery would stop at another point of that name."""
    return CannotSetPoint(
        name,
        f"there is one of that name already, at {lsn}, and recovery would stop there",
        "choose another name, with the date in it for instance",
    )
