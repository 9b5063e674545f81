"""Which censuses are still of use. Pure: names alone tell when each one was taken."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from pgkeep.retention.plan import ExpirePlan
from pgkeep.retention.policy import Period

HOURLY: Final = timedelta(days=2)  # so long the last one of every hour stays, then of every day


@dataclass(frozen=True, slots=True)
class CensusPlan:
    """What becomes of the censuses, by id, and why."""

    keep: Mapping[str, str]
    drop: Mapping[str, str]


def plan_censuses(taken: Mapping[str, datetime], plan: ExpirePlan, zone: tzinfo) -> CensusPlan:
    """Decide over censuses, given when they were taken, when it is known which backups stay.

    Names are looked for in WAL, and by drills of a backup. So of each backup that stays, the newest
    census before its end stays too; behind the oldest one from which WAL goes on, the last one of
    every hour or day; and the newest of all.
    """
    in_order = sorted(taken, key=lambda id: (taken[id], id))
    if plan.keeps_all or not plan.kept:
        return CensusPlan(dict.fromkeys(in_order, plan.keeps_all or "no backup stays"), {})
    keep: dict[str, str] = {}
    for id in in_order[-1:]:
        keep[id] = "the newest"
    for backup in plan.kept:
        before = [id for id in in_order if taken[id] <= backup.stopped_at]
        if before:
            keep.setdefault(before[-1], f"tells the names of backup {backup.id}")
    start = _begin(plan)
    recent = [id for id in in_order if taken[id] > start]
    for id, stretch in _last_of_each(recent, taken, plan.now, zone):
        keep.setdefault(id, f"the last of {stretch}")
    later = dict.fromkeys(recent, "a later one of its hour or day stays")
    drop = {id: later.get(id, "older than the WAL that stays") for id in in_order if id not in keep}
    return CensusPlan({id: keep[id] for id in in_order if id in keep}, drop)


def _begin(plan: ExpirePlan) -> datetime:
    """Return from when on WAL stays: before that, backups are restored to their own ends only."""
    starts = [
        min(backup.stopped_at for backup in branch.backups)
        for branch in plan.branches
        if branch.backups
    ]
    return min(starts or [backup.stopped_at for backup in plan.kept])


def _last_of_each(
    ids: Sequence[str], taken: Mapping[str, datetime], now: datetime, zone: tzinfo
) -> Iterable[tuple[str, str]]:
    """Yield the last one of each hour or day, given the oldest first, with words for these."""
    last: dict[str, str] = {}
    for id in ids:
        stretch = Period.DAILY.name_of(taken[id], zone)
        if now - taken[id] < HOURLY:
            stretch = f"{taken[id].astimezone(UTC):%Y-%m-%d %H} h UTC"
        last[stretch] = id
    return [(id, stretch) for stretch, id in last.items()]
