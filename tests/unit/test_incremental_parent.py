"""Which backup an incremental one may build on, and what is said of the others."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.backup.incremental.parent import Now, candidates, may_have_gone_back, unfit
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import Branch, History

GENERATION = Generation(7710983248089545577, 18, 16 << 20)
HISTORY = History(3, (Branch(1, Lsn.parse("0/5000000")), Branch(2, Lsn.parse("0/7000000"))))
NOW = Now(GENERATION, True, HISTORY, Lsn.parse("0/9000000"), archiving=True, running_since=None)


def a_backup(name: str = "b", stop: str = "0/4000100", timeline: int = 1) -> Backup:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return Backup(
        id=BackupId(name),
        type=BackupType.FULL,
        generation=GENERATION,
        timeline=timeline,
        start_lsn=Lsn(int(Lsn.parse(stop)) - 0x100),
        stop_lsn=Lsn.parse(stop),
        started_at=at,
        stopped_at=at + timedelta(minutes=1),
        checksums=True,
    )


def test_a_backup_of_the_same_history_will_do() -> None:
    assert unfit(a_backup(), NOW) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param(
            {"generation": replace(GENERATION, system_identifier=42)},
            "it is of another cluster, system identifier 42",
            id="another cluster, or initialised again",
        ),
        pytest.param(
            {"generation": replace(GENERATION, major=17)},
            "it is of PostgreSQL 17",
            id="before pg_upgrade",
        ),
        pytest.param(
            {"generation": replace(GENERATION, segment_size=1 << 20)},
            "its blocks or segments have another size",
            id="pg_resetwal --wal-segsize",
        ),
        pytest.param(
            {"checksums": False},
            "data checksums were off then and are on now",
            id="checksums were switched on",
        ),
        pytest.param(
            {"timeline": 4},
            "timeline 4 is not on the way to timeline 3",
            id="another branch",
        ),
        pytest.param(
            {"stop_lsn": Lsn.parse("0/5000001")},
            "it ended at 0/5000001, after timeline 1 was left at 0/5000000",
            id="it ran on after the switch",
        ),
        pytest.param(
            {"timeline": 3, "stop_lsn": Lsn.parse("0/9000001")},
            "it ended at 0/9000001, and the cluster has gone back to 0/9000000",
            id="the cluster went back without a new timeline",
        ),
    ],
)
def test_why_a_backup_will_not_do(changes: dict[str, object], why: str) -> None:
    assert unfit(replace(a_backup(), **changes), NOW) == why  # type: ignore[arg-type]


def test_checksums_that_were_switched_off() -> None:
    why = unfit(a_backup(), replace(NOW, checksums=False))
    assert why == "data checksums were on then and are off now"


@pytest.mark.parametrize(
    ("timeline", "stop"),
    [(1, "0/5000000"), (2, "0/7000000"), (3, "0/9000000")],
    ids=["up to the first switch", "up to the second switch", "up to now"],
)
def test_scenario_33_a_backup_that_ended_exactly_at_the_switch(timeline: int, stop: str) -> None:
    assert unfit(a_backup(timeline=timeline, stop=stop), NOW) == ""


def test_the_furthest_on_the_way_is_the_best_whatever_the_clock_says() -> None:
    early, late = a_backup("early", "0/3000100"), a_backup("late", "0/4000100")
    early = replace(early, started_at=late.started_at + timedelta(days=1))
    fit, passed_over = candidates([early, late], NOW)
    assert [backup.id for backup in fit] == ["late", "early"]
    assert passed_over == []


def test_what_is_newer_and_unfit_is_told_what_is_older_is_not() -> None:
    backups = [
        a_backup("old-branch", "0/2000100", timeline=9),
        a_backup("good", "0/4000100"),
        a_backup("lost", "0/6000100"),
        replace(
            a_backup("foreign", "0/8000100"),
            generation=replace(GENERATION, system_identifier=42),
        ),
    ]
    fit, passed_over = candidates(backups, NOW)
    assert [backup.id for backup in fit] == ["good"]
    assert [str(each) for each in passed_over] == [
        "lost cannot be its parent: it ended at 0/6000100, after timeline 1 was left at 0/5000000"
    ]


def test_no_backups_no_parent() -> None:
    assert candidates([], NOW) == ([], [])


@pytest.mark.parametrize(
    ("archiving", "running", "doubtful"),
    [
        pytest.param(True, None, False, id="the archive would have noticed"),
        pytest.param(True, 5, False, id="archiving, and restarted"),
        pytest.param(False, -5, False, id="the server ran all the time"),
        pytest.param(False, 5, True, id="it was started since"),
        pytest.param(False, None, True, id="nobody knows when it was started"),
    ],
)
def test_scenario_a_snapshot_of_the_disk_may_have_been_brought_back(
    archiving: bool, running: int | None, doubtful: bool
) -> None:
    backup = a_backup()
    since = None if running is None else backup.stopped_at + timedelta(minutes=running)
    now = replace(NOW, archiving=archiving, running_since=since)
    assert may_have_gone_back(backup, now) is doubtful
