"""Which channels are told of as broken, and by whom."""

from datetime import timedelta

import pytest

from pgkeep.alerts.channels import Delivering, failing
from pgkeep.alerts.memory import Event
from pgkeep.config.service import ChannelConfig
from pgkeep.config_reader import Secret
from pgkeep.health.condition import Condition, Level
from support.channels import NOW

AGO = NOW - timedelta(minutes=5)
BROKEN = Delivering(AGO, 3, "it is busy")
WORKS = Delivering(has_taken=True)


def channel(name: str, *levels: str) -> ChannelConfig:
    return ChannelConfig(name=name, url=Secret("json://a"), levels=list(levels))


def told(name: str, **more: object) -> dict[str, Event]:
    """Return that it was told of, an hour ago."""
    (condition,) = failing([channel(name)], {name: BROKEN}, {}, NOW)
    at = NOW - timedelta(hours=1)
    return {condition.key: Event(condition, at, at, **more)}  # type: ignore[arg-type]


def test_a_channel_that_fails_is_said_with_why_and_what_to_type() -> None:
    found = failing(
        [channel("my pager"), channel("mail")], {"my pager": BROKEN, "mail": WORKS}, {}, NOW
    )
    assert found == (
        Condition(
            "",
            found[0].kind,
            Level.WARNING,
            "alert channel my pager takes no messages: whoever is told by it hears nothing",
            "the newest try failed: it is busy",
            "pgkeep alert test 'my pager'",
            subject="my pager",
            since=AGO,
        ),
    )
    assert found[0].kind.value == "channel-fails"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(Delivering(), id="nothing was tried yet"),
        pytest.param(WORKS, id="it works"),
        pytest.param(Delivering(AGO, 2, "greylisted"), id="tried twice"),
        pytest.param(Delivering(AGO + timedelta(seconds=1), 9, "restarted"), id="not for long"),
    ],
)
def test_what_may_pass_is_not_told_of(how: Delivering) -> None:
    assert failing([channel("mail")], {"mail": how}, {}, NOW) == ()


@pytest.mark.parametrize(
    ("how", "holds"),
    [
        pytest.param(Delivering(), True, id="the service was restarted"),
        pytest.param(Delivering(NOW, 1, "busy"), True, id="and it fails again"),
        pytest.param(Delivering(NOW, 1, "busy", has_taken=True), True, id="it worked for a moment"),
        pytest.param(WORKS, False, id="it works"),
    ],
)
def test_what_was_told_holds_until_a_message_is_taken(how: Delivering, holds: bool) -> None:
    assert bool(failing([channel("mail")], {"mail": how}, told("mail"), NOW)) is holds


def test_it_fails_since_it_was_told_of_first_whatever_the_service_did_since() -> None:
    how = Delivering(NOW, 1, "still busy")
    (found,) = failing([channel("mail")], {"mail": how}, told("mail"), NOW)
    assert (found.since, found.cause) == (AGO, "the newest try failed: still busy")


def test_what_was_over_before_a_restart_is_over() -> None:
    before = told("mail", gone_at=NOW - timedelta(minutes=1))
    assert failing([channel("mail")], {"mail": Delivering()}, before, NOW) == ()


@pytest.mark.parametrize(
    ("channels", "broken", "level"),
    [
        ([channel("mail"), channel("pager", "critical")], "pager", Level.WARNING),
        ([channel("mail"), channel("pager", "critical")], "mail", Level.CRITICAL),
        ([channel("mail"), channel("chat", "warning")], "mail", Level.WARNING),
        ([channel("mail"), channel("chat")], "mail chat", Level.CRITICAL),
    ],
)
def test_it_is_so_bad_that_somebody_hears_of_it(
    channels: list[ChannelConfig], broken: str, level: Level
) -> None:
    how = {one.name: BROKEN if one.name in broken.split() else WORKS for one in channels}
    found = failing(channels, how, {}, NOW)
    assert {condition.level for condition in found} == {level}
    assert " ".join(condition.subject for condition in found) == broken
