"""Tells people, round by round: plans messages, remembers them, and has them delivered."""

import contextlib
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from pgkeep.alerts.memory import Memory
from pgkeep.alerts.ping import ping_soon
from pgkeep.alerts.plan import DIGEST, not_told, plan_messages
from pgkeep.alerts.sending import Outbox
from pgkeep.alerts.text import text_of
from pgkeep.config.whole import Config
from pgkeep.health.health import Health, State
from pgkeep.repository.store.durable import write_temp
from pgkeep.zone import zone_named

FILE: Final = "alerts.json"


class Teller:
    """Who tells people. tell() returns at once; one thread calls it."""

    def __init__(self, config: Config, state_directory: Path) -> None:
        self._config = config.alerts
        self._zone = zone_named(config.timezone)
        self._path = state_directory / FILE
        self._memory = _read(self._path)
        self._outboxes = {channel.name: Outbox(channel) for channel in config.alerts.channels}
        self._pinged: datetime | None = None
        self._written_of = self._arrived()

    def tell(self, healths: Sequence[Health], now: datetime) -> None:
        """Tell whom it concerns what is new in the health of clusters."""
        messages, memory = plan_messages(self._memory, healths, self._config, now, self._zone)
        for message in messages:
            level = message.level.value if message.level else DIGEST
            self._outboxes[message.channel].put(text_of(message, now, self._zone), level, now)
        before, self._memory = self._memory, memory
        arrived = self._arrived()
        if arrived != self._written_of or _is_news(memory, before):
            self._written_of = arrived
            self._write()
        self._ping(healths, now)

    def troubles(self) -> list[str]:
        """Say which channels fail, and why."""
        return [
            f"alert channel {name} fails: {outbox.trouble}"
            for name, outbox in self._outboxes.items()
            if outbox.trouble
        ]

    def close(self) -> None:
        for outbox in self._outboxes.values():
            outbox.close()
        self._write()

    def _arrived(self) -> tuple[datetime | None, ...]:
        return tuple(outbox.waiting_since for outbox in self._outboxes.values())

    def _write(self) -> None:
        """Write down what was told and has arrived: after a crash the rest is told again."""
        memory = self._memory
        for name, outbox in self._outboxes.items():
            since = outbox.waiting_since
            if since is not None:
                memory = not_told(memory, name, since)
        _write(self._path, memory)

    def _ping(self, healths: Sequence[Health], now: datetime) -> None:
        url = self._config.ping.reveal()
        if not url or any(health.state is State.UNKNOWN for health in healths):
            return
        every = timedelta(seconds=self._config.ping_every)
        if self._pinged is None or not timedelta() <= now - self._pinged < every:
            self._pinged = now
            ping_soon(url)


def _is_news(after: Memory, before: Memory) -> bool:
    """Tell whether more has changed than how often something was seen."""
    return after.digests != before.digests or {
        key: (event.told, event.gone_at) for key, event in after.events.items()
    } != {key: (event.told, event.gone_at) for key, event in before.events.items()}


def _read(path: Path) -> Memory:
    """Return what is remembered; nothing, when it is lost or damaged: at worst told again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Memory)
    except (OSError, msgspec.MsgspecError):
        return Memory()


def _write(path: Path, memory: Memory) -> None:
    temp = f"{path}.new"
    # A full disk must not end the service: it is remembered in memory all the same.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temp)
    with contextlib.suppress(OSError):
        write_temp(temp, [msgspec.json.encode(memory)])
        os.replace(temp, path)
