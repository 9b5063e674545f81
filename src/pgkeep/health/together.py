"""Looks at many clusters at once; one that hangs holds up nobody and is unknown in the end."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Final

from pgkeep.app import App
from pgkeep.errors import PgkeepError
from pgkeep.health.health import Health
from pgkeep.health.look import Look, hanging, look, looked

AT_ONCE: Final = 16  # looks that are under way, besides those that take long
LONG_S: Final = 2.0  # waiting for somebody: others may go ahead


def looking(app: App) -> Look:
    """Return what looks at one cluster of the app's config, which is read and opened only once.

    A passphrase is tried for a tenth of a second: too long to do it for each of hundreds.
    """
    opening, opened = Lock(), Event()

    def look_at(cluster: str) -> Health:
        with opening:
            if not opened.is_set():
                opened.set()
                with suppress(PgkeepError):  # each look will tell it
                    _open(app)
        return look(app.beside(cluster))

    return look_at


def _open(app: App) -> None:
    if app.copies and app.place not in [place for place, _ in app.copies.away]:
        _ = app.repository


def look_together(
    clusters: Sequence[str],
    look_at: Look,
    limit_s: float,
    advance: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Health]:
    """Look at clusters, each in a thread of its own; return their health in the same order.

    The threads of those that hang are left behind: they end with the process.
    """
    answers: SimpleQueue[Health] = SimpleQueue()
    waiting = deque(clusters)
    began: dict[str, float] = {}
    found: dict[str, Health] = {}
    while len(found) < len(clusters):
        now = clock()
        busy = sum(now - moment < LONG_S for moment in began.values())
        for _ in range(min(len(waiting), AT_ONCE - busy)):
            cluster = waiting.popleft()
            began[cluster] = now
            _start(cluster, look_at, answers)
        _take(answers, began, found, _patience(began, now, limit_s))
        now = clock()
        for cluster in [one for one, since in began.items() if now - since >= limit_s]:
            del began[cluster]
            found[cluster] = hanging(cluster, limit_s)
        advance(len(found))
    return [found[cluster] for cluster in clusters]


def _patience(began: dict[str, float], now: float, limit_s: float) -> float:
    """Return for how long there is nothing to do but to wait for an answer."""
    marks = (since + mark - now for since in began.values() for mark in (LONG_S, limit_s))
    return min((left for left in marks if left > 0), default=0.0)


def _take(
    answers: SimpleQueue[Health], began: dict[str, float], found: dict[str, Health], wait_s: float
) -> None:
    """Take all answers that are there, or wait for the first."""
    with suppress(Empty):
        while True:
            health = answers.get(timeout=wait_s)
            wait_s = 0.0
            if began.pop(health.cluster, None) is not None:  # else it comes too late
                found[health.cluster] = health


def _start(cluster: str, look_at: Look, answers: SimpleQueue[Health]) -> None:
    def run() -> None:
        answers.put(looked(look_at, cluster))

    Thread(target=run, name=f"look {cluster}", daemon=True).start()
