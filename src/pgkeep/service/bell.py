"""Wakes the service's loop: from threads, and from signal handlers, where locks are forbidden."""

import contextlib
import os
import select


class Bell:
    """Rung any number of times, it wakes whoever waits, or the next to wait, once."""

    def __init__(self) -> None:
        self._hears, self._rings = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # full: it rings already
            os.write(self._rings, b"!")

    def wait(self, seconds: float) -> None:
        """Return when the bell rings, or after so many seconds."""
        select.select([self._hears], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._hears, 4096):
                pass

    def close(self) -> None:
        os.close(self._hears)
        os.close(self._rings)
