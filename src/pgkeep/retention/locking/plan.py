"""Until when objects must stay locked, from what retention keeps. Pure.

What is kept today is locked until the earliest moment at which the policy can let it go, whatever
backups are made from now on; at least `ahead` from now, because the next look may be the last that
somebody prevents; and never longer than `maximum` from now, because nothing takes a lock back.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from pgkeep.model.backup import Backup
from pgkeep.model.dump import Dump
from pgkeep.model.segment import Segment
from pgkeep.repository.store.objectlock.vault import LockMode, ObjectLock
from pgkeep.retention.judging.dumps import DumpPlan, in_series
from pgkeep.retention.plan import ExpirePlan
from pgkeep.retention.policy import Aged, KeepPolicy, Period, age

# A lock that ends a little early is not worth a request: days are asked for.
SLACK: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class LockRules:
    """How long locks are to last."""

    ahead: timedelta  # at least, from now
    maximum: timedelta  # at most, from now


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is, where, and under which rules."""

    policy: KeepPolicy
    rules: LockRules
    now: datetime
    zone: tzinfo

    def clamped(self, until: datetime) -> datetime:
        return min(max(until, self.now + self.rules.ahead), self.now + self.rules.maximum)


@dataclass(frozen=True)
class LockPlan:
    """Until when backups, dumps and WAL must stay locked."""

    at: Moment
    whole: dict[str, datetime]  # by the id of a backup or dump: its manifest and its packs
    islands: tuple[tuple[Backup, datetime], ...]
    followers: dict[tuple[str, int], tuple[tuple[int, datetime], ...]]

    @property
    def longest(self) -> datetime:
        """Until when what all the others need must stay locked."""
        return max(self.whole.values(), default=self.at.now + self.at.rules.ahead)

    def of_wal(self, generation_id: str, segment: Segment) -> datetime:
        """Return until when a segment must stay that retention keeps now.

        Of a timeline that goes on it can go when the next backup behind it leaves the window; what
        makes a backup consistent, with that backup.
        """
        found = [
            until for backup, until in self.islands if _is_part(backup, generation_id, segment)
        ]
        followers = self.followers.get((generation_id, segment.timeline), ())
        place = bisect_right(followers, segment.number, key=lambda follower: follower[0])
        next_at = followers[place][1] if place < len(followers) else self.at.now
        return self.at.clamped(max([next_at + self.at.policy.window, *found]))


def extension(held: ObjectLock | None, mode: LockMode, until: datetime) -> ObjectLock | None:
    """Return the lock to set on what has `held`; None if that will do. No lock becomes weaker."""
    wanted = ObjectLock(mode, until.replace(microsecond=0))
    if held is None:
        return wanted
    if held.mode is LockMode.COMPLIANCE:
        wanted = wanted._replace(mode=held.mode)
    if held.mode is wanted.mode and held.until >= wanted.until - SLACK:
        return None
    return wanted._replace(until=max(held.until, wanted.until))


def plan_locks(backups: ExpirePlan, dumps: DumpPlan, at: Moment) -> LockPlan:
    """Decide over all that retention keeps; what it lets go is locked no longer."""
    sound = [verdict.backup for verdict in backups.backups if verdict.usable]
    whole = {str(backup.id): held_until(backup, sound, at) for backup in backups.kept}
    good = {verdict.dump.id for verdict in dumps.dumps if verdict.usable}
    kept = {dump.id for dump in dumps.kept}
    for series in in_series([verdict.dump for verdict in dumps.dumps]):
        others = [dump for dump in series if dump.id in good]
        whole |= {dump.id: held_until(dump, others, at) for dump in series if dump.id in kept}
    islands = tuple((backup, whole[backup.id]) for backup in backups.kept)
    return LockPlan(at, whole, islands, _followers(sound))


def held_until(one: Backup | Dump, others: Iterable[Aged], at: Moment) -> datetime:
    """Return until when a backup or dump must stay locked, beside those that can replace it."""
    return at.clamped(let_go(one, others, at))


def let_go(one: Aged, others: Iterable[Aged], at: Moment) -> datetime:
    """Return the earliest moment at which the policy can let go of one that it keeps now.

    Earlier than that it stays whatever backups are made; how many are made decides the rest.
    """
    newer = sorted((other for other in others if age(other) > age(one)), key=age)
    replaced = [newer[0].stopped_at if newer else at.now]
    replaced += [_outnumbered(one, newer, period, at) for period in Period]
    return max(replaced) + at.policy.window


def _outnumbered(one: Aged, newer: Sequence[Aged], period: Period, at: Moment) -> datetime:
    """Return when there can be as many newer days, weeks, ... with a backup as are kept."""
    count = at.policy.count(period)
    mine = period.name_of(one.stopped_at, at.zone)
    current = period.name_of(at.now, at.zone)
    firsts: dict[str, datetime] = {}
    for other in newer:
        firsts.setdefault(period.name_of(other.stopped_at, at.zone), other.stopped_at)
    if not count or mine in firsts or mine == current:
        return at.now if not newer else newer[0].stopped_at  # another takes its place in its period
    known = [moment for _, moment in sorted(firsts.items(), key=lambda pair: pair[1])]
    if len(known) >= count:
        return known[count - 1]
    moment = at.now
    missing = count - len(known) - (current not in firsts)
    for _ in range(missing):
        moment = next_start(period, moment, at.zone)
    return moment


def next_start(period: Period, moment: datetime, zone: tzinfo) -> datetime:
    """Return when the next day, week, month or year begins."""
    here = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case Period.DAILY:
            return _shifted(here, 1)
        case Period.WEEKLY:
            return _shifted(here, 7 - here.weekday())
        case Period.MONTHLY:
            return _shifted(here.replace(day=1), 32).replace(day=1)
        case Period.YEARLY:
            return here.replace(year=here.year + 1, month=1, day=1)


def _shifted(here: datetime, days: int) -> datetime:
    # By the calendar: a day in which clocks are set may have 23 hours or 25.
    moved = here.date() + timedelta(days=days)
    return here.replace(year=moved.year, month=moved.month, day=moved.day)


def _is_part(backup: Backup, generation_id: str, segment: Segment) -> bool:
    if backup.generation.id != generation_id or backup.timeline != segment.timeline:
        return False
    return backup.first_segment.number <= segment.number <= backup.last_segment.number


def _followers(
    sound: Iterable[Backup],
) -> dict[tuple[str, int], tuple[tuple[int, datetime], ...]]:
    """Return, for each timeline, by first segment, which backups restore what comes behind it."""
    found: dict[tuple[str, int], list[tuple[int, datetime]]] = {}
    for backup in sound:
        key = (backup.generation.id, backup.timeline)
        found.setdefault(key, []).append((backup.first_segment.number, backup.stopped_at))
    return {key: tuple(sorted(pairs)) for key, pairs in found.items()}
