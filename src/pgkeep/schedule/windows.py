"""Times of day and week in which something must not be: `mon-fri 08:00-18:00`, `22:00-07:00`."""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from pgkeep.schedule.words import DAYS

FORMS: Final = "22:00-07:00, mon-fri 08:00-18:00, sat,sun, or sat-sun 00:00-24:00"
_SPAN: Final = re.compile(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)")
_DAY: Final = 24 * 60  # minutes
_WEEK: Final = 7 * _DAY
_STEP: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From a minute of some weekdays on, for so many minutes; both by the clock on the wall."""

    days: frozenset[int]  # 0 is Monday: the days on which it begins
    begins: int  # minutes after midnight
    minutes: int

    def covers(self, minute: int) -> bool:
        """Tell whether it is on at a minute of the week, counted from Monday's midnight."""
        return any((minute - day * _DAY - self.begins) % _WEEK < self.minutes for day in self.days)


Windows = tuple[Window, ...]


def parse_windows(texts: Sequence[str]) -> Windows:
    """Return the windows that are written. Raise ValueError with why; also if nothing is left."""
    return _parse_all(tuple(texts))


@lru_cache(maxsize=1024)
def _parse_all(texts: tuple[str, ...]) -> Windows:
    windows = tuple(_parse(text) for text in texts)
    if windows and all(_covered(windows, minute) for minute in range(_WEEK)):
        raise ValueError("leaves no time at all")
    return windows


def is_within(windows: Windows, moment: datetime, zone: tzinfo) -> bool:
    """Tell whether one of the windows is on."""
    return _left(windows)[_minute_of_week(moment, zone)] > 0


def ends_at(windows: Windows, moment: datetime, zone: tzinfo) -> datetime:
    """Return the first moment from `moment` on that no window covers, to the minute, in UTC."""
    found = moment.astimezone(UTC)
    if not windows or not is_within(windows, found, zone):
        return found
    found = found.replace(second=0, microsecond=0)
    while left := _left(windows)[_minute_of_week(found, zone)]:
        found += _unchanged(found, left, zone)
    return found


def _unchanged(moment: datetime, left: int, zone: tzinfo) -> timedelta:
    """Return how far one may go of what is left by the wall's clock before that clock changes."""
    offset = moment.astimezone(zone).utcoffset()
    for minutes in (left, min(left, 60)):
        span = timedelta(minutes=minutes)
        if (moment + span).astimezone(zone).utcoffset() == offset:
            return span
    return _STEP


def _minute_of_week(moment: datetime, zone: tzinfo) -> int:
    local = moment.astimezone(zone)
    return local.weekday() * _DAY + local.hour * 60 + local.minute


@lru_cache(maxsize=1024)
def _left(windows: Windows) -> Sequence[int]:
    """Return, for each minute of the week, how many it is to one without a window."""
    left, ahead = [0] * _WEEK, 0
    for minute in reversed(range(2 * _WEEK)):  # twice: the week goes on after its end
        ahead = ahead + 1 if _covered(windows, minute % _WEEK) else 0
        left[minute % _WEEK] = ahead
    return array("H", left)


def _covered(windows: Windows, minute: int) -> bool:
    return any(window.covers(minute) for window in windows)


def _parse(text: str) -> Window:
    words = text.lower().split()
    days = frozenset(range(7))
    if words and _SPAN.fullmatch(words[0]) is None:
        days = _days(words.pop(0), text)
    if len(words) > 1 or not text.strip():
        raise ValueError(f"is no window of time: {text!r}")
    if not words:
        return Window(days, 0, _DAY)
    match = _SPAN.fullmatch(words[0])
    if match is None:
        raise ValueError(f"is no window of time: {text!r}")
    begins, ends = _minute(match[1], match[2], text), _minute(match[3], match[4], text)
    if begins in (ends, _DAY):
        raise ValueError(f"is no window of time: {text!r} has no length")
    return Window(days, begins, (ends - begins) % _DAY or _DAY)


def _minute(hour: str, minute: str, text: str) -> int:
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > _DAY:
        raise ValueError(f"is no window of time: {text!r}")
    return found


def _days(words: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in words.split(","):
        ends = part.split("-")
        if len(ends) > 2 or any(end not in DAYS for end in ends):
            raise ValueError(f"is no window of time: {text!r}; days are {', '.join(DAYS)}")
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        found |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    return frozenset(found)
