"""Patience with a store: how long to wait before the next attempt, and when to give up."""

import random
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket.errors import StoreThrottled

Answer = TypeVar("Answer")

_FIRST: Final = 0.1  # seconds; doubled from attempt to attempt
_LONGEST: Final = 10.0  # seconds
# A store that asks for fewer requests gets at least this pause: twice as long as a first guess
# would ever be, and then doubled like the others.
_THROTTLED: Final = 1.0  # seconds


class Patience(NamedTuple):
    """How long to go on, and what stands in for the clock in tests."""

    budget: float  # seconds, from the first attempt on; 0: one attempt
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random


def longest_wait(attempt: int, *, throttled: bool) -> float:
    """Return the seconds that are to pass at most before attempt number `attempt` + 1."""
    first = _THROTTLED if throttled else _FIRST
    return float(min(first * 2 ** (attempt - 1), _LONGEST))


def persist(patience: Patience, attempt: Callable[[int], Answer]) -> Answer:
    """Return what `attempt` does: it is called with 1, 2, 3 ... until it raises no more.

    Only errors that say they are retryable are followed by another attempt. Full jitter: clients
    that failed together don't come back together. Raise the last error when the budget is used up.
    """
    began = patience.clock()
    number = 1
    while True:
        try:
            return attempt(number)
        except StoreFailed as error:
            if not error.retryable:
                raise
            throttled = isinstance(error, StoreThrottled)
            limit = longest_wait(number, throttled=throttled)
            wait = limit * patience.chance()
            if throttled:
                wait = max(wait, _THROTTLED)
            spent = patience.clock() - began
            # The second attempt is made whatever the first one took, unless none is wanted.
            if spent + wait > patience.budget and (number > 1 or not patience.budget):
                raise
        patience.sleep(wait)
        number += 1
