"""Locks against a slow, obvious model: what happens when backups are made as fast as can be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.retention.judging.branches import Known
from pgkeep.retention.judging.dumps import DumpPlan
from pgkeep.retention.locking.plan import (
    LockRules,
    Moment,
    held_until,
    let_go,
    next_start,
    plan_locks,
)
from pgkeep.retention.plan import Marks, plan_expire
from pgkeep.retention.policy import KeepPolicy, Period, age, chosen

SIZE = 1 << 20
DAY = timedelta(days=1)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = timezone(timedelta(hours=3))
GENERATION = Generation(system_identifier=7, major=18, segment_size=SIZE)
RULES = LockRules(ahead=timedelta(0), maximum=1000 * DAY)


@dataclass(frozen=True)
class Made:
    """All that policies look at."""

    id: str
    stopped_at: datetime


def policies() -> st.SearchStrategy[KeepPolicy]:
    return st.builds(
        KeepPolicy,
        window=st.sampled_from([0, 24, 60, 24 * 14]).map(lambda h: timedelta(hours=h)),
        daily=st.integers(0, 3),
        weekly=st.integers(0, 2),
        monthly=st.integers(0, 2),
        yearly=st.integers(0, 1),
        minimum=st.integers(1, 3),
    )


def kept(one: Made, everything: Sequence[Made], policy: KeepPolicy, at: datetime) -> bool:
    """Tell whether the policy keeps one at a moment, by its rules word for word."""
    there = sorted((other for other in everything if other.stopped_at <= at), key=age)
    start = at - policy.window
    candidates = [other for other in there if other.stopped_at <= start]
    return (
        one.stopped_at > start
        or candidates[-1:] == [one]  # the window's first moments are restored from it
        or one.id in chosen(candidates, policy, ZONE)
        or one in there[-policy.minimum :]
    )


def let_go_at(one: Made, others: Sequence[Made], policy: KeepPolicy, until: datetime) -> datetime:
    """Return when the policy drops one, if from now on backups are made as fast as matters."""
    fast = [Made(f"n{number}", NOW) for number in range(policy.minimum)]
    moment = NOW
    while moment < until:
        moment = next_start(Period.DAILY, moment, ZONE)
        fast.append(Made(f"f{moment}", moment))
    everything = [one, *others, *fast]
    moments = sorted({NOW, *(other.stopped_at + policy.window for other in everything)})
    return next(
        moment for moment in moments if moment >= NOW and not kept(one, everything, policy, moment)
    )


@settings(deadline=None, max_examples=60)
@given(policies(), st.lists(st.integers(1, 24 * 90), min_size=1, max_size=8, unique=True))
def test_nothing_is_locked_longer_or_shorter_than_the_policy_may_need_it(
    policy: KeepPolicy, hours: list[int]
) -> None:
    made = [Made(f"b{back:05}", NOW - timedelta(hours=back)) for back in hours]
    for one in made:
        others = [other for other in made if other is not one]
        if not kept(one, made, policy, NOW):
            continue
        found = let_go(one, others, Moment(policy, RULES, NOW, ZONE))
        expected = let_go_at(one, others, policy, max(found, NOW) + DAY)
        assert max(found, NOW) == expected, (one, policy)


@given(
    policies(),
    st.lists(st.integers(0, 24 * 900), min_size=1, max_size=6, unique=True),
    st.integers(0, 40),
    st.integers(0, 400),
)
def test_locks_last_at_least_so_long_and_never_longer_than_the_maximum(
    policy: KeepPolicy, hours: list[int], ahead: int, more: int
) -> None:
    rules = LockRules(ahead * DAY, (ahead + more) * DAY)
    made = [backup(number, NOW - timedelta(hours=back)) for number, back in enumerate(hours)]
    at = Moment(policy, rules, NOW, ZONE)
    for one in made:
        until = held_until(one, made, at)
        assert NOW + rules.ahead <= until <= NOW + rules.maximum


@settings(deadline=None, max_examples=40)
@given(policies(), st.lists(st.integers(1, 50), min_size=2, max_size=14), st.data())
def test_what_is_kept_is_locked_from_one_look_to_the_next(
    policy: KeepPolicy, gaps: list[int], data: st.DataObject
) -> None:
    """Backups and looks go on for weeks; whatever retention keeps at any moment is locked then."""
    assume(policy.asks)
    rules = LockRules(max(gaps) * timedelta(hours=1), 30 * DAY)
    backups: list[Backup] = []
    locked: dict[str, datetime] = {}
    segments: dict[int, datetime] = {}
    now = NOW
    for number, gap in enumerate(gaps):
        look = now + data.draw(st.integers(0, gap)) * timedelta(hours=1)
        for moment in (look, now + gap * timedelta(hours=1)):
            known = Known(GENERATION, tuple(backups), {1: list(range(number * 3))}, {}, {1: now})
            plan = plan_expire([known], Marks(), policy, moment, ZONE)
            for one in plan.kept:
                assert locked[one.id] >= moment
            for verdict in plan.wal:
                for place in range(verdict.first, verdict.last + 1):
                    assert not verdict.keep or segments[place] >= moment
        now += gap * timedelta(hours=1)
        backups.append(backup(number, now))
        known = Known(GENERATION, tuple(backups), {1: list(range(number * 3 + 3))}, {}, {1: now})
        plan = plan_expire([known], Marks(), policy, now, ZONE)
        found = plan_locks(plan, DumpPlan(), Moment(policy, rules, now, ZONE))
        assert set(found.whole) == {one.id for one in plan.kept}
        for id, until in found.whole.items():
            locked[id] = max(until, locked.get(id, until))
        for verdict in plan.wal:
            for place in range(verdict.first, verdict.last + 1):
                if verdict.keep:
                    until = found.of_wal(GENERATION.id, Segment(1, place, SIZE))
                    segments[place] = max(until, segments.get(place, until))


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - with its zone next
    st.sampled_from(list(Period)),
)
def test_a_period_begins_where_its_name_changes(moment: datetime, period: Period) -> None:
    here = moment.replace(tzinfo=ZONE)
    begins = next_start(period, here, ZONE)
    assert begins > here
    before = begins - timedelta(seconds=1)
    assert period.name_of(before, ZONE) == period.name_of(here, ZONE)
    assert period.name_of(begins, ZONE) != period.name_of(here, ZONE)


def backup(number: int, at: datetime) -> Backup:
    start = Lsn(number * 3 * SIZE + 40)
    return Backup(
        id=BackupId(f"b{number:05}"),
        type=BackupType.FULL,
        generation=GENERATION,
        timeline=1,
        start_lsn=start,
        stop_lsn=Lsn(int(start) + 400),
        started_at=at,
        stopped_at=at,
    )
