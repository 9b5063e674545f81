"""The session's zone: the C library's rules, with their gaps and repeated hours."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pgkeep.model.target import BadTarget, parse_time
from pgkeep.zone import SessionZone, zone_named


@pytest.fixture(params=["America/New_York", "EST5EDT,M3.2.0,M11.1.0"])
def new_york(request: pytest.FixtureRequest) -> Iterator[SessionZone]:
    """New York by name, and by a POSIX rule that zoneinfo does not read."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield SessionZone()
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("2026-01-15 12:00", datetime(2026, 1, 15, 17, tzinfo=UTC)),
        ("2026-07-15 12:00", datetime(2026, 7, 15, 16, tzinfo=UTC)),
        ("2026-11-01 01:30-05", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_by_the_rules(new_york: SessionZone, typed: str, meant: datetime) -> None:
    assert parse_time(typed, new_york) == meant


@pytest.mark.parametrize(
    ("typed", "why"),
    [("2026-11-01 01:30", "it comes twice"), ("2026-03-08 02:30", "there is no such local time")],
)
def test_scenario_160_ambiguous_and_missing_hours_are_refused(
    new_york: SessionZone, typed: str, why: str
) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_time(typed, new_york)
    assert why in str(caught.value)
    assert "+00' or '" in caught.value.hint


def test_a_word_that_is_no_time_at_all(new_york: SessionZone) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_time("yesterday", new_york)
    assert str(caught.value) == "cannot read 'yesterday' as a time: it is not in ISO 8601"
    assert caught.value.hint == "write it like '2026-01-15 15:47:21+00'"


@pytest.mark.parametrize(
    "typed", ["0001-01-01 00:00+05", "9999-12-31 23:59-05", "9999-12-31 23:59"]
)
def test_a_time_that_utc_has_no_year_for_is_refused(new_york: SessionZone, typed: str) -> None:
    with pytest.raises(BadTarget, match="it is in no year from 1 to 9999"):
        parse_time(typed, new_york)


def test_both_readings_of_a_repeated_hour_are_shown_apart(new_york: SessionZone) -> None:
    first, second = (datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6))
    shown = [moment.astimezone(new_york).isoformat() for moment in (first, second)]
    assert shown == ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"]


def test_the_configs_zone_goes_first() -> None:
    assert str(zone_named("Asia/Kathmandu")) == "Asia/Kathmandu"
    assert isinstance(zone_named(""), SessionZone)
