"""What is archived, what is missing, and how the server's archiver is doing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from pgkeep.coverage.lost_wal import LostWal, explanation
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import Hole
from pgkeep.model.segment import Segment
from pgkeep.model.wal_room import WalRoom
from pgkeep.repository.wal_archive import WalListing
from pgkeep.server.session import ArchiverStats


@dataclass(frozen=True, slots=True)
class TimelineStatus:
    """The archived segments of one timeline."""

    timeline: int
    first: Segment
    last: Segment
    segments: int
    stored_size: int  # bytes in the repository
    holes: tuple[Hole, ...]
    newest_at: datetime  # when the latest segment came, by the store's clock
    has_history: bool  # timeline 1 needs none


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """The archive of one generation of the cluster."""

    generation: Generation
    timelines: tuple[TimelineStatus, ...]  # by number
    histories: tuple[int, ...]  # timelines whose history file is archived
    partials: tuple[str, ...]  # unfinished last segments, stored beside the whole ones
    backups: tuple[str, ...]  # backup history files
    cut_off: tuple[str, ...]  # too short to be restored from
    foreign: tuple[str, ...]  # objects that pgkeep didn't put there
    losses: tuple[LostWal, ...] = ()  # segments that were given up on purpose

    @property
    def newest_at(self) -> datetime | None:
        return max((line.newest_at for line in self.timelines), default=None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """WAL files that the server holds until they are archived."""

    count: int
    oldest: str = ""  # the file that is to be archived next, where names could be read


@dataclass(frozen=True, slots=True)
class WalStatus:
    """The report of `pgkeep wal status`."""

    cluster: str
    repository: str
    archives: tuple[ArchiveStatus, ...]  # by generation, the newest last
    archiver: ArchiverStats | None  # None when the server could not be asked
    waiting: Waiting | None  # None when neither the server nor its directory could tell
    failed_at: datetime | None = None  # of the archiver's last attempt, if that one failed
    room: WalRoom | None = None  # None when the server's directory could not be looked at

    @property
    def failing(self) -> bool:
        """Tell whether the archiver's last attempt, as far as the server counts them, failed."""
        return self.failed_at is not None

    @property
    def problems(self) -> tuple[str, ...]:
        """Say what needs a person, the gravest first; empty when all is well."""
        found = [text for archive in self.archives for text in _problems(archive)]
        if self.archiver is not None and self.failing:
            wal, at = self.archiver.last_failed_wal, self.archiver.last_failed_time
            behind = f"; {_waiting(self.waiting.count)}" if self.waiting else ""
            moment = f" at {at:%Y-%m-%d %H:%M:%S %Z}" if at else ""
            found.insert(0, f"the server failed to archive {wal}{moment}{behind}: see its log")
        if self.room is not None and self.room.is_behind:
            found.insert(0, f"archiving is behind: {self.room}")
        if not self.archives:
            found.append(f"cluster {self.cluster} is not set up in {self.repository}: pgkeep init")
        return tuple(found)


def _waiting(count: int) -> str:
    return "1 file waits" if count == 1 else f"{count} files wait"


def wal_status(
    cluster: str,
    repository: str,
    listings: Sequence[tuple[Generation, WalListing, Sequence[LostWal]]],
    archiver: ArchiverStats | None = None,
    waiting: Waiting | None = None,
) -> WalStatus:
    """Put the report together from what the archive lists and the server says."""
    archives = tuple(_archive(*found) for found in listings)
    failed = None if archiver is None else archiver.failed_at
    return WalStatus(cluster, repository, archives, archiver, waiting, failed)


def _archive(
    generation: Generation, listing: WalListing, losses: Sequence[LostWal]
) -> ArchiveStatus:
    timelines = tuple(
        _timeline(generation, timeline, listing)
        for timeline, numbers in sorted(listing.segments.items())
        if numbers
    )
    return ArchiveStatus(
        generation,
        timelines,
        tuple(sorted(listing.histories)),
        tuple(sorted(listing.partials)),
        tuple(sorted(listing.backups)),
        tuple(sorted(listing.cut_off)),
        tuple(sorted(listing.foreign)),
        tuple(losses),
    )


def _timeline(generation: Generation, timeline: int, listing: WalListing) -> TimelineStatus:
    size, numbers = generation.segment_size, listing.segments[timeline]
    stats = [listing.stats[Segment(timeline, number, size).name] for number in numbers]
    return TimelineStatus(
        timeline,
        Segment(timeline, numbers[0], size),
        Segment(timeline, numbers[-1], size),
        len(numbers),
        sum(stat.size for stat in stats),
        tuple(
            Hole(Segment(timeline, before + 1, size), Segment(timeline, after - 1, size))
            for before, after in pairwise(numbers)
            if after > before + 1
        ),
        datetime.fromtimestamp(max(stat.modified for stat in stats), UTC),
        timeline == 1 or timeline in listing.histories,
    )


def _problems(archive: ArchiveStatus) -> list[str]:
    found = [
        f"{_spell(hole)} missing on timeline {line.timeline}: no recovery goes across"
        + _reason(archive, hole)
        for line in archive.timelines
        for hole in line.holes
    ]
    found += [
        f"{file} was cut off in the repository: recovery stops there" for file in archive.cut_off
    ]
    found += [
        f"the history file of timeline {line.timeline} is missing: recovery cannot follow it"
        for line in archive.timelines
        if not line.has_history
    ]
    if archive.foreign:
        found.append(f"{len(archive.foreign)} objects are not pgkeep's, like {archive.foreign[0]}")
    return found


def _reason(archive: ArchiveStatus, hole: Hole) -> str:
    why = explanation(archive.losses, hole.first.name, hole.last.name)
    return f" ({why})" if why else ""


def _spell(hole: Hole) -> str:
    if hole.segments == 1:
        return f"segment {hole.first} is"
    return f"{hole.segments} segments from {hole.first} to {hole.last} are"
