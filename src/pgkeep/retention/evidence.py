"""Which reports of drills and which acts are old enough to go; the newest never are."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from pgkeep.repository import names
from pgkeep.repository.acts.storing import list_acts
from pgkeep.repository.drills.storing import read_reports
from pgkeep.repository.marker import moment_of_id
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobStat


def old_reports(
    cluster: ClusterFolder, now: datetime, keep: timedelta | None
) -> tuple[BlobStat, ...]:
    """Return the reports that go; None keeps all. What is no report of a drill is left alone."""
    if keep is None:
        return ()
    prefix = names.drills_prefix(cluster.name)
    old = _older(cluster.store.list(prefix), prefix, now - keep)
    if not old:
        return ()
    # Reading stops at the newest that passed: as a rule, at the first report.
    passed = read_reports(cluster, until_passed=True).last_passed
    kept = names.drill(cluster.name, passed.id) if passed else ""
    return tuple(blob for blob in old if blob.name != kept)


def old_acts(
    cluster: ClusterFolder, now: datetime, keep: timedelta | None
) -> tuple[tuple[str, int], ...]:
    """Return name and size of the acts that go, the cluster's and the repository's; None: none.

    The newest of each kind stays: it is the last evidence.
    """
    if keep is None:
        return ()
    found: list[tuple[str, int]] = []
    for shelf in (cluster.name, ""):
        seen: set[str] = set()
        for act in list_acts(cluster.repository, shelf):
            if act.what in seen and act.at < now - keep:
                found.append((act.name, act.size))
            seen.add(act.what)
    return tuple(found)


def _older(blobs: Iterable[BlobStat], prefix: str, limit: datetime) -> list[BlobStat]:
    found = []
    for blob in blobs:
        ended = moment_of_id(blob.name.removeprefix(prefix).removesuffix(".json"))
        if ended is not None and ended < limit and blob.name.endswith(".json"):
            found.append(blob)
    return found
