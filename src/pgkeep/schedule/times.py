"""The moments that times name, in a zone: over clock changes, leap days and the ends of months.

A time that a clock change leaves out comes as much later as the clock jumped; one that it repeats
counts once if its hour is named. Calendars are APScheduler's work.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pgkeep.schedule.words import Cron, Every, Times

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_TICK: Final = timedelta(microseconds=1)
_FAR: Final = timedelta(days=366 * 8 + 2)  # no calendar of ours has a longer pause: 29 February
# Spans that are searched for the newest moment, the nearest first: few moments are then made.
_BACK: Final = tuple(timedelta(seconds=s) for s in (3600, 90_000, 40 * 86_400, 400 * 86_400))


def next_after(times: Times, moment: datetime, zone: tzinfo) -> datetime | None:
    """Return the first moment of `times` that is later than `moment`, in UTC."""
    found = [one for time in times if (one := _next(time, moment, zone)) is not None]
    return min(found, default=None)


def newest_until(times: Times, since: datetime, until: datetime, zone: tzinfo) -> datetime | None:
    """Return the newest moment of `times` that is later than `since` and not later than `until`."""
    for span in (*_BACK, _FAR):
        start = max(since, until - span)
        found = _last_between(times, start, until, zone)
        if found is not None or start == since:
            return found
    return None


def _last_between(times: Times, start: datetime, until: datetime, zone: tzinfo) -> datetime | None:
    found = None
    moment = next_after(times, start, zone)
    while moment is not None and moment <= until:
        found = moment
        moment = next_after(times, moment, zone)
    return found


def _next(time: Cron | Every, moment: datetime, zone: tzinfo) -> datetime | None:
    if isinstance(time, Every):
        passed = int(moment.timestamp() // time.seconds)
        return datetime.fromtimestamp((passed + 1) * time.seconds, UTC)
    trigger = _trigger(time, zone)
    start = (moment.astimezone(UTC) + _TICK).astimezone(zone)  # sums in UTC keep the fold
    while True:
        found: datetime | None = trigger.get_next_fire_time(None, start)
        if found is None or found.astimezone(UTC) - moment.astimezone(UTC) > _FAR:
            return None  # such a day never comes
        if not (found.fold and time.once_a_day):
            return found.astimezone(UTC)
        start = (found.astimezone(UTC) + _TICK).astimezone(zone)


@lru_cache(maxsize=1024)
def _trigger(time: Cron, zone: tzinfo) -> "CronTrigger":
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger(
        minute=time.minute,
        hour=time.hour,
        day=time.day,
        month=time.month,
        day_of_week=time.weekday,
        timezone=zone,
    )
