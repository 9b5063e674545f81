"""PostgreSQL's files damaged at random: the readers refuse them, and never stumble."""

import random
import struct
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from operator import xor

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.backup_label import (
    format_tablespace_map,
    parse_backup_label,
    parse_tablespace_map,
)
from pgkeep.postgres.conf import parse_conf, quote_value, strip_recovery_settings
from pgkeep.postgres.control import parse_control
from pgkeep.postgres.layout import relation_of_path
from pgkeep.postgres.pages import _BASE, PAGE_SIZE, PageChecker
from pgkeep.postgres.recovery_log import parse_line
from pgkeep.postgres.wal_header import check_segment
from pgkeep.postgres.wal_records import Ending, scan_segment, scan_segments
from support.wal import ABORT, COMMIT_PREPARED, HAS_INFO, HEAP, MIB, PAGE, XACT, WalWriter

NAME = "000000010000000000000001"


def some_wal() -> WalWriter:
    wal = WalWriter()
    for xid in range(60):
        wal.commit(xid, xid * 1000, ABORT if xid % 7 == 0 else 0)
        wal.raw(HEAP, 0, bytes(range(1, 200)))
        details = struct.pack("<qI", 5, 2 | 16) + struct.pack("<IIII", 2, 100, 101, 200 + xid)
        wal.add(XACT, COMMIT_PREPARED | HAS_INFO, details, xid)
    wal.restore_point("here", 1)
    wal.checkpoint(1, 2)
    return wal


WAL = some_wal()
WRITTEN = len(WAL.content)
SEGMENT, CONTENT = WAL.segments()[0]
ENDS = [t.lsn for t in scan_segment(CONTENT, SEGMENT).transactions]


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, WRITTEN - 1), st.integers(1, 255)), min_size=1, max_size=4),
    st.integers(0, WRITTEN),
)
def test_damaged_wal_shortens_the_scan_or_is_refused(
    flips: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(CONTENT)
    for offset, mask in flips:
        damaged[offset] ^= mask
    for content in (bytes(damaged), bytes(damaged[:cut])):
        try:
            events = scan_segment(content, SEGMENT)
        except PgkeepError:
            continue
        found = [t.lsn for t in events.transactions]
        # A damaged manager or length of something else cannot make up transactions.
        assert set(found) <= set(ENDS)
        assert found == sorted(found)
        assert list(events.transactions) is not None


@given(st.binary(max_size=4 * PAGE))
def test_random_bytes_are_no_wal(content: bytes) -> None:
    head = CONTENT[:40]
    for candidate in (content, head + content, head + bytes(PAGE - 40) + content):
        with suppress(PgkeepError):
            scan_segment(candidate, SEGMENT)
        with suppress(PgkeepError):
            check_segment(NAME, candidate[:40], MIB)


RECORDS = st.one_of(
    st.tuples(st.just("commit"), st.integers(3, 1 << 31)),
    st.tuples(st.just("other"), st.integers(0, 20000)),
    st.tuples(st.just("long"), st.integers(0, 5000)),
    st.tuples(st.just("fill"), st.integers(1, 30)),
    st.tuples(st.just("switch"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, max_size=30), st.sampled_from([14, 15, 16, 17, 18]))
def test_every_transaction_written_is_found(records: list[tuple[str, int]], major: int) -> None:
    wal = WalWriter(major)
    expected: list[tuple[Lsn, int, tuple[int, ...]]] = []
    for kind, value in records:
        if kind == "commit":
            expected.append((wal.commit(value, value), value, ()))
        elif kind == "long":
            subxacts = tuple(range(value))
            details = struct.pack("<qII", 1, 2, value) + struct.pack(f"<{value}I", *subxacts)
            expected.append((wal.add(XACT, HAS_INFO, details, 9), 9, subxacts))
        elif kind == "fill":
            wal.fill(8 * value)
        elif kind == "switch":
            wal.switch()
        else:
            wal.raw(HEAP, 0, b"\x01" * value)
    events = list(scan_segments(wal.segments()))
    assert [(t.lsn, t.xid, t.subxacts) for e in events for t in e.transactions] == expected
    assert all(e.ending is not Ending.BROKEN for e in events)
    assert all(isinstance(e.segment, Segment) for e in events)


@given(st.binary(max_size=400), st.integers(0, 399), st.binary(min_size=1, max_size=8))
def test_a_damaged_pg_control_is_refused(content: bytes, at: int, flip: bytes) -> None:
    base = bytearray(struct.pack("<QII", 42, 1800, 202506291) + bytes(400))
    base[at : at + len(flip)] = flip
    for candidate in (content, bytes(base)):
        try:
            parse_control(candidate)
        except PgkeepError:
            continue
        raise AssertionError("believed")


@given(st.text())
def test_texts_are_read_or_refused(text: str) -> None:
    for read in (parse_backup_label, parse_tablespace_map, parse_conf, parse_line):
        with suppress(PgkeepError):
            read(text)
    relation_of_path(text)


@given(
    st.dictionaries(
        st.integers(1, (1 << 32) - 1),
        st.text(st.characters(exclude_characters="\0", exclude_categories=[])).map("/".__add__),
    )
)
def test_a_tablespace_map_survives(places: dict[int, str]) -> None:
    assert parse_tablespace_map(format_tablespace_map(places)) == places


LINE = st.one_of(
    st.text(),
    st.sampled_from(["restore_command = 'x'", "port = 1", "# c", "primary_conninfo='a''b' # c"]),
)


@given(st.lists(LINE).map("\n".join))
def test_stripping_twice_changes_nothing_more(text: str) -> None:
    kept, removed = strip_recovery_settings(text)
    assert strip_recovery_settings(kept) == (kept, ())
    if not removed:
        assert kept == text


@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])))
def test_a_quoted_value_is_read_back(value: str) -> None:
    assert parse_conf(f"x = {quote_value('x', value)}\n").value("x") == value


def slow_checksum(page: bytes, block: int) -> int:
    """The algorithm of checksum_impl.h, one word at a time."""
    words = list(struct.unpack("<2048I", page))
    words[2] &= 0xFFFF0000
    lanes = [int(base) for base in _BASE]
    for index, word in enumerate([*words, *[0] * 64]):
        mixed = lanes[index % 32] ^ word
        lanes[index % 32] = (mixed * 16777619 & 0xFFFFFFFF) ^ mixed >> 17
    return reduce(xor, lanes, block) % 65535 + 1


@settings(deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 5), st.integers(0, (1 << 32) - 5))
def test_checksums_equal_the_obvious_algorithm(seed: int, count: int, block: int) -> None:
    content = random.Random(seed).randbytes(count * PAGE_SIZE)
    pages = [content[at : at + PAGE_SIZE] for at in range(0, len(content), PAGE_SIZE)]
    expected = [slow_checksum(page, block + n) for n, page in enumerate(pages)]
    assert PageChecker().checksums(content, block).tolist() == expected


def test_the_times_in_the_samples_are_right() -> None:
    first = scan_segment(CONTENT, SEGMENT).transactions[2]
    assert first.time == datetime(2000, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
