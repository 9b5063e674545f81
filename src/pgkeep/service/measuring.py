"""What a scraper of the service gets: health and jobs as metrics."""

from collections.abc import Iterator

from pgkeep.health.metrics import Ran, metrics
from pgkeep.service.board import Board
from pgkeep.service.jobs.job import JobState
from pgkeep.service.judging import TELLING


def metrics_of(board: Board) -> bytes:
    """Return the text for Prometheus; of clusters that were not looked at yet it has nothing."""
    return metrics(board.healths(), _ran(board), board.now())


def _ran(board: Board) -> Iterator[Ran]:
    known = set(board.clusters())
    for run in board.ledger.newest_of_each(TELLING):
        if run.job.cluster in known and run.began_at is not None and run.ended_at is not None:
            seconds = (run.ended_at - run.began_at).total_seconds()
            good = run.state is JobState.DONE
            yield Ran(run.job.cluster, run.job.kind, good, seconds, run.ended_at)
