"""Which segments hold a stretch of time: searched by halving, so that a year of WAL is not read.

Commit times are not strictly in order: a clock may step. So some segments more are taken on both
sides, and events are chosen by their own times afterwards. Pure but for what `times` does.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

Times = Callable[[int], tuple[datetime, datetime] | None]  # of the first and last end in a segment

_NEAR: Final = 2  # segments on either side, for clocks that stepped and work that began before
_FEW: Final = 8  # segments that are all taken: finding less costs as much


def newest_time(numbers: Sequence[int], times: Times) -> datetime | None:
    """Return when the last transaction ended; None: none did in all of these."""
    for number in reversed(numbers):
        found = times(number)
        if found is not None:
            return found[1]
    return None


def segments_between(
    numbers: Sequence[int], times: Times, since: datetime | None, until: datetime | None
) -> Sequence[int]:
    """Return the segments, in order, in which transactions between two moments may have ended."""
    known = lru_cache(maxsize=None)(times)
    if len(numbers) <= _FEW:
        return numbers
    first, last = 0, len(numbers)
    if since is not None:
        first = _first(numbers, known, lambda found: found[1] >= since)
    if until is not None:
        last = _first(numbers, known, lambda found: found[0] > until)
    return numbers[max(0, first - _NEAR) : last + _NEAR]


def _first(
    numbers: Sequence[int], times: Times, passes: Callable[[tuple[datetime, datetime]], bool]
) -> int:
    """Return the index of the first segment that passes, were all in order."""
    low, high = 0, len(numbers)
    while low < high:
        middle = at = (low + high) // 2
        found = times(numbers[at])
        while found is None and at + 1 < high:  # an idle server's segments have no times
            at += 1
            found = times(numbers[at])
        if found is None or passes(found):
            high = middle
        else:
            low = at + 1
    return low
