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


def zone_named(name: str) -> tzinfo:
    """Return the zone that the config names; '' is the session's."""
    if not name:
        return SessionZone()
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
