"""Times as people write them: `daily 02:00`, `weekly sun 03:00`, `every 6h`, or cron's fields.

They become cron fields with weekdays by name: libraries disagree whether 0 is Sunday or Monday.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pgkeep.units import BadUnit, parse_duration

FORMS: Final = (
    "daily 02:00, weekly sun 03:00, monthly 1 04:00, monthly last, every 6h, "
    "cron's five fields like 0 2 * * *, several of them with ; between, or never"
)
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_CRON_DAYS: Final = ("sun", *DAYS)  # cron's 0 to 7: both ends are Sunday
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_PART: Final = re.compile(r"(\*|[a-z0-9]+(?:-[a-z0-9]+)?)(?:/(\d{1,4}))?")
_DEFAULT: Final = (3, 0)  # o'clock: when no time is given
_LEAST: Final = 60  # seconds between two starts
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Cron:
    """Moments of a calendar, by fields; weekdays and months may be names, day may be `last`."""

    minute: str
    hour: str
    day: str = "*"
    month: str = "*"
    weekday: str = "*"

    @property
    def once_a_day(self) -> bool:
        """Whether the hours are named: then an hour that a clock change repeats counts once."""
        return "*" not in self.hour and "/" not in self.hour


@dataclass(frozen=True, slots=True)
class Every:
    """Every so many seconds, counted from midnight UTC of 1 January 1970: the same for all."""

    seconds: int


Times = tuple[Cron | Every, ...]


@lru_cache(maxsize=1024)
def parse_times(text: str) -> Times:
    """Return the times that `text` says; none for '' and `never`. Raise ValueError with why."""
    if text.strip().lower() in ("", "never"):
        return ()
    parts = [part.strip().lower() for part in text.split(";")]
    return tuple(dict.fromkeys(one for part in parts for one in _parse(part)))


def _parse(text: str) -> Times:
    first, *rest = text.split() or [""]
    if first == "every":
        return (_every(" ".join(rest)),)
    if first in ("daily", "weekly", "monthly"):
        return _words(first, rest)
    fields = _MACROS.get(text, text).split()
    if len(fields) == 5:
        return _cron(fields)
    raise ValueError(f"is no time for a job: {text!r}")


def _every(text: str) -> Every:
    try:
        seconds = parse_duration(text.replace(" ", ""))
    except BadUnit as error:
        raise ValueError(str(error)) from None
    if seconds < _LEAST:
        raise ValueError(f"is too often: every {text}; a minute is the least")
    return Every(seconds)


def _words(word: str, rest: list[str]) -> Times:
    hour, minute = _DEFAULT
    if rest and (clock := _CLOCK.fullmatch(rest[-1])):
        hour, minute = int(clock[1]), int(clock[2])
        rest = rest[:-1]
    if len(rest) > (word != "daily"):
        raise ValueError(f"is no time for a job: {' '.join([word, *rest])!r}")
    at = (str(minute), str(hour))
    if word == "daily":
        return (Cron(*at),)
    if word == "weekly":
        days = [_day(name) for name in (rest[0] if rest else "sun").split(",")]
        return (Cron(*at, weekday=",".join(days)),)
    return _monthly(at, rest[0] if rest else "1")


def _day(name: str) -> str:
    short = name[:3]
    if short in DAYS and f"{short}day" and name in _spellings(short):
        return short
    raise ValueError(f"is no day of the week: {name!r}")


def _spellings(short: str) -> tuple[str, str]:
    full = {"tue": "tuesday", "wed": "wednesday", "thu": "thursday", "sat": "saturday"}
    return short, full.get(short, f"{short}day")


def _monthly(at: tuple[str, str], day: str) -> Times:
    """Return one day of each month: its last one where the month is shorter."""
    if day == "last":
        return (Cron(*at, day="last"),)
    if not day.isdecimal() or not 1 <= int(day) <= 31:
        raise ValueError(f"is no day of the month: {day!r}")
    number = int(day)
    if number <= 28:
        return (Cron(*at, day=str(number)),)
    if number == 31:
        return (Cron(*at, day="last"),)
    return (Cron(*at, str(number), "1,3-12"), Cron(*at, "last", "2"))


def _cron(fields: list[str]) -> Times:
    minute, hour, day, month, weekday = fields
    _check("minute", minute, 0, 59)
    _check("hour", hour, 0, 23)
    _check("day", day, 1, 31)
    month = ",".join(_named(part, _MONTHS, "month") for part in month.split(","))
    _check("month", month, 1, 12)
    days = _weekdays(weekday)
    # As cron does: days of the month *or* of the week, where both are given.
    if day != "*" and days != "*":
        return (Cron(minute, hour, day, month), Cron(minute, hour, "*", month, days))
    return (Cron(minute, hour, day, month, days),)


def _check(field: str, text: str, least: int, most: int) -> None:
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"has a {field} that is none: {part!r}")
        span, step = match[1], match[2]
        if step is not None and (not 1 <= int(step) <= most or span.isdecimal()):
            raise ValueError(f"has a {field} that is none: {part!r}")
        if span == "*":
            continue
        ends = span.split("-")
        if not all(end.isdecimal() and least <= int(end) <= most for end in ends):
            raise ValueError(f"has a {field} that is none: {part!r}; {least} to {most} are")
        if int(ends[0]) > int(ends[-1]):
            raise ValueError(f"has a {field} that ends before it begins: {part!r}")


def _named(part: str, names: tuple[str, ...], field: str) -> str:
    """Return a part of a field with names of months as numbers."""
    words = re.split(r"([-/])", part)
    for word in words:
        if word.isalpha() and word not in names:
            raise ValueError(f"has a {field} that is none: {part!r}")
    return "".join(str(names.index(word) + 1) if word.isalpha() else word for word in words)


def _weekdays(text: str) -> str:
    """Return the days of the week by name, one by one: ranges may go over Sunday."""
    if text == "*":
        return text
    chosen: set[str] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"has a weekday that is none: {part!r}")
        ends = (match[1] if match[1] != "*" else "0-6").split("-")
        numbers = [_weekday(end, part) for end in ends]
        last = numbers[-1]
        if last < numbers[0]:
            raise ValueError(f"has a weekday that ends before it begins: {part!r}")
        step = int(match[2] or 1)
        if step < 1 or (match[2] and len(ends) == 1):
            raise ValueError(f"has a weekday that is none: {part!r}")
        chosen |= {_CRON_DAYS[number] for number in range(numbers[0], last + 1, step)}
    return ",".join(day for day in DAYS if day in chosen)


def _weekday(text: str, part: str) -> int:
    if text in _CRON_DAYS:
        return _CRON_DAYS.index(text) or 0
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"has a weekday that is none: {part!r}; 0 to 7 or sun to sat are")
