"""What `pgkeep list` shows: the record of a cluster, with times at the ends of what it covers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pgkeep.coverage.dates import newest_change
from pgkeep.coverage.lost_wal import LostWal, losses_on_record
from pgkeep.coverage.record import ClusterRecord, Record, read_record
from pgkeep.model.backup import Backup, in_order
from pgkeep.model.cluster import GenerationId
from pgkeep.model.coverage import Span
from pgkeep.repository.proofs import NO_PROOFS, Proofs, read_proofs
from pgkeep.repository.repository import ClusterFolder


@dataclass(frozen=True, slots=True)
class Dated:
    """When a span begins and ends; None where no transaction on record tells."""

    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that is shown of one cluster."""

    repository: str
    record: ClusterRecord
    dates: Mapping[tuple[GenerationId, int, Span], Dated]  # by generation, timeline and span
    proofs: Proofs = NO_PROOFS
    losses: tuple[LostWal, ...] = ()  # WAL that a server gave up, of all generations

    @property
    def cluster(self) -> str:
        return self.record.cluster

    @property
    def backups(self) -> list[Backup]:
        """All readable backups, oldest first."""
        return in_order(b for record in self.record.generations for b in record.backups)

    @property
    def newest(self) -> datetime | None:
        """The newest moment that can be restored of the generation in use, if it has a time."""
        return self.newest_of(self.record.newest)

    def newest_of(self, record: Record | None) -> datetime | None:
        """Return the newest moment that can be restored of a generation, if it has a time."""
        latest = record.coverage.latest if record else None
        if record is None or latest is None or not latest.spans:
            return None
        dated = self.dates[record.generation.id, latest.timeline, latest.spans[-1]]
        return dated.end or dated.start


def list_cluster(cluster: ClusterFolder) -> Listing:
    """Read what is on record, and the ends of archived WAL for their times."""
    record = read_record(cluster)
    dates = {
        (part.generation.id, timeline.timeline, span): _dated(
            cluster, part, timeline.timeline, span
        )
        for part in record.generations
        for timeline in part.coverage.timelines
        for span in timeline.spans
    }
    losses = [
        lost
        for part in record.generations
        if any(timeline.holes for timeline in part.coverage.timelines)
        for lost in losses_on_record(cluster, part.generation.id)
    ]
    url = cluster.repository.store.url
    return Listing(url, record, dates, read_proofs(cluster), tuple(losses))


def _dated(cluster: ClusterFolder, part: Record, number: int, span: Span) -> Dated:
    generation = part.generation
    timeline = part.coverage.timeline(number)
    stops = {backup.id: backup.stopped_at for backup in part.backups}
    start = min((stops[name] for name in span.backups if name in stops), default=None)
    archive = cluster.wal(generation.id)
    size = generation.segment_size
    assert timeline is not None  # the span is one of its own
    end = newest_change(archive, timeline.history, span.end, span.start, size)
    # Without any change since, the end of the newest backup is the last moment that is known.
    last = max((stops[name] for name in span.backups if name in stops), default=None)
    return Dated(start, max((m for m in (end, last) if m is not None), default=None))
