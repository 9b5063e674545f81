"""Which packs are named by manifests that stay, and which by none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.dump import noun_of
from pgkeep.repository import names
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobStat
from pgkeep.units import format_duration

ORPHAN_AGE_S: Final = 24 * 3600.0  # until then what was interrupted may go on with them


class PacksMissing(PgkeepError):
    """Packs that something good needs are not there: what is seen may not be all there is."""

    code = "packs-missing"
    exit_status = 214

    backup: str
    missing: int
    example: str

    def __str__(self) -> str:
        return (
            f"cannot delete anything: {noun_of(self.backup)} {self.backup} needs {self.missing} "
            f"packs that are not there, like {self.example}"
        )

    @property
    def hint(self) -> str:
        return (
            "see that the whole repository is mounted, then find out what is lost with pgkeep "
            "verify; what it finds damaged no longer counts"
        )


@dataclass(frozen=True, slots=True)
class Orphan:
    """A pack that no manifest names: a backup or dump that was interrupted left it."""

    name: str
    size: int
    age_s: float

    @property
    def goes(self) -> bool:
        return self.age_s > ORPHAN_AGE_S

    @property
    def why(self) -> str:
        if self.goes:
            return "no backup and no dump names it"
        return f"younger than {format_duration(ORPHAN_AGE_S)}: the next one may go on with it"


@dataclass(frozen=True)
class Packs:
    """The packs of a cluster, sorted by who needs them. Ids are their 16 bytes."""

    stored: Mapping[bytes, BlobStat]
    needed: frozenset[bytes]
    freed: tuple[bytes, ...]  # named only by what goes
    orphans: tuple[Orphan, ...]

    @property
    def freed_size(self) -> int:
        return sum(self.stored[pack].size for pack in self.freed)


def list_packs(cluster: ClusterFolder) -> dict[bytes, BlobStat]:
    """Return what is stored; objects whose names are no pack's are left alone."""
    found = {}
    for blob in cluster.store.list(names.packs_prefix(cluster.name)):
        try:
            pack = bytes.fromhex(blob.name.rpartition("/")[2])
        except ValueError:
            continue
        if len(pack) == 16 and names.pack(cluster.name, pack) == blob.name:
            found[pack] = blob
    return found


def sort_packs(
    stored: Mapping[bytes, BlobStat], needed: set[bytes], going: set[bytes], now: float
) -> Packs:
    """Sort packs by who names them: what stays, what goes, or nothing."""
    freed = sorted((going - needed) & stored.keys())
    orphans = tuple(
        Orphan(blob.name, blob.size, max(0.0, now - blob.modified))
        for pack, blob in stored.items()
        if pack not in needed and pack not in going
    )
    return Packs(stored, frozenset(needed), tuple(freed), orphans)


def demand_packs(
    cluster: ClusterFolder, id: str, stored: Collection[bytes], named: set[bytes]
) -> None:
    """Raise PacksMissing unless every pack that a backup or dump names is there."""
    missing = named.difference(stored)
    if missing:
        example = names.pack(cluster.name, min(missing))
        raise PacksMissing(id, len(missing), example)
