"""LSNs, segments and their names: arithmetic that must hold for every segment size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment, valid_segment_size

SIZES = st.sampled_from([1 << n for n in range(20, 31)])
LSNS = st.integers(0, (1 << 64) - 1).map(Lsn)
TIMELINES = st.integers(1, (1 << 32) - 1)


@given(LSNS)
def test_an_lsn_survives_its_text(lsn: Lsn) -> None:
    assert Lsn.parse(str(lsn)) == lsn
    assert Lsn.parse(f"{int(lsn) >> 32:08x}/{int(lsn) & 0xFFFFFFFF:08X}") == lsn
    assert f"{lsn}" == str(lsn)


@given(LSNS, TIMELINES, SIZES)
def test_a_segment_survives_its_name(lsn: Lsn, timeline: int, size: int) -> None:
    segment = Segment.containing(lsn, timeline, size)
    assert Segment.parse(segment.name, size) == segment
    assert len(segment.name) == 24
    assert segment.start <= lsn
    assert int(lsn) < (segment.number + 1) * size


@given(st.integers(1, (1 << 64) - 1).map(Lsn), TIMELINES, SIZES)
def test_an_end_belongs_to_the_segment_of_the_byte_before(
    lsn: Lsn, timeline: int, size: int
) -> None:
    ending = Segment.ending(lsn, timeline, size)
    assert ending == Segment.containing(Lsn(int(lsn) - 1), timeline, size)
    on_border = int(lsn) % size == 0
    assert (ending != Segment.containing(lsn, timeline, size)) == on_border


@given(LSNS, LSNS, TIMELINES, SIZES)
def test_names_sort_as_positions_do(one: Lsn, other: Lsn, timeline: int, size: int) -> None:
    first, second = (Segment.containing(lsn, timeline, size) for lsn in sorted((one, other)))
    assert first.name <= second.name
    assert first <= second


@given(st.integers(0, (1 << 43) - 1), TIMELINES, SIZES)
def test_the_next_segment_starts_where_one_ends(number: int, timeline: int, size: int) -> None:
    number %= (1 << 64) // size - 1
    segment = Segment(timeline, number, size)
    following = Segment(timeline, number + 1, size)
    assert segment.end == following.start
    assert Segment.parse(following.name, size).number == number + 1


@given(st.text(max_size=30), SIZES)
def test_other_names_are_refused(text: str, size: int) -> None:
    try:
        segment = Segment.parse(text, size)
    except PgkeepError:
        return
    assert segment.name == text


@given(st.text(max_size=20))
def test_other_texts_are_no_lsns(text: str) -> None:
    try:
        lsn = Lsn.parse(text)
    except PgkeepError:
        return
    assert Lsn.parse(str(lsn)) == lsn


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_an_lsn_has_64_bits(value: int) -> None:
    with pytest.raises(PgkeepError):
        Lsn(value)


@given(st.integers(0, 1 << 32))
def test_segment_sizes_are_powers_of_two(size: int) -> None:
    assert valid_segment_size(size) == (size in [1 << n for n in range(20, 31)])
