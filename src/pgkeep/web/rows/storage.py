"""How much is stored over time, where that leads, and what it costs. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final, NamedTuple

from pgkeep.costs.plan import RepositoryCost
from pgkeep.health.forecast import Sample, Stored, growth_per_s, spans, weighed_growth_per_s
from pgkeep.health.health import RepositoryRoom
from pgkeep.model.backup import Backup
from pgkeep.model.dump import Dump
from pgkeep.units import format_size, plural
from pgkeep.web.words import capital

_POINTS: Final = 240  # of the curve: more are not seen
_DAY_S: Final = 86400
_AHEAD: Final = 0.5  # of what is known, that a forecast reaches


class Point(NamedTuple):
    """How much was stored at a moment; of a curve that nobody weighed, of what is there now."""

    at: float  # seconds since 1970
    size: int


class Curve(NamedTuple):
    """What was stored when, and where it leads."""

    points: tuple[Point, ...]  # the oldest first
    ahead: Point | None  # at the present rate; None: nobody can tell
    per_day: float | None
    weighed: bool = False  # False: what came when, of what is stored now


def weighed_curve(samples: Sequence[Sample], now: datetime) -> Curve | None:
    """Return what was stored over time, as it was weighed; None: since too short a time."""
    if not spans(samples):
        return None
    step = -(-len(samples) // _POINTS)
    # From the newest back, which must be in it.
    points = [Point(one.at, one.size) for one in samples[::-1][::step]][::-1]
    return _leading(points, weighed_growth_per_s(samples, now), weighed=True)


def stored_by(
    backups: Sequence[Backup], dumps: Iterable[Dump], wal: Iterable[Stored]
) -> list[Stored]:
    """Return what was added when, the oldest first."""
    found = [Stored(one.stopped_at.timestamp(), one.stored) for one in backups]
    found += [Stored(one.taken_at.timestamp(), one.stored) for one in dumps]
    return sorted([*found, *wal])


def curve(
    backups: Sequence[Backup], dumps: Sequence[Dump], wal: Sequence[Stored], now: datetime
) -> Curve:
    """Return what is stored over time; what has expired is not in it any more."""
    came = stored_by(backups, dumps, wal)
    per_s = growth_per_s(backups, wal, now)
    if not came:
        return Curve((), None, None)
    sums = list(accumulate(one.size for one in came))
    times = [one.at for one in came]
    first, last = times[0], max(times[-1], now.timestamp())
    step = (last - first) / _POINTS or 1.0
    moments = sorted({*(first + step * n for n in range(_POINTS)), last})
    points = [Point(at, sums[bisect_right(times, at) - 1]) for at in moments]
    return _leading(points, per_s)


def _leading(points: Sequence[Point], per_s: float | None, *, weighed: bool = False) -> Curve:
    if per_s is None:
        return Curve(tuple(points), None, None, weighed)
    first, last = points[0], points[-1]
    later = (last.at - first.at) * _AHEAD
    ahead = Point(last.at + later, int(last.size + per_s * later)) if per_s > 0 else None
    return Curve(tuple(points), ahead, per_s * _DAY_S, weighed)


class Drawn(NamedTuple):
    """A curve as paths of a picture that is 1000 wide and 240 high."""

    area: str
    line: str
    ahead: str
    most: int
    first: float
    last: float


WIDTH: Final = 1000
HEIGHT: Final = 240


def draw(found: Curve) -> Drawn | None:
    """Return the picture of a curve; None where there is nothing to draw."""
    if len(found.points) < 2:
        return None
    ends = [*found.points, *([found.ahead] if found.ahead else [])]
    most = max(point.size for point in ends) or 1
    first, last = ends[0].at, max(ends[-1].at, ends[0].at + 1)

    def place(point: Point) -> str:
        x = (point.at - first) / (last - first) * WIDTH
        return f"{x:.1f} {HEIGHT - point.size / most * (HEIGHT - 10):.1f}"

    line = "M" + "L".join(map(place, found.points))
    right = place(found.points[-1]).split()[0]
    area = f"{line}L{right} {HEIGHT}L0 {HEIGHT}Z"
    ahead = f"M{place(found.points[-1])}L{place(found.ahead)}" if found.ahead else ""
    return Drawn(area, line, ahead, most, first, last)


def growth_words(found: Curve) -> str:
    """Return how fast it grows, or why nobody can tell."""
    if found.per_day is None and found.weighed:
        return "not known: nothing was weighed in the last days"
    if found.per_day is None:
        return "not known: it takes two days of backups, of a repository that lets nothing go yet"
    if found.per_day <= 0:
        return "nothing, of late"
    return f"{format_size(found.per_day)} a day"


def room_words(room: RepositoryRoom, now: datetime) -> str:
    """Return how much of a repository a cluster uses, and how much room there is."""
    used = f"{format_size(room.bytes)} of this cluster, " if room.bytes is not None else ""
    return used + full_words(room.free, room.full_at, now)


def now_words(found: Curve) -> str:
    """Return how much is stored, and what that is."""
    what = "all that is there of the cluster" if found.weighed else "of backups, dumps and WAL"
    return f"{format_size(found.points[-1].size)}, {what}"


def source_words(found: Curve) -> str:
    """Return what the picture shows, and what it does not."""
    if found.weighed:
        return "As the service has weighed it, four times a day. The rate is that of two weeks."
    return (
        "What has expired is not in the picture: it shows when that came which is stored now. "
        "What was stored at each moment it shows when the service has weighed it for two days."
    )


def full_words(free: int | None, full_at: datetime | None, now: datetime) -> str:
    """Return how much room there is, and until when."""
    if free is None:
        return "not told by the store"
    if full_at is None:
        return f"{format_size(free)} free"
    days = max(timedelta(0), full_at - now).days
    return f"{format_size(free)} free, full in {plural(days, 'day')} at the present rate"


def cost_rows(cost: RepositoryCost) -> list[tuple[str, str]]:
    """Return what a repository holds and costs, line by line."""
    held = [(kind.kind, kind.bytes, kind.objects) for kind in cost.kept if kind.objects]
    rows = [
        (capital(name), f"{format_size(size)} in {plural(objects, 'object')}")
        for name, size, objects in [("stored", cost.bytes, cost.objects), *held]
    ]
    if cost.tariff.prices.free:
        return [*rows, ("Costs a month", "nothing by itself: it has no prices")]
    prices = "list prices" if cost.tariff.listed else "the prices of the config"
    rows += [
        ("Costs a month", f"{cost.per_month:,.2f} for what is stored, by {prices}"),
        ("Archiving", f"{cost.wal_per_month:,.2f} a month for {cost.wal_per_day:,.0f} WAL a day"),
    ]
    if cost.backup is not None:
        stored = format_size(cost.backup.stored)
        rows.append(("The last backup", f"{cost.backup_requests:,.2f} for its {stored}"))
        rows.append(("A whole restore", f"{cost.restore_reads:,.2f} to read"))
    return rows
