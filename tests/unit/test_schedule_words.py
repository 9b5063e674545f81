"""Times and windows as people write them."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.schedule.windows import parse_windows
from pgkeep.schedule.words import Cron, Every, parse_times


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("", ()),
        ("never", ()),
        ("daily", (Cron("0", "3"),)),
        ("Daily 02:05", (Cron("5", "2"),)),
        ("weekly", (Cron("0", "3", weekday="sun"),)),
        ("weekly monday,thursday 23:59", (Cron("59", "23", weekday="mon,thu"),)),
        ("monthly", (Cron("0", "3", "1"),)),
        ("monthly last 04:00", (Cron("0", "4", "last"),)),
        ("monthly 31", (Cron("0", "3", "last"),)),
        ("monthly 30", (Cron("0", "3", "30", "1,3-12"), Cron("0", "3", "last", "2"))),
        ("every 6h", (Every(21600),)),
        ("every 15 min", (Every(900),)),
        ("0 2 * * *", (Cron("0", "2"),)),
        ("*/10 8-18 * jan-mar *", (Cron("*/10", "8-18", "*", "1-3"),)),
        ("0 2 * * 0", (Cron("0", "2", weekday="sun"),)),
        ("0 2 * * 7", (Cron("0", "2", weekday="sun"),)),
        ("0 2 * * 5-7", (Cron("0", "2", weekday="fri,sat,sun"),)),
        ("0 2 * * sun-tue", (Cron("0", "2", weekday="mon,tue,sun"),)),
        ("0 2 1 * mon", (Cron("0", "2", "1"), Cron("0", "2", weekday="mon"))),
        ("@daily", (Cron("0", "0"),)),
        ("daily 02:00; weekly sun 12:00", (Cron("0", "2"), Cron("0", "12", weekday="sun"))),
    ],
)
def test_times_are_read(text: str, times: tuple[Cron | Every, ...]) -> None:
    assert parse_times(text) == times


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sometimes", "is no time for a job: 'sometimes'"),
        ("daily 25:00", "is no time for a job: 'daily 25:00'"),
        ("daily 2 02:00", "is no time for a job: 'daily 2'"),
        ("weekly sunny 02:00", "is no day of the week: 'sunny'"),
        ("monthly 0", "is no day of the month: '0'"),
        ("monthly 32", "is no day of the month: '32'"),
        ("every 30s", "is too often"),
        ("every", "cannot read"),
        ("60 2 * * *", "has a minute that is none: '60'; 0 to 59 are"),
        ("0 2 30-1 * *", "has a day that ends before it begins: '30-1'"),
        ("0 2 * foo *", "has a month that is none: 'foo'"),
        ("0 2 * * 8", "has a weekday that is none: '8'"),
        ("5/10 2 * * *", "has a minute that is none: '5/10'"),
        ("*/0 2 * * *", "has a minute that is none: '*/0'"),
        ("daily; ", "is no time for a job: ''"),
        ("0 2 * * 5-1", "has a weekday that ends before it begins: '5-1'"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_times(text)


@given(st.text(max_size=30) | st.from_regex(r"[-*/,0-9a-z ]{1,20}", fullmatch=True))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with suppress(ValueError):
        parse_times(text)
    with suppress(ValueError):
        parse_windows([text])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "monday",
        "mon-fri 8-18",
        "25:00-26:00",
        "08:00-08:00",
        "mon 08:00-18:00 sat",
        "24:00-1:00",
    ],
)
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no window of time"):
        parse_windows([text])


def test_windows_that_leave_no_time_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves no time at all"):
        parse_windows(["mon-fri", "sat-sun 00:00-12:00", "sat,sun 12:00-24:00"])
