"""Transactions and restore points found in WAL; against real servers: integration/test_pg_files."""

import struct
from datetime import UTC, datetime

import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.wal_decode import Checkpoint, Kind, RestorePoint
from pgkeep.postgres.wal_header import NotWal, WrongSegment
from pgkeep.postgres.wal_records import Ending, SegmentEvents, scan_segment, scan_segments
from support.wal import ABORT, COMMIT_PREPARED, HAS_INFO, MIB, PAGE, XACT, XLOG, WalWriter

SECOND = 1_000_000
START = datetime(2000, 1, 1, tzinfo=UTC)


def scan(wal: WalWriter) -> list[SegmentEvents]:
    return list(scan_segments(wal.segments()))


@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_all_that_is_looked_for_is_found(major: int) -> None:
    wal = WalWriter(major)
    commit = wal.commit(7, SECOND)
    point = wal.restore_point("before_v2", 2 * SECOND)
    abort = wal.commit(8, 3 * SECOND, ABORT)
    online = wal.checkpoint(int(commit), 1_700_000_000)
    wal.raw(XLOG, 0x20, b"")  # a no-op

    (events,) = scan(wal)

    assert [(t.lsn, t.xid, t.kind) for t in events.transactions] == [
        (commit, 7, Kind.COMMIT),
        (abort, 8, Kind.ABORT),
    ]
    assert events.transactions[0].time == START.replace(second=1)
    assert events.restore_points == (
        RestorePoint(point, abort, "before_v2", START.replace(second=2)),
    )
    (checkpoint,) = events.checkpoints
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.lsn, checkpoint.redo, checkpoint.shutdown) == (online, commit, False)
    assert checkpoint.time == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (events.ending, events.end, events.first) == (Ending.UNUSED, wal.at, commit)


def test_subtransactions_and_prepared_transactions_are_read() -> None:
    wal = WalWriter(18)
    info = struct.pack("<qI", SECOND, 2) + struct.pack("<III", 2, 101, 102)
    wal.add(XACT, HAS_INFO, info, xid=100)
    parts = 1 | 2 | 4 | 256 | 8 | 16  # database, subtransactions, files, stats, messages, prepared
    info = struct.pack("<qI", SECOND, parts) + bytes(8) + struct.pack("<II", 1, 201)
    info += struct.pack("<I", 1) + bytes(12) + struct.pack("<I", 1) + bytes(16)
    info += struct.pack("<I", 2) + bytes(32) + struct.pack("<I", 200)
    wal.add(XACT, COMMIT_PREPARED | HAS_INFO, info, xid=0)

    (events,) = scan(wal)

    assert [(t.xid, t.kind, t.subxacts) for t in events.transactions] == [
        (100, Kind.COMMIT, (101, 102)),
        (200, Kind.COMMIT_PREPARED, (201,)),
    ]


def test_a_replication_origin_does_not_hide_a_commit() -> None:
    wal = WalWriter()
    wal.raw(XACT, 0, b"\xfd\x01\x00\xff\x08" + struct.pack("<q", SECOND), xid=9)
    wal.raw(XACT, 0, b"\xfc\x01\x00\x00\x00\xff\x08" + struct.pack("<q", SECOND), xid=10)
    assert [t.xid for t in scan(wal)[0].transactions] == [9, 10]


@pytest.mark.parametrize("room", range(8, 96, 8))
def test_a_record_over_a_segments_end_belongs_to_where_it_ends(room: int) -> None:
    wal = WalWriter()
    wal.fill(room)
    lsn = wal.commit(7, SECOND)
    wal.commit(8, SECOND)

    events = scan(wal)

    found = [(e.segment.number, t.lsn, t.xid) for e in events for t in e.transactions]
    assert found[0][1:] == (lsn, 7)
    assert [xid for *_, xid in found] == [7, 8]
    assert found[-1][0] == events[-1].segment.number
    if len(events) == 2:
        assert events[0].ending is Ending.FULL
        segment, content = wal.segments()[1]
        begun_there = [t for t in events[1].transactions if t.lsn >= segment.start]
        assert list(scan_segment(content, segment).transactions) == begun_there


