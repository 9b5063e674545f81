"""Retention against a slow, obvious model: every segment and every backup by itself."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch as Fork
from pgkeep.model.timeline import History
from pgkeep.retention.judging.branches import Branch, Known
from pgkeep.retention.judging.deletion import BackupPinned, LastBackup, plan_delete
from pgkeep.retention.judging.promise import broken_promises, remaining_segments
from pgkeep.retention.plan import ExpirePlan, Marks, plan_expire
from pgkeep.retention.policy import KeepPolicy, Period

SIZE = 1 << 20
LAST = 14  # segments
DAY = timedelta(days=1)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = timezone(timedelta(hours=3))


@dataclass(frozen=True)
class World:
    known: tuple[Known, ...]
    marks: Marks
    policy: KeepPolicy

    def plan(self) -> ExpirePlan:
        return plan_expire(self.known, self.marks, self.policy, NOW, ZONE)


def moments() -> st.SearchStrategy[datetime]:
    """Within 100 days, clustered so that days, weeks and months are shared; also in the future."""
    hours = st.integers(-24, 24 * 20) | st.integers(0, 24 * 100)
    return hours.map(lambda back: NOW - timedelta(hours=back))


@st.composite
def histories(draw: st.DrawFn) -> dict[int, History]:
    made = {1: History(1)}
    for number in range(2, draw(st.integers(1, 4)) + 1):
        parent = made[draw(st.sampled_from(sorted(made)))]
        begin = int(parent.ancestors[-1].switch) if parent.ancestors else 0
        switch = Lsn(draw(st.integers(begin, LAST * SIZE)))
        made[number] = History(number, (*parent.ancestors, Fork(parent.timeline, switch)))
    return made


@st.composite
def generations(draw: st.DrawFn, number: int) -> Known:
    generation = Generation(system_identifier=number, major=14 + number, segment_size=SIZE)
    histories_ = draw(histories())
    segments: dict[int, list[int]] = {}
    for timeline in histories_:
        missing = draw(st.sets(st.integers(0, LAST), max_size=4))
        first, last = sorted((draw(st.integers(0, LAST)), draw(st.integers(0, LAST + 3))))
        segments[timeline] = [n for n in range(first, last) if n not in missing]
    backups = []
    for index in range(draw(st.integers(0, 7))):
        start = draw(st.integers(0, LAST * SIZE) | st.integers(0, LAST).map(lambda n: n * SIZE))
        length = draw(st.integers(1, 2 * SIZE) | st.just(SIZE))
        moment = draw(moments())
        backups.append(
            Backup(
                id=BackupId(f"g{number}b{index}"),
                type=BackupType.FULL,
                generation=generation,
                timeline=draw(st.sampled_from(sorted(histories_))),
                start_lsn=Lsn(start),
                stop_lsn=Lsn(start + length),
                started_at=moment,
                stopped_at=moment,
                corrupt_pages=draw(st.sampled_from([0, 0, 0, 1])),
            )
        )
    if draw(st.booleans()):  # time goes with WAL, as it should
        stops = sorted(backup.stopped_at for backup in backups)
        backups.sort(key=lambda backup: backup.stop_lsn)
        backups = [replace(b, stopped_at=at) for b, at in zip(backups, stops, strict=True)]
    unknown = draw(st.sets(st.sampled_from(sorted(histories_)), max_size=1)) - {1}
    return Known(
        generation,
        tuple(backups),
        segments,
        {t: h for t, h in histories_.items() if t not in unknown},
        {t: draw(moments()) for t in histories_ if draw(st.booleans()) or segments[t]},
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    known = tuple(draw(generations(number)) for number in range(1, draw(st.integers(1, 2)) + 1))
    ids = [str(backup.id) for k in known for backup in k.backups]
    some = st.sets(st.sampled_from(ids), max_size=2) if ids else st.just(set[str]())
    policy = KeepPolicy(
        window=timedelta(hours=draw(st.sampled_from([0, 0, 24, 60, 24 * 14]))),
        daily=draw(st.integers(0, 3)),
        weekly=draw(st.integers(0, 2)),
        monthly=draw(st.integers(0, 2)),
        yearly=draw(st.integers(0, 1)),
        minimum=draw(st.integers(1, 3)),
    )
    pinned, damaged = (dict.fromkeys(draw(some), "why") for _ in range(2))
    return World(known, Marks(pinned, damaged), policy)


# The model


def serving(history: History, number: int) -> int:
    """Return the timeline whose file recovery asks for: the newest that begins by then."""
    parent = history.parent
    if parent is None or number >= int(parent.switch) // SIZE:
        return history.timeline
    return serving(History(parent.timeline, history.ancestors[:-1]), number)


def history_of(known: Known, timeline: int) -> History:
    return known.histories.get(timeline, History(timeline))


def reach(known: Known, backup: Backup, timeline: int) -> int | None:
    """Walk from a backup along a timeline; return where its WAL ends, or None."""
    history = history_of(known, timeline)
    if not history.includes(backup.timeline, backup.stop_lsn):
        return None
    number = int(backup.start_lsn) // SIZE
    while number in known.segments.get(serving(history, number), ()):
        number += 1
    return number * SIZE if number * SIZE >= backup.stop_lsn > backup.start_lsn else None


def restorable(known: Known, backups: list[Backup], timeline: int, end: int) -> bool:
    reaches = ((backup, reach(known, backup, timeline)) for backup in backups)
    return any(to is not None and backup.stop_lsn <= end <= to for backup, to in reaches)


def timelines(known: Known) -> set[int]:
    return {*known.segments, *known.histories, *(b.timeline for b in known.backups)}


def is_usable(known: Known, backup: Backup) -> bool:
    return any(reach(known, backup, t) is not None for t in timelines(known))


def sound(world: World) -> list[Backup]:
    found = [b for k in world.known for b in k.backups if is_usable(k, b)]
    return sorted(
        (b for b in found if b.id not in world.marks.damaged), key=lambda b: (b.stopped_at, b.id)
    )


def label(period: Period, moment: datetime) -> tuple[int, ...]:
    here = moment.astimezone(ZONE)
    return {
        Period.DAILY: (here.year, here.month, here.day),
        Period.WEEKLY: tuple(here.isocalendar()[:2]),
        Period.MONTHLY: (here.year, here.month),
        Period.YEARLY: (here.year,),
    }[period]


def must_stay(world: World) -> set[str]:
    """Return the backups that a policy keeps whatever happens on which branch."""
    good = sound(world)
    stay: set[str] = {
        b.id for k in world.known for b in k.backups if b.stopped_at > NOW - world.policy.window
    }
    stay |= set(world.marks.pinned)
    stay |= {b.id for b in good[-world.policy.minimum :]}
    stay |= {b.id for b in [b for b in good if not b.corrupt_pages][-world.policy.minimum :]}
    for period in Period:
        seen: list[tuple[int, ...]] = []
        for backup in reversed(good):
            if backup.stopped_at > NOW - world.policy.window:
                continue
            name = label(period, backup.stopped_at)
            if name not in seen and len(seen) < world.policy.count(period):
                stay.add(backup.id)
                seen.append(name)
    return stay


def used(world: World, known: Known) -> set[int]:
    """Return timelines on which somebody surely wrote in the window."""
    since = NOW - world.policy.window
    seen = {t for t, at in known.archived_at.items() if at >= since}
    return seen | {b.timeline for b in known.backups if b.stopped_at > since}


def after(world: World, plan: ExpirePlan) -> World:
    """Carry a plan out."""
    kept = {backup.id for backup in plan.kept}
    known = tuple(
        replace(
            k,
            backups=tuple(b for b in k.backups if b.id in kept),
            segments=remaining_segments(k, plan.wal),
        )
        for k in world.known
    )
    return replace(world, known=known)


@settings(max_examples=50)
@given(worlds())
def test_every_promise_is_kept(world: World) -> None:
    plan = world.plan()
    kept = {backup.id for backup in plan.kept}
    assert must_stay(world) <= kept
    left = after(world, plan)
    start = NOW - world.policy.window
    for known, remaining in zip(world.known, left.known, strict=True):
        for timeline in used(world, known):
            along = [b for b in known.backups if reach(known, b, timeline) is not None]
            good = [b for b in along if b.id not in world.marks.damaged]
            older = [b for b in good if b.stopped_at <= start]
            # Everything behind the newest backup before the window.
            floor = max(older, key=lambda b: (b.stopped_at, -b.stop_lsn)).stop_lsn if older else 0
            for end in range(floor, (LAST + 4) * SIZE, SIZE // 4):
                if restorable(known, good, timeline, end):
                    still = [b for b in good if b.id in kept]
                    assert restorable(remaining, still, timeline, end), (timeline, end)


@settings(max_examples=50)
@given(worlds())
def test_kept_backups_keep_what_makes_them_consistent(world: World) -> None:
    left = after(world, world.plan())
    for known, remaining in zip(world.known, left.known, strict=True):
        for backup in remaining.backups:
            if is_usable(known, backup):
                assert is_usable(remaining, backup), backup.id
                own = range(backup.first_segment.number, backup.last_segment.number + 1)
                if set(own) <= set(known.segments.get(backup.timeline, ())):
                    assert set(own) <= set(remaining.segments.get(backup.timeline, ()))


@settings(max_examples=50)
@given(worlds())
def test_a_second_run_drops_nothing_and_the_plan_agrees_with_itself(world: World) -> None:
    plan = world.plan()
    assert list(broken_promises(world.known, world.marks, plan)) == []
    left = after(world, plan)
    again = left.plan()
    assert [b.id for b in again.dropped] == []
    assert [v for v in again.wal if not v.keep] == []


@settings(max_examples=50)
@given(worlds())
def test_nothing_stays_without_a_use(world: World) -> None:
    """A backup that no rule names begins a branch; a segment is of a branch or of a backup."""
    plan = world.plan()
    if plan.keeps_all:
        assert plan.drops_nothing
        assert not world.policy.asks or not sound(world)
        return
    begins = {b.id for branch in plan.branches for b in branch.backups}
    for verdict in plan.backups:
        assert verdict.keep == (verdict.backup.id in must_stay(world) | begins)
        assert verdict.why
    kept = {backup.id for backup in plan.kept}
    for known in world.known:
        mine = [b for b in plan.branches if b.generation == known.generation]
        for verdict_ in (v for v in plan.wal if v.generation == known.generation):
            for number in range(verdict_.first, verdict_.last + 1):
                island = any(
                    b.timeline == verdict_.timeline
                    and b.first_segment.number <= number <= b.last_segment.number
                    for b in known.backups
                    if b.id in kept
                )
                # A backup that only a child's copy of its last segment makes consistent.
                island = island or any(
                    reach(known, b, b.timeline) is None and number <= b.last_segment.number
                    for b in known.backups
                    if b.id in kept and number >= b.first_segment.number and is_usable(known, b)
                )
                wanted = any(reads(b, verdict_.timeline, number) for b in mine)
                assert (island or wanted) if verdict_.keep else not wanted, (verdict_, number)


def reads(branch: Branch, timeline: int, number: int) -> bool:
    """Tell whether recovery along a branch may ask for a file, that of the switch included."""
    history, switch = branch.history, branch.history.switch_of(timeline)
    if number < branch.first:
        return False
    if serving(history, number) == timeline:
        return True
    is_switch = switch is not None and number * SIZE < switch <= (number + 1) * SIZE
    return is_switch and number >= begin_of(history, timeline)


def begin_of(history: History, timeline: int) -> int:
    former = Lsn(0)
    for branch in history.ancestors:
        if branch.timeline == timeline:
            return int(former) // SIZE
        former = branch.switch
    return int(former) // SIZE


@settings(max_examples=50)
@given(worlds())
def test_every_segment_has_one_verdict(world: World) -> None:
    plan = world.plan()
    for known in world.known:
        mine = [v for v in plan.wal if v.generation == known.generation]
        for timeline, numbers in known.segments.items():
            ranges = [v for v in mine if v.timeline == timeline]
            judged = [n for v in ranges for n in range(v.first, v.last + 1)]
            assert judged == list(numbers)


@settings(max_examples=50)
@given(worlds(), st.data())
def test_deleting_a_backup_loses_what_its_preview_says_and_nothing_else(
    world: World, data: st.DataObject
) -> None:
    backups = [backup for known in world.known for backup in known.backups]
    assume(backups)
    backup = data.draw(st.sampled_from(backups))
    try:
        plan = plan_delete(world.known, world.marks, backup)
    except (BackupPinned, LastBackup):
        return
    known = next(k for k in world.known if k.generation == backup.generation)
    gone = {(v.timeline, n) for v in plan.wal for n in range(v.first, v.last + 1)}
    left = replace(
        known,
        backups=tuple(b for b in known.backups if b is not backup),
        segments={t: [n for n in ns if (t, n) not in gone] for t, ns in known.segments.items()},
    )
    for timeline in timelines(known):
        lost = [(x.start, x.end) for x in plan.lost if x.timeline.timeline == timeline]
        for end in range(0, (LAST + 4) * SIZE, SIZE // 4):
            was = restorable(known, list(known.backups), timeline, end)
            still = restorable(left, list(left.backups), timeline, end)
            assert was or not still
            if was and not still:
                assert any(first <= end <= last for first, last in lost), (timeline, end)
            if any(first < end < last for first, last in lost):
                assert was
                assert not still
