"""When a bucket's request is tried again, and when no more."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket.errors import StoreDenied, StoreThrottled, StoreUnreachable
from pgkeep.repository.store.bucket.retry import Patience, longest_wait, persist


class Clock:
    """Passes as attempts take time and waits are asked for."""

    def __init__(self, attempt_takes: float = 0.0) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.takes = attempt_takes

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def patience(self, budget: float, chance: float = 1.0) -> Patience:
        return Patience(budget, lambda: self.now, self.sleep, lambda: chance)


def failing(clock: Clock, errors: Sequence[StoreFailed], made: list[int]):  # type: ignore[no-untyped-def]
    def attempt(number: int) -> str:
        made.append(number)
        clock.now += clock.takes
        if number <= len(errors):
            raise errors[number - 1]
        return "done"

    return attempt


BROKEN = StoreUnreachable("s3://b", "read x", "gone")


def test_waits_double_and_end() -> None:
    assert [longest_wait(n, throttled=False) for n in range(1, 10)] == [
        0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]  # fmt: skip
    assert [longest_wait(n, throttled=True) for n in range(1, 6)] == [1.0, 2.0, 4.0, 8.0, 10.0]


def test_it_goes_on_until_it_works() -> None:
    clock, made = Clock(), list[int]()
    assert persist(clock.patience(60), failing(clock, [BROKEN] * 3, made)) == "done"
    assert (made, clock.waits) == ([1, 2, 3, 4], [0.1, 0.2, 0.4])


def test_what_will_not_change_is_not_tried_again() -> None:
    clock, made = Clock(), list[int]()
    with pytest.raises(StoreDenied):
        persist(clock.patience(60), failing(clock, [StoreDenied("s", "a", "w")], made))
    assert (made, clock.waits) == ([1], [])


def test_a_store_that_asks_for_fewer_requests_gets_time() -> None:
    clock, made = Clock(), list[int]()
    throttled = [StoreThrottled("s", "a", "w")] * 2
    persist(clock.patience(60, chance=0.0), failing(clock, throttled, made))
    assert clock.waits == [1.0, 1.0]


@pytest.mark.parametrize(
    ("budget", "attempts"), [(0, 1), (1, 2), (29, 2), (31, 2), (45, 2), (100, 4)]
)
def test_attempts_that_take_30_seconds(budget: float, attempts: int) -> None:
    clock, made = Clock(attempt_takes=30), list[int]()
    with pytest.raises(StoreUnreachable):
        persist(clock.patience(budget), failing(clock, [BROKEN] * 50, made))
    assert made[-1] == attempts


@given(st.floats(0, 100), st.floats(0, 1), st.floats(0, 5))
def test_the_budget_holds(budget: float, chance: float, takes: float) -> None:
    clock, made = Clock(attempt_takes=takes), list[int]()
    patience = clock.patience(budget, max(chance, 0.01))
    with pytest.raises(StoreUnreachable):
        persist(patience, failing(clock, [BROKEN] * 100_000, made))
    # One attempt may begin just before the end; the second is made in any case.
    assert clock.now <= max(budget, takes + 0.1) + takes + 1e-6
