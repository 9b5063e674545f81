"""What is said of a cluster that was seen: the normal states, and everything that can be wrong."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pgkeep.config.sections import ClusterConfig, RetentionConfig
from pgkeep.health.condition import Kind
from pgkeep.health.forecast import Sample
from pgkeep.health.health import RepositoryRoom, State
from pgkeep.health.seen import PlaceSeen, Seen, Trouble
from pgkeep.model.wal_room import WalRoom
from pgkeep.repository.drills.report import Measures, Status
from pgkeep.repository.drills.storing import Drills
from pgkeep.units import Duration
from support.drill_reports import a_report
from support.dump_shelf import put_dump
from support.healths import (
    LAST,
    ROOM,
    archiver,
    config,
    judged,
    only_condition,
    protected,
    seen,
    server,
    wrong,
)
from support.shelves import NOW, SIZE, Shelf

HOUR = 3600.0
FULL = WalRoom(waiting=40, waiting_size=40 * SIZE, free=36 << 20, rate=float(1 << 20) / 100)


def with_drill(what: Seen, status: Status, days_ago: float, **more: Any) -> Seen:
    assert what.listing is not None
    at = NOW - timedelta(days=days_ago)
    report = a_report(status=status, started_at=at, finished_at=at, **more)
    return replace(what, listing=replace(what.listing, drills=Drills((report,))))


def fresh() -> Shelf:
    """A cluster that was set up now: its generation is known, nothing else."""
    return Shelf()


def kept_by_dumps() -> Shelf:
    shelf = Shelf()
    put_dump(shelf, "Da", 0.2)
    return shelf


def old() -> Shelf:
    """One backup of forty days ago, never drilled, and an idle server since."""
    shelf = Shelf()
    shelf.backup("a", 40, 1)
    shelf.wal(1, LAST, 39)
    return shelf


def with_hole(first: int, last: int) -> Shelf:
    """protected() without these segments."""
    shelf = Shelf()
    for number, name in enumerate("abcd"):
        shelf.backup(name, 3.49 - number, 1 + 2 * number)
    shelf.wal(1, first - 1, 1)
    shelf.wal(last + 1, LAST, 0)
    return shelf


def stranded() -> Shelf:
    shelf = Shelf()
    shelf.backup("a", 1, 1)
    shelf.wal(2, LAST, 0)
    return shelf


def of_sizes(sketch: str) -> Shelf:
    """'8 8 8 3' is four backups of so many thousand bytes."""
    shelf = Shelf()
    sizes = [int(word) for word in sketch.split()]
    for number, size in enumerate(sizes):
        name = "abcdefgh"[number]
        shelf.backup(name, len(sizes) - number - 0.5, 1 + number, packs="zyxwvutsrqpo"[:size])
    shelf.wal(1, LAST, 0)
    return shelf


def damaged_manifest() -> Shelf:
    shelf = protected()
    shelf.damage_manifest("b")
    return shelf


def bad_pages() -> Shelf:
    shelf = protected()
    shelf.backup("e", 0.1, 8, corrupt_pages=3)
    return shelf


@pytest.mark.parametrize(
    ("make", "changes", "expected", "state"),
    [
        pytest.param(protected, {}, "", State.PROTECTED, id="all is well"),
        pytest.param(fresh, {}, "critical never-protected", State.IN_DANGER, id="brand-new"),
        pytest.param(kept_by_dumps, {}, "", State.PROTECTED, id="kept by dumps alone"),
        pytest.param(old, {}, "warning drill-overdue", State.AT_RISK, id="idle for weeks"),
        pytest.param(stranded, {}, "critical never-protected", State.IN_DANGER, id="stranded"),
        pytest.param(
            lambda: with_hole(8, 8), {}, "critical wal-hole", State.IN_DANGER, id="hole at the end"
        ),
        pytest.param(
            lambda: with_hole(4, 4), {}, "warning wal-hole", State.AT_RISK, id="hole in the past"
        ),
        pytest.param(lambda: of_sizes("8 8 8 5"), {}, "", State.PROTECTED, id="a bit smaller"),
        pytest.param(
            lambda: of_sizes("8 8 8 3"), {}, "warning backup-shrunken", State.AT_RISK, id="shrunken"
        ),
        pytest.param(
            lambda: of_sizes("12 12 12 1"),
            {},
            "critical backup-hollow",
            State.IN_DANGER,
            id="hollow",
        ),
        pytest.param(
            damaged_manifest, {}, "critical backup-failed", State.IN_DANGER, id="bad manifest"
        ),
        pytest.param(bad_pages, {}, "critical corrupt-pages", State.IN_DANGER, id="corrupt pages"),
        pytest.param(
            protected,
            {"server": None, "troubles": (Trouble("server", "it is down", ""),)},
            "warning server-away",
            State.AT_RISK,
            id="server away",
        ),
        pytest.param(
            protected,
            {"listing": None, "places": (), "troubles": (Trouble("repository", "not there", ""),)},
            "critical repository-away",
            State.UNKNOWN,
            id="repository away",
        ),
        pytest.param(
            protected,
            {"troubles": (Trouble("cellar", "not there", ""),)},
            "warning repository-away",
            State.AT_RISK,
            id="one of two repositories away",
        ),
        pytest.param(
            protected,
            {"bad_dumps": (Trouble("Dx", "cut off", ""),)},
            "critical backup-failed",
            State.IN_DANGER,
            id="bad dump",
        ),
        pytest.param(
            protected,
            {"server": server(ahead_s=-90.0)},
            "warning clock-off",
            State.AT_RISK,
            id="clock off",
        ),
        pytest.param(
            protected,
            {"server": server(archiving=False)},
            "critical archiving-fails",
            State.IN_DANGER,
            id="archiving off",
        ),
        pytest.param(
            protected,
            {"server": server(archiver=archiver(120, 10))},
            "warning archiving-fails",
            State.AT_RISK,
            id="archiving fails since two minutes",
        ),
        pytest.param(
            protected,
            {"server": server(40, archiver=archiver(HOUR, 10)), "room": FULL},
            "critical archiving-fails, critical disk-fills",
            State.IN_DANGER,
            id="archiving fails since an hour",
        ),
        pytest.param(
            protected,
            {"server": server(40), "room": replace(FULL, free=1 << 40)},
            "warning wal-late",
            State.AT_RISK,
            id="archiving is slow",
        ),
        pytest.param(
            protected,
            {"server": server(30, archiver=archiver(10, last="000000010000000000000020"))},
            "critical archiving-fails",
            State.IN_DANGER,
            id="WAL goes elsewhere",
        ),
        pytest.param(
            protected,
            {
                "server": server(30, archiver=archiver(10, last="000000010000000000000020")),
                "troubles": (Trouble("cellar", "not there", ""),),
            },
            "critical archiving-fails, warning repository-away",
            State.IN_DANGER,
            id="WAL may be in the repository that is away",
        ),
        pytest.param(
            protected,
            {"room": replace(ROOM, given_up=3)},
            "critical wal-hole",
            State.IN_DANGER,
            id="WAL was given up",
        ),
        pytest.param(
            protected,
            {"server": server(generation="7710983248089545578-18")},
            "critical archiving-fails",
            State.IN_DANGER,
            id="another server",
        ),
    ],
)
def test_what_is_wrong(
    make: Callable[[], Shelf], changes: dict[str, object], expected: str, state: State
) -> None:
    health = judged(seen(make(), **changes))
    assert wrong(health) == expected
    assert health.state == state
    for condition in health.conditions:
        assert condition.effect, condition
        assert condition.cause, condition
        assert condition.todo, condition


def test_a_hole_tells_first_what_it_costs_then_why_then_what_to_type() -> None:
    found = only_condition(judged(seen(with_hole(8, 8))))
    assert found.effect == (
        "nothing after 000000010000000000000008 can be restored, until there is a newer backup"
    )
    assert found.cause == "WAL segment 000000010000000000000008 is not in the archive"
    assert found.todo == "pgkeep backup; and see why: pgkeep wal status"
    assert found.key == "main/wal-hole/000000010000000000000008"


def test_archiving_that_fails_tells_for_how_long_the_server_can_go_on() -> None:
    health = judged(seen(protected(), server=server(40, archiver=archiver(HOUR, 10)), room=FULL))
    assert [one.effect for one in health.conditions] == [
        "what was written since the last archived file would be lost with the server",
        "PostgreSQL stops in 1 h, when its disk is full",
    ]
    assert health.pg_wal_full_in_s == HOUR
    assert health.conditions[0].since == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        pytest.param("000000010000000000000009", "", id="the newest here"),
        pytest.param("000000010000000000000001", "", id="older: it may have expired"),
        pytest.param("00000001000000000000000A", "critical archiving-fails", id="one that is not"),
        pytest.param("000000020000000000000003", "critical archiving-fails", id="a new timeline"),
        pytest.param("00000002.history", "", id="a history"),
        pytest.param("00000001000000000000000A.partial", "", id="a partial one"),
        pytest.param("", "", id="nothing yet"),
    ],
)
def test_wal_that_the_server_believes_to_be_archived_is_here_or_elsewhere(
    claimed: str, said: str
) -> None:
    stats = archiver(10, last=claimed or "-")
    assert wrong(judged(seen(protected(), server=server(2, archiver=stats)))) == said


def test_wal_that_goes_elsewhere_may_be_in_a_repository_that_is_away() -> None:
    claims = server(30, archiver=archiver(10, last="000000010000000000000020"))
    away = (Trouble("cellar", "not there", ""),)
    health = judged(seen(protected(), server=claims, troubles=away))
    assert health.conditions[0].cause == (
        "it believes that it has archived 000000010000000000000020, and nothing after "
        "000000010000000000000009 of that timeline is here, unless it is in cellar"
    )


# How recent what can be restored is


def test_all_that_is_written_is_archived_so_now_can_be_restored() -> None:
    health = judged(seen(protected()))
    assert health.protected_to == NOW
    assert health.protected_from == NOW - timedelta(days=3.49)
    assert (health.wal_behind_bytes, health.rpo_s) == (0, 0.0)


@pytest.mark.parametrize(
    ("of", "seconds"),
    [
        pytest.param(server(0.5, archiver=archiver(20)), 20.0, id="since the last archived file"),
        pytest.param(server(0.5, archiver=archiver(900)), 60.0, id="archive_timeout bounds it"),
        pytest.param(
            server(0.5, archiver=archiver(900), archive_timeout=0), 900.0, id="nothing bounds it"
        ),
        pytest.param(
            server(0.5, archiver=archiver(900, 10)), 900.0, id="archiving fails: it bounds nothing"
        ),
        pytest.param(
            server(0.5, archiver=archiver(20), ahead_s=30.0), 50.0, id="by the server's clock"
        ),
        # The file that was archived a moment ago may have been written hours ago.
        pytest.param(server(40, archiver=archiver(1)), 0.49 * 24 * HOUR, id="many files wait"),
        pytest.param(server(archiving=True, in_recovery=True), None, id="a standby with no more"),
        pytest.param(
            server(generation="other"), 0.49 * 24 * HOUR, id="positions of another server"
        ),
    ],
)
def test_what_would_be_lost(of: object, seconds: float | None) -> None:
    health = judged(seen(protected(), server=of))
    assert health.rpo_s == (None if seconds is None else pytest.approx(seconds))


def test_without_the_server_what_is_archived_can_be_restored_and_no_more() -> None:
    health = judged(seen(protected(), server=None))
    assert health.protected_to == NOW - timedelta(days=0.49)
    assert health.wal_behind_bytes is None


def test_a_hole_at_the_end_is_where_protection_ends() -> None:
    health = judged(seen(with_hole(8, 8)))
    assert health.protected_to is not None
    assert health.protected_to <= NOW - timedelta(hours=11)


# What is late


@pytest.mark.parametrize(
    ("backup", "hours", "expected"),
    [
        pytest.param("daily 00:00", 0, "", id="the newest is of when it was due"),
        pytest.param("daily 00:00", 13, "", id="the next is due an hour ago: it may run"),
        pytest.param("daily 00:00", 15, "warning backup-late", id="once"),
        pytest.param("daily 00:00", 63, "critical backup-late", id="three times"),
        pytest.param("weekly sun 00:00", 63, "", id="not due before Sunday"),
        pytest.param("never", 1000, "warning drill-overdue", id="never is never late"),
        pytest.param("", 30, "", id="no schedule: a rhythm of a day has some play"),
        pytest.param("", 50, "warning backup-late", id="no schedule: it stopped"),
    ],
)
def test_late_backups(backup: str, hours: float, expected: str) -> None:
    later = replace(seen(protected()), now=NOW + timedelta(hours=hours))
    assert wrong(judged(later, config(backup=backup))) == expected


def test_what_is_dated_ahead_hides_nothing_that_is_late() -> None:
    shelf = protected()
    shelf.backup("e", -2000, 9)
    what = with_drill(seen(shelf), Status.PASSED, -2000)
    later = replace(what, now=NOW + timedelta(hours=63))
    health = judged(later, config(backup="daily 00:00"))
    assert wrong(health) == "critical backup-late, warning clock-off, warning drill-overdue"
    assert [one.cause for one in health.conditions[1:]] == [
        "backup e of 2031-08-22 11:59 UTC is dated later than now",
        "the newest restore test that passed is dated 2031-08-22, which is not yet",
    ]


def test_nothing_is_late_in_a_maintenance_window() -> None:
    later = replace(seen(protected()), now=NOW + timedelta(hours=15))
    closed = config(backup="daily 00:00", not_during=["mon 00:00-06:00"])
    assert wrong(judged(later, closed)) == ""


def test_two_backups_make_no_rhythm() -> None:
    shelf = Shelf()
    shelf.backup("a", 20, 1)
    shelf.backup("b", 19, 2)
    shelf.wal(1, LAST, 0)
    assert wrong(judged(seen(shelf))) == ""


# Objectives, before they break


@pytest.mark.parametrize(
    ("archived", "expected"),
    [
        pytest.param(70, "", id="well below"),
        pytest.param(90, "warning rpo-at-risk", id="above four fifths"),
        pytest.param(110, "warning rpo-at-risk", id="archive_timeout keeps it"),
    ],
)
def test_rpo(archived: float, expected: str) -> None:
    behind = server(0.5, archiver=archiver(archived), archive_timeout=100)
    assert wrong(judged(seen(protected(), server=behind), config(rpo=100))) == expected


def test_an_rpo_that_is_broken() -> None:
    failing = server(0.5, archiver=archiver(200, 10), archive_timeout=100)
    health = judged(seen(protected(), server=failing), config(rpo=100))
    assert wrong(health) == "critical rpo-at-risk, warning archiving-fails"
    assert health.conditions[0].effect == (
        "up to 3 min 20 s would be lost now; the objective is 1 min 40 s"
    )


def test_a_quiet_server_without_archive_timeout_cannot_keep_an_rpo() -> None:
    health = judged(seen(protected(), server=server(archive_timeout=0)), config(rpo=100))
    found = only_condition(health)
    assert found.cause == (
        "archive_timeout is off: a segment that does not fill up is not archived"
    )
    assert found.todo == "ALTER SYSTEM SET archive_timeout = '50s'; SELECT pg_reload_conf()"


@pytest.mark.parametrize(
    ("rto", "expected"),
    [(1000, ""), (120, "warning rto-at-risk"), (90, "critical rto-at-risk")],
)
def test_rto_by_the_newest_drill(rto: int, expected: str) -> None:
    # 4,000 bytes were restored at 10 bytes a second in the drill, and 1,000 are to be restored.
    measures = Measures(restored_bytes=4000, restore_s=400.0, ready_s=400.0)
    what = with_drill(seen(protected()), Status.PASSED, 2, measures=measures)
    health = judged(what, config(rto=rto))
    assert health.restore_s == pytest.approx(100.0, abs=1)
    assert wrong(health) == expected
    assert health.notes == ()


def test_the_time_of_a_restore_is_a_guess_before_the_first_drill() -> None:
    assert judged(seen(protected())).notes == (
        "the time of a restore is a guess until a drill has measured it",
    )


@pytest.mark.parametrize(
    ("rto", "expected"),
    [
        pytest.param(60, "", id="holds at any time"),
        pytest.param(30, "warning plan-drifted", id="not before the next backup"),
        pytest.param(22, "warning plan-drifted, warning rto-at-risk", id="and nearly now"),
        pytest.param(19, "critical rto-at-risk", id="broken now"),
    ],
)
def test_a_plan_that_no_longer_meets_the_goal(rto: int, expected: str) -> None:
    shelf = Shelf()
    for number, start in enumerate((1, 4, 7, 9)):
        shelf.backup("abcd"[number], 3.49 - number, start)
    shelf.wal(1, LAST, 0)
    # A backup takes 10 s to be restored, and each segment of WAL 10 s to be replayed.
    replayed = 2 << 30
    measures = Measures(
        restored_bytes=1000, restore_s=10.0, wal_bytes=replayed, recovery_s=10.0 * replayed / SIZE
    )
    health = judged(with_drill(seen(shelf), Status.PASSED, 2, measures=measures), config(rto=rto))
    assert health.restore_s == pytest.approx(20.0)
    assert wrong(health) == expected
    if rto == 30:
        assert only_condition(health).effect == (
            "your plan no longer meets the goal: before the next backup a restore takes 40 s; "
            "the objective is 30 s"
        )


@pytest.mark.parametrize(
    ("rto", "expected"),
    [
        pytest.param(2000, "", id="not in two months"),
        pytest.param(260, "warning plan-drifted", id="in seventeen days"),
        pytest.param(199, "critical rto-at-risk", id="broken now"),
    ],
)
def test_a_plan_that_the_growth_of_the_cluster_breaks(rto: int, expected: str) -> None:
    shelf = Shelf()
    for number in range(5):  # one pack of 1,000 bytes more each week
        start = 1 + 2 * number
        shelf.backup("abcde"[number], 28.5 - 7 * number, start, packs="pqrstuvwxyz"[: 4 + number])
    shelf.wal(1, LAST, 0)
    # A thousand bytes take 25 s to be restored; WAL takes no time that counts.
    measures = Measures(restored_bytes=1000, restore_s=25.0)
    what = with_drill(seen(shelf), Status.PASSED, 2, measures=measures)
    health = judged(what, config(rto=rto))
    assert health.restore_s == pytest.approx(200.0, abs=1)
    assert wrong(health) == expected
    if rto == 260:
        found = only_condition(health)
        assert found.effect == (
            "your plan meets the goal until about 2026-03-18: from then on a restore takes longer "
            "than the objective of 4 min 20 s"
        )
        assert found.cause == (
            "the cluster grows by 0.977 KiB a week and has 7.81 KiB; estimated by the newest drill"
        )
        assert found.key == "main/plan-drifted/growth"


# Proofs


@pytest.mark.parametrize(
    ("status", "days", "expected"),
    [
        pytest.param(Status.PASSED, 2, "", id="passed"),
        pytest.param(Status.PASSED, 40, "warning drill-overdue", id="passed long ago"),
        pytest.param(Status.FAILED, 2, "critical drill-failed", id="failed"),
        pytest.param(Status.NOT_TESTED, 2, "warning drill-failed", id="could not test"),
    ],
)
def test_drills(status: Status, days: float, expected: str) -> None:
    health = judged(with_drill(seen(protected()), status, days))
    assert wrong(health) == expected
    assert (health.proven is not None) == (status is Status.PASSED)


# Repositories


GB_A_DAY = 10**9


def growing() -> Seen:
    """protected(), with backups that each add a gigabyte."""
    what = seen(protected())
    assert what.listing is not None
    record = what.listing.record
    part = record.generations[0]
    backups = tuple(replace(backup, stored=GB_A_DAY) for backup in part.backups)
    parts = (replace(part, backups=backups),)
    return replace(what, listing=replace(what.listing, record=replace(record, generations=parts)))


def room(free: int, *, backups: str = "abcd", name: str = "main") -> PlaceSeen:
    return PlaceSeen(RepositoryRoom(name, f"/{name}", 5000, free), frozenset(backups))


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        pytest.param(10 << 40, "", id="years"),
        pytest.param(10 * GB_A_DAY, "warning repository-fills", id="ten days"),
        pytest.param(int(1.9 * GB_A_DAY), "critical repository-fills", id="a day or two"),
        pytest.param(1000, "critical repository-fills", id="no room for the next backup"),
    ],
)
def test_room_in_the_repository(free: int, expected: str) -> None:
    assert wrong(judged(replace(growing(), places=(room(free),)))) == expected


def test_a_repository_that_fills_up_has_a_date() -> None:
    health = judged(replace(growing(), places=(room(10 * GB_A_DAY),)))
    assert "main has 9.31 GiB free: full by 2026-03-13 at the present growth" in (
        only_condition(health).cause
    )


def weighed(*, stored: float, free: float, more_room: float = 0) -> list[Sample]:
    """Return samples of twelve days, by what changes in a day; at last there are 10 GB free."""
    return [
        Sample(
            NOW.timestamp() - ago * 86400,
            int((100 - ago * stored) * GB_A_DAY),
            int((10 - ago * free - (more_room if ago > 4 else 0)) * GB_A_DAY),
        )
        for ago in range(12, -1, -1)
    ]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param([], None, id="never weighed"),
        pytest.param(weighed(stored=1, free=-1)[-2:], None, id="for a day"),
        pytest.param(weighed(stored=1, free=-1), 10, id="a gigabyte a day"),
        pytest.param(weighed(stored=0, free=0), None, id="as much goes as comes"),
        pytest.param(weighed(stored=-1, free=1), None, id="it shrinks"),
        pytest.param(weighed(stored=1, free=-2), 5, id="others fill the disk too"),
        pytest.param(weighed(stored=1, free=-1, more_room=50), 10, id="the disk was enlarged"),
    ],
)
def test_what_lets_go_is_full_by_what_was_weighed(
    history: list[Sample], expected: int | None
) -> None:
    keeping = ClusterConfig(retention=RetentionConfig(window=Duration(2 * 86400)))
    place = replace(room(10 * GB_A_DAY), weighed=history)
    (found,) = judged(replace(growing(), places=(place,)), keeping).repositories
    days = None if found.full_at is None else round((found.full_at - NOW).total_seconds() / 86400)
    assert days == expected


def test_what_was_weighed_goes_before_what_came() -> None:
    place = replace(room(10 * GB_A_DAY), weighed=weighed(stored=0, free=0))
    assert wrong(judged(replace(growing(), places=(place,)))) == ""


def test_a_copy_that_lacks_what_is_a_day_old_is_behind() -> None:
    both = (room(1 << 50), room(1 << 50, backups="ab", name="cellar"))
    found = only_condition(judged(seen(protected(), places=both)))
    assert found.kind is Kind.COPY_BEHIND
    assert found.todo == "pgkeep copy --to cellar"
    late = (room(1 << 50), room(1 << 50, backups="abc", name="cellar"))
    assert wrong(judged(seen(protected(), places=late))) == ""
