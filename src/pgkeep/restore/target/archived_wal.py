"""Archived WAL as `locate` reads it: segment by segment, each fetched, checked and scanned once."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pgkeep.model.coverage import TimelineCoverage, segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.wal_decode import Kind
from pgkeep.postgres.wal_header import NotWal, WrongSegment
from pgkeep.postgres.wal_records import Carry, SegmentEvents, record_from, scan_segment
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import ShortRead
from pgkeep.repository.wal_archive import WalArchive, WalMissing
from pgkeep.restore.target.found import Change, Damage
from pgkeep.restore.target.locate import RestorePoint, SegmentUnusable

_UNUSABLE: Final = (Damaged, ShortRead, NotWal, WrongSegment)
_KEPT: Final = 64  # segments whose events stay in memory


class ArchivedWal:
    """Reads along one timeline. Raises SegmentUnusable, WalMissing or what the store raises."""

    def __init__(self, archive: WalArchive, line: TimelineCoverage, segment_size: int) -> None:
        self._archive: Final = archive
        self._line: Final = line
        self._size: Final = segment_size
        self._events: OrderedDict[Segment, SegmentEvents] = OrderedDict()

    def changes(self, segment: Segment) -> list[Change]:
        transactions = self._scan(segment).transactions
        return [
            Change(t.lsn, t.xid, t.time, t.kind in (Kind.COMMIT, Kind.COMMIT_PREPARED))
            for t in transactions
            if t.kind.ends
        ]

    def points(self, segment: Segment) -> list[RestorePoint]:
        return [RestorePoint(p.lsn, p.name, p.time) for p in self._scan(segment).restore_points]

    def first_record(self, segment: Segment, lsn: Lsn) -> Lsn | None:
        with _judged(segment):
            return record_from(self._content(segment), segment, lsn)

    def _scan(self, segment: Segment) -> SegmentEvents:
        known = self._events.get(segment)
        if known is not None:
            self._events.move_to_end(segment)
            return known
        with _judged(segment):
            events = scan_segment(self._content(segment), segment, self._carry_into(segment))
        self._events[segment] = events
        if len(self._events) > _KEPT:
            self._events.popitem(last=False)
        return events

    def _carry_into(self, segment: Segment) -> Carry | None:
        """Return the beginning of a record that runs over from the segment before."""
        before = segment_on(self._line.history, segment.number - 1, self._size)
        known = self._events.get(before)
        if known is not None:
            return known.carry
        try:
            return scan_segment(self._content(before), before).carry
        except (WalMissing, *_UNUSABLE):
            return None  # then replay begins in this segment, or never gets here

    def _content(self, segment: Segment) -> bytes:
        return b"".join(self._archive.fetch(segment.name))


@contextmanager
def _judged(segment: Segment) -> Iterator[None]:
    try:
        yield
    except _UNUSABLE as error:
        raise SegmentUnusable(Damage(segment, str(error))) from error
