"""Brings messages to channels, each in a thread of its own: one that hangs holds up no other.

What cannot be delivered is tried again, later and later, and then as one message; the other
channels tell of one that fails.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from threading import Condition, Event, Thread
from typing import Final, NamedTuple

from pgkeep import config_file
from pgkeep.alerts.channels import Delivering
from pgkeep.alerts.memory import Queued
from pgkeep.alerts.text import Text, merged
from pgkeep.config.service import ChannelConfig
from pgkeep.health.condition import Level

SECONDS: Final = 60.0  # for one delivery; mail servers that greylist take long
_LOOK_S: Final = 0.2  # how soon a delivery that is to end does
FIRST_S: Final = 15.0  # until the second try
_LONGEST_S: Final = 900.0
_KEEP: Final = timedelta(days=1)  # how long a message is tried: then it is no news
_WAITING: Final = 100  # messages of one channel
_ENDED: Final = "the process that delivers ended without an answer"


class Delivery(NamedTuple):
    """What came of one try."""

    delivered: bool
    why: str = ""


def send(
    channel: ChannelConfig,
    text: Text,
    level: str,
    seconds: float = SECONDS,
    stop: Event | None = None,
) -> Delivery:
    """Deliver a message now, or say why not; never raise, and return in time, or soon after stop.

    apprise does it, in a process of its own: a service that hangs or crashes it hurts nobody.
    """
    try:
        url = channel.url.reveal()
        if channel.url_file:
            url = config_file.secret_from_file(channel.url_file)
    except config_file.SecretUnreadable as error:
        return Delivery(False, f"url_file {channel.url_file} cannot be read: {error.why}")
    request = {"url": url, "title": text.title, "body": text.body, "level": level}
    try:
        answer = json.loads(_ask(json.dumps({**request, "seconds": seconds}), seconds, stop))
        return Delivery(bool(answer["delivered"]), str(answer["why"]))
    except subprocess.TimeoutExpired:
        return Delivery(False, f"it did not take the message within {seconds:g} seconds")
    except (OSError, ValueError, KeyError, TypeError):
        return Delivery(False, _ENDED)


def _ask(request: str, seconds: float, stop: Event | None) -> str:
    """Return what deliver.py answers. Raise TimeoutExpired, OSError."""
    # -P: the directory that we happen to be in holds no module of ours.
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pgkeep.alerts.deliver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    ) as child:
        ends = time.monotonic() + seconds
        given: str | None = request
        try:
            while True:
                try:
                    return child.communicate(given, timeout=_LOOK_S)[0]
                except subprocess.TimeoutExpired:
                    given = None  # it is on its way
                    if time.monotonic() >= ends or (stop is not None and stop.is_set()):
                        raise
        finally:
            child.kill()


class Outbox:
    """The messages that one channel still has to get."""

    def __init__(
        self,
        channel: ChannelConfig,
        zone: tzinfo,
        waiting: Sequence[Queued] = (),
        deliver: Callable[..., Delivery] = send,
        first: float = FIRST_S,
    ) -> None:
        self.channel = channel
        self._zone = zone
        self._deliver = deliver
        self._first = first
        self._waiting = list(waiting)
        self._changed = Condition()
        self._stop = Event()
        self._delivering = Delivering()
        self._thread = Thread(target=self._run, name=f"alerts to {channel.name}", daemon=True)
        self._thread.start()

    def put(self, message: Queued) -> None:
        """Have a message delivered; returns at once."""
        with self._changed:
            self._waiting.append(message)
            if len(self._waiting) > _WAITING:
                calm = [one for one in self._waiting if one.level != Level.CRITICAL.value]
                self._waiting.remove((calm or self._waiting)[0])
            self._changed.notify()

    @property
    def waiting(self) -> tuple[Queued, ...]:
        """Return what is not delivered yet."""
        with self._changed:
            return tuple(self._waiting)

    @property
    def delivering(self) -> Delivering:
        """Tell how well it takes messages."""
        with self._changed:
            return self._delivering

    def stop(self) -> None:
        """Have it end soon; what waits may still be tried."""
        with self._changed:
            self._stop.set()
            self._changed.notify()

    def join(self, patience: float) -> None:
        """Wait until it has ended."""
        self._thread.join(patience)

    def _run(self) -> None:
        pause = self._first
        while True:
            with self._changed:
                while not self._waiting and not self._stop.is_set():
                    self._changed.wait()
                if not self._waiting:
                    return
                # After a failure all that has come meanwhile is one message.
                several = self._delivering.failing_since is not None
                batch = tuple(self._waiting) if several else (self._waiting[0],)
            text, level = merged(batch, self._zone)
            outcome = self._deliver(self.channel, text, level, stop=self._stop)
            with self._changed:
                self._settle(batch, outcome, datetime.now(UTC))
                if outcome.delivered:
                    pause = self._first
                    continue
                ends = time.monotonic() + pause
                while not self._stop.is_set() and (left := ends - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._stop.is_set():
                    return
                pause = min(_LONGEST_S, pause * 2)

    def _settle(self, batch: Sequence[Queued], outcome: Delivery, now: datetime) -> None:
        if outcome.delivered:
            # By identity: the same words may be told twice.
            gone = {id(one) for one in batch}
            self._waiting = [one for one in self._waiting if id(one) not in gone]
            self._delivering = Delivering(has_taken=True)
            return
        self._waiting = [one for one in self._waiting if now - one.at < _KEEP]
        if not self._stop.is_set():  # what we broke off ourselves is no failure
            how = self._delivering
            since = how.failing_since or now
            self._delivering = replace(
                how, failing_since=since, tries=how.tries + 1, why=outcome.why
            )
