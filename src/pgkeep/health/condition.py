"""What is wrong, or about to be: what status, alerts, checklist, metrics and page show."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad a condition is."""

    CRITICAL = "critical"  # data would be lost now, or the server is about to stop
    WARNING = "warning"  # it will become critical if nobody does anything


class Kind(StrEnum):
    """What a condition is about. Stable: alert rules and webhooks match on these."""

    NEVER_PROTECTED = "never-protected"  # nothing can be restored yet
    BACKUP_LATE = "backup-late"
    BACKUP_FAILED = "backup-failed"
    BACKUP_SHRUNKEN = "backup-shrunken"
    BACKUP_HOLLOW = "backup-hollow"
    DUMP_LATE = "dump-late"
    WAL_HOLE = "wal-hole"
    WAL_LATE = "wal-late"
    ARCHIVING_FAILS = "archiving-fails"
    DISK_FILLS = "disk-fills"
    REPOSITORY_FILLS = "repository-fills"
    REPOSITORY_AWAY = "repository-away"
    SERVER_AWAY = "server-away"
    DRILL_FAILED = "drill-failed"
    DRILL_OVERDUE = "drill-overdue"
    VERIFY_FAILED = "verify-failed"
    CORRUPT_PAGES = "corrupt-pages"
    COPY_BEHIND = "copy-behind"
    CLOCK_OFF = "clock-off"
    RPO_AT_RISK = "rpo-at-risk"
    RTO_AT_RISK = "rto-at-risk"
    JOB_FAILED = "job-failed"
    PLAN_DRIFTED = "plan-drifted"
    CHANNEL_FAILS = "channel-fails"  # of the service itself: one way to tell people is broken
    UNKNOWN = "unknown"  # health itself could not be told


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong with one cluster.

    Two of one cluster, kind and subject are the same event at different times.
    """

    cluster: str  # '' for the service itself
    kind: Kind
    level: Level
    effect: str  # on recoverability, as a sentence without full stop
    cause: str
    todo: str  # what to type or do next
    subject: str = ""  # which of several: a repository, a job, a hole
    since: datetime | None = None  # when it began, where that is known

    @property
    def key(self) -> str:
        """Return what tells events apart."""
        return "/".join((self.cluster, self.kind.value, self.subject))

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        return {**asdict(self), "key": self.key}
