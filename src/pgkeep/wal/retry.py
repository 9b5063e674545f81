"""Patience with a store that fails for a moment."""

import time
from collections.abc import Callable

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, TypeVar

# 5.5 s of waiting: long enough for a network share to come back or a bucket to calm down, short
# enough that PostgreSQL's own shutdown, which waits for the command, stays quick.
WAITS: Final = (0.1, 0.4, 1.0, 4.0)  # seconds

Answer = TypeVar("Answer")


def patiently(
    action: Callable[[], Answer], sleep: Callable[[float], object] = time.sleep
) -> Answer:
    """Return what `action` does, called again after each of WAITS while it fails retryably."""
    for wait in WAITS:
        try:
            return action()
        except PgkeepError as error:
            if not error.retryable:
                raise
            sleep(wait)
    return action()
