"""Is a file the WAL segment that its name says?"""

import struct

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.model.segment import BadSegmentName
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.postgres.wal_header import NotWal, WrongSegment, WrongWalSize, check_segment

S = 16 << 20
NAME = "0000000300000001000000FE"  # begins at 1/FE000000


def header(
    magic: int = 0xD118,
    *,
    flags: int = 3,
    timeline: int = 3,
    start: int = 0x1_FE00_0000,
    size: int = S,
    block: int = 8192,
) -> bytes:
    return struct.pack("<HHIQI4xQII", magic, flags, timeline, start, 7, 42, size, block)


@pytest.mark.parametrize(
    ("magic", "major"),
    [(0xD10D, 14), (0xD110, 15), (0xD113, 16), (0xD116, 17), (0xD118, 18)],
)
def test_a_true_segment_tells_its_facts(magic: int, major: int) -> None:
    found = check_segment(NAME, header(magic), S)
    assert (found.major, found.timeline, str(found.start)) == (major, 3, "1/FE000000")
    assert (found.system_identifier, found.segment_size, found.block_size) == (42, S, 8192)
    assert found.continued == 7
    assert found.segment.name == NAME


def test_a_new_timelines_first_segment_carries_the_parents_number() -> None:
    assert check_segment(NAME, header(timeline=2), S).timeline == 2


def test_a_partial_segment_is_checked_under_its_segments_name() -> None:
    assert check_segment(NAME + ".partial", header(), S).timeline == 3


@pytest.mark.parametrize(
    ("content", "size", "error", "message"),
    [
        pytest.param(
            header(), S - 1, WrongWalSize,
            f"cannot take {NAME} as WAL: it has 16777215 bytes instead of 16777216",
            id="cut off",
        ),
        pytest.param(
            header(size=1 << 20), S, WrongWalSize,
            f"cannot take {NAME} as WAL: it has 16777216 bytes instead of 1048576",
            id="of a cluster with other segments",
        ),
        pytest.param(
            b"", 0, NotWal, f"cannot take {NAME} as WAL: it ends after 0 bytes", id="empty"
        ),
        pytest.param(
            bytes(40), S, NotWal,
            f"cannot take {NAME} as WAL: it begins with zeros: it was pre-allocated and never "
            "written",
            id="pre-allocated",
        ),
        pytest.param(
            header(magic=0x4B50), S, NotWal,
            f"cannot take {NAME} as WAL: it begins with 0x4b50, which is no WAL page magic",
            id="something else",
        ),
        pytest.param(
            header(flags=1), S, NotWal,
            f"cannot take {NAME} as WAL: its first page is not the beginning of a segment "
            "(flags 0x0001)",
            id="short header",
        ),
        pytest.param(
            header(size=S + 1), S, NotWal,
            f"cannot take {NAME} as WAL: its header names segments of 16777217 and pages of 8192 "
            "bytes",
            id="impossible size",
        ),
        pytest.param(
            header(timeline=0), S, NotWal,
            f"cannot take {NAME} as WAL: its header names timeline 0 and position 1/FE000000",
            id="no timeline",
        ),
        pytest.param(
            header(magic=0xD121), S, UnsupportedVersion,
            f"cannot handle {NAME}: it belongs to PostgreSQL 19",
            id="19",
        ),
        pytest.param(
            header(magic=0xD106), S, UnsupportedVersion,
            f"cannot handle {NAME}: it belongs to PostgreSQL 13",
            id="13",
        ),
        pytest.param(
            header(magic=0xD130), S, UnsupportedVersion,
            f"cannot handle {NAME}: it belongs to PostgreSQL with WAL magic 0xd130, an unknown "
            "version",
            id="newer",
        ),
        pytest.param(
            header(start=0x1_F000_0000), S, WrongSegment,
            f"cannot take {NAME} as that WAL segment: its content is that of "
            "0000000300000001000000F0 (recycled and not yet written again)",
            id="recycled",
        ),
        pytest.param(
            header(start=0x2_0000_0000), S, WrongSegment,
            f"cannot take {NAME} as that WAL segment: its content is that of "
            "000000030000000200000000",
            id="renamed",
        ),
        pytest.param(
            header(start=0x1_FE00_2000), S, WrongSegment,
            f"cannot take {NAME} as that WAL segment: its first page belongs at 1/FE002000, inside "
            "a segment, not at 1/FE000000",
            id="from the middle",
        ),
        pytest.param(
            header(timeline=4), S, WrongSegment,
            f"cannot take {NAME} as that WAL segment: it was written on the later timeline 4",
            id="later timeline",
        ),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_its_reason(
    content: bytes, size: int, error: type[PgkeepError], message: str
) -> None:
    with pytest.raises(error) as caught:
        check_segment(NAME, content, size)
    assert str(caught.value) == message
    assert caught.value.hint


def test_a_name_beyond_the_segments_of_this_size_is_refused() -> None:
    with pytest.raises(BadSegmentName):
        check_segment("000000030000000100000100", header(), S)
