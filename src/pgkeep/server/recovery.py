"""How far a recovering server is: the events of its log, folded into one value. Pure."""

from dataclasses import dataclass, replace

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import BadSegmentName, Segment
from pgkeep.postgres.recovery_log import (
    ArchiveRecoveryComplete,
    BackupRecoveryStarts,
    Consistent,
    Event,
    Fatal,
    InsufficientSettings,
    LastTransaction,
    NewTimeline,
    Paused,
    Ready,
    ReadyReadOnly,
    RecoveryStarts,
    RedoDone,
    RedoStarts,
    Remark,
    RestoredFile,
    ShutDown,
    ShutdownAtTarget,
    Stopping,
    Trouble,
)

_LAST_WORDS = 5  # warnings and remarks that are kept


@dataclass(frozen=True, slots=True)
class Recovery:
    """What has happened since the server was started."""

    goal: str = ""  # the server's own words: 'XID 812', '2026-...'; '' when all WAL is wanted
    standby: bool = False
    redo: Lsn | None = None  # where replay began
    fetched: str = ""  # the last segment from the archive
    fetched_files: int = 0
    consistent: Lsn | None = None
    readable: bool = False  # read-only queries are answered
    stopping: Stopping | None = None  # the target is reached
    paused: Paused | None = None
    last_record: Lsn | None = None  # of what was replayed, when replay is over
    last_time: str = ""  # of the last transaction replayed, in the server's log_timezone
    timeline: int | None = None  # the new one
    complete: bool = False  # archive recovery is over
    ready: bool = False  # accepts writes
    shut_down_at_target: bool = False
    shut_down: bool = False
    fatal: Fatal | None = None
    words: tuple[str, ...] = ()  # the latest warnings, errors, details and hints

    def position(self, segment_size: int) -> Lsn | None:
        """Return about where replay is: the segment last fetched, or where it began."""
        try:
            return Segment.parse(self.fetched, segment_size).start
        except BadSegmentName:
            return self.redo


def advance(now: Recovery, event: Event) -> Recovery:
    """Return what is known after one more event."""
    match event:
        case RecoveryStarts(goal, standby):
            return replace(now, goal=goal, standby=standby)
        case RestoredFile(name):
            # history files are fetched as well, and tell nothing of how far it is
            segment = now.fetched if "." in name else name
            return replace(now, fetched=segment, fetched_files=now.fetched_files + 1)
        case BackupRecoveryStarts(redo) | RedoStarts(redo):
            return replace(now, redo=redo)
        case Consistent(lsn):
            return replace(now, consistent=lsn)
        case ReadyReadOnly():
            return replace(now, readable=True)
        case Remark(severity, text) | Trouble(severity, text):
            return _with_words(now, f"{severity}: {text}")
        case InsufficientSettings(text):
            return _with_words(now, f"WARNING: {text}")
        case Fatal():
            # the first one is the cause; the processes that end because of it say more
            return now if now.fatal else replace(now, fatal=event)
        case _:
            return _at_the_end(now, event)


def _at_the_end(now: Recovery, event: Event) -> Recovery:
    match event:
        case Stopping():
            return replace(now, stopping=event)
        case Paused():
            return replace(now, paused=event)
        case RedoDone(lsn):
            return replace(now, last_record=lsn)
        case LastTransaction(time):
            return replace(now, last_time=time)
        case NewTimeline(timeline):
            return replace(now, timeline=timeline)
        case ArchiveRecoveryComplete():
            return replace(now, complete=True)
        case Ready():
            return replace(now, ready=True)
        case ShutdownAtTarget():
            return replace(now, shut_down_at_target=True)
        case ShutDown():
            return replace(now, shut_down=True)
        case _:
            return now


def _with_words(now: Recovery, text: str) -> Recovery:
    return replace(now, words=(*now.words, text)[-_LAST_WORDS:])
