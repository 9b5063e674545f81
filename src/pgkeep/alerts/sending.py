"""Brings messages to channels, each in a thread of its own: one that hangs holds up no other.

What cannot be delivered is tried again, later and later; a channel that fails is told of.
"""

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from threading import Condition, Thread
from typing import Final, NamedTuple

from pgkeep import config_file
from pgkeep.alerts.text import Text
from pgkeep.config.service import ChannelConfig
from pgkeep.errors import PgkeepError

SECONDS: Final = 60.0  # for one delivery; mail servers that greylist take long
_FIRST_S: Final = 15.0  # until the second try
_LONGEST_S: Final = 900.0
_KEEP_S: Final = 86400.0  # how long a message is tried: then it is no news
_WAITING: Final = 100  # messages of one channel


class Delivery(NamedTuple):
    """What came of one try."""

    delivered: bool
    why: str = ""


def send(channel: ChannelConfig, text: Text, level: str, seconds: float = SECONDS) -> Delivery:
    """Deliver a message now, or say why not; never raise, and return in time."""
    try:
        url = channel.url.reveal()
        if channel.url_file:
            url = config_file.secret_from_file(channel.url_file)
    except PgkeepError as error:
        return Delivery(False, str(error))
    request = {"url": url, "title": text.title, "body": text.body, "level": level}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pgkeep.alerts.deliver"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        answer = json.loads(done.stdout)
        return Delivery(bool(answer["delivered"]), str(answer["why"]))
    except subprocess.TimeoutExpired:
        return Delivery(False, f"it did not take the message within {seconds:g} seconds")
    except (OSError, ValueError, KeyError, TypeError):
        return Delivery(False, "the process that delivers ended without an answer")


class _Waiting(NamedTuple):
    text: Text
    level: str
    put_at: datetime
    since: float


class Outbox:
    """The messages that one channel still has to get."""

    def __init__(
        self,
        channel: ChannelConfig,
        deliver: Callable[[ChannelConfig, Text, str], Delivery] = send,
        first: float = _FIRST_S,
    ) -> None:
        self.channel = channel
        self._deliver = deliver
        self._first = first
        self._waiting: deque[_Waiting] = deque(maxlen=_WAITING)
        self._changed = Condition()
        self._closed = False
        self._trouble = ""
        self._thread = Thread(target=self._run, name=f"alerts to {channel.name}", daemon=True)
        self._thread.start()

    def put(self, text: Text, level: str, now: datetime) -> None:
        """Have a message delivered; returns at once."""
        with self._changed:
            self._waiting.append(_Waiting(text, level, now, time.monotonic()))
            self._changed.notify()

    @property
    def waiting_since(self) -> datetime | None:
        """Return when the oldest message was put that is not delivered; None when all are."""
        with self._changed:
            return self._waiting[0].put_at if self._waiting else None

    @property
    def trouble(self) -> str:
        """Say why the newest try failed; '' when it did not."""
        with self._changed:
            return self._trouble

    def close(self, patience: float = 5.0) -> None:
        """Give what waits a last moment, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(patience)

    def _run(self) -> None:
        pause = self._first
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                message = self._waiting[0]
            outcome = self._deliver(self.channel, message.text, message.level)
            with self._changed:
                self._trouble = "" if outcome.delivered else outcome.why
                old = time.monotonic() - message.since > _KEEP_S
                # The queue may have let it go itself, when there were too many.
                if (outcome.delivered or old) and self._waiting and self._waiting[0] is message:
                    self._waiting.popleft()
                if outcome.delivered:
                    pause = self._first
                    continue
                if self._closed:
                    return
                self._changed.wait(pause)
                pause = min(_LONGEST_S, pause * 2)
