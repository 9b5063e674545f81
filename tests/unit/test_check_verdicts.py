"""What check thinks of what it saw."""

from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import coverage
from pgkeep.model.lsn import Lsn
from pgkeep.setup import verdicts
from pgkeep.setup.plan import Archiving, plan_settings
from pgkeep.setup.verdicts import State, Verdict

OURS = "pgkeep-wal push %p"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
GENERATION = Generation(7, 18, 1 << 24)
GIB = 1 << 30


def backup(segment: int, corrupt_pages: int = 0) -> Backup:
    start = Lsn(segment << 24)
    return Backup(
        BackupId(f"b{segment}"),
        BackupType.FULL,
        GENERATION,
        1,
        start + 40,
        start + 400,
        NOW - timedelta(hours=1),
        NOW - timedelta(minutes=59),
        corrupt_pages=corrupt_pages,
    )


def of_coverage(backups: list[Backup], segments: list[int]) -> Verdict:
    found = coverage(GENERATION, backups, {1: segments}, {})
    return verdicts.of_coverage(found, backups, NOW - timedelta(minutes=2), NOW)


def test_brand_new_is_no_failure() -> None:
    verdict = verdicts.of_coverage(None, [], None, NOW)
    assert (verdict.state, verdict.fix) == (State.NOTE, "pgkeep backup")


def test_a_new_generation_without_a_backup_is_not_covered_by_the_old_one() -> None:
    verdict = verdicts.of_coverage(None, [], None, NOW, older=2)
    assert (verdict.state, verdict.fix) == (State.FAILED, "pgkeep backup")
    assert verdict.says == (
        "no backup of this server yet: only what was before it can be restored, from 2 older "
        "backups"
    )


def test_coverage_says_how_recent_a_moment_can_be_restored() -> None:
    verdict = of_coverage([backup(3)], [3, 4, 5])
    assert verdict == verdicts.ok("coverage", "restorable up to 2 min ago, from 1 backup")


def test_a_hole_is_named() -> None:
    verdict = of_coverage([backup(3), backup(7)], [3, 4, 7])
    assert verdict.state is State.NOTE
    assert "000000010000000000000005 to 000000010000000000000006" in verdict.says


def test_a_newest_backup_without_its_wal_is_a_failure() -> None:
    verdict = of_coverage([backup(3), backup(7)], [3, 4])
    assert verdict.state is State.FAILED
    assert "b7, cannot be restored: 000000010000000000000007 is not archived" in verdict.says


def test_nothing_restorable_is_a_failure() -> None:
    verdict = of_coverage([backup(3)], [])
    assert verdict.state is State.FAILED
    assert "b3 lacks 000000010000000000000003" in verdict.says


def test_damaged_pages_are_a_failure() -> None:
    assert verdicts.of_pages(backup(3)) is None
    verdict = verdicts.of_pages(backup(3, corrupt_pages=2))
    assert verdict is not None
    assert verdict.state is State.FAILED


@pytest.mark.parametrize(
    ("ahead", "state", "says"),
    [
        (0.3, State.OK, "the server's and this host's agree"),
        (-7.0, State.NOTE, "the server's clock is 7.0 s behind this host's"),
        (3700.0, State.FAILED, "the server's clock is 1 h 1 min ahead of this host's"),
    ],
)
def test_clocks(ahead: float, state: State, says: str) -> None:
    verdict = verdicts.of_clock(ahead)
    assert (verdict.state, verdict.says) == (state, says)


@pytest.mark.parametrize(
    ("free", "has_backups", "state"),
    [
        (None, False, State.OK),
        (200 * GIB, False, State.OK),
        (50 * GIB, False, State.NOTE),
        (50 * GIB, True, State.OK),
        (GIB, True, State.FAILED),
    ],
)
def test_room(free: int | None, has_backups: bool, state: State) -> None:
    assert verdicts.of_room("/r", free, 100 * GIB, has_backups=has_backups).state is state


def settings_verdicts(**settings: str) -> dict[str, Verdict]:
    plan = plan_settings(settings, 18, Archiving(OURS))
    return {v.name: v for v in verdicts.of_settings(plan, settings, checksums=True)}


def test_settings_as_they_should_be() -> None:
    found = settings_verdicts(
        wal_level="replica", archive_mode="on", archive_command=OURS, full_page_writes="on"
    )
    assert {v.state for v in found.values()} == {State.OK}


def test_a_setting_that_must_change_has_its_statement_as_the_fix() -> None:
    found = settings_verdicts(wal_level="replica", archive_mode="off", archive_command="(disabled)")
    assert found["archive_mode"].fix == (
        "ALTER SYSTEM SET archive_mode = 'on'; Then restart PostgreSQL"
    )
    assert found["archive_command"].says == "pgkeep does not receive this server's WAL"


def test_another_programs_archive_is_shown() -> None:
    found = settings_verdicts(wal_level="replica", archive_mode="on", archive_command="cp %p /a/%f")
    assert found["archive_command"].says == "another program archives here: 'cp %p /a/%f'"
    assert found["archive_command"].fix.startswith("if pgkeep is to take over: ")


@pytest.mark.parametrize(
    ("found", "why", "state", "says"),
    [
        (7, "", State.OK, "/d, readable by postgres, system identifier 7"),
        (
            None,
            "Permission denied",
            State.FAILED,
            "user postgres cannot read /d: Permission denied",
        ),
        (
            8,
            "",
            State.FAILED,
            "/d belongs to another cluster: its system identifier is 8, the server's is 7",
        ),
    ],
)
def test_data_directory(found: int | None, why: str, state: State, says: str) -> None:
    verdict = verdicts.of_data_directory("/d", 7, found, why, "postgres")
    assert (verdict.state, verdict.says) == (state, says)


def test_every_missing_grant_is_named() -> None:
    verdict = verdicts.of_privileges("pgkeep", superuser=False, missing=["GRANT a;", "GRANT b;"])
    assert verdict.state is State.FAILED
    assert verdict.fix == "as a superuser, run:\nGRANT a;\nGRANT b;"


def test_tools_of_another_major_version() -> None:
    assert verdicts.of_tools("/bin", "15.18", "18.6").state is State.FAILED
    assert verdicts.of_tools("/bin", "18.5", "18.6").state is State.OK
