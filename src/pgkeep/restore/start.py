"""Starts a restored server and follows its recovery to the end, which it tells in words.

`pg_ctl -w start` returning 0 proves nothing: the server may answer read-only queries and still
die later because the target was not reached. Only the log and the process itself tell.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.recovery_log import Failure, parse_line
from pgkeep.progress import Progress, Silent
from pgkeep.restore.plan import RestorePlan
from pgkeep.server.binaries import Binaries
from pgkeep.server.instance import FOLLOW_OPTIONS, ServerProcess
from pgkeep.server.processes import wait_until
from pgkeep.server.recovery import Recovery, advance

_OURS: Final = "pgkeep-wal: "  # begins what restore_command says, in the server's log
_HINT: Final = "hint: "
_GO_ON: Final = "mended, start the server again: recovery goes on where it was"
_LOOK_S: Final = 0.5  # how often progress is shown while nothing else happens

_ADVICE: Final[Mapping[Failure, str]] = {
    Failure.TARGET_NOT_REACHED: "pgkeep inspect {dir} tells what is there; restore again, to a "
    "moment that is on record: pgkeep restore --dry-run --to ... shows which are",
    Failure.INSUFFICIENT_SETTINGS: "raise the setting in {dir}/postgresql.auto.conf to the value "
    "in the message, and start it again: recovery goes on where it was",
    Failure.RESTORE_COMMAND: "run restore_command from {dir}/postgresql.auto.conf by hand to see "
    f"why; {_GO_ON}",
    Failure.IN_USE: "choose another --port, or stop the server that has it",
    Failure.INCOMPATIBLE: "start it with the programs of its own version: --pg-bin DIR",
}


class RecoveryFailed(PgkeepError):
    """The restored server ended, or stands still, before it was where it should be."""

    code = "recovery-failed"
    exit_status = 92

    directory: str
    target: str
    why: str
    reached: str
    log_file: str
    advice: str = ""

    def __str__(self) -> str:
        return f"recovery to {self.target} failed {self.reached}: {self.why}"

    @property
    def hint(self) -> str:
        return "; ".join(words for words in (self.advice, f"log: {self.log_file}") if words)


class Ending(StrEnum):
    """How a recovery ended."""

    PROMOTED = "promoted"
    PAUSED = "paused"
    SHUT_DOWN = "shut down"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class StartOptions:
    """How the restored server is started."""

    log_file: str
    port: int | None = None  # None: what its configuration says
    socket_directory: str | None = None
    settings: tuple[str, ...] = ()  # more 'name=value'
    environment: tuple[tuple[str, str], ...] = ()  # restore_command may need $PGKEEP_PASSPHRASE

    def options(self) -> list[str]:
        """Return what goes on the server's command line, where it wins over its files."""
        options = [*FOLLOW_OPTIONS, *self.settings]
        if self.port is not None:
            options.append(f"port={self.port}")
        if self.socket_directory is not None:
            options.append(f"unix_socket_directories={self.socket_directory}")
        return options


