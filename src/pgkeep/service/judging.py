"""What jobs say about health: those of the schedule that ended badly. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from pgkeep.health.condition import Condition, Kind, Level
from pgkeep.health.health import Health, State
from pgkeep.service.jobs.job import JobRun, JobState

# Ends that tell something of a command; a job that was cancelled or cut short tells nothing.
TELLING: Final = (JobState.DONE, JobState.NO, JobState.FAILED, JobState.TIMED_OUT)
_BAD: Final = (JobState.FAILED, JobState.TIMED_OUT)
_WORD: Final = {JobState.FAILED: "failed", JobState.TIMED_OUT: "took too long and was stopped"}


def with_jobs(health: Health, runs: Sequence[JobRun], kinds: Collection[str]) -> Health:
    """Add what the newest run of each kind tells: `runs` are those of the health's cluster.

    Only of `kinds`, which are on schedule: what somebody has tried once needs no success, and what
    is on schedule no more never comes to one.
    """
    bad = [run for run in runs if run.state in _BAD and run.job.kind in kinds]
    found = tuple(_condition(run) for run in bad)
    if not found:
        return health
    conditions = sorted((*health.conditions, *found), key=lambda one: one.level is Level.WARNING)
    state = State.AT_RISK if health.state is State.PROTECTED else health.state
    return replace(health, conditions=tuple(conditions), state=state)


def _condition(run: JobRun) -> Condition:
    job = run.job
    why = str((run.error or {}).get("message") or f"exit status {run.exit_status}")
    hint = str((run.error or {}).get("hint") or "")
    return Condition(
        job.cluster,
        Kind.JOB_FAILED,
        Level.WARNING,
        f"what {job.kind} was to bring is missing until it succeeds",
        f"the newest {job.kind} {_WORD[run.state]}: {why}",
        hint or f"pgkeep jobs show {job.id}",
        subject=job.kind,
        since=run.ended_at,
    )
