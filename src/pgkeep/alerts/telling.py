"""Tells people, round by round: plans messages, remembers them, and has them delivered."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from pgkeep.alerts.channels import failing
from pgkeep.alerts.memory import Kept, Memory, Queued
from pgkeep.alerts.ping import Pinger
from pgkeep.alerts.plan import DIGEST, Rules, plan_messages
from pgkeep.alerts.sending import FIRST_S, Outbox
from pgkeep.alerts.text import text_of
from pgkeep.config.whole import Config
from pgkeep.health.health import Health, State
from pgkeep.repository.store.durable import replace_file
from pgkeep.zone import in_both_zones, zone_named

FILE: Final = "alerts.json"
_PATIENCE_S: Final = 2.0  # with all channels together, at the end
_STALE: Final = timedelta(minutes=10)  # a look that is older says nothing about now
_STALE_LOOKS: Final = 5


class Teller:
    """Who tells people. tell() returns at once; one thread calls it."""

    def __init__(self, config: Config, state_directory: Path, first: float = FIRST_S) -> None:
        zone = zone_named(config.timezone)
        self._rules = Rules(config.alerts, frozenset(config.clusters), zone)
        look_every = timedelta(seconds=config.service.look_every)
        self._stale = max(_STALE, look_every * _STALE_LOOKS)
        self._path = state_directory / FILE
        self._kept = _read(self._path)
        self._memory = self._kept.memory
        waiting = self._kept.waiting
        self._outboxes = {
            channel.name: Outbox(channel, zone, waiting.get(channel.name, ()), first=first)
            for channel in config.alerts.channels
        }
        every = timedelta(seconds=config.alerts.ping_every)
        self._pinger = Pinger(config.alerts.ping.reveal(), every)

    def tell(self, healths: Sequence[Health], now: datetime) -> None:
        """Tell whom it concerns what is new in the health of clusters."""
        delivering = {name: outbox.delivering for name, outbox in self._outboxes.items()}
        own = failing(self._rules.alerts.channels, delivering, self._memory.events, now)
        messages, self._memory = plan_messages(self._memory, healths, self._rules, now, own)
        for message in messages:
            level = message.level.value if message.level else DIGEST
            title, body = text_of(message, now, self._rules.zone)
            self._outboxes[message.channel].put(Queued(title, body, level, now))
        self._write()
        if self._is_well(healths, now):
            self._pinger.go_on(now)

    def troubles(self) -> list[str]:
        """Say which channels fail, and why."""
        found = []
        for name, outbox in self._outboxes.items():
            how = outbox.delivering
            if how.failing_since is not None:
                since = in_both_zones(how.failing_since, self._rules.zone)
                found.append(f"alert channel {name} fails since {since}: {how.why}")
        ping = self._pinger.trouble
        return [*found, f"the ping outside fails: {ping}"] if ping else found

    def close(self) -> None:
        """End; what could not be delivered is kept for the next start."""
        ends = time.monotonic() + _PATIENCE_S
        for outbox in self._outboxes.values():
            outbox.stop()
        for outbox in self._outboxes.values():
            outbox.join(max(0.0, ends - time.monotonic()))
        self._pinger.close(max(0.0, ends - time.monotonic()))
        self._write()

    def _is_well(self, healths: Sequence[Health], now: datetime) -> bool:
        """Tell whether every cluster was looked at lately, and could be seen."""
        seen = {
            health.cluster
            for health in healths
            if health.state is not State.UNKNOWN and now - health.looked_at < self._stale
        }
        return self._rules.clusters <= seen

    def _write(self) -> None:
        """Write down what is news: what was told, and what still waits to be delivered."""
        waiting = {name: box.waiting for name, box in self._outboxes.items() if box.waiting}
        kept = Kept(self._memory, waiting)
        if _news(kept) != _news(self._kept) and _write(self._path, kept):
            self._kept = kept


def _news(kept: Kept) -> tuple[Mapping[str, Any], ...]:
    """Return what has to be remembered: not that the same was seen once more."""
    events = kept.memory.events
    told = {key: (event.told, event.gone_at, event.eased_at) for key, event in events.items()}
    return told, kept.memory.digests, kept.waiting


def _read(path: Path) -> Kept:
    """Return what is remembered; nothing, when it is lost or damaged: at worst told again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return Kept(Memory())


def _write(path: Path, kept: Kept) -> bool:
    """Write it; a full disk must not end the service, so then it is tried again next time."""
    try:
        replace_file(str(path), [msgspec.json.encode(kept)])
    except OSError:
        return False
    return True
