"""How long a server can go on while its WAL is not archived."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgkeep.units import format_duration, format_size

# Seconds. The faster of both counts: a load that began minutes ago, or one that comes and goes.
_SPANS: Final = (300.0, 3600.0)
BEHIND: Final = 8  # files that wait: more than a moment's delay
SOON: Final = 6 * 3600.0  # seconds: somebody must act now


@dataclass(frozen=True, slots=True)
class WalRoom:
    """The state of a server's pg_wal."""

    waiting: int  # files that are to be archived
    waiting_size: int  # bytes of them
    free: int  # bytes on the disk that holds pg_wal
    rate: float  # bytes of WAL per second, lately
    given_up: int = 0  # files that were not archived and never will be, with no backup after them

    @property
    def seconds_left(self) -> float | None:
        """Return when the disk is full if nothing is archived; None when no WAL comes."""
        return self.free / self.rate if self.rate > 0 else None

    @property
    def is_behind(self) -> bool:
        return self.waiting > BEHIND

    @property
    def is_short(self) -> bool:
        """Tell whether archiving is behind and the disk will be full soon."""
        return self.is_behind and self.seconds_left is not None and self.seconds_left < SOON

    def __str__(self) -> str:
        wait = "file ({}) waits" if self.waiting == 1 else "files ({}) wait"
        held = f"{self.waiting} {wait.format(format_size(self.waiting_size))} to be archived"
        free = f"{format_size(self.free)} are free beside pg_wal"
        if self.seconds_left is None:
            return f"{held}; {free}"
        per_hour = f"{format_size(int(self.rate * 3600))} of WAL an hour"
        return f"{held}; {free}, full in {format_duration(self.seconds_left)} at {per_hour}"


def wal_rate(finished: Sequence[float], size: int, now: float) -> float:
    """Return bytes of WAL per second, from the moments at which segments were finished."""
    return max(sum(now - span < t <= now for t in finished) * size / span for span in _SPANS)
