"""What a look at one cluster saw: from its repositories and its server, nothing judged yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pgkeep.coverage.listing import Listing
from pgkeep.coverage.record import Record
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.forecast import Sample
from pgkeep.health.health import RepositoryRoom
from pgkeep.model.dump import Dump
from pgkeep.model.lsn import Lsn
from pgkeep.model.wal_room import WalRoom
from pgkeep.server.session import ArchiverStats

_CLOCKS: Final = timedelta(days=1)  # by which the clocks of hosts may differ, to be believed


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Tell whether a moment on record is of a clock that was wrong: it has not come yet."""
    return moment - now > _CLOCKS


class Trouble(NamedTuple):
    """Why something could not be asked, and what to type."""

    what: str  # a repository's name, or 'server'
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """The server, as it answered."""

    generation: str
    timeline: int
    in_recovery: bool
    lsn: Lsn  # how far WAL is written, or replayed
    ahead_s: float  # the server's clock before ours
    archiving: bool  # archive_mode and a command or library
    archive_timeout: int  # seconds; 0: none
    size: int  # bytes of all databases
    archiver: ArchiverStats


@dataclass(frozen=True, slots=True)
class PlaceSeen:
    """One repository of several."""

    room: RepositoryRoom
    backups: frozenset[str]  # ids of what it has
    weighed: Sequence[Sample] = ()  # the oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything, at one moment. None: it could not be seen, and `troubles` says why."""

    cluster: str
    now: datetime
    listing: Listing | None = None
    dumps: tuple[Dump, ...] = ()
    bad_dumps: tuple[Trouble, ...] = ()  # whose manifests cannot be read
    server: ServerSeen | None = None
    has_server: bool = True  # the config says how to connect
    room: WalRoom | None = None
    places: tuple[PlaceSeen, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    @property
    def record(self) -> Record | None:
        """What is on record of the generation in use."""
        return self.listing.record.newest if self.listing else None

    def critical(  # noqa: PLR0913 - a condition's own fields
        self,
        kind: Kind,
        effect: str,
        cause: str,
        todo: str,
        *,
        subject: str = "",
        since: datetime | None = None,
    ) -> Condition:
        """Return a condition of this cluster by which data would be lost now."""
        return Condition(
            self.cluster, kind, Level.CRITICAL, effect, cause, todo, subject=subject, since=since
        )

    def warning(  # noqa: PLR0913 - a condition's own fields
        self,
        kind: Kind,
        effect: str,
        cause: str,
        todo: str,
        *,
        subject: str = "",
        since: datetime | None = None,
    ) -> Condition:
        """Return a condition of this cluster that becomes critical if nobody does anything."""
        return Condition(
            self.cluster, kind, Level.WARNING, effect, cause, todo, subject=subject, since=since
        )
