"""What a repository costs a month, and what its last backup did. Pure."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from pgkeep.repository.metering.prices import (
    Tariff,
    egress_cost,
    monthly_cost,
    requests_cost,
)
from pgkeep.repository.metering.traffic import Traffic
from pgkeep.repository.names import CLUSTERS
from pgkeep.repository.store.base import BlobStat

KINDS: Final = ("packs", "manifests", "WAL", "others")
_WEEK: Final = 7 * 86400.0  # seconds over which the rate of WAL is taken
_DAY: Final = 86400.0
_MONTH: Final = 365.25 / 12  # days
_MANIFEST: Final = 1  # object of a backup beside its packs


class LastBackup(NamedTuple):
    """The newest backup, as its manifest tells of it."""

    id: str
    started: datetime
    stopped: datetime
    size: int  # bytes of the cluster
    stored: int  # bytes that it added


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of one kind is stored."""

    kind: str
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RepositoryCost:
    """What one repository costs. Amounts are in the currency of its prices."""

    repository: str
    tariff: Tariff
    kept: tuple[Kept, ...]
    per_month: float  # for what is stored now
    wal_per_day: float  # objects archived
    wal_per_month: float  # their requests
    backup: LastBackup | None
    backup_objects: int  # that the last backup stored
    backup_requests: float  # what storing them cost
    restore_reads: float  # what reading as much as a whole restore would cost

    @property
    def bytes(self) -> int:
        return sum(kind.bytes for kind in self.kept)

    @property
    def objects(self) -> int:
        return sum(kind.objects for kind in self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        backup = self.backup
        return {
            "repository": self.repository,
            "bytes": self.bytes,
            "objects": self.objects,
            "kept": [asdict(kind) for kind in self.kept],
            "prices": {**self.tariff.prices._asdict(), "list_prices": self.tariff.listed},
            "per_month": self.per_month,
            "wal_per_day": round(self.wal_per_day, 3),
            "wal_requests_per_month": self.wal_per_month,
            "last_backup": None
            if backup is None
            else {
                "id": backup.id,
                "objects": self.backup_objects,
                "stored": backup.stored,
                "requests_cost": self.backup_requests,
                "restore_cost": self.restore_reads,
            },
        }


class Tally:
    """What a repository holds, counted in one listing: a large one takes long, and costs."""

    def __init__(self, blobs: Iterable[BlobStat], now: float) -> None:
        self.objects = dict.fromkeys(KINDS, 0)
        self.bytes = dict.fromkeys(KINDS, 0)
        self.clusters: set[str] = set()
        self.recent_wal: list[float] = []
        self._packs = array("d")  # when each was stored, seconds since 1970
        for blob in blobs:
            self._add(blob, now)

    def packs_of(self, backup: LastBackup) -> int:
        """Return how many packs were stored while a backup was made."""
        # A store tells whole seconds, and its clock is not that of the host that made the backup.
        first, last = backup.started.timestamp() - 2, backup.stopped.timestamp() + 2
        return sum(first <= stored <= last for stored in self._packs)

    def _add(self, blob: BlobStat, now: float) -> None:
        kind = kind_of(blob.name)
        self.objects[kind] += 1
        self.bytes[kind] += blob.size
        if blob.name.startswith(CLUSTERS) and blob.name.count("/") > 1:
            self.clusters.add(blob.name.split("/", 2)[1])
        if kind == "packs":
            self._packs.append(blob.modified)
        if kind == "WAL" and now - blob.modified <= _WEEK:
            self.recent_wal.append(blob.modified)


def kind_of(name: str) -> str:
    """Return which of KINDS an object is, by its name (docs/formats/repository.md)."""
    parts = name.split("/")
    if parts[0] != "clusters" or len(parts) < 4:
        return "others"
    if parts[2] in ("backups", "dumps"):
        return "manifests"
    return {"packs": "packs", "wal": "WAL"}.get(parts[2], "others")


def cost_of_repository(
    repository: str,
    tariff: Tariff,
    tally: "Tally",
    backup: LastBackup | None,
    now: float,
) -> RepositoryCost:
    """Price all that is stored. `now` is by the store's clock, seconds since 1970."""
    prices = tariff.prices
    per_day = wal_per_day(tally.recent_wal, now)
    objects = tally.packs_of(backup) + _MANIFEST if backup else 0
    stored = sum(tally.bytes.values())
    return RepositoryCost(
        repository=repository,
        tariff=tariff,
        kept=tuple(Kept(kind, tally.objects[kind], tally.bytes[kind]) for kind in KINDS),
        per_month=monthly_cost(stored, prices),
        wal_per_day=per_day,
        wal_per_month=requests_cost(Traffic(puts=1), prices) * per_day * _MONTH,
        backup=backup,
        backup_objects=objects,
        backup_requests=requests_cost(Traffic(puts=objects), prices),
        restore_reads=egress_cost(min(tally.bytes["packs"], backup.size) if backup else 0, prices),
    )


def wal_per_day(archived: Sequence[float], now: float) -> float:
    """Return how many objects a day were archived, from their times in the last week."""
    if not archived:
        return 0.0
    # Of a repository younger than a week, what it has seen; a first hour says nothing of a day.
    span = min(max(now - min(archived), _DAY), _WEEK)
    return len(archived) / span * _DAY
