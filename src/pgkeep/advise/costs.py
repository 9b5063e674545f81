"""How much a plan stores over a year, and what that costs. Pure."""

from dataclasses import dataclass

from pgkeep.advise import facts
from pgkeep.advise.wishes import DAY, GIB, Hosting, Wishes
from pgkeep.units import format_size

_YEAR = 365 * DAY
_MONTH = 30.4375  # days
_OBJECT = 32 << 20  # bytes of a pack
_COPIES_READ = 0.1  # of what is stored: drills and restores, a month


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes in one repository, and in all."""

    start: float  # after the first backup
    year: float  # a year later
    copies: int  # repositories besides the first
    puts: float  # objects stored a month, in one repository
    arithmetic: tuple[str, ...]

    @property
    def everywhere(self) -> float:
        return self.year * (1 + self.copies)


@dataclass(frozen=True, slots=True)
class Cost:
    """Money a month, a year from now, by list prices."""

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
            ("storage", self.stored),
            ("requests", self.requests),
            ("reading", self.egress),
            ("the service's own backups", self.managed),
        )
        return tuple(f"{name}: {amount:.2f}" for name, amount in parts if amount)


def storage_of(wishes: Wishes, every: float, *, wal: bool, dumps: float, copies: int) -> Storage:
    """Return what is stored with a backup each `every` seconds and `dumps` dumps a week."""
    size = wishes.size * (1 + max(0.0, wishes.growth))
    lines = []
    total, puts = 0.0, 0.0
    if wal:
        kept_wal = wishes.wal_per_day * (wishes.window + every) / DAY * facts.WAL_STORED
        changed = min(size, wishes.wal_per_day * facts.CHANGED)  # a day
        days = wishes.window / DAY
        # Beyond the window one a day, week, month: each holds what changed since the one before.
        spaced = wishes.daily * changed + wishes.weekly * min(size, 7 * changed)
        spaced += wishes.monthly * min(size, 30 * changed)
        kept_changes = (days * changed + spaced) * facts.STORED
        base = size * facts.STORED
        total += base + kept_changes + kept_wal
        puts += (wishes.wal_per_day / facts.SEGMENT + changed * facts.STORED / _OBJECT) * _MONTH
        puts += DAY / every * _MONTH
        lines += [
            f"one whole cluster, compressed: {format_size(int(base))}",
            f"what changes between the backups that are kept: {format_size(int(kept_changes))}",
            f"WAL of the window: {format_size(int(kept_wal))}",
        ]
    if dumps:
        one = size * facts.DUMP_STORED
        # Chunks that did not change are stored once; of an active database half of them do.
        kept = (
            one * (1 + 0.5 * (wishes.daily + wishes.weekly + wishes.monthly))
            if not wal
            else one * 4
        )
        total += kept
        puts += dumps / 7 * _MONTH * one / _OBJECT
        lines.append(f"dumps: {format_size(int(kept))}")
    grown = 1 + max(0.0, wishes.growth)
    lines.append(f"after a year {format_size(int(total))} in each of {1 + copies} places")
    return Storage(total / grown if total else 0.0, total, copies, puts, tuple(lines))


def cost_of(wishes: Wishes, storage: Storage, *, managed: bool) -> Cost:
    """Return the cost a month, a year from now."""
    prices = facts.prices_of(wishes.provider)
    places = storage.copies or 1  # with copies, the first place is a disk of one's own
    stored = storage.year / GIB * prices.stored * places
    requests = storage.puts / 1000 * prices.write * places
    egress = storage.year * _COPIES_READ / GIB * prices.egress * bool(storage.copies)
    own = 0.0
    if managed and wishes.hosting is Hosting.MANAGED:
        days = min(wishes.window, facts.MANAGED_WINDOW) / DAY
        kept = wishes.size + days * min(wishes.size, wishes.wal_per_day)
        own = max(0.0, kept - wishes.size) / GIB * facts.MANAGED_PRICE
    return Cost(stored, requests, egress, own)
