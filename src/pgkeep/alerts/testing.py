"""Tries every alert channel for real, and puts on record that it was tried."""

import getpass
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pgkeep.alerts.sending import send
from pgkeep.alerts.text import Text
from pgkeep.app import App
from pgkeep.config.service import ChannelConfig
from pgkeep.errors import PgkeepError
from pgkeep.places import record_everywhere
from pgkeep.progress import Progress
from pgkeep.repository.acts.act import ALERT_TEST, Act, Outcome
from pgkeep.repository.acts.storing import act_id
from pgkeep.zone import in_both_zones


@dataclass(frozen=True, slots=True)
class Tested:
    """One channel that was tried."""

    name: str
    delivered: bool
    why: str
    hint: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AlertTest:
    """What came of trying the channels."""

    channels: tuple[Tested, ...]
    note: str = ""  # why it is not on record

    @property
    def is_good(self) -> bool:
        return all(one.delivered for one in self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        return {
            "ok": self.is_good,
            "channels": [asdict(one) for one in self.channels],
            "note": self.note or None,
        }


def test_channels(app: App, chosen: Sequence[ChannelConfig], progress: Progress) -> AlertTest:
    """Send a message through each of some channels."""
    now, host = datetime.now(UTC), socket.gethostname()
    body = f"This is a test, sent from {host} at {in_both_zones(now, app.zone)}. Nothing is wrong."
    progress.phase("sending a test message", len(chosen), "channels")
    tested = []
    for number, channel in enumerate(chosen, 1):
        progress.detail(channel.name)
        began = time.monotonic()
        outcome = send(channel, Text(f"pgkeep: test from {host}", body), "digest")
        took = time.monotonic() - began
        hint = "" if outcome.delivered else _hint(channel)
        one = Tested(channel.name, outcome.delivered, outcome.why, hint, round(took, 3))
        tested.append(one)
        progress.advance(number)
    return AlertTest(tuple(tested), _record(app, tested, now, host))


def _hint(channel: ChannelConfig) -> str:
    where = f"in {channel.url_file}" if channel.url_file else "under [[alerts.channels]]"
    again = f"then: pgkeep alert test {shlex.quote(channel.name)}"
    return f"check the address {where} (docs/alerts.md), and the way there from this host; {again}"


def _record(app: App, tested: list[Tested], now: datetime, host: str) -> str:
    """Put the test on record; return why that was not possible, or ''."""
    note = ""
    for outcome, delivered in ((Outcome.DONE, True), (Outcome.FAILED, False)):
        names = [one.name for one in tested if one.delivered is delivered]
        if not names:
            continue
        act = Act(
            id=act_id(now),
            at=now,
            who=getpass.getuser(),
            what=ALERT_TEST,
            outcome=outcome,
            host=host,
            facts={"channels": ", ".join(names)},
        )
        try:
            record_everywhere(app.places, act)
        except PgkeepError as error:
            note = f"that it was tested is not on record: {error}"
    return note
