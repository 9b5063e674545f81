"""Thinning out censuses: what stays tells as much as an hour or a day allows, also later on."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.census import moment_of, new_census_id
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.retention.judging.branches import Branch
from pgkeep.retention.judging.censuses import HOURLY, plan_censuses
from pgkeep.retention.plan import BackupVerdict, ExpirePlan
from pgkeep.retention.policy import KeepPolicy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = timezone(timedelta(hours=3))
GENERATION = Generation(7710983248089545577, 18, 1 << 20)
MOMENTS = (st.integers(0, 60 * 24 * 8) | st.integers(0, 60 * 24 * 90)).map(
    lambda minutes: NOW - timedelta(minutes=minutes)
)
TAKEN = st.sets(MOMENTS, max_size=30).map(
    lambda moments: {new_census_id(moment): moment for moment in moments}
)


def backup(number: int, moment: datetime) -> Backup:
    id = BackupId(f"b{number}")
    lsns = (Lsn(number * 100), Lsn(number * 100 + 50))
    return Backup(id, BackupType.FULL, GENERATION, 1, *lsns, moment, moment)


@st.composite
def plans(draw: st.DrawFn) -> ExpirePlan:
    """Backups of which some go; WAL goes on from one of those that stay."""
    moments = sorted(draw(st.sets(MOMENTS, min_size=1, max_size=6)))
    backups = [backup(number, moment) for number, moment in enumerate(moments)]
    anchor = draw(st.integers(0, len(backups) - 1))
    kept = [n >= anchor or draw(st.booleans()) for n in range(len(backups))]
    branch = Branch(GENERATION, History(1), backups[anchor], tuple(backups[anchor + 1 :]))
    verdicts = [BackupVerdict(one, keep, ("why",)) for one, keep in zip(backups, kept, strict=True)]
    return ExpirePlan(KeepPolicy(), NOW, tuple(verdicts), (), (branch,))


def newest(taken: Mapping[str, datetime], until: datetime) -> datetime | None:
    return max((moment for moment in taken.values() if moment <= until), default=None)


@given(TAKEN, plans())
def test_names_are_known_as_before_but_for_an_hour_or_a_day(
    taken: dict[str, datetime], plan: ExpirePlan
) -> None:
    found = plan_censuses(taken, plan, ZONE)
    assert {*found.keep, *found.drop} == set(taken)
    assert set(found.keep).isdisjoint(found.drop)
    left = {id: taken[id] for id in found.keep}
    assert newest(left, NOW) == newest(taken, NOW)
    for one in plan.kept:
        assert newest(left, one.stopped_at) == newest(taken, one.stopped_at)
    start = min(one.stopped_at for one in plan.branches[0].backups)
    for moment in taken.values():
        if moment < start:
            continue
        stretch = timedelta(hours=1) if NOW - moment < HOURLY else timedelta(days=1)
        # Whatever happened at least a stretch later finds names that are hardly older.
        known = newest(left, moment + stretch)
        assert known is not None
        assert known >= moment - stretch


@given(TAKEN, plans(), st.integers(0, 60 * 24 * 10))
def test_to_expire_again_takes_nothing_that_one_expire_would_leave(
    taken: dict[str, datetime], plan: ExpirePlan, minutes: int
) -> None:
    first = plan_censuses(taken, plan, ZONE)
    left = {id: taken[id] for id in first.keep}
    assert plan_censuses(left, plan, ZONE).drop == {}
    later = replace(plan, now=NOW + timedelta(minutes=minutes))
    # Hours become days: it comes to the same whether anybody expired in between.
    assert set(plan_censuses(left, later, ZONE).keep) == set(plan_censuses(taken, later, ZONE).keep)


@given(MOMENTS)
def test_names_tell_the_moments_that_are_judged(moment: datetime) -> None:
    assert moment_of(new_census_id(moment)) == moment
