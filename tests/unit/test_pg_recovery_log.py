"""What recovering servers say."""

import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.postgres import recovery_log as log
from pgkeep.postgres.recovery_log import Failure, Side, parse_line, parse_log


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            'starting point-in-time recovery to "rp_a"',
            log.RecoveryStarts('"rp_a"'),
        ),
        ("starting archive recovery", log.RecoveryStarts("")),
        ("entering standby mode", log.RecoveryStarts("", standby=True)),
        (
            "starting backup recovery with redo LSN 0/7000028, checkpoint LSN 0/7000060, "
            "on timeline ID 1",
            log.BackupRecoveryStarts(Lsn(0x7000028), 1),
        ),
        (
            'restored log file "000000010000000000000007" from archive',
            log.RestoredFile("000000010000000000000007"),
        ),
        ("redo starts at 0/7000028", log.RedoStarts(Lsn(0x7000028))),
        (
            "completed backup recovery with redo LSN 0/7000028 and end LSN 0/7000100",
            log.BackupRecoveryComplete(Lsn(0x7000100)),
        ),
        (
            "consistent recovery state reached at 0/7000100",
            log.Consistent(Lsn(0x7000100)),
        ),
        ("database system is ready to accept read-only connections", log.ReadyReadOnly()),
        ("database system is ready to accept read only connections", log.ReadyReadOnly()),
        (
            "recovery stopping before commit of transaction 802, "
            "time 2026-11-22 13:20:25.619646+00",
            log.Stopping(
                Side.BEFORE,
                "before commit of transaction 802, time 2026-11-22 13:20:25.619646+00",
                xid=802,
                time="2026-11-22 13:20:25.619646+00",
            ),
        ),
        (
            "recovery stopping after abort of transaction 5, time T",
            log.Stopping(Side.AFTER, "after abort of transaction 5, time T", xid=5, time="T"),
        ),
        (
            'recovery stopping at restore point "a, time b", time T',
            log.Stopping(Side.AT, 'at restore point "a, time b", time T', time="T"),
        ),
        (
            'recovery stopping before WAL location (LSN) "0/8000028"',
            log.Stopping(Side.BEFORE, 'before WAL location (LSN) "0/8000028"', lsn=Lsn(0x8000028)),
        ),
        (
            "recovery stopping after reaching consistency",
            log.Stopping(Side.AFTER, "after reaching consistency"),
        ),
        ("pausing at the end of recovery", log.Paused()),
        ("recovery has paused", log.Paused(at_target=False)),
        (
            "redo done at 0/9014CD8 system usage: CPU: user: 0.00 s, system: 0.01 s",
            log.RedoDone(Lsn(0x9014CD8)),
        ),
        ("redo done at 0/9014CD8", log.RedoDone(Lsn(0x9014CD8))),
        (
            "last completed transaction was at log time 2026-11-22 13:20:25.61+00",
            log.LastTransaction("2026-11-22 13:20:25.61+00"),
        ),
        ("selected new timeline ID: 2", log.NewTimeline(2)),
        ("archive recovery complete", log.ArchiveRecoveryComplete()),
        ("database system is ready to accept connections", log.Ready()),
        ("shutdown at recovery target", log.ShutdownAtTarget()),
        ("database system is shut down", log.ShutDown()),
        ("checkpoint starting: end-of-recovery immediate wait", None),
    ],
)
@pytest.mark.parametrize(
    "prefix", ["", "2026-11-22 13:20:25.6 UTC [4711] ", "%", "<u@d app=[x y]:4>", "\x1b[1m "]
)
def test_every_line_of_a_recovery_is_understood(
    prefix: str, text: str, event: log.Event | None
) -> None:
    assert parse_line(f"{prefix}LOG:  {text}\n") == event


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "recovery ended before configured recovery target was reached",
            Failure.TARGET_NOT_REACHED,
        ),
        (
            "requested recovery stop point is before consistent recovery point",
            Failure.BEFORE_CONSISTENCY,
        ),
        ("recovery target timeline 9 does not exist", Failure.NO_SUCH_TIMELINE),
        ("requested timeline 5 is not a child of this server's history", Failure.NOT_IN_HISTORY),
        ("WAL ends before end of online backup", Failure.WAL_ENDS_EARLY),
        ("WAL ends before consistent recovery point", Failure.WAL_ENDS_EARLY),
        (
            "recovery aborted because of insufficient parameter settings",
            Failure.INSUFFICIENT_SETTINGS,
        ),
        ("could not locate required checkpoint record at 0/60", Failure.NO_CHECKPOINT),
        ("could not locate a valid checkpoint record", Failure.NO_CHECKPOINT),
        (
            "could not find redo location 0/28 referenced by checkpoint record at 0/60",
            Failure.NO_CHECKPOINT,
        ),
        (
            'could not restore file "000000010000000000000007" from archive: child process '
            "exited with exit code 200",
            Failure.RESTORE_COMMAND,
        ),
        (
            "must specify restore_command when standby mode is not enabled",
            Failure.RESTORE_COMMAND,
        ),
        (
            'archive file "000000010000000000000007" has wrong size: 1000 instead of 16777216',
            Failure.WRONG_SIZE,
        ),
        ("this is an incremental backup, not a data directory", Failure.INCREMENTAL),
        ('data directory "/x" has invalid permissions', Failure.PERMISSIONS),
        ('lock file "postmaster.pid" already exists', Failure.IN_USE),
        ("database files are incompatible with server", Failure.INCOMPATIBLE),
        ("multiple recovery targets specified", Failure.MANY_TARGETS),
        ("something new", Failure.OTHER),
    ],
)
def test_a_failure_has_its_reason(text: str, reason: Failure) -> None:
    assert parse_line(f"2026 [1] FATAL:  {text}") == log.Fatal(reason, text)
    assert parse_line(f"PANIC:  {text}") == log.Fatal(reason, text, "PANIC")


@pytest.mark.parametrize(
    "text",
    [
        "the database system is starting up",
        "the database system is not yet accepting connections",
        'role "root" does not exist',
        'password authentication failed for user "x"',
        "terminating connection due to administrator command",
        "sorry, too many clients already",
    ],
)
def test_the_end_of_one_connection_is_no_failure(text: str) -> None:
    assert parse_line(f"FATAL:  {text}") == log.Trouble("FATAL", text)


def test_other_lines_are_kept_apart() -> None:
    lines = [
        "WARNING:  hot standby is not possible because of insufficient parameter settings",
        "DETAIL:  max_connections = 50 is a lower setting than on the primary server.",
        "WARNING:  something else",
        "STATEMENT:  SELECT 'FATAL:  recovery ended before configured recovery target'",
        "\tLOG:  database system is ready to accept connections",
        "DEBUG1:  LOG:  archive recovery complete",
        "no severity at all",
        "",
    ]
    assert list(parse_log(lines)) == [
        log.InsufficientSettings(lines[0].removeprefix("WARNING:  ")),
        log.Remark("DETAIL", lines[1].removeprefix("DETAIL:  ")),
        log.Trouble("WARNING", "something else"),
    ]