@dataclass(frozen=True, slots=True)
class RecoveryOutcome:
    """Where recovery stopped and why, in words."""

    ending: Ending
    words: str
    stopped: str  # the server's own words for the stop; '' at the end of WAL
    last_transaction: str
    timeline: int | None  # the new one, after promotion
    pid: int | None  # None when it was shut down
    log_file: str
    seconds: float
    warnings: tuple[str, ...] = ()
    fetched_files: int = 0  # from the archive, history files among them
    replayed: tuple[Lsn, Lsn] | None = (
        None  # from the first record to the last, where both are told
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as --json shows it."""
        return {
            "ending": self.ending.value,
            "words": self.words,
            "stopped": self.stopped,
            "last_transaction": self.last_transaction,
            "timeline": self.timeline,
            "pid": self.pid,
            "log_file": self.log_file,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


def start(
    plan: RestorePlan,
    binaries: Binaries,
    options: StartOptions,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RecoveryOutcome:
    """Start the restored server and wait until its recovery has ended, however long that takes.

    Raise RecoveryFailed, with the server stopped or standing still, or ServerWontStart. When this
    is interrupted the server goes on by itself.
    """
    progress, began = progress or Silent(), clock()
    server = ServerProcess.start(
        binaries,
        plan.target_dir,
        options.options(),
        log_file=options.log_file,
        environment=dict(options.environment),
    )
    follower = _Follower(server, plan)
    first, last = plan.first_segment.start, plan.last_segment.end
    progress.phase("replaying WAL", last - first)
    while not wait_until(follower.has_ended, _LOOK_S):
        position = follower.now.position(plan.first_segment.size)
        progress.advance(min(last - first, max(0, (position or first) - first)))
    return _outcome(follower, plan, options, clock() - began)


class _Follower:
    """Reads a server's log as it grows."""

    def __init__(self, server: ServerProcess, plan: RestorePlan) -> None:
        self.server: Final = server
        self.now = Recovery()
        self.told: list[str] = []  # by our restore_command: its last words, and their hint
        self._plan: Final = plan
        self._read = server.log_start  # bytes of the log taken in

    def has_ended(self) -> bool:
        alive = self.server.is_alive()  # first: what it said last is in the log by then
        self._take_in()
        now = self.now
        standby = self._plan.standby and now.readable
        return not alive or now.ready or now.paused is not None or standby

    def _take_in(self) -> None:
        with open(self.server.log_file, "rb") as log:
            log.seek(self._read)
            grown = log.read()
        whole = grown[: grown.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.startswith(_OURS):
                self.told = [line.removeprefix(_OURS)]
            elif line.startswith(_HINT) and len(self.told) == 1:
                self.told.append(line.removeprefix(_HINT))
            event = parse_line(line)
            if event is not None:
                self.now = advance(self.now, event)


def _outcome(
    follower: _Follower, plan: RestorePlan, options: StartOptions, seconds: float
) -> RecoveryOutcome:
    now, server = follower.now, follower.server
    ending = _ending(now, plan)
    if ending is None or (ending is not Ending.SHUT_DOWN and not server.is_alive()):
        raise _failed(follower, plan)
    return RecoveryOutcome(
        ending,
        _words(now, ending),
        now.stopping.text if now.stopping else "",
        now.last_time,
        now.timeline,
        None if ending is Ending.SHUT_DOWN else server.pid,
        options.log_file,
        seconds,
        tuple(_surprises(now, plan)),
        now.fetched_files,
        _replayed(now, plan),
    )


def _replayed(now: Recovery, plan: RestorePlan) -> tuple[Lsn, Lsn] | None:
    """Return where replay began and ended: at the target, when the server waits there."""
    end = now.last_record or (plan.stop.lsn if plan.stop else None)
    return None if now.redo is None or end is None else (now.redo, end)


def _ending(now: Recovery, plan: RestorePlan) -> Ending | None:
    """Return how recovery ended, or None when it failed."""
    if now.fatal:
        return None
    if now.shut_down_at_target:
        return Ending.SHUT_DOWN
    if now.ready:
        return Ending.PROMOTED
    if now.paused is not None:
        return Ending.PAUSED if now.paused.at_target else None
    return Ending.STANDBY if plan.standby and now.readable else None


def _failed(follower: _Follower, plan: RestorePlan) -> RecoveryFailed:
    now, server = follower.now, follower.server
    reason = now.fatal.reason if now.fatal else Failure.OTHER
    why = now.fatal.text if now.fatal else server.last_words()
    if now.fatal and now.words:
        why = f"{why} ({now.words[-1]})" if reason is Failure.INSUFFICIENT_SETTINGS else why
    if reason is not Failure.OTHER:
        why = f"{reason.value} ({why})"
    if now.paused is not None and not now.paused.at_target:
        reason = Failure.INSUFFICIENT_SETTINGS
        why = "recovery waits before the target: " + "; ".join(now.words)
    advice = _ADVICE.get(reason, "").format(dir=plan.target_dir)
    if reason is Failure.RESTORE_COMMAND and follower.told:
        why, *hint = follower.told
        why, advice = f"restore_command: {why}", "; ".join([*hint, _GO_ON])
    reached = _reached(now, plan)
    return RecoveryFailed(plan.target_dir, plan.asked, why, reached, str(server.log_file), advice)


def _reached(now: Recovery, plan: RestorePlan) -> str:
    if now.last_time:
        return f"after the last transaction on record, of {now.last_time}"
    position: Lsn | None = now.last_record or now.position(plan.first_segment.size)
    return f"at about {position}" if position else "before it began"


def _words(now: Recovery, ending: Ending) -> str:
    where = f"recovery stopped {now.stopping.text}" if now.stopping else "all WAL was replayed"
    last = f"; the last transaction in it is of {now.last_time}" if now.last_time else ""
    match ending:
        case Ending.PROMOTED:
            return f"promoted, on timeline {now.timeline}: {where}{last}"
        case Ending.PAUSED:
            return f"paused, open for reading: {where}"
        case Ending.SHUT_DOWN:
            return f"shut down at the target: {where}"
        case Ending.STANDBY:
            return f"a standby since {now.consistent}, open for reading"


def _surprises(now: Recovery, plan: RestorePlan) -> list[str]:
    """Say where the server did not stop as planned: after a clock's step it may stop elsewhere."""
    planned, stopping = plan.stop, now.stopping
    if planned is None:
        return []
    if stopping is None:
        return [f"recovery was to stop {planned}, and ran to the end of WAL"]
    if stopping.xid is not None and f"transaction {stopping.xid} " not in f"{planned.record} ":
        return [f"recovery was to stop {planned}; it stopped {stopping.text}"]
    return []
