"""Weighs what is stored of every cluster, four times a day, in a thread of its own.

Not in a look: it goes through the names of all that is stored.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Thread
from typing import Final

from pgkeep.app import App
from pgkeep.errors import PgkeepError
from pgkeep.health.forecast import Sample
from pgkeep.places import Place
from pgkeep.service.board import Board

EVERY: Final = timedelta(hours=6)


class Weighing:
    """One thread at a time, which weighs one cluster after the other."""

    def __init__(
        self, board: Board, weigh: Callable[[App], Sequence[tuple[Place, Sample]]]
    ) -> None:
        self._board = board
        self._weigh = weigh
        self._tried: dict[str, float] = {}  # when, whatever came of it
        self._thread: Thread | None = None

    def go_on(self, now: datetime) -> None:
        """Begin with the clusters that are due, unless the last ones are still being weighed."""
        if self._thread is not None and self._thread.is_alive():
            return
        due = [cluster for cluster in self._board.clusters() if self._is_due(cluster, now)]
        if due:
            self._thread = Thread(target=self._run, args=(due,), name="weighing", daemon=True)
            self._thread.start()

    def settle(self) -> None:
        """Wait for the thread that is at it."""
        if self._thread is not None:
            self._thread.join()

    def _is_due(self, cluster: str, now: datetime) -> bool:
        if cluster not in self._tried:
            known = self._board.ledger.sizes(cluster, now - EVERY)
            moments = [sample.at for samples in known.values() for sample in samples]
            self._tried[cluster] = max(moments, default=0.0)
        # A clock that was set back must not put it off.
        return not 0 <= now.timestamp() - self._tried[cluster] < EVERY.total_seconds()

    def _run(self, clusters: Sequence[str]) -> None:
        for cluster in clusters:
            # First: what cannot be weighed is tried again in its turn, and not at once.
            self._tried[cluster] = self._board.now().timestamp()
            try:
                found = self._weigh(self._board.app(cluster))
            except PgkeepError:
                continue  # the config has changed meanwhile
            for place, sample in found:
                self._board.ledger.add_size(cluster, place.plain_address, sample)