def test_a_record_may_be_longer_than_segments() -> None:
    wal = WalWriter()
    subxacts = tuple(range(1000, 1000 + 3 * MIB // 4))
    data = struct.pack("<qII", SECOND, 2, len(subxacts)) + struct.pack(
        f"<{len(subxacts)}I", *subxacts
    )
    wal.add(XACT, HAS_INFO, data, xid=7)
    events = scan(wal)
    assert [e.records for e in events] == [0, 0, 0, 0]
    (found,) = [t for e in events for t in e.transactions]
    assert found.subxacts == subxacts
    assert found.end == events[-1].end


def test_after_a_switch_the_segment_is_done() -> None:
    wal = WalWriter()
    wal.commit(7, SECOND)
    switch = wal.switch()
    wal.commit(8, SECOND)
    first, second = scan(wal)
    assert (first.ending, first.end) == (Ending.SWITCHED, switch + 24)
    assert [t.xid for t in second.transactions] == [8]


def test_old_pages_of_a_recycled_segment_are_not_read() -> None:
    old, new = WalWriter(number=1), WalWriter(number=5)
    for xid in range(3000):
        old.commit(xid, SECOND)
    new.commit(7, SECOND)
    content = new.segments()[0][1][:PAGE] + old.segments()[0][1][PAGE:]
    events = scan_segment(content, Segment(1, 5, MIB))
    assert [t.xid for t in events.transactions] == [7]
    assert events.ending is Ending.UNUSED


def test_a_partial_segment_is_read_as_far_as_it_goes() -> None:
    wal = WalWriter()
    for xid in range(3000):
        wal.commit(xid, SECOND)
    segment, content = wal.segments()[0]
    events = scan_segment(content[: 3 * PAGE + 100], segment)
    assert events.ending is Ending.UNUSED
    assert 0 < len(events.transactions) < 3000
    assert events.end <= segment.start + 3 * PAGE


@pytest.mark.parametrize("offset", [0, 4, 8, 16, 20, 26, 30])
def test_damage_ends_the_scan(offset: int) -> None:
    wal = WalWriter()
    good, bad, _ = (wal.commit(xid, SECOND) for xid in (7, 8, 9))
    segment, content = wal.segments()[0]
    damaged = bytearray(content)
    damaged[bad - segment.start + offset] ^= 0x41
    events = scan_segment(bytes(damaged), segment)
    assert [t.lsn for t in events.transactions] == [good]
    assert events.ending is Ending.BROKEN
    assert events.end <= bad


def test_an_unfinished_record_after_a_crash_is_passed_over() -> None:
    wal = WalWriter()
    wal.commit(6, SECOND)
    before = wal.previous
    while PAGE - wal.at % PAGE > 64:
        before = int(wal.commit(7, SECOND))
    wal.add(10, 0, bytes(200))  # begins here; its end was never written
    del wal.content[-(wal.at % PAGE) :]
    wal.at -= wal.at % PAGE
    wal.previous = before
    wal.raw(XLOG, 0xD0, bytes(18))  # XLOG_OVERWRITE_CONTRECORD
    last = wal.commit(9, SECOND)
    segment, content = wal.segments()[0]
    page = bytearray(content)
    page[PAGE + 2] |= 8
    events = scan_segment(bytes(page), segment)
    assert events.transactions[len(events.transactions) - 1].lsn == last
    assert events.ending is Ending.UNUSED


def test_times_and_xids_are_found_as_recovery_would() -> None:
    wal = WalWriter()
    for xid, second in ((5, 10), (6, 30), (7, 20), (8, 30)):
        wal.commit(xid, second * SECOND)
    ends = scan(wal)[0].transactions
    at = START.replace(second=30)
    assert ends.first_after(at, inclusive=True) is None
    assert ends.first_after(at, inclusive=False) == 1
    assert ends.first_after(START.replace(second=9), inclusive=True) == 0
    assert (ends.with_xid(7), ends.with_xid(7 + (3 << 32)), ends.with_xid(99)) == (2, 2, None)


def test_other_content_is_refused() -> None:
    wal = WalWriter()
    wal.commit(1, 1)
    content = wal.segments()[0][1]
    with pytest.raises(WrongSegment, match="its content is that of 000000010000000000000001"):
        scan_segment(content, Segment(1, 2, MIB))
    with pytest.raises(NotWal, match="pre-allocated"):
        scan_segment(bytes(MIB), Segment(1, 1, MIB))


def test_an_empty_segment_has_its_end_at_its_start() -> None:
    wal = WalWriter(number=3)
    wal._page_header(0)
    (events,) = scan(wal)
    assert (events.end, events.first, events.records) == (Lsn(3 * MIB), None, 0)
    assert len(events.transactions) == 0
