"""Which files are pushed next, against what must hold of any choice."""

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.wal.ahead.plan import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MANY,
    Setback,
    Setbacks,
    choose,
    choose_to_spread,
    in_order_of_need,
    set_back,
    to_give_up,
)

numbers = st.integers(0, 40)
files = st.builds(lambda n: f"{1:08X}{0:08X}{n:08X}", numbers)
histories = st.builds(lambda n: f"{n + 2:08X}.history", numbers)
setbacks = st.builds(Setback, st.integers(1, 9), st.floats(0, 100))


@given(st.sets(files | histories))
def test_histories_first_then_the_oldest(found: set[str]) -> None:
    ordered = in_order_of_need(found)
    assert set(ordered) == found
    kinds = [file.endswith(".history") for file in ordered]
    assert kinds == sorted(kinds, reverse=True)
    assert [f for f in ordered if len(f) == 24] == sorted(f for f in found if len(f) == 24)


@given(
    st.sets(files),
    st.data(),
    st.dictionaries(files, setbacks),
    st.none() | setbacks,
    st.floats(0, 100),
    st.integers(1, 8),
)
def test_what_is_chosen(  # noqa: PLR0917
    found: set[str],
    data: st.DataObject,
    failed: dict[str, Setback],
    store: Setback | None,
    now: float,
    jobs: int,
) -> None:
    needed = in_order_of_need(found)
    busy = data.draw(st.sets(st.sampled_from(needed), max_size=jobs)) if needed else set()
    chosen = choose(needed, busy, Setbacks(failed, store), now, jobs)
    assert len(set(chosen)) == len(chosen)
    assert not busy & set(chosen)
    assert len(busy) + len(chosen) <= jobs or not chosen
    for file in chosen:
        assert file not in failed or failed[file].not_before <= now
    if store is not None:
        assert len(chosen) <= 1
        assert not chosen or (store.not_before <= now and not busy)
    # Nothing that could be pushed is passed over for what PostgreSQL needs later.
    may = [f for f in needed if f not in busy and (f not in failed or failed[f].not_before <= now)]
    assert chosen == may[: len(chosen)] or len(failed) >= MANY
    if store is None and len(failed) < MANY:
        assert len(chosen) == min(len(may), max(0, jobs - len(busy)))


@given(st.sets(files), st.sets(files), st.sets(files), st.integers(1, 8))
def test_what_is_spread(found: set[str], busy: set[str], reached: set[str], jobs: int) -> None:
    needed = in_order_of_need(found)
    chosen = choose_to_spread(needed, busy, reached, jobs)
    assert chosen == [file for file in needed if file in chosen]
    assert not {*chosen} & (busy | reached)
    assert len(chosen) <= max(0, jobs - len(busy))
    left = [file for file in needed if file not in busy | reached]
    assert len(chosen) == min(len(left), max(0, jobs - len(busy)))


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1e6))
def test_pauses_grow_and_end(failures: int, chance: float, now: float) -> None:
    setback: Setback | None = None
    for _ in range(failures):
        setback = set_back(setback, now, chance)
    assert setback is not None
    assert setback.failures == failures
    assert FIRST_PAUSE / 2 - 1e-6 <= setback.not_before - now <= LONGEST_PAUSE + 1e-6


@given(st.sets(files | histories), st.data(), st.integers(1, 1 << 20), st.integers(0, 1 << 24))
def test_never_more_is_given_up_than_the_limit_asks(
    found: set[str], data: st.DataObject, size: int, limit: int
) -> None:
    needed = in_order_of_need(found)
    busy = data.draw(st.sets(st.sampled_from(needed))) if needed else set()
    given_up = to_give_up(needed, busy, size, limit)
    assert not busy & set(given_up)
    assert given_up == [f for f in needed if f not in busy][: len(given_up)]
    left = sum(len(f) == 24 for f in needed) * size
    for file in given_up:
        assert left > limit > 0  # each was needed
        left -= size if len(file) == 24 else 0
    assert left <= limit or limit == 0 or {*given_up, *busy} == found
