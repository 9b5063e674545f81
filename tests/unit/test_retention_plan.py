"""What expire decides, in small catalogs: numbers behind names are days before now."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from pgkeep.model.cluster import Generation
from pgkeep.retention.expire import Wish, preview
from pgkeep.retention.plan import ExpirePlan
from pgkeep.retention.policy import KeepPolicy, Period
from pgkeep.retention.report import Decision
from support.shelves import GENERATION, NOW, SIZE, Shelf


def policy(window_days: float = 0, minimum: int = 1, **counts: int) -> KeepPolicy:
    return KeepPolicy(timedelta(days=window_days), minimum=minimum, **counts)


def decide(shelf: Shelf, wanted: KeepPolicy, zone: tzinfo = UTC) -> Decision:
    return preview(shelf.cluster, Wish(wanted, zone, NOW))


def kept(plan: ExpirePlan) -> str:
    return " ".join(backup.id for backup in plan.kept)


def wal(plan: ExpirePlan) -> str:
    """Return '1:0-3 drop, 1:4-9 keep'."""
    return ", ".join(
        f"{v.timeline}:{v.first}-{v.last} {'keep' if v.keep else 'drop'}" for v in plan.wal
    )


def why(plan: ExpirePlan, name: str) -> str:
    return "; ".join(next(v.why for v in plan.backups if v.backup.id == name))


def daily(days: int = 30) -> Shelf:
    """A backup every day at noon, the first `days` ago; three segments a day, all archived."""
    shelf = Shelf()
    shelf.wal(0, 3 * days + 1, days=0)
    for day in range(days, -1, -1):
        shelf.backup(f"d{day:02}", day, 3 * (days - day) + 0.25, packs=f"{day % 10}")
    return shelf


def names(*days: int) -> str:
    return " ".join(f"d{day:02}" for day in sorted(days, reverse=True))


@pytest.mark.parametrize(
    ("wanted", "days"),
    [
        pytest.param(policy(3), [0, 1, 2, 3], id="window: the anchor is just at its beginning"),
        pytest.param(policy(2.5), [0, 1, 2, 3], id="window: the anchor lies before it"),
        pytest.param(policy(3, minimum=6), [0, 1, 2, 3, 4, 5], id="minimum"),
        pytest.param(policy(daily=3), [0, 1, 2], id="daily"),
        pytest.param(policy(weekly=3), [0, 7, 14], id="weekly: Sundays, for NOW is one"),
        pytest.param(policy(monthly=2), [0, 1], id="monthly: 1 March and 28 February"),
        pytest.param(policy(monthly=12), [0, 1, 29], id="monthly: 31 January too, and no more"),
        pytest.param(policy(yearly=5), [0], id="yearly"),
        pytest.param(policy(2.5, daily=2), [0, 1, 2, 3, 4], id="window and daily before it"),
        pytest.param(
            policy(1, daily=2, weekly=2, monthly=2), [0, 1, 2, 7, 29], id="everything at once"
        ),
    ],
)
def test_scenario_105_each_rule_alone_and_combined(wanted: KeepPolicy, days: list[int]) -> None:
    assert kept(decide(daily(), wanted).plan) == names(*days)


def test_scenario_105_counts_are_per_cluster() -> None:
    shelf = daily(3)
    other = Shelf(name="other", clock=shelf.clock)
    other.store = shelf.store
    other.cluster.add_generation(GENERATION)
    other.wal(0, 2, 10)
    other.backup("o", 10, 0, packs="o")
    assert kept(decide(shelf, policy(daily=2)).plan) == names(0, 1)
    assert kept(decide(other, policy(daily=2)).plan) == "o"


def test_without_a_policy_everything_stays() -> None:
    found = decide(daily(5), KeepPolicy())
    assert found.plan.drops_nothing
    assert {v.why for v in found.plan.backups} == {("no retention is configured",)}


def test_days_begin_in_the_configured_zone() -> None:
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("a", 2.5, 1)  # 27 February, 00:00 UTC: still the 26th in New York
    shelf.backup("b", 1.55, 3)  # 27 February, 22:48 UTC
    shelf.backup("c", 0.5, 5)
    assert kept(decide(shelf, policy(daily=3)).plan) == "b c"
    assert kept(decide(shelf, policy(daily=3), ZoneInfo("America/New_York")).plan) == "a b c"


@pytest.mark.parametrize(
    ("period", "moment", "expected"),
    [
        (Period.DAILY, datetime(2026, 3, 1, 23, 30, tzinfo=UTC), "2026-03-02"),
        (Period.WEEKLY, datetime(2027, 1, 3, 12, tzinfo=UTC), "2026-W53"),
        (Period.WEEKLY, datetime(2024, 12, 30, 12, tzinfo=UTC), "2025-W01"),
        (Period.MONTHLY, datetime(2026, 2, 28, 23, tzinfo=UTC), "2026-03"),
        (Period.YEARLY, datetime(2026, 12, 31, 23, tzinfo=UTC), "2027"),
    ],
)
def test_periods_have_names(period: Period, moment: datetime, expected: str) -> None:
    assert period.name_of(moment, timezone(timedelta(hours=1))) == expected


def test_every_backup_has_its_reasons() -> None:
    shelf = daily(5)
    shelf.backup("odd", 4.5, 90, 91)  # its WAL is not there
    plan = decide(shelf, policy(1.5, minimum=2, daily=1)).plan
    assert why(plan, "d00") == "in the window; the newest"
    assert why(plan, "d01") == "in the window; one of the newest 2"
    assert why(plan, "d02") == "timeline 1 is restorable from it on; daily 2026-02-27"
    assert why(plan, "d03") == "older than the window"
    assert why(plan, "odd") == (
        "not restorable: WAL segment 00000001000000000000005A is missing; older than the window"
    )
    assert [v.why for v in plan.wal] == [
        "no kept backup needs it",
        "timeline 1 goes on from backup d02",
    ]


# WAL


def test_scenario_111_wal_stays_from_the_anchors_first_segment_on() -> None:
    shelf = Shelf()
    shelf.wal(0, 20, 0)
    shelf.backup("old", 9, 1.5, 2.5)
    shelf.backup("anchor", 5, 6.5, 7.5)
    shelf.backup("new", 1, 12, 12.5)
    assert wal(decide(shelf, policy(3)).plan) == "1:0-5 drop, 1:6-20 keep"


@pytest.mark.parametrize(
    ("start", "stop", "islands"),
    [
        pytest.param(4.00001, 4.5, "1:4-4", id="in the first bytes of a segment"),
        pytest.param(4.99999, 5.5, "1:4-5", id="in the last bytes"),
        pytest.param(4, 4.5, "1:4-4", id="exactly on a border"),
        pytest.param(4, 5, "1:4-4", id="a stop on a border needs not the next one"),
        pytest.param(4.5, 6.00001, "1:4-6", id="a stop just behind a border does"),
    ],
)
def test_scenario_111_islands_keep_exactly_what_makes_them_consistent(
    start: float, stop: float, islands: str
) -> None:
    shelf = Shelf()
    shelf.wal(0, 20, 0)
    shelf.backup("island", 40, start, stop)
    shelf.backup("new", 1, 12, 12.5)
    found = decide(shelf, policy(0, yearly=1, monthly=2)).plan
    first, last = (int(n) for n in islands.removeprefix("1:").split("-"))
    assert wal(found) == (
        f"1:0-{first - 1} drop, {islands} keep, 1:{last + 1}-11 drop, 1:12-20 keep"
    )


def test_scenario_111_what_belongs_to_a_dropped_segment_goes_with_it() -> None:
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("old", 9, 1.5)
    shelf.backup("new", 1, 5.5)
    shelf.wal_file("000000010000000000000001.00080000.backup", 9)
    shelf.wal_file("000000010000000000000005.00080000.backup", 1)
    gone = [file.object.rpartition("/")[2] for file in decide(shelf, policy(daily=1)).wal_files]
    assert gone == [
        "000000010000000000000000",
        "000000010000000000000001",
        "000000010000000000000001.00080000.backup",
        *(f"00000001000000000000000{n}" for n in (2, 3, 4)),
    ]


def test_wal_before_the_first_backup_serves_nobody() -> None:
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("a", 1, 4.5)
    assert wal(decide(shelf, policy(7)).plan) == "1:0-3 drop, 1:4-9 keep"


def test_a_cluster_without_a_backup_keeps_its_wal() -> None:
    shelf = Shelf()
    shelf.wal(0, 9, 100)
    found = decide(shelf, policy(7))
    assert wal(found.plan) == "1:0-9 keep"
    assert found.plan.keeps_all == "no backup can be restored: nothing goes until one can"


def test_what_can_be_restored_when_nobody_backed_up_for_long() -> None:
    shelf = Shelf()
    shelf.wal(0, 9, 50)
    shelf.backup("a", 60, 2)
    shelf.backup("b", 55, 5)
    assert wal(decide(shelf, policy(7)).plan) == "1:0-4 drop, 1:5-9 keep"


def test_a_clock_that_was_set_back_costs_nothing() -> None:
    """By its time 'late' is older than 'anchor'; by its place in WAL it is newer."""
    shelf = Shelf()
    shelf.wal(0, 3, 9)
    shelf.wal(5, 9, 0)  # 4 is missing: only 'late' reaches what follows
    shelf.backup("anchor", 5, 2)
    shelf.backup("late", 6, 6)
    shelf.backup("new", 1, 8)
    plan = decide(shelf, policy(3)).plan
    assert kept(plan) == "late anchor new"
    assert why(plan, "late") == "in the window by its place in WAL, not by the clock"
    assert wal(plan) == "1:0-1 drop, 1:2-3 keep, 1:5-9 keep"


def test_a_clock_a_day_back_keeps_more() -> None:
    shelf = daily(5)
    early = Wish(policy(2), UTC, NOW - timedelta(days=1))
    assert kept(preview(shelf.cluster, early).plan) == names(0, 1, 2, 3)


# Timelines and generations


def forest() -> Shelf:
    """Scenario 110: 1 is left at 6.5 for 2 and at 3.5 for 3; 2 at 9.5 for 4, and at 11.5 for 5.

    Backups on 1 (a, b), 2 (c) and 4 (d). 3 ended long ago, and so did what followed on 1.
    """
    shelf = Shelf()
    shelf.wal(0, 8, 40)
    shelf.wal(3, 5, 45, timeline=3)
    shelf.wal(6, 12, 20, timeline=2)
    shelf.wal(9, 16, 0, timeline=4)
    shelf.wal(11, 13, 1, timeline=5)
    shelf.history(2, 39, (1, 6.5))
    shelf.history(3, 46, (1, 3.5))
    shelf.history(4, 19, (1, 6.5), (2, 9.5))
    shelf.history(5, 1, (1, 6.5), (2, 11.5))
    shelf.backup("a", 50, 1)
    shelf.backup("b", 44, 4)
    shelf.backup("c", 30, 7, timeline=2)
    shelf.backup("d", 5, 12, timeline=4)
    return shelf


@pytest.mark.parametrize(
    ("wanted", "backups", "segments"),
    [
        pytest.param(
            policy(2),
            "c d",
            # 5 is in use and has no backup of its own: c restores it. 4 goes on from d.
            "1:0-8 drop, 2:6-6 drop, 2:7-11 keep, 2:12-12 drop, 3:3-5 drop, "
            "4:9-11 drop, 4:12-16 keep, 5:11-13 keep",
            id="two days",
        ),
        pytest.param(
            policy(25),
            "c d",
            # 2 was written in the window, so all of it stays: its own end, and 4 from 9 on.
            "1:0-8 drop, 2:6-6 drop, 2:7-12 keep, 3:3-5 drop, 4:9-16 keep, 5:11-13 keep",
            id="25 days",
        ),
        pytest.param(
            policy(1000),
            "a b c d",
            "1:0-0 drop, 1:1-8 keep, 2:6-12 keep, 3:3-5 keep, 4:9-16 keep, 5:11-13 keep",
            id="for ever",
        ),
        pytest.param(
            policy(2, weekly=3),
            "b c d",
            "1:0-3 drop, 1:4-4 keep, 1:5-8 drop, 2:6-6 drop, 2:7-11 keep, 2:12-12 drop, "
            "3:3-5 drop, 4:9-11 drop, 4:12-16 keep, 5:11-13 keep",
            id="an island on a branch that is over",
        ),
    ],
)
def test_scenario_110_five_timelines(wanted: KeepPolicy, backups: str, segments: str) -> None:
    found = decide(forest(), wanted)
    assert kept(found.plan) == backups
    assert wal(found.plan) == segments
    assert not any(file.object.endswith(".history") for file in found.wal_files)


def test_scenario_110_a_branch_whose_beginning_is_unknown_keeps_all_it_may_have_begun_on() -> None:
    shelf = Shelf()
    shelf.wal(0, 8, 40)
    shelf.wal(6, 9, 0, timeline=2)  # its history file was never archived
    shelf.backup("a", 50, 1)
    shelf.backup("b", 44, 4)
    assert kept(decide(shelf, policy(3)).plan) == "b"
    assert wal(decide(shelf, policy(3)).plan) == "1:0-3 drop, 1:4-8 keep, 2:6-9 keep"


def test_a_generation_that_is_over_goes_and_the_new_one_without_a_backup_stays() -> None:
    old = Shelf()
    old.wal(0, 9, 30)
    old.backup("a", 40, 1)
    old.backup("b", 35, 3)
    new = Shelf(generation=Generation(99, 19, SIZE), clock=old.clock)
    new.store = old.store
    new.cluster.add_generation(new.generation)
    new.wal(0, 5, 0)
    plan = decide(old, policy(7)).plan
    assert kept(plan) == "b"  # the newest that can be restored
    assert wal(plan) == "1:0-2 drop, 1:3-3 keep, 1:4-9 drop, 1:0-5 keep"
    new.backup("c", 8, 1)
    plan = decide(old, policy(7)).plan
    assert kept(plan) == "c"
    assert wal(plan) == "1:0-9 drop, 1:0-0 drop, 1:1-5 keep"
    assert (
        plan.wal[0].why == "this generation of the cluster is over, and none of its backups is kept"
    )


# What does not count


def test_scenario_107_only_backups_that_can_be_restored_count() -> None:
    shelf = Shelf()
    shelf.wal(0, 20, 0)
    shelf.backup("good1", 9, 1, packs="1")
    shelf.backup("stranded", 8, 30, packs="2")
    shelf.backup("good2", 7, 5, packs="3")
    shelf.backup("corrupt", 6, 7, packs="4", corrupt_pages=3)
    plan = decide(shelf, policy(minimum=2, daily=1)).plan
    assert kept(plan) == "good1 good2 corrupt"
    assert why(plan, "good1") == "one of the newest 2 without damaged pages"
    assert why(plan, "stranded") == (
        "not restorable: WAL segment 00000001000000000000001E is missing; no rule keeps it"
    )


def test_scenario_107_a_stranded_backup_in_the_window_stays() -> None:
    shelf = Shelf()
    shelf.wal(0, 20, 0)
    shelf.backup("good", 9, 1, packs="1")
    shelf.backup("stranded", 1, 30, packs="2")
    assert kept(decide(shelf, policy(3)).plan) == "good stranded"
