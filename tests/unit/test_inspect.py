"""What is said of every kind of directory; on facts made up by hand, without any server."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pgkeep.inspect.judge import judge
from pgkeep.inspect.seen import InspectReport, LinkSeen, Seen, State
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.backup_label import BackupLabel
from pgkeep.postgres.control import ControlFile
from pgkeep.postgres.control import State as Control

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CONTROL = ControlFile(
    system_identifier=7710983248089545577,
    major=18,
    control_version=1800,
    catalog_version=202506291,
    state=Control.SHUT_DOWN,
    updated_at=NOON,
    checkpoint=Lsn.parse("0/5000060"),
    redo=Lsn.parse("0/5000028"),
    timeline=1,
    previous_timeline=1,
    full_page_writes=True,
    next_xid=800,
    next_oid=24576,
    checkpoint_at=NOON,
    min_recovery_point=Lsn(0),
    min_recovery_timeline=0,
    backup_start=Lsn(0),
    backup_end=Lsn(0),
    backup_end_required=False,
    wal_level="replica",
    wal_log_hints=False,
    max_connections=100,
    max_worker_processes=8,
    max_wal_senders=10,
    max_prepared_transactions=0,
    max_locks_per_transaction=64,
    track_commit_timestamp=False,
    block_size=8192,
    segment_blocks=131072,
    wal_block_size=8192,
    segment_size=16 << 20,
    checksum_version=1,
)
LABEL = BackupLabel(
    start=Lsn.parse("0/7000028"),
    start_file="000000010000000000000007",
    checkpoint=Lsn.parse("0/7000080"),
    from_standby=False,
    start_time="2026-11-23 11:00:00 UTC",
    label="x",
    timeline=1,
)
NAMES = frozenset({"PG_VERSION", "global", "base", "pg_wal", "pg_xact"})


def seen(*names: str, control: Control | None = Control.SHUT_DOWN, **facts: Any) -> Seen:
    there = replace(CONTROL, state=control) if control is not None else None
    usual: dict[str, Any] = {
        "directory": "/data",
        "version": "18",
        "control": there,
        "names": NAMES | set(names),
        "wal_first_needed": "000000010000000000000005",
        "wal_first_there": True,
        "wal_bytes": 32 << 20,
        "owner": "postgres",
        "programs": "18.6 in /usr/lib/postgresql/18/bin",
    }
    return Seen(**usual | facts)


def test_clean() -> None:
    report = judge(seen())
    assert report == InspectReport(
        "/data",
        State.CLEAN,
        "This directory was shut down cleanly at 2026-11-23 12:00:00 UTC: it starts normally.",
        starts=True,
        what_happens=("opens for reading and writing within seconds",),
        never_delete=report.never_delete,
        next_steps=("pg_ctl -D /data -l /data.log start",),
        facts=report.facts,
    )
    assert [line.split(":")[0] for line in report.never_delete] == [
        "pg_wal",
        "global/pg_control",
        "pg_xact",
    ]


def test_crashed_tells_how_much_there_is_to_replay() -> None:
    report = judge(seen(control=Control.IN_PRODUCTION))
    assert report.state is State.CRASHED
    assert report.what_happens[0] == "replays WAL from 0/5000028: about 32 MiB in pg_wal"
    assert report.next_steps[0] == "cp -a /data /data.copy: first keep a copy"


def test_crashed_with_its_wal_gone_would_not_start() -> None:
    report = judge(seen(control=Control.IN_PRODUCTION, wal_first_there=False))
    assert not report.starts
    assert report.problems == ("pg_wal lacks 000000010000000000000005, in which replay must begin",)


RESTORED: dict[str, Any] = {
    "label": LABEL,
    "settings": {
        "restore_command": "x",
        "recovery_target_time": "2026-11-23 12:00:00+00",
        "recovery_target_action": "pause",
    },
}


def test_restored_with_a_target() -> None:
    report = judge(seen("backup_label", "recovery.signal", **RESTORED))
    assert report.state is State.RESTORED
    assert report.headline == (
        "This is a restored backup (taken 2026-11-23 11:00:00 UTC): it starts with archive "
        "recovery to time '2026-11-23 12:00:00+00'."
    )
    assert report.what_happens == (
        "replays WAL from 0/7000028 (backup_label), fetched with restore_command",
        "goes on to time '2026-11-23 12:00:00+00'",
        "then pauses there, open for reading: SELECT pg_wal_replay_resume() promotes it",
    )
    assert "backup_label" in report.never_delete[0]


@pytest.mark.parametrize(
    ("settings", "end"),
    [
        ({}, "then opens for writing on a new timeline"),
        ({"recovery_target": "immediate", "recovery_target_action": "promote"}, "then opens for"),
        ({"recovery_target_xid": "9", "recovery_target_action": "shutdown"}, "then shuts down"),
    ],
)
def test_what_happens_at_the_end(settings: dict[str, str], end: str) -> None:
    facts = {**RESTORED, "settings": {"restore_command": "x", **settings}}
    report = judge(seen("backup_label", "recovery.signal", **facts))
    assert report.what_happens[-1].startswith(end)


def test_a_label_without_a_signal_is_dangerous() -> None:
    report = judge(seen("backup_label", label=LABEL))
    assert report.state is State.BACKUP_COPY
    assert report.starts
    assert "same timeline (1) as its original" in report.what_happens[-1]
    assert "shows an old state as if it were all" in report.warnings[0]


def test_a_restored_backup_without_its_label_must_not_be_started() -> None:
    report = judge(seen("recovery.signal", restored_by="backup x", settings=RESTORED["settings"]))
    assert "backup_label is gone: do not start it" in report.warnings[0]


def test_recovery_that_was_interrupted_goes_on() -> None:
    began = replace(
        CONTROL, state=Control.IN_ARCHIVE_RECOVERY, min_recovery_point=Lsn.parse("0/9000000")
    )
    facts = seen("recovery.signal", "backup_label.old", settings={"restore_command": "x"})
    report = judge(replace(facts, control=began))
    assert report.state is State.RECOVERING
    assert "It has been replayed up to 0/9000000 at least." in report.headline


def test_recovery_without_its_signal_file() -> None:
    report = judge(seen(control=Control.SHUT_DOWN_IN_RECOVERY))
    assert report.state is State.BACKUP_COPY
    assert report.headline.endswith("no recovery.signal or standby.signal tells to go on.")


def test_standby() -> None:
    report = judge(seen("standby.signal", settings={"primary_conninfo": "host=p password=secret"}))
    assert report.state is State.STANDBY
    assert report.what_happens[1] == "streams from the primary in primary_conninfo"
    assert "secret" not in str(report.to_dict())


def test_running() -> None:
    report = judge(
        seen(
            running_pid=77,
            running_why="PostgreSQL process 77 works there",
            running_certain=True,
            running_status="ready",
            control=Control.IN_ARCHIVE_RECOVERY,
        )
    )
    assert report.state is State.RUNNING
    assert not report.starts
    assert report.headline == (
        "A server is running here as process 77, recovering, but readable: "
        "PostgreSQL process 77 works there."
    )


def test_half_restored() -> None:
    marker = "half-restored by pgkeep at 2026-11-23 12:00:00 UTC from backup x"
    report = judge(seen(control=None, marker=marker))
    assert report.state is State.HALF_RESTORED
    assert report.next_steps[0].startswith("rm -r /data: nothing in it is worth keeping")


def test_an_empty_and_a_strange_directory() -> None:
    assert judge(Seen("/data", "")).headline == "This is no PostgreSQL data directory: it is empty."
    strange = judge(Seen("/data", "", names=frozenset({"holiday.jpg"})))
    assert strange.state is State.NOT_A_DATA_DIRECTORY
    assert not strange.starts


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"control": None, "control_problem": "global/pg_control is missing"}, "global/pg_control"),
        ({"version": ""}, "PG_VERSION is missing"),
        ({"missing_directories": ("pg_notify",)}, "the directory pg_notify is missing"),
        ({"mode": 0o755}, "its permissions are 0755, and PostgreSQL insists on 0700 or 0750"),
        ({"label_problem": "cannot restore with this backup_label: x"}, "cannot restore with"),
        (
            {"tablespaces": (LinkSeen("16384", "/mnt/fast", False),)},
            "tablespace 16384 is missing: /mnt/fast does not exist",
        ),
    ],
)
def test_why_it_would_not_start(facts: dict[str, Any], problem: str) -> None:
    report = judge(seen(**facts))
    assert not report.starts
    assert report.problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "recovery.signal is there, but restore_command is not set"),
        (
            {
                "restore_command": "x",
                "recovery_target_xid": "9",
                "recovery_target_name": "b",
            },
            "more than one recovery target is set: recovery_target_name, recovery_target_xid",
        ),
    ],
)
def test_contradicting_settings(settings: dict[str, str], problem: str) -> None:
    report = judge(seen("backup_label", "recovery.signal", label=LABEL, settings=settings))
    assert report.problems == (problem,)


def test_warnings() -> None:
    report = judge(seen("postmaster.pid", programs="", owner="bob", owner_uid=5, user_uid=6))
    assert report.warnings == (
        "no PostgreSQL 18 programs were found on this machine",
        "it belongs to bob: start it as that user",
        "postmaster.pid was left behind by a server that is gone: the next start replaces it",
    )
