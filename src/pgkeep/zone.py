"""The time zone in which a user reads and types times."""

import time
from datetime import UTC, datetime, timedelta, tzinfo


class SessionZone(tzinfo):
    """The zone of the session ($TZ, else the machine's), with its rules, whatever their form.

    The C library knows them all: names, POSIX rules like CET-1CEST, and /etc/localtime without a
    name, for which zoneinfo has no constructor.
    """

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        if moment is None:
            return None
        return moment.replace(tzinfo=None).astimezone().utcoffset()  # heeds fold

    def dst(self, moment: datetime | None) -> timedelta | None:  # noqa: ARG002 - tzinfo's
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        seconds = moment.replace(tzinfo=UTC).timestamp()
        return datetime.fromtimestamp(seconds).replace(tzinfo=self)  # noqa: DTZ006 - it sets fold

    def __str__(self) -> str:
        names = dict.fromkeys(time.tzname)
        return f"the session's zone ({'/'.join(names)})"


def in_zone(moment: datetime, zone: tzinfo) -> str:
    """Return '2026-01-15 16:47:21+01:00', or '... UTC': as --to takes it."""
    here = moment.astimezone(zone)
    if not here.utcoffset():
        return f"{here:%Y-%m-%d %H:%M:%S} UTC"
    return here.isoformat(sep=" ", timespec="seconds")


def in_both_zones(moment: datetime, zone: tzinfo) -> str:
    """Return '2026-01-15 16:47:21+01:00 (15:47:21 UTC)', with UTC's date where it is another."""
    utc, here = moment.astimezone(UTC), moment.astimezone(zone)
    if here.utcoffset() == utc.utcoffset():
        return in_zone(moment, UTC)
    same_day = here.date() == utc.date()
    shown = f"{utc:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}}"
    return f"{in_zone(moment, zone)} ({shown} UTC)"


def zone_named(name: str) -> tzinfo:
    """Return the zone that the config names; '' is the session's."""
    if not name:
        return SessionZone()
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
