"""What is on record, put on an axis of time."""

from datetime import UTC, datetime, timedelta

from pgkeep.coverage.listing import Dated, Listing
from pgkeep.coverage.record import ClusterRecord, Record
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import coverage
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.repository.store.base import BlobStat
from pgkeep.repository.wal_archive import WalListing
from pgkeep.web.timeline.facts import Band
from pgkeep.web.timeline.putting import backup_marks, lanes, stored_times

MIB = 1 << 20
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def listing(generation: Generation, backups: list[int], segments: list[int]) -> Listing:
    """Return a record with 1 MiB segments; each number is a segment and a minute after noon."""
    made = [
        Backup(
            BackupId(f"b{number}"),
            BackupType.FULL,
            generation,
            1,
            Lsn(number * MIB + 40),
            Lsn(number * MIB + 400),
            at(number),
            at(number),
        )
        for number in backups
    ]
    names = [Segment(1, number, MIB).name for number in segments]
    stats = {
        name: BlobStat(name, 100, at(number).timestamp())
        for name, number in zip(names, segments, strict=True)
    }
    reach = coverage(generation, made, {1: segments}, {})
    part = Record(
        generation, tuple(made), WalListing({1: segments}, [], [], [], [], [], stats), reach, ()
    )
    dates = {
        (generation.id, 1, span): Dated(at(int(span.start) // MIB), at(int(span.end) // MIB))
        for line in reach.timelines
        for span in line.spans
    }
    return Listing("/repo", ClusterRecord("main", (part,), ()), dates)


def generation() -> Generation:
    return Generation(system_identifier=7, major=18, segment_size=MIB)


def test_a_hole_lies_between_the_bands_beside_it() -> None:
    (lane,) = lanes(listing(generation(), [3, 8], [3, 4, 7, 8, 9]), at(20))
    assert lane.title == "Timeline 1"
    assert lane.bands == (Band(at(3), at(5), ("b3",)), Band(at(8), at(10), ("b8",)))
    (gap,) = lane.gaps
    assert (gap.start, gap.end) == (at(5), at(8))
    first, last = Segment(1, 5, MIB).name, Segment(1, 6, MIB).name
    assert gap.words == f"2 WAL segments are missing: {first} to {last}"


def test_a_hole_without_a_backup_behind_ends_where_wal_was_stored_again() -> None:
    (lane,) = lanes(listing(generation(), [3], [3, 4, 7, 8]), at(20))
    (gap,) = lane.gaps
    assert (gap.start, gap.end) == (at(5), at(7))


def test_a_backup_that_lacks_wal_is_marked_so() -> None:
    found = listing(generation(), [3, 6], [3, 4])
    good, bad = backup_marks(found)
    assert (good.good, good.at) == (None, at(3))
    assert bad.good is False
    assert "it cannot be restored: WAL that makes it consistent is missing" in bad.words
    assert stored_times(found) == (at(3).timestamp(), at(4).timestamp())
