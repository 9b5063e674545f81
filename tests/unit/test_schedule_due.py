"""What is due when: over clock changes, leap days, downtime, windows and wrong clocks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgkeep.schedule.due import Decision, Due, Entry, Key, decide, upcoming
from pgkeep.schedule.times import newest_until, next_after
from pgkeep.schedule.windows import ends_at, is_within, parse_windows
from pgkeep.schedule.words import parse_times

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
TEXTS = [
    "daily 02:00",
    "weekly sun 03:00",
    "monthly last 04:00",
    "every 6h",
    "*/15 * * * *",
    "0 2 1 * mon",
    "monthly 30",
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
moments = st.integers(0, 6 * 365 * 86400).map(
    lambda seconds: datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def entry(times: str, kind: str = "backup", **more: object) -> Entry:
    return Entry("main", kind, (kind,), parse_times(times), BERLIN, **more)  # type: ignore[arg-type]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def starts(times: str, after: datetime, count: int) -> list[str]:
    found = []
    for _ in range(count):
        moment = next_after(parse_times(times), after, BERLIN)
        assert moment is not None
        found.append(moment.astimezone(BERLIN).strftime("%m-%d %H:%M %z"))
        after = moment
    return found


def test_the_hour_that_a_clock_change_leaves_out() -> None:
    found = starts("daily 02:30", local("2026-03-28 12:00"), 2)
    assert found == ["03-29 03:30 +0200", "03-30 02:30 +0200"]


def test_the_hour_that_a_clock_change_repeats_counts_once() -> None:
    found = starts("daily 02:30", local("2026-10-24 12:00"), 2)
    assert found == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_every_hour_goes_on_through_a_clock_change() -> None:
    found = starts("0 * * * *", local("2026-10-25 01:30"), 3)
    assert found == ["10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 03:00 +0100"]


def test_the_last_day_of_short_months_and_leap_years() -> None:
    assert starts("monthly 30", local("2028-01-31 12:00"), 2) == [
        "02-29 03:00 +0100",
        "03-30 03:00 +0200",
    ]
    assert starts("monthly 31", local("2027-02-01 12:00"), 1) == ["02-28 03:00 +0100"]
    assert starts("0 3 29 2 *", local("2026-01-01 12:00"), 1) == ["02-29 03:00 +0100"]


def test_a_day_that_never_comes_is_never_due() -> None:
    assert next_after(parse_times("0 3 30 2 *"), MONDAY, BERLIN) is None
    decision = decide([entry("0 3 30 2 *")], {}, (), MONDAY, MONDAY + timedelta(days=400))
    assert decision == Decision((), (), None)


@given(st.sampled_from(TEXTS), st.sampled_from(ZONES), moments, st.integers(0, 4 * 10**6))
@settings(max_examples=60, deadline=None)
def test_the_newest_moment_is_the_last_of_all(
    text: str, zone: str, since: datetime, seconds: int
) -> None:
    times, place = parse_times(text), ZoneInfo(zone)
    until = since + timedelta(seconds=seconds)
    last, moment = None, next_after(times, since, place)
    while moment is not None and moment <= until:
        assert moment > (last or since)
        last, moment = moment, next_after(times, moment, place)
    assert newest_until(times, since, until, place) == last


def run(
    entries: list[Entry], since: datetime, until: datetime, takes: timedelta = timedelta()
) -> list[tuple[datetime, Due]]:
    """Follow a schedule as the service does: jobs that take a while, a look when it is time."""
    done: list[tuple[datetime, Due]] = []
    settled: dict[Key, datetime] = {}
    ends: dict[Key, datetime] = {}
    now = since
    while now <= until:
        ends = {key: end for key, end in ends.items() if end > now}
        decision = decide(entries, settled, ends, since, now)
        for due in (*decision.start, *decision.passed_over):
            settled[due.entry.key] = due.due_at
        for due in decision.start:
            done.append((now, due))
            if takes:
                ends[due.entry.key] = now + takes
        ahead = [moment for moment in (decision.look_again, *ends.values()) if moment is not None]
        assert all(moment > now for moment in ahead)
        now = min(ahead, default=until + timedelta(days=1))
    return done


def test_a_week_with_a_clock_change() -> None:
    entries = [
        entry("daily 02:30"),
        entry("weekly sun 05:00", "verify"),
        entry("monthly 1 06:00", "drill"),
        entry("every 6h", "copy"),
        entry("never", "dump"),
    ]
    done = run(entries, local("2026-03-26 00:00"), local("2026-04-02 00:00"), timedelta(hours=2))
    count = {key: sum(due.entry.kind == key for _, due in done) for key in ("backup", "verify")}
    assert count == {"backup": 7, "verify": 1}
    assert [moment for moment, due in done if due.entry.kind == "drill"] == [
        local("2026-04-01 06:00")
    ]
    copies = [moment for moment, due in done if due.entry.kind == "copy"]
    assert {b - a for a, b in pairwise(copies)} == {timedelta(hours=6)}
    assert all(due.by == "schedule" for _, due in done)


def test_what_was_missed_runs_once() -> None:
    start = MONDAY + timedelta(days=9, hours=12)
    settled = {Key("main", "backup"): MONDAY}
    decision = decide([entry("daily 02:00")], settled, (), start, start)
    assert [(due.due_at, due.by) for due in decision.start] == [
        (datetime(2026, 6, 10, 0, 0, tzinfo=UTC), "catch-up")
    ]
    settled[Key("main", "backup")] = decision.start[0].due_at
    assert decide([entry("daily 02:00")], settled, (), start, start).start == ()


def test_what_was_missed_may_be_passed_over() -> None:
    start = MONDAY + timedelta(days=9, hours=1)
    settled = {Key("main", "backup"): MONDAY}
    decision = decide([entry("daily 02:00", catch_up=False)], settled, (), start, start)
    assert decision.start == ()
    assert [due.due_at for due in decision.passed_over] == [datetime(2026, 6, 10, tzinfo=UTC)]


def test_without_any_record_nothing_counts_as_missed() -> None:
    decision = decide([entry("daily 02:00")], {}, (), MONDAY, MONDAY + timedelta(hours=1))
    assert decision.start == ()
    assert decision.look_again == MONDAY + timedelta(days=1)


def test_a_record_of_a_clock_that_was_wrong_blocks_nothing() -> None:
    settled = {Key("main", "backup"): MONDAY + timedelta(days=3650)}
    now = MONDAY + timedelta(days=1, hours=1)
    assert decide([entry("daily 02:00")], settled, (), MONDAY, now).start


def test_a_clock_that_was_set_back_starts_nothing_twice() -> None:
    due = MONDAY + timedelta(days=1)
    settled = {Key("main", "backup"): due}
    back = due - timedelta(minutes=30)
    assert decide([entry("daily 02:00")], settled, (), MONDAY, back).start == ()
    again = decide([entry("daily 02:00")], settled, (), MONDAY, due + timedelta(minutes=1))
    assert again.start == ()


def test_what_runs_is_not_started_again() -> None:
    done = run([entry("every 1h")], MONDAY, MONDAY + timedelta(hours=12), timedelta(minutes=150))
    assert len(done) == 5  # hours 1, 3.5 (for 3), 6 (for 6), 8.5 and 11


def test_a_maintenance_window_holds_a_job_up() -> None:
    closed = parse_windows(["22:00-07:00"])
    done = run(
        [entry("daily 02:00", not_during=closed)],
        local("2026-06-01 12:00"),
        local("2026-06-03 12:00"),
    )
    assert [moment.astimezone(BERLIN).strftime("%d %H:%M") for moment, _ in done] == [
        "02 07:00",
        "03 07:00",
    ]


def test_windows_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    windows = parse_windows(["fri 22:00-07:00"])
    assert is_within(windows, local("2026-06-06 06:59"), BERLIN)  # a Saturday
    assert not is_within(windows, local("2026-06-05 06:59"), BERLIN)
    assert ends_at(windows, local("2026-06-05 23:30"), BERLIN) == local("2026-06-06 07:00")
    assert is_within(parse_windows(["sat-sun"]), local("2026-06-07 23:59"), BERLIN)
    assert not is_within(parse_windows(["sat-sun"]), local("2026-06-08 00:00"), BERLIN)


@given(
    st.lists(
        st.sampled_from(
            ["22:00-07:00", "mon-fri", "sat,sun", "sun 01:30-03:30", "mon-sat 00:00-24:00"]
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from(ZONES),
    moments,
)
@example(["mon-sat 00:00-24:00"], "Europe/Berlin", datetime(2026, 3, 23, tzinfo=UTC))
@example(["sun 01:30-03:30"], "America/New_York", datetime(2026, 11, 1, 5, 45, tzinfo=UTC))
@settings(max_examples=20, deadline=None)
def test_the_end_of_a_window_is_its_first_free_minute(
    texts: list[str], zone: str, moment: datetime
) -> None:
    place = ZoneInfo(zone)
    try:
        windows = parse_windows(texts)
    except ValueError:
        return  # they leave no time at all
    slow = moment
    while is_within(windows, slow, place):
        slow = slow.replace(second=0) + timedelta(minutes=1)
    assert ends_at(windows, moment, place) == slow


@given(st.integers(60, 7200), st.sampled_from(["every 5min", "daily 02:00", "*/7 * * * *"]))
@settings(max_examples=30, deadline=None)
def test_jitter_is_the_same_each_time_and_starves_nothing(jitter: int, times: str) -> None:
    one = entry(times, jitter_s=float(jitter))
    done = run([one], MONDAY, MONDAY + timedelta(days=2))
    assert done
    assert {moment - due.due_at for moment, due in done} == {one.delay}
    assert one.delay <= timedelta(seconds=jitter)


def test_jitter_spreads_clusters() -> None:
    delays = {Entry(f"c{n}", "backup", (), (), UTC, 600.0).delay for n in range(100)}
    assert len(delays) == 100
    assert max(delays) > timedelta(minutes=8)


def test_upcoming_is_sorted() -> None:
    found = upcoming([entry("daily 05:00"), entry("every 1h", "copy"), entry("", "dump")], MONDAY)
    assert [(one.kind, moment) for moment, one in found] == [
        ("copy", MONDAY + timedelta(hours=1)),
        ("backup", MONDAY + timedelta(hours=3)),
    ]


def test_what_waits_for_its_jitter_is_upcoming() -> None:
    one = entry("daily 02:00", jitter_s=7200.0)
    due = local("2026-06-01 02:00").astimezone(UTC)
    assert one.delay > timedelta(minutes=1)
    ((starts_at, _),) = upcoming([one], due + timedelta(minutes=1))
    assert starts_at == due + one.delay
    ((starts_at, _),) = upcoming([one], due + one.delay)
    assert starts_at == due + timedelta(days=1) + one.delay


@pytest.mark.parametrize("clusters", [200])
def test_many_clusters_are_decided_together(clusters: int) -> None:
    entries = [
        Entry(f"c{n}", kind, (kind,), parse_times("daily 02:00"), BERLIN, 3600.0)
        for n in range(clusters)
        for kind in ("backup", "drill", "verify")
    ]
    settled = {one.key: MONDAY for one in entries}
    decision = decide(entries, settled, (), MONDAY, MONDAY + timedelta(days=2))
    assert len(decision.start) == 600
