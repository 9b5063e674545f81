"""Growth by what was weighed: a line is found whatever a few moments say; more is never later."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.health.forecast import (
    WEIGHED,
    Sample,
    filling_per_s,
    full_at,
    slope,
    weighed_growth_per_s,
)

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP: Final = 6 * 3600
rates = st.integers(-(10**6), 10**6)  # bytes a second
sizes = st.integers(0, 1 << 44)


def sample(number: int, size: int, free: int | None = None) -> Sample:
    """Return the sample of so many steps ago."""
    return Sample(NOW.timestamp() - number * STEP, size, free)


@st.composite
def histories(draw: st.DrawFn) -> list[Sample]:
    """Samples of up to three weeks, some left out, the oldest first."""
    numbers = sorted(draw(st.sets(st.integers(0, 84), max_size=40)), reverse=True)
    frees = draw(st.sampled_from([st.none(), sizes]))
    return [sample(number, draw(sizes), draw(frees)) for number in numbers]


@given(rates, sizes, st.integers(9, 60), st.data())
def test_a_line_is_found_behind_what_is_out_of_line(
    rate: int, start: int, count: int, draws: st.DataObject
) -> None:
    line = [(float(n * STEP), start + rate * n * STEP) for n in range(count)]
    # Up to a quarter of the points leaves more than half of the pairs as they were.
    spoilt = draws.draw(st.dictionaries(st.integers(0, count - 1), sizes, max_size=count // 4))
    points = [(at, spoilt.get(n, size)) for n, (at, size) in enumerate(line)]
    assert slope(points) == rate


@given(histories())
def test_growth_is_that_of_two_weeks_or_unknown(history: list[Sample]) -> None:
    growth, filling = weighed_growth_per_s(history, NOW), filling_per_s(history, NOW)
    recent = [one for one in history if one.at >= (NOW - WEIGHED).timestamp()]
    known = bool(recent) and recent[-1].at - recent[0].at >= 2 * 86400
    assert (growth is not None, filling is not None) == (known, known)
    # Neither what is older nor what a wrong clock has written counts.
    assert weighed_growth_per_s([*recent, sample(-1, 0, 0)], NOW) == growth
    if growth is not None and filling is not None:
        assert filling >= growth
        if all(one.free is None for one in recent):
            assert filling == max(growth, 0)


@given(histories(), st.integers(0, 1 << 40), st.integers(0, 10**6))
def test_who_grows_faster_is_never_full_later(
    history: list[Sample], free: int, faster: int
) -> None:
    first = history[0].at if history else 0.0
    grown = [one._replace(size=one.size + int((one.at - first) * faster)) for one in history]
    slow = full_at(free, filling_per_s(history, NOW), NOW)
    fast = full_at(free, filling_per_s(grown, NOW), NOW)
    assert slow is None or (fast is not None and NOW <= fast <= slow + timedelta(seconds=1))
