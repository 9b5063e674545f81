"""A job: one pgkeep command that the service runs for a cluster, and what became of it.

Plain data, so that it can be kept in a table and sent to a worker on another host.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    NO = "no"  # exit status 3: it ran, and its answer is "no" (a drill failed, damage was found)
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"  # the service ended while it ran

    @property
    def is_over(self) -> bool:
        return self not in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run: `pgkeep --cluster CLUSTER *words`, without secrets."""

    id: str
    cluster: str
    kind: str  # 'backup', 'dump', 'drill', ...: the first words of the command
    words: tuple[str, ...]
    by: str  # 'schedule', 'catch-up', or the name of the user who asked
    asked_at: datetime
    due_at: datetime | None = None  # by the schedule
    time_limit_s: float = 86400.0


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a running job is."""

    phase: str = ""
    done: int = 0
    total: int | None = None
    unit: str = "bytes"
    detail: str = ""
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class JobRun:
    """A job and what became of it."""

    job: Job
    state: JobState
    began_at: datetime | None = None
    ended_at: datetime | None = None
    exit_status: int | None = None
    report: dict[str, Any] | None = None  # what the command printed with --json
    error: dict[str, Any] | None = None  # its 'error' object: code, message, hint
    progress: Progressed | None = None  # while it runs

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json and /api."""
        return asdict(self)

    def listed(self) -> dict[str, Any]:
        """Return it as lists of jobs have it: without what it reported."""
        return {name: value for name, value in asdict(self).items() if name != "report"}
