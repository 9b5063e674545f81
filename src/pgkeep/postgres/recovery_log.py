"""What a recovering server says in its log, line by line, as events.

Messages are English (LC_MESSAGES=C); log_line_prefix may be anything. Source: xlogrecovery.c,
xlog.c, xlogarchive.c, postmaster.c of 14 to 18.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pgkeep.model.lsn import Lsn

# The first severity counts: a STATEMENT or CONTEXT line may quote anything after its own.
_SEVERITY: Final = re.compile(
    r"(?<![A-Za-z])(LOG|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL"
    r"|STATEMENT|CONTEXT|QUERY|LOCATION|NOTICE|INFO|DEBUG[1-5]?):  (.*)"
)
_LSN: Final = r"([0-9A-F]{1,8}/[0-9A-F]{1,8})"


@dataclass(frozen=True, slots=True)
class RecoveryStarts:
    """`goal` is empty when all WAL is wanted."""

    goal: str
    standby: bool = False


@dataclass(frozen=True, slots=True)
class BackupRecoveryStarts:
    redo: Lsn
    timeline: int


@dataclass(frozen=True, slots=True)
class RestoredFile:
    """A WAL segment or history file came from the archive."""

    name: str


@dataclass(frozen=True, slots=True)
class RedoStarts:
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class BackupRecoveryComplete:
    end: Lsn


@dataclass(frozen=True, slots=True)
class Consistent:
    """From here on the cluster is whole."""

    lsn: Lsn


@dataclass(frozen=True, slots=True)
class ReadyReadOnly:
    """Connections are accepted while recovery goes on. It may still fail."""


class Side(StrEnum):
    BEFORE = "before"
    AFTER = "after"
    AT = "at"


@dataclass(frozen=True, slots=True)
class Stopping:
    """The target is reached. `text` is the server's own description of it."""

    side: Side
    text: str
    xid: int | None = None
    lsn: Lsn | None = None
    time: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """Recovery waits: `at_target` is false when it waits for another reason."""

    at_target: bool = True


@dataclass(frozen=True, slots=True)
class RedoDone:
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class LastTransaction:
    """The time of the last transaction that was replayed, in the server's log_timezone."""

    time: str


@dataclass(frozen=True, slots=True)
class NewTimeline:
    timeline: int


@dataclass(frozen=True, slots=True)
class ArchiveRecoveryComplete:
    pass


@dataclass(frozen=True, slots=True)
class Ready:
    """The server accepts connections and writes."""


