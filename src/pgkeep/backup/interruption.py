"""Signals that ask a backup to end: it must leave the server and the repository tidy."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pgkeep.errors import PgkeepError

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(PgkeepError):
    """A signal ended a backup before it was complete."""

    code = "backup-interrupted"
    exit_status = 67

    signal: str

    def __str__(self) -> str:
        return f"no backup was made: {self.signal} ended it before it was complete"

    @property
    def hint(self) -> str:
        return "nothing needs to be repaired; run it again when it suits"


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal into Interrupted, wherever the work is; later ones change nothing.

    The clean-up that follows is short and must not be cut off by an impatient second Ctrl-C.
    Outside the main thread Python delivers no signals, and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[str] = []

    def note(number: int, _: FrameType | None) -> None:
        if not received:
            received.append(signal.Signals(number).name)
            raise KeyboardInterrupt  # the exception that libraries expect in their waits

    # a signal that was ignored (nohup) stays ignored
    before = {
        number: signal.signal(number, note)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(received[0] if received else "SIGINT") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
