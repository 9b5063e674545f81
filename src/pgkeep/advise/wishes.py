"""What somebody wants of backups, and what the cluster is. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DAY: Final = 86400.0
GIB: Final = float(1 << 30)


class Hosting(StrEnum):
    """Where the server runs."""

    SELF = "self"  # a machine of one's own
    CLOUD_VM = "cloud-vm"
    KUBERNETES = "kubernetes"
    MANAGED = "managed"  # by a provider, without access to files or WAL


class Provider(StrEnum):
    """Whose object store, or whose service."""

    AWS = "aws"
    GOOGLE = "google"
    AZURE = "azure"
    OTHER = "other"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Times in seconds, sizes in bytes, money in the currency of the prices."""

    rpo: float = 300.0  # the most that may be lost
    rto: float = 4 * 3600.0  # the longest that a restore may take
    size: float = 100 * GIB  # of the cluster
    wal_per_day: float = 10 * GIB
    growth: float = 0.3  # of the size, in a year
    hosting: Hosting = Hosting.SELF
    provider: Provider = Provider.NONE
    window: float = 14 * DAY  # any second of this long
    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    table_level: bool = True  # single tables, in another version, on another machine
    offsite: bool = True  # a copy elsewhere
    budget: float | None = None  # a month
    major: int = 18  # of PostgreSQL

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be."""
        for name in ("rpo", "rto", "size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than nothing")
        if min(self.wal_per_day, self.window, self.daily, self.weekly, self.monthly) < 0:
            raise ValueError("nothing can be kept for less than no time")
        if self.budget is not None and self.budget < 0:
            raise ValueError("a budget cannot be less than nothing")
        if not -0.9 <= self.growth <= 100:
            raise ValueError("growth is a share of the size, in a year: -0.9 to 100")
