"""Waiting for something that happens in another process."""

from collections.abc import Callable
from typing import TypeVar

from pgkeep.server.processes import wait_until

Answer = TypeVar("Answer")


def wait_for(condition: Callable[[], Answer], timeout: float = 30, what: str = "") -> Answer:
    """Return the first true answer of `condition`; fail the test when there is none in time."""
    answers: list[Answer] = []

    def ask() -> bool:
        answers[:] = [condition()]
        return bool(answers[0])

    if not wait_until(ask, timeout):
        described = what or getattr(condition, "__name__", "condition")
        raise AssertionError(f"waited {timeout} s in vain for: {described}; last {answers[0]!r}")
    return answers[0]
