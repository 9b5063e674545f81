"""Counts what an export has read, shows it, and keeps the lock of who is at work."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pgkeep.progress import Progress

_REST_S: Final = 1.0  # between two looks at the lock


class Tally:
    """One export. Not for several threads."""

    def __init__(self, progress: Progress, beat: Callable[[], None]) -> None:
        self._progress = progress
        self._beat = beat
        self._beaten = time.monotonic()
        self._done = 0
        self.bytes = 0  # of the dump's files, in all phases

    def phase(self, title: str, total: int | None = None) -> None:
        self._done = 0
        self._progress.phase(title, total)

    def add(self, size: int) -> None:
        """Note that so many bytes more were passed on."""
        self._done += size
        self.bytes += size
        self._progress.advance(self._done)
        self.rest()

    def rest(self) -> None:
        """Keep the lock alive. Raise LockLost."""
        now = time.monotonic()
        if now - self._beaten >= _REST_S:
            self._beaten = now
            self._beat()

    def counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass pieces through, counting them when they were used."""
        for piece in pieces:
            yield piece
            self.add(len(piece))