@dataclass(frozen=True, slots=True)
class ShutdownAtTarget:
    pass


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The server has stopped."""


class Failure(StrEnum):
    """Why recovery failed, as far as pgkeep knows the reason."""

    TARGET_NOT_REACHED = "WAL ended before the target"
    BEFORE_CONSISTENCY = "the target is before the backup's end"
    NO_SUCH_TIMELINE = "the target timeline does not exist"
    NOT_IN_HISTORY = "the target timeline left this backup's history too early"
    WAL_ENDS_EARLY = "WAL ends before the backup's own end"
    INSUFFICIENT_SETTINGS = "settings are lower than on the source"
    NO_CHECKPOINT = "the backup's first WAL cannot be found"
    RESTORE_COMMAND = "restore_command failed"
    WRONG_SIZE = "restore_command delivered a file of the wrong size"
    INCREMENTAL = "this is an incremental backup of pg_basebackup"
    PERMISSIONS = "the data directory's permissions are wrong"
    IN_USE = "another server uses the directory, the port or the socket"
    INCOMPATIBLE = "another version, or another kind of machine"
    MANY_TARGETS = "more than one target is set"
    OTHER = "another reason"


@dataclass(frozen=True, slots=True)
class Fatal:
    """Recovery ended here. DETAIL and HINT lines that follow come as Remark."""

    reason: Failure
    text: str
    severity: str = "FATAL"


@dataclass(frozen=True, slots=True)
class InsufficientSettings:
    """A warning: the standby cannot be read because a setting is too low (14 on: it pauses)."""

    text: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A warning or error that recovery survived."""

    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A DETAIL or HINT line; it belongs to the event before."""

    severity: str
    text: str


Event = (
    RecoveryStarts | BackupRecoveryStarts | RestoredFile | RedoStarts | BackupRecoveryComplete
    | Consistent | ReadyReadOnly | Stopping | Paused | RedoDone | LastTransaction | NewTimeline
    | ArchiveRecoveryComplete | Ready | ShutdownAtTarget | ShutDown | Fatal | InsufficientSettings
    | Trouble | Remark
)  # fmt: skip


def parse_line(line: str) -> Event | None:
    """Return what a log line tells of recovery, or None."""
    match = _SEVERITY.search(line)
    if match is None or line.startswith("\t"):  # a message's further lines are indented
        return None
    severity, text = match[1], match[2].rstrip()
    match severity:
        case "LOG":
            return _log_event(text)
        case "FATAL" | "PANIC":
            return _fatal(severity, text)
        case "DETAIL" | "HINT":
            return Remark(severity, text)
        case "WARNING" | "ERROR":
            return _trouble(severity, text)
    return None


def _trouble(severity: str, text: str) -> InsufficientSettings | Trouble:
    if "insufficient parameter settings" in text:
        return InsufficientSettings(text)
    return Trouble(severity, text)


def parse_log(lines: Iterable[str]) -> Iterator[Event]:
    """Return what a log tells of recovery."""
    for line in lines:
        event = parse_line(line)
        if event is not None:
            yield event


def _log_event(text: str) -> Event | None:
    for pattern, make in _LOG_EVENTS:
        match = pattern.fullmatch(text)
        if match is not None:
            return make(match)
    return None


def _stopping(match: re.Match[str]) -> Stopping:
    side, text = Side(match[1]), match[0].removeprefix("recovery stopping ")
    # Anchored, because a restore point's name may say anything.
    xid = re.match(r"\w+ (?:commit|abort) of (?:prepared )?transaction (\d+)", text)
    lsn = re.match(rf'\w+ WAL location \(LSN\) "{_LSN}"', text)
    time = re.match(r".*, time (.+)$", text)
    return Stopping(
        side,
        text,
        int(xid[1]) if xid else None,
        Lsn.parse(lsn[1]) if lsn else None,
        time[1] if time else "",
    )


def _fatal(severity: str, text: str) -> Fatal | Trouble:
    if re.match(_SESSION_ENDS, text):
        return Trouble(severity, text)
    for reason, pattern in _FAILURES:
        if re.search(pattern, text):
            return Fatal(reason, text, severity)
    return Fatal(Failure.OTHER, text, severity)


_Make = Callable[[re.Match[str]], Event]
_LOG_EVENTS: Final[list[tuple[re.Pattern[str], _Make]]] = [
    (re.compile(pattern), make)
    for pattern, make in (
        (r'restored log file "([^"]+)" from archive', lambda m: RestoredFile(m[1])),
        (r"starting point-in-time recovery to (.+)", lambda m: RecoveryStarts(m[1])),
        (r"starting archive recovery", lambda _: RecoveryStarts("")),
        (r"entering standby mode", lambda _: RecoveryStarts("", standby=True)),
        (
            rf"starting backup recovery with redo LSN {_LSN}, checkpoint LSN {_LSN}, "
            r"on timeline ID (\d{1,10})",
            lambda m: BackupRecoveryStarts(Lsn.parse(m[1]), int(m[3])),
        ),
        (rf"redo starts at {_LSN}", lambda m: RedoStarts(Lsn.parse(m[1]))),
        (
            rf"completed backup recovery with redo LSN {_LSN} and end LSN {_LSN}",
            lambda m: BackupRecoveryComplete(Lsn.parse(m[2])),
        ),
        (
            rf"consistent recovery state reached at {_LSN}",
            lambda m: Consistent(Lsn.parse(m[1])),
        ),
        (
            r"database system is ready to accept read.only connections",
            lambda _: ReadyReadOnly(),
        ),
        (r"recovery stopping (before|after|at) .+", _stopping),
        (r"pausing at the end of recovery", lambda _: Paused()),
        (r"recovery has paused", lambda _: Paused(at_target=False)),
        (rf"redo done at {_LSN}(?: .*)?", lambda m: RedoDone(Lsn.parse(m[1]))),
        (
            r"last completed transaction was at log time (.+)",
            lambda m: LastTransaction(m[1]),
        ),
        (r"selected new timeline ID: (\d{1,10})", lambda m: NewTimeline(int(m[1]))),
        (r"archive recovery complete", lambda _: ArchiveRecoveryComplete()),
        (r"database system is ready to accept connections", lambda _: Ready()),
        (r"shutdown at recovery target", lambda _: ShutdownAtTarget()),
        (r"database system is shut down", lambda _: ShutDown()),
    )
]
# Fatal for one connection only; whoever waits for recovery sees many of these.
_SESSION_ENDS: Final = (
    r"the database system is |\S+ authentication failed|no pg_hba\.conf entry"
    r"|(?:role|database) \".*\" does not exist|sorry, too many clients|remaining connection slots"
    r"|terminating (?:connection|background worker|walreceiver)|canceling authentication"
    r"|connection to client lost|unsupported frontend protocol"
)
_FAILURES: Final = (
    (Failure.TARGET_NOT_REACHED, "recovery ended before configured recovery target"),
    (Failure.BEFORE_CONSISTENCY, "recovery stop point is before consistent recovery point"),
    (Failure.NO_SUCH_TIMELINE, r"recovery target timeline \d+ does not exist"),
    (Failure.NOT_IN_HISTORY, "is not a child of this server's history"),
    (Failure.NOT_IN_HISTORY, "requested timeline .* does not contain minimum recovery point"),
    (Failure.WAL_ENDS_EARLY, "WAL ends before"),
    (Failure.INSUFFICIENT_SETTINGS, "insufficient parameter settings"),
    (Failure.NO_CHECKPOINT, "could not (?:locate|find) .*(?:checkpoint|redo location)"),
    (Failure.NO_CHECKPOINT, "required WAL directory"),
    (Failure.WRONG_SIZE, 'archive file ".*" has wrong size'),
    (Failure.RESTORE_COMMAND, 'could not restore file ".*" from archive'),
    (Failure.RESTORE_COMMAND, "must specify (?:\"?restore_command|restore_command)"),
    (Failure.INCREMENTAL, "this is an incremental backup"),
    (Failure.PERMISSIONS, "has invalid permissions|has wrong ownership"),
    (Failure.IN_USE, 'lock file ".*" already exists|could not create any'),
    (Failure.IN_USE, "pre-existing shared memory block"),
    (Failure.INCOMPATIBLE, "database files are incompatible with server"),
    (Failure.MANY_TARGETS, "multiple recovery targets specified"),
)  # fmt: skip
