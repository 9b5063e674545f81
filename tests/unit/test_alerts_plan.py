"""Who is told of what, when: by a clock that is moved by hand."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pgkeep.alerts.memory import Memory
from pgkeep.alerts.plan import Message, Reason, Rules, plan_messages
from pgkeep.config.service import AlertsConfig, ChannelConfig
from pgkeep.config_reader import Secret
from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import State
from pgkeep.units import Duration
from support.channels import NOW, condition, health, warning


def channel(name: str = "mail", **options: Any) -> ChannelConfig:
    return ChannelConfig(name=name, url=Secret("json://127.0.0.1"), **options)


@dataclass
class Story:
    """Looks and rounds, one after another."""

    channels: tuple[ChannelConfig, ...] = (channel(),)
    clusters: tuple[str, ...] = ("shop",)
    digest: str = "never"
    now: datetime = NOW
    memory: Memory = field(default_factory=Memory)
    own: tuple[Condition, ...] = ()  # what is wrong with the service itself

    def look(
        self, *conditions: Condition, after: float = 30, state: State | None = None
    ) -> list[Message]:
        """Look at all clusters some seconds later, and return what is told."""
        self.now += timedelta(seconds=after)
        by = {name: [c for c in conditions if c.cluster == name] for name in self.clusters}
        return self.round(
            *(health(*found, cluster=name, at=self.now, state=state) for name, found in by.items())
        )

    def round(self, *healths: Any, after: float = 0) -> list[Message]:
        self.now += timedelta(seconds=after)
        alerts = AlertsConfig(
            channels=self.channels, digest=self.digest, remind_every=Duration(14400)
        )
        rules = Rules(alerts, frozenset(self.clusters), ZoneInfo("Europe/Berlin"))
        messages, self.memory = plan_messages(self.memory, healths, rules, self.now, self.own)
        return messages


def told(messages: list[Message]) -> list[tuple[str, str, str]]:
    return [
        (message.channel, item.reason.value, item.event.condition.kind.value)
        for message in messages
        for item in message.items
    ]


def reasons(messages: list[Message]) -> list[str]:
    return [reason for _, reason, _ in told(messages)]


def test_what_is_critical_is_told_at_once_and_once() -> None:
    story = Story()
    assert told(story.look(condition())) == [("mail", "new", "wal-hole")]
    assert [story.look(condition()) for _ in range(20)] == [[]] * 20


def test_a_warning_must_hold_for_two_looks_and_a_minute() -> None:
    story = Story()
    assert story.look(warning()) == []
    assert story.look(warning(), after=30) == []
    assert reasons(story.look(warning(), after=30)) == ["new"]


def test_rounds_without_a_new_look_are_no_looks() -> None:
    story = Story()
    seen = health(warning(), at=story.now)
    for _ in range(20):
        assert story.round(seen, after=10) == []
    assert reasons(story.look(warning())) == ["new"]


def test_a_warning_that_one_look_finds_is_never_told_of() -> None:
    story = Story()
    story.look(warning())
    for _ in range(10):
        assert story.look() == []
    assert story.memory.events == {}


def test_the_end_is_told_when_two_looks_agree() -> None:
    story = Story()
    story.look(condition())
    assert story.look(after=3600) == []
    assert story.look(condition()) == []  # it was not over
    assert story.look() == []
    assert reasons(story.look(after=60)) == ["over"]
    assert story.memory.events == {}


def test_worse_and_better_are_told_of() -> None:
    story = Story()
    worse = condition(kind=Kind.BACKUP_LATE)
    story.look(warning())
    assert reasons(story.look(warning(), after=60)) == ["new"]
    assert reasons(story.look(worse)) == ["worse"]
    assert story.look(warning()) == []
    assert reasons(story.look(warning(), after=60)) == ["eased"]
    assert reasons(story.look(worse, after=61)) == ["worse"]
    story.look()
    assert reasons(story.look(after=60)) == ["over"]


def test_who_hears_only_of_what_is_critical_hears_that_it_is_no_longer_and_again() -> None:
    story = Story(channels=(channel(levels=["critical"]),))
    assert reasons(story.look(condition())) == ["new"]
    story.look(warning(kind=Kind.WAL_HOLE))
    assert reasons(story.look(warning(kind=Kind.WAL_HOLE), after=60)) == ["eased"]
    assert story.look(warning(kind=Kind.WAL_HOLE), after=86400) == []
    assert reasons(story.look(condition())) == ["new"]
    story.look()
    assert reasons(story.look(after=60)) == ["over"]
    assert story.memory.events == {}


def test_reminders_come_and_those_of_warnings_ever_more_seldom() -> None:
    story = Story()
    both = (condition(), warning())
    story.look(*both)
    story.look(*both, after=60)
    hours: dict[str, list[int]] = {"wal-hole": [], "backup-late": []}
    began = story.now
    for _ in range(3 * 24 * 2):
        for _, reason, kind in told(story.look(*both, after=1800)):
            assert reason == "still"
            hours[kind].append(round((story.now - began) / timedelta(hours=1)))
    assert hours["wal-hole"] == list(range(4, 73, 4))
    assert hours["backup-late"] == [4, 12, 24, 44, 64]


def test_what_waited_in_quiet_hours_is_told_at_their_end_if_it_still_holds() -> None:
    # 12:00 UTC is 13:00 in Berlin.
    story = Story(channels=(channel(quiet=["12:00-14:00"]),))
    short, long = warning(), warning(kind=Kind.DRILL_OVERDUE)
    for _ in range(10):
        assert story.look(short, long) == []
    assert told(story.look(condition(), long)) == [("mail", "new", "wal-hole")]
    for _ in range(10):
        assert story.look(long) == []
    assert told(story.look(long, after=3600)) == [
        ("mail", "new", "drill-overdue"),
        ("mail", "over", "wal-hole"),
    ]


@pytest.mark.parametrize(
    ("options", "hears"),
    [
        ({}, ["wal-hole", "server-away"]),
        ({"levels": ["critical"]}, ["wal-hole"]),
        ({"levels": ["warning"]}, ["server-away"]),
        ({"clusters": ["crm"]}, ["server-away"]),
        ({"levels": ["digest"]}, []),
    ],
)
def test_a_channel_hears_what_it_is_for(options: dict[str, Any], hears: list[str]) -> None:
    story = Story(channels=(channel(**options),), clusters=("shop", "crm"))
    both = (condition("shop"), warning("crm", Kind.SERVER_AWAY))
    found = told(story.look(*both)) + told(story.look(*both, after=60))
    assert [kind for _, _, kind in found] == hears


def test_several_events_of_a_round_are_one_message_the_worst_first() -> None:
    story = Story()
    story.look(warning())
    (message,) = story.look(warning(), condition(), condition(kind=Kind.DISK_FILLS), after=60)
    kinds = [item.event.condition.kind for item in message.items]
    assert kinds == [Kind.DISK_FILLS, Kind.WAL_HOLE, Kind.BACKUP_LATE]
    assert message.level is Level.CRITICAL


def test_what_cannot_be_seen_is_not_over() -> None:
    story = Story()
    away = condition(kind=Kind.REPOSITORY_AWAY, cause="no route")
    unknown = condition(kind=Kind.UNKNOWN)
    assert reasons(story.look(condition())) == ["new"]
    assert told(story.look(away)) == [("mail", "new", "repository-away")]
    assert story.look(away, after=90) == []
    found = told(story.look(unknown, state=State.UNKNOWN))
    found += told(story.look(unknown, state=State.UNKNOWN, after=90))
    assert found == [("mail", "new", "unknown")]
    story.look()
    assert sorted(told(story.look(after=60))) == [
        ("mail", "over", "repository-away"),
        ("mail", "over", "unknown"),
        ("mail", "over", "wal-hole"),
    ]


def test_a_store_that_is_away_from_200_clusters_is_few_messages() -> None:
    clusters = tuple(f"c{number:03}" for number in range(200))
    story = Story(clusters=clusters)
    found: dict[str, Any] = {name: health(cluster=name, at=story.now) for name in clusters}
    messages = []
    away = [condition(name, Kind.REPOSITORY_AWAY, cause="no route") for name in clusters]
    for one in away:  # looks end one by one, a second apart
        story.now += timedelta(seconds=1)
        found[one.cluster] = health(one, cluster=one.cluster, at=story.now)
        messages += story.round(*found.values())
    assert len(messages) == 4
    messages += story.look(*away, after=60)
    assert sum(len(message.items) for message in messages) == 200
    assert len(messages) == 5
    ends = []
    for name in clusters:
        story.now += timedelta(seconds=1)
        found[name] = health(cluster=name, at=story.now)
        ends += story.round(*found.values())
    for _ in range(5):
        ends += story.look()
    assert sum(len(message.items) for message in ends) == 200
    assert len(ends) <= 3
    assert story.memory.events == {}


def test_a_cluster_that_is_configured_no_longer_is_forgotten_in_silence() -> None:
    story = Story(clusters=("shop", "crm"))
    story.look(condition("crm"))
    story.clusters = ("shop",)
    assert [story.look(after=86400) for _ in range(3)] == [[]] * 3
    assert story.memory.events == {}


def test_nothing_is_said_of_a_cluster_before_it_was_looked_at() -> None:
    story = Story(digest="daily 12:00")
    story.look(condition())
    assert story.round(after=2 * 86400) == []  # the service was away, and is back
    assert [m.digest is None for m in story.look(condition(), after=1)] == [True, False]


def test_the_digest_comes_daily_when_all_is_well_too() -> None:
    story = Story(digest="daily 08:00")  # in Berlin: 07:00 UTC
    assert story.look() == []  # a new channel waits for the next time
    days = []
    for _ in range(48 * 3):
        for message in story.look(after=1800):
            assert [one.cluster for one in message.digest or ()] == ["shop"]
            days.append(story.now.astimezone(UTC))
    assert [(moment.day, moment.hour) for moment in days] == [(3, 7), (4, 7), (5, 7)]


def test_the_digest_waits_for_the_end_of_quiet_hours() -> None:
    story = Story(channels=(channel(quiet=["07:00-10:00"]),), digest="daily 08:00")
    story.look()
    moments = [story.now for _ in range(48) if story.look(after=1800)]
    assert [moment.hour for moment in moments] == [9]


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    story = Story()
    story.look(warning())
    assert reasons(story.look(warning(), after=-86400)) == ["new"]


def test_a_new_channel_is_told_what_is_wrong() -> None:
    story = Story()
    story.look(condition())
    story.channels = (channel(), channel("chat"))
    assert told(story.look(condition())) == [("chat", Reason.NEW.value, "wal-hole")]


def test_a_channel_that_fails_is_told_of_by_the_others_and_so_is_its_end() -> None:
    office = channel("office", clusters=["crm"], levels=["warning"])
    story = Story(
        channels=(channel(), channel("chat"), office, channel("pager", levels=["critical"]))
    )
    story.own = (Condition("", Kind.CHANNEL_FAILS, Level.WARNING, "chat", "why", "todo", "chat"),)
    assert story.look() == []
    found = story.look(after=60)
    assert told(found) == [("mail", "new", "channel-fails"), ("office", "new", "channel-fails")]
    assert [story.look() for _ in range(9)] == [[]] * 9
    story.own = ()
    assert story.look() == []
    found = story.look(after=60)
    assert told(found) == [("mail", "over", "channel-fails"), ("office", "over", "channel-fails")]
    assert story.memory.events == {}


def test_a_channel_that_is_configured_no_longer_fails_no_longer() -> None:
    story = Story(channels=(channel(), channel("chat")))
    story.own = (Condition("", Kind.CHANNEL_FAILS, Level.CRITICAL, "chat", "why", "todo", "chat"),)
    assert reasons(story.look()) == ["new"]
    story.own, story.channels = (), (channel(),)
    assert [story.look(after=90) for _ in range(3)] == [[]] * 3
    assert story.memory.events == {}
