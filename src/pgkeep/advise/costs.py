"""How much a plan stores over a year, and what that costs. Pure.

All of it is "at most": what two kept backups share beyond doubt is counted once, nothing else.
"""

from dataclasses import dataclass
from typing import Final

from pgkeep.advise import facts
from pgkeep.advise.repositories import BUCKET, Spot
from pgkeep.advise.wishes import DAY, GIB, Hosting, Wishes
from pgkeep.repository.metering.prices import egress_cost
from pgkeep.units import format_size

_YEAR: Final = 365.0  # days
_MONTH: Final = 365.25 / 12


@dataclass(frozen=True, slots=True)
class Made:
    """What is made how often. Times in seconds; 0: never."""

    every: float = 0.0  # between physical backups
    timeout: float = 0.0  # archive_timeout
    dumps_every: float = 0.0
    drills: float = 1.0  # restores that read everything, a month
    by_service: bool = False  # whether a managed service's own backups are part of it


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes in one repository, and in all."""

    months: tuple[float, ...]  # at the beginning, and at the end of each month of a year
    places: int
    puts: float  # objects stored a month, in one repository, in a year
    comes: float  # bytes that come a month, in a year
    reads: float  # bytes that one restore reads
    arithmetic: tuple[str, ...]

    @property
    def year(self) -> float:
        """In one repository, after a year."""
        return self.months[-1]

    @property
    def everywhere(self) -> float:
        return self.year * self.places


@dataclass(frozen=True, slots=True)
class Cost:
    """Money a month, in a year, by list prices."""

    stored: float
    requests: float
    egress: float
    managed: float = 0.0

    @property
    def month(self) -> float:
        return self.stored + self.requests + self.egress + self.managed

    @property
    def arithmetic(self) -> tuple[str, ...]:
        parts = (
            ("what is stored", self.stored),
            ("requests", self.requests),
            ("what leaves the provider's network", self.egress),
            ("the service's own backups", self.managed),
        )
        return tuple(f"{name} {amount:.2f}" for name, amount in parts if amount >= 0.005)


def storage_of(wishes: Wishes, made: Made, places: int) -> Storage:
    """Return what is stored in each of some repositories, over a year."""
    held = [_held(wishes, made, month * _YEAR / 12) for month in range(13)]
    last = held[-1]
    lines = [
        f"{name}: {format_size(size)}"
        for name, size in (
            ("stored: the whole cluster once", last.base),
            ("what changes between the backups that are kept", last.changes),
            ("WAL of the window", last.wal),
            ("dumps", last.dumps),
        )
        if size
    ]
    where = "in one place" if places == 1 else f"in each of {places} places"
    lines.append(f"in a year {format_size(last.all)} {where} (now {format_size(held[0].all)})")
    return Storage(
        tuple(one.all for one in held),
        places,
        _puts(wishes, made),
        _comes(wishes, made),
        last.base or _dump_size(wishes, _YEAR),
        tuple(lines),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """Bytes in one repository."""

    base: float = 0.0
    changes: float = 0.0
    wal: float = 0.0
    dumps: float = 0.0

    @property
    def all(self) -> float:
        return self.base + self.changes + self.wal + self.dumps


def _size(wishes: Wishes, day: float) -> float:
    """Return the cluster's size some days from now; nobody plans for one that shrinks."""
    return wishes.size * float((1 + max(0.0, wishes.growth)) ** (day / _YEAR))


def _changed(wishes: Wishes, days: float, at: float) -> float:
    """Return the bytes of pages that change in so many days: never more than there are."""
    return min(_size(wishes, at), wishes.wal_per_day * facts.CHANGED.value * days)


def _held(wishes: Wishes, made: Made, day: float) -> _Held:
    """Return what is there after so many days."""
    dumps = _dumps(wishes, made, day) if made.dumps_every else 0.0
    if not made.every:
        return _Held(dumps=dumps)
    # In the window every day's changes; beyond it what changed between two that are kept.
    changes = min(wishes.window / DAY, day) * _changed(wishes, 1, day)
    for count, days in ((wishes.daily, 1.0), (wishes.weekly, 7.0), (wishes.monthly, _MONTH)):
        changes += min(count, day / days) * _changed(wishes, days, day)
    wal = wishes.wal_per_day * min((wishes.window + made.every) / DAY, day)
    stored = facts.STORED.value
    return _Held(_size(wishes, day) * stored, changes * stored, wal * facts.WAL_STORED.value, dumps)


def _dump_size(wishes: Wishes, day: float) -> float:
    return _size(wishes, day) * facts.DUMP_STORED.value


def _dump_again(wishes: Wishes, days: float, at: float) -> float:
    """Return what a dump stores that comes so many days after another."""
    spread = facts.DUMP_SPREAD.value * facts.DUMP_STORED.value * _changed(wishes, days, at)
    return min(facts.DUMP_NEW.value * _dump_size(wishes, at), spread)


def _dumps(wishes: Wishes, made: Made, day: float) -> float:
    every = made.dumps_every / DAY
    found = _dump_size(wishes, day)
    found += min(wishes.window / DAY, day) / every * _dump_again(wishes, every, day)
    for count, days in ((wishes.daily, 1.0), (wishes.weekly, 7.0), (wishes.monthly, _MONTH)):
        apart = max(days, every)
        found += min(count, day / apart) * _dump_again(wishes, apart, day)
    return found


def _comes(wishes: Wishes, made: Made) -> float:
    found = 0.0
    if made.every:
        found += wishes.wal_per_day * facts.WAL_STORED.value * _MONTH
        found += _changed(wishes, 1, _YEAR) * facts.STORED.value * _MONTH
    if made.dumps_every:
        a_month = _MONTH * DAY / made.dumps_every
        found += a_month * _dump_again(wishes, made.dumps_every / DAY, _YEAR)
    return found


def _puts(wishes: Wishes, made: Made) -> float:
    """Return how many objects are stored a month: packs, manifests, WAL."""
    found = _comes(wishes, made) / facts.PACK
    if made.every:
        # A server that is never idle hands over a segment at each timeout, however little is in it.
        found += (wishes.wal_per_day / facts.SEGMENT + DAY / made.timeout) * _MONTH
        found += _MONTH * DAY / made.every
    return found


def cost_of(wishes: Wishes, storage: Storage, places: tuple[Spot, ...], made: Made) -> Cost:
    """Return the cost a month, in a year. Disks and hosts of one's own are not counted."""
    stored = sum(storage.year / GIB * place.prices.stored for place in places)
    requests = sum(storage.puts / 1000 * place.prices.write for place in places)
    egress = 0.0
    if wishes.hosting is not Hosting.SELF:  # from a machine of one's own it is taken in for nothing
        sent = (
            egress_cost(int(storage.comes), place.prices) for place in places if place.elsewhere
        )
        egress += sum(sent)
    first = places[0]
    if first.kind == BUCKET and first.elsewhere:
        egress += egress_cost(int(storage.reads * made.drills), first.prices)
    return Cost(stored, requests, egress, _managed(wishes) if made.by_service else 0.0)


def _managed(wishes: Wishes) -> float:
    """Return what a managed service takes for its own backups beyond the instance's size."""
    days = min(wishes.window, facts.MANAGED_WINDOW.value) / DAY
    beyond = days * min(_size(wishes, _YEAR), wishes.wal_per_day)
    return beyond / GIB * facts.MANAGED_PRICE.value
