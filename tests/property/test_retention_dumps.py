"""Retention of dumps against a slow, obvious model: every dump by itself, every rule by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgkeep.model.dump import EVERYTHING, Dump, DumpId, Origin, Selection
from pgkeep.retention.judging.deletion import BackupPinned
from pgkeep.retention.judging.dump_deletion import LastDump, plan_delete_dump
from pgkeep.retention.judging.dumps import DumpPlan, DumpVerdict, plan_dumps
from pgkeep.retention.judging.promise import broken_dumps
from pgkeep.retention.plan import Marks
from pgkeep.retention.policy import KeepPolicy, Period

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = timezone(timedelta(hours=3))


@dataclass(frozen=True)
class World:
    dumps: tuple[Dump, ...]
    marks: Marks
    policy: KeepPolicy

    def plan(self) -> DumpPlan:
        return plan_dumps(self.dumps, self.marks, self.policy, NOW, ZONE)


def moments() -> st.SearchStrategy[datetime]:
    """Within 100 days, clustered so that days, weeks and months are shared; also in the future."""
    hours = st.integers(-24, 24 * 20) | st.integers(0, 24 * 100)
    return hours.map(lambda back: NOW - timedelta(hours=back))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    made = []
    for number in range(draw(st.integers(0, 12))):
        moment = draw(moments())
        made.append(
            Dump(
                id=DumpId(f"D{number}"),
                origin=draw(st.sampled_from([Origin.SERVER] * 6 + [Origin.FILE])),
                started_at=moment,
                taken_at=moment,
                databases=draw(st.sampled_from([("shop",), ("blog",), ("shop", "blog")])),
                all_databases=draw(st.integers(0, 5)) == 0,
                selection=draw(st.sampled_from([EVERYTHING] * 4 + [Selection(data_only=True)])),
                suspicions=draw(st.sampled_from([(), (), (), ("hollow",)])),
            )
        )
    ids = [str(dump.id) for dump in made]
    some = st.sets(st.sampled_from(ids), max_size=3) if ids else st.just(set[str]())
    policy = KeepPolicy(
        window=timedelta(hours=draw(st.sampled_from([0, 0, 24, 60, 24 * 14]))),
        daily=draw(st.integers(0, 3)),
        weekly=draw(st.integers(0, 2)),
        monthly=draw(st.integers(0, 2)),
        yearly=draw(st.integers(0, 1)),
        minimum=draw(st.integers(1, 3)),
    )
    pinned, damaged = (dict.fromkeys(draw(some), "why") for _ in range(2))
    return World(tuple(made), Marks(pinned, damaged), policy)


# The model


def label(period: Period, moment: datetime) -> tuple[int, ...]:
    here = moment.astimezone(ZONE)
    return {
        Period.DAILY: (here.year, here.month, here.day),
        Period.WEEKLY: tuple(here.isocalendar()[:2]),
        Period.MONTHLY: (here.year, here.month),
        Period.YEARLY: (here.year,),
    }[period]


def alike(a: Dump, b: Dump) -> bool:
    """Tell whether one replaces the other."""
    same = a.all_databases or set(a.databases) == set(b.databases)
    kind = (a.origin, a.all_databases, a.selection) == (b.origin, b.all_databases, b.selection)
    return same and kind


def newer(a: Dump, b: Dump) -> bool:
    return (a.stopped_at, a.id) > (b.stopped_at, b.id)


def by_rules(dump: Dump, candidates: Sequence[Dump], policy: KeepPolicy) -> bool:
    """Tell whether a rule chooses a dump out of `candidates`, all of one series."""
    above = [other for other in candidates if newer(other, dump)]
    if len(above) < policy.minimum:
        return True
    start = NOW - policy.window
    older = [other for other in above if other.stopped_at <= start]
    for period in Period:
        names = {label(period, other.stopped_at) for other in older}
        mine = label(period, dump.stopped_at)
        if mine not in names and len(names) < policy.count(period):
            return True
    return False


def stays(world: World, dump: Dump) -> bool:
    series = [other for other in world.dumps if alike(dump, other)]
    whole = [other for other in series if other.id not in world.marks.damaged]
    clean = [other for other in whole if not other.suspicions]
    return (
        not world.policy.asks
        or dump.origin is Origin.FILE
        or dump.id in world.marks.pinned
        or dump.stopped_at > NOW - world.policy.window
        or not whole
        or (dump in whole and by_rules(dump, whole, world.policy))
        or (dump in clean and by_rules(dump, clean, world.policy))
    )


@settings(max_examples=300)
@given(worlds())
def test_exactly_those_dumps_stay_that_a_rule_keeps(world: World) -> None:
    plan = world.plan()
    assert {str(dump.id): stays(world, dump) for dump in world.dumps} == {
        str(verdict.dump.id): verdict.keep for verdict in plan.dumps
    }
    assert all(verdict.why for verdict in plan.dumps)
    assert list(broken_dumps(plan, world.marks, world.policy, NOW)) == []


@settings(max_examples=100)
@given(worlds())
def test_a_second_run_drops_nothing(world: World) -> None:
    left = replace(world, dumps=tuple(world.plan().kept))
    assert left.plan().dropped == []


@settings(max_examples=100)
@given(worlds())
def test_each_series_keeps_its_newest_good_dump_and_its_minimum(world: World) -> None:
    kept = {str(dump.id) for dump in world.plan().kept}
    for dump in world.dumps:
        series = [other for other in world.dumps if alike(dump, other)]
        whole = sorted(
            (other for other in series if other.id not in world.marks.damaged),
            key=lambda other: (other.stopped_at, other.id),
        )
        clean = [other for other in whole if not other.suspicions]
        must = {str(d.id) for d in (*whole[-world.policy.minimum :], *clean[-1:])}
        assert must <= kept
        assert kept & {str(other.id) for other in series}  # no series is ever lost


@settings(max_examples=100)
@given(worlds(), st.data())
def test_a_plan_that_breaks_its_promise_is_noticed(world: World, data: st.DataObject) -> None:
    """Let go one dump more than the rules do: of those that keep a series restorable."""
    plan = world.plan()
    assume(world.policy.asks)
    last = [
        place
        for place, verdict in enumerate(plan.dumps)
        if verdict.keep
        and verdict.usable
        and not verdict.dump.suspicions
        and not any(
            newer(other, verdict.dump)
            for other in plan.kept
            if alike(other, verdict.dump)
            and other.id not in world.marks.damaged
            and not other.suspicions
        )
    ]
    assume(last)
    place = data.draw(st.sampled_from(last))
    verdicts = list(plan.dumps)
    verdicts[place] = DumpVerdict(verdicts[place].dump, keep=False, why=("a bug",))
    broken = list(broken_dumps(DumpPlan(tuple(verdicts)), world.marks, world.policy, NOW))
    assert any(line.startswith(f"dump {verdicts[place].dump.id} would go") for line in broken)


@settings(max_examples=100)
@given(worlds(), st.data())
def test_deleting_a_dump_never_takes_the_last_good_one_of_its_series(
    world: World, data: st.DataObject
) -> None:
    assume(world.dumps)
    dump = data.draw(st.sampled_from(world.dumps))
    others = [
        other
        for other in world.dumps
        if other is not dump and alike(other, dump) and other.id not in world.marks.damaged
    ]
    counts = dump.id not in world.marks.damaged and dump.origin is Origin.SERVER
    last = counts and not any(dump.suspicions or not other.suspicions for other in others)
    try:
        plan = plan_delete_dump(world.dumps, world.marks, dump)
    except BackupPinned:
        assert dump.id in world.marks.pinned
    except LastDump:
        assert last
        assert plan_delete_dump(world.dumps, world.marks, dump, last_too=True).dump is dump
    else:
        assert not last
        assert {other.id for other in plan.left} == {other.id for other in others}
        for name in plan.lost:
            assert not any(
                other.selection.whole and name in other.databases and other is not dump
                for other in world.dumps
                if other.id not in world.marks.damaged
            )
