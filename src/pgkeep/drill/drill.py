"""Proves that a backup or a dump can be restored, by restoring it; nothing is left but the report.

A check that could not be made is told as such. What counts as what is decided in finding.py and
troubles.py.
"""

import os
import socket
from datetime import UTC, datetime
from typing import NamedTuple

from pgkeep import __version__
from pgkeep.drill.dumped import drill_dump
from pgkeep.drill.finding import judge
from pgkeep.drill.request import DrillRequest
from pgkeep.drill.restored import drill_backup
from pgkeep.drill.story import Story
from pgkeep.errors import PgkeepError
from pgkeep.progress import Progress, Silent
from pgkeep.repository.drills.report import Report
from pgkeep.repository.drills.storing import write_report
from pgkeep.repository.dumps import is_dump_id
from pgkeep.repository.marker import timed_id
from pgkeep.repository.repository import ClusterFolder


class Drilled(NamedTuple):
    """What came out, and why that is not on record, if it is not."""

    report: Report
    problem: PgkeepError | None


def drill(
    cluster: ClusterFolder, request: DrillRequest, progress: Progress | None = None
) -> Drilled:
    """Make a drill and put its report into the repository.

    Raise what was wrong with the question: no such backup, no such moment. Whatever else goes wrong
    is in the report.
    """
    progress, started_at = progress or Silent(), datetime.now(UTC)
    story = Story(str(request.sandbox.recovery.target))
    of_dump = request.newest_dump or is_dump_id(request.wanted or "")
    make = drill_dump if of_dump else drill_backup
    make(cluster, request, story, progress, started_at)
    report = _report(cluster, request, story, started_at)
    try:
        write_report(cluster, report)
    except PgkeepError as error:
        return Drilled(report, error)
    return Drilled(report, None)


def _report(
    cluster: ClusterFolder, request: DrillRequest, story: Story, started_at: datetime
) -> Report:
    checks, finished_at = story.checks.told(), datetime.now(UTC)
    return Report(
        id=timed_id(finished_at, os.urandom(4)),
        cluster=cluster.name,
        status=judge(checks, story.essential),
        of=story.of,
        asked=request.asked,
        target=story.target,
        seed=story.seed,
        timeline=story.timeline,
        reached=story.reached,
        checks=checks,
        measures=story.measures,
        server=story.server,
        host=socket.gethostname(),
        pgkeep_version=__version__,
        started_at=started_at,
        finished_at=finished_at,
        notes=story.notes,
    )
