"""Which reports of drills are old enough to go. The newest that passed never is."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from pgkeep.repository import names
from pgkeep.repository.drills.storing import moment_of_id, read_reports
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


def _older(blobs: Iterable[BlobStat], prefix: str, limit: datetime) -> list[BlobStat]:
    found = []
    for blob in blobs:
        ended = moment_of_id(blob.name.removeprefix(prefix).removesuffix(".json"))
        if ended is not None and ended < limit and blob.name.endswith(".json"):
            found.append(blob)
    return found
