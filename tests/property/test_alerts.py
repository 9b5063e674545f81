"""Whatever happens: nothing critical is swallowed, nothing is told twice, nothing piles up."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.alerts.events import HOLDS
from pgkeep.alerts.memory import Memory
from pgkeep.alerts.plan import GATHER, Reason, Rules, plan_messages
from pgkeep.alerts.text import text_of
from pgkeep.config.service import AlertsConfig, ChannelConfig
from pgkeep.config_reader import Secret
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.units import Duration
from support.channels import NOW, condition, health

CLUSTERS: Final = ("shop", "crm")
KINDS: Final = (Kind.WAL_HOLE, Kind.BACKUP_LATE, Kind.SERVER_AWAY)
LEVELS: Final = (None, Level.WARNING, Level.CRITICAL)
CHANNELS: Final = (
    ChannelConfig(name="all", url=Secret("json://a")),
    ChannelConfig(name="pager", url=Secret("json://b"), levels=["critical"]),
    ChannelConfig(name="office", url=Secret("json://c"), quiet=["13:00-15:00"], clusters=["shop"]),
)
KEYS: Final = [(cluster, kind) for cluster in CLUSTERS for kind in KINDS]

states = st.fixed_dictionaries({key: st.sampled_from(LEVELS) for key in KEYS})
steps = st.lists(
    st.tuples(states, st.sampled_from((5, 20, 31, 61, 400, 5000))), min_size=1, max_size=25
)


@dataclass
class Ear:
    """What one channel believes, from what it was told."""

    only_critical: bool
    levels: dict[str, Level] = field(default_factory=dict)

    def hears(self, reason: Reason, one: Condition, at: datetime) -> None:
        before = self.levels.get(one.key)
        if reason is Reason.OVER:
            assert before is not None, f"the end of what was never told of: {one.key} at {at}"
            del self.levels[one.key]
            return
        if reason is Reason.NEW:
            assert before is None, f"told twice: {one.key} at {at}"
        elif reason is Reason.STILL:
            assert before is one.level
        else:
            worse = reason is Reason.WORSE
            assert before is (Level.WARNING if worse else Level.CRITICAL)
            assert one.level is (Level.CRITICAL if worse else Level.WARNING)
        self.levels[one.key] = one.level
        if reason is Reason.EASED and self.only_critical:
            del self.levels[one.key]  # it hears no more of it


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_channel_believes_what_is_so(steps: list[tuple[dict[object, Level], int]]) -> None:
    config = AlertsConfig(channels=CHANNELS, digest="never", remind_every=Duration(14400))
    rules = Rules(config, frozenset(CLUSTERS), UTC)
    memory, now = Memory(), NOW
    ears = {channel.name: Ear(bool(channel.levels)) for channel in CHANNELS}
    critical_since: dict[str, datetime] = {}
    last = dict.fromkeys(KEYS)
    calm = [(dict(last), seconds) for seconds in (31, 61, 61, 400, 7200, 400)]
    for state, seconds in [*steps, *calm]:
        now += timedelta(seconds=seconds)
        found = [condition(c, k, level) for (c, k), level in state.items() if level]
        healths = [
            health(*(one for one in found if one.cluster == name), cluster=name, at=now)
            for name in CLUSTERS
        ]
        messages, memory = plan_messages(memory, healths, rules, now)
        names = [message.channel for message in messages]
        assert len(names) == len(set(names)), "two messages in one round"
        for message in messages:
            title, body = text_of(message, now, UTC)
            assert len(title) <= 200
            assert "\n" not in title
            assert body
            for item in message.items:
                ears[message.channel].hears(item.reason, item.event.condition, now)
        now_critical = {one.key for one in found if one.level is Level.CRITICAL}
        critical_since = {key: critical_since.get(key, now) for key in now_critical}
        for key, since in critical_since.items():
            if now - since >= GATHER:
                hearing = [ears["all"], ears["pager"]]
                hearing += [ears["office"]] if key.startswith("shop") else []
                for ear in hearing:
                    assert ear.levels.get(key) is Level.CRITICAL, f"swallowed: {key} at {now}"
        assert len(memory.events) <= len(KEYS)
    assert now - NOW > HOLDS
    assert {name: ear.levels for name, ear in ears.items()} == {n: {} for n in ears}
    assert memory.events == {}
