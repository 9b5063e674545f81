"""What backups and drills on record tell of a cluster: growth, WAL, rates. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgkeep.coverage.listing import Listing
from pgkeep.model.backup import Backup

_LEAST_FOR_WAL: Final = 1.0  # days between the first and the last backup
_LEAST_FOR_GROWTH: Final = 7.0
_LEAST_REPLAYED: Final = 1 << 30  # bytes: of less, most of the time is the server's start
_DAY: Final = 86400.0


class Recorded(NamedTuple):
    """What is on record. None: too little of it."""

    backups: int = 0
    days: float = 0.0  # from the first to the last
    growth: float | None = None  # of the size, in a year
    wal_per_day: float | None = None
    restore_rate: float | None = None  # bytes a second
    replay_rate: float | None = None


NOTHING: Final = Recorded()


def recorded(listing: Listing) -> Recorded:
    """Read the newest generation's backups and the newest drill that passed."""
    newest = listing.record.newest
    backups = newest.backups if newest else ()
    days, growth, wal = _of_backups(backups)
    restore, replay = _rates(listing)
    return Recorded(len(backups), days, growth, wal, restore, replay)


def _of_backups(backups: Sequence[Backup]) -> tuple[float, float | None, float | None]:
    if len(backups) < 2:
        return 0.0, None, None
    first, last = backups[0], backups[-1]
    days = (last.started_at - first.started_at).total_seconds() / _DAY
    growth = wal = None
    if days >= _LEAST_FOR_GROWTH and first.size:
        # A table that came once makes no rhythm: ten times its size is the most to plan for.
        growth = min(9.0, max(-0.9, (last.size / first.size - 1) * 365 / days))
    if days >= _LEAST_FOR_WAL and last.start_lsn > first.start_lsn:
        wal = (last.start_lsn - first.start_lsn) / days
    return days, growth, wal


def _rates(listing: Listing) -> tuple[float | None, float | None]:
    drill = listing.drills.last_passed
    if drill is None:
        return None, None
    found = drill.measures
    restore = replay = None
    if found.restore_s and found.restored_bytes:
        restore = found.restored_bytes / found.restore_s
    if found.recovery_s and found.wal_bytes > _LEAST_REPLAYED:
        replay = found.wal_bytes / found.recovery_s
    return restore, replay
