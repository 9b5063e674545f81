"""Whether WAL that a server believes to be archived is really here. Pure.

With archive_command = '/bin/true', or one that stores elsewhere, the server sees no failure. Ask it
before the repositories are listed: what it says that it has archived must then be there.
"""

from typing import NamedTuple

from pgkeep.coverage.record import Record
from pgkeep.model.segment import BadSegmentName, Segment


class NotHere(NamedTuple):
    """A segment that a server has archived and that no listed repository has."""

    claimed: Segment
    newest: Segment | None  # of its timeline that is here; None: nothing is

    def __str__(self) -> str:
        return f"nothing after {self.newest}" if self.newest else "nothing"


def claimed_elsewhere(archived: str | None, record: Record) -> NotHere | None:
    """Judge the newest file that a server has archived; None: it is here, or no segment.

    One that is older than the newest here may have expired.
    """
    size = record.generation.segment_size
    try:
        claimed = Segment.parse(archived or "", size)
    except BadSegmentName:
        return None  # a history, or the label of a backup
    newest = max(record.listing.segments.get(claimed.timeline, ()), default=None)
    if newest is None:
        return NotHere(claimed, None)
    here = Segment(claimed.timeline, newest, size)
    return NotHere(claimed, here) if claimed.number > newest else None
