"""What a user wants to keep, and the days, weeks, months and years that it speaks of. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Protocol

from pgkeep.units import format_duration


class Aged(Protocol):
    """What policies speak of: a backup, or a dump."""

    @property
    def id(self) -> str: ...

    @property
    def stopped_at(self) -> datetime:
        """The moment that it holds."""
        ...


class Period(StrEnum):
    """Stretches of the calendar of which one backup each is kept."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"

    def name_of(self, moment: datetime, zone: tzinfo) -> str:
        """Return which one a moment belongs to: '2026-11-20', '2026-W47', '2026-11', '2026'."""
        here = moment.astimezone(zone)
        match self:
            case Period.DAILY:
                return f"{here:%Y-%m-%d}"
            case Period.WEEKLY:
                week = here.isocalendar()  # the ISO year: its first week has the year's 4 January
                return f"{week.year:04}-W{week.week:02}"
            case Period.MONTHLY:
                return f"{here:%Y-%m}"
            case Period.YEARLY:
                return f"{here:%Y}"


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """What must stay restorable. All zero: nothing was asked for, so everything stays."""

    window: timedelta = timedelta()  # every second of so long back from now
    daily: int = 0  # of so many days before it, one backup each
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    minimum: int = 2  # usable backups, whatever the rules say

    def count(self, period: Period) -> int:
        return {
            Period.DAILY: self.daily,
            Period.WEEKLY: self.weekly,
            Period.MONTHLY: self.monthly,
            Period.YEARLY: self.yearly,
        }[period]

    @property
    def asks(self) -> bool:
        """Tell whether anything was configured."""
        return bool(self.window) or any(self.count(period) for period in Period)

    def __str__(self) -> str:
        """Return 'window 14 d, daily 7, minimum 2'."""
        if not self.asks:
            return "none"
        parts = [f"window {format_duration(self.window.total_seconds())}"] if self.window else []
        parts += [f"{period} {self.count(period)}" for period in Period if self.count(period)]
        return ", ".join([*parts, f"minimum {self.minimum}"])


def chosen(candidates: Iterable[Aged], policy: KeepPolicy, zone: tzinfo) -> dict[str, list[str]]:
    """Return the newest backup of each period that is asked for, with the periods' names.

    Only periods that have a candidate are counted: a month without backups costs none.
    """
    found: dict[str, list[str]] = {}
    newest_first = sorted(candidates, key=age, reverse=True)
    for period in Period:
        newest: dict[str, Aged] = {}
        for one in newest_first:
            newest.setdefault(period.name_of(one.stopped_at, zone), one)
        for name in list(newest)[: policy.count(period)]:
            found.setdefault(newest[name].id, []).append(f"{period} {name}")
    return found


def age(one: Aged) -> tuple[datetime, str]:
    """Sort by the moment that is held; the id decides between equals."""
    return one.stopped_at, one.id
