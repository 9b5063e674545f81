"""Reads what the timeline shows. Takes as long as the repository takes: not for an event loop."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from pgkeep.app import App
from pgkeep.coverage.listing import list_cluster
from pgkeep.errors import PgkeepError
from pgkeep.repository.acts.act import POINT, Act
from pgkeep.repository.acts.storing import acts
from pgkeep.repository.drills.report import Report
from pgkeep.repository.drills.storing import read_report, report_ids
from pgkeep.repository.dumps import dumps
from pgkeep.repository.repository import ClusterFolder
from pgkeep.undo.finding.remembered import Remembered
from pgkeep.web.timeline import putting
from pgkeep.web.timeline.facts import Facts, Mark

_MOST: Final = 200  # drills, and restore points: each is an object to read


def read(app: App, now: datetime) -> Facts:
    """Return what is on record; raise why not. What is beside coverage may fail, and is noted."""
    cluster = app.cluster_to_read
    listing = list_cluster(cluster)
    notes: list[str] = []

    def tried(what: str, found: Callable[[], Iterable[Mark]]) -> list[Mark]:
        try:
            return list(found())
        except PgkeepError as error:
            notes.append(f"{what} are not shown: {error}")
            return []

    marks = list(putting.backup_marks(listing))
    marks += tried("dumps", lambda: putting.dump_marks(dumps(cluster).dumps))
    marks += tried("drills", lambda: putting.drill_marks(_drills(cluster)))
    marks += tried("restore points", lambda: putting.point_marks(_points(cluster)))
    marks += tried("events", lambda: putting.event_marks(Remembered.of(cluster).events()))
    notes += [f"{one.id} cannot be read: {one.why}" for one in listing.record.unreadable]
    newest = listing.record.newest
    return Facts(
        cluster.name,
        now,
        tuple(putting.lanes(listing, now)),
        tuple(sorted(marks, key=lambda mark: mark.at)),
        putting.stored_times(listing),
        newest.generation.segment_size if newest else 16 << 20,
        tuple(notes),
    )


def _drills(cluster: ClusterFolder) -> Iterator[Report]:
    for id in islice(report_ids(cluster), _MOST):
        try:
            yield read_report(cluster, id)
        except PgkeepError:
            continue  # health and `drill --list` tell of those that cannot be read


def _points(cluster: ClusterFolder) -> Iterable[Act]:
    return acts(cluster.repository, cluster.name, what=POINT, limit=_MOST).found
