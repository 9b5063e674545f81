"""Look at every place that holds the cluster, for `check --321`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgkeep.coverage.listing import list_cluster
from pgkeep.errors import PgkeepError
from pgkeep.repository import dumps
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.location import locate, of_path
from pgkeep.setup.check import CheckReport
from pgkeep.setup.three_two_one import Copy, judge


@dataclass(frozen=True, slots=True)
class Kept:
    """A repository as the config has it."""

    name: str
    address: str
    site: str
    open: Callable[[], ClusterFolder]


def look_at_copies(
    cluster: str, data_directory: str, repositories: Sequence[Kept], now: datetime
) -> CheckReport:
    """Judge where the cluster's data is; what cannot be looked at counts for nothing."""
    here = of_path(data_directory)
    server = Copy("the database", here.medium, now, elsewhere=False, where=here.where)
    found = [_copy(kept) for kept in repositories]
    return CheckReport(cluster, tuple(judge(server, found, now)))


def _copy(kept: Kept) -> Copy:
    place = locate(kept.address)
    newest, trouble = None, ""
    undeletable: str | None = None
    try:
        folder = kept.open()
        newest = _newest(folder)
        undeletable = _protection(folder)
    except PgkeepError as error:
        trouble = str(error)
    return Copy(
        kept.name, place.medium, newest, place.elsewhere, place.where, kept.site, undeletable,
        trouble,
    )  # fmt: skip


def _newest(folder: ClusterFolder) -> datetime | None:
    """Return the newest moment to which this copy alone brings the data back."""
    moments = [dump.taken_at for dump in dumps.dumps(folder).dumps]
    physical = list_cluster(folder).newest
    return max([*moments, physical] if physical else moments, default=None)


def _protection(folder: ClusterFolder) -> str | None:
    return "" if folder.store.address.startswith("/") else None
