"""The board: what the API and the page hold on to. Health as last seen, jobs, and new ones.

All methods may be called by any thread and return at once; only app() reads repositories.
"""

import contextlib
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Final

from pgkeep.app import App, Loaded
from pgkeep.health.health import Health
from pgkeep.schedule.due import Due, Key, upcoming
from pgkeep.service.errors import ServiceFailed
from pgkeep.service.jobs.commands import in_the_way, kind_of
from pgkeep.service.jobs.job import Job, JobRun, JobState
from pgkeep.service.jobs.ledger import Ledger
from pgkeep.service.jobs.running import Runner, log_path
from pgkeep.service.planning import entries_of

_LOG_PIECE: Final = 256 << 10  # bytes of a log at a time
_SILENT: Final = timedelta(minutes=10)  # a job that says nothing for so long may hang
_ASKED_AT_ONCE: Final = 20  # jobs that people asked for: more are a program's, or a mistake
BY_ITSELF: Final = ("schedule", "catch-up")  # whose jobs wait for each other; people's do not


class NoSuchCluster(ServiceFailed):
    """The config knows no cluster of this name."""

    code = "no-such-cluster"


class Board:
    """What is known and under way. The service's loop feeds it, faces read it."""

    def __init__(
        self,
        loaded: Loaded,
        state_directory: Path,
        runner: Callable[[str, Path], Runner],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = loaded
        self.state_directory = state_directory
        self._clock = clock
        self._lock = RLock()
        self._healths: dict[str, Health] = {}
        self._runs: dict[str, JobRun] = {}  # that are not over
        self._heard: dict[str, datetime] = {}  # when those that run last said something
        self._asked_to_look: set[str] = set()
        self._starting = False  # what waits: a job may end before its start returns
        self.wake: Callable[[], None] = lambda: None  # the loop, when something is to be done
        self.troubles: list[str] = []  # of the service itself: alert channels that fail
        self.ledger = Ledger(state_directory)
        self._jobs_directory = state_directory / "jobs"
        self._runner = runner(loaded.file, self._jobs_directory)
        self._interrupt_what_was_open()

    # What is known

    def now(self) -> datetime:
        return self._clock()

    def clusters(self) -> list[str]:
        return list(self.config.config.clusters)

    def health(self, cluster: str) -> Health | None:
        """Return what the last look has found; None before the first. Raise NoSuchCluster."""
        self._check_cluster(cluster)
        with self._lock:
            return self._healths.get(cluster)

    def healths(self) -> list[Health]:
        """Return what is known of the clusters that were looked at, in the config's order."""
        with self._lock:
            found = [self._healths.get(cluster) for cluster in self.clusters()]
        return [health for health in found if health is not None]

    def put_health(self, health: Health) -> None:
        with self._lock:
            self._healths[health.cluster] = health

    def look_again(self, cluster: str) -> None:
        """Have a cluster looked at soon."""
        self._check_cluster(cluster)
        with self._lock:
            self._asked_to_look.add(cluster)
        self.wake()

    def asked_to_look(self) -> set[str]:
        with self._lock:
            return set(self._asked_to_look)

    def looking(self, cluster: str) -> None:
        """Hear that a look begins: whoever asks from now on wants another."""
        with self._lock:
            self._asked_to_look.discard(cluster)

    def app(self, cluster: str | None = None) -> App:
        """Return a freshly wired application, for reading."""
        if cluster is not None:
            self._check_cluster(cluster)
        return App.of(self.config, cluster)

    def reload(self, loaded: Loaded) -> None:
        """Go on with another config; what runs is left to end."""
        with self._lock:
            self.config = loaded
            self._healths = {c: h for c, h in self._healths.items() if c in loaded.config.clusters}
            self._asked_to_look &= loaded.config.clusters.keys()
        self.wake()

    # Jobs

    def jobs(self, cluster: str | None = None, limit: int = 100) -> list[JobRun]:
        """Return jobs, the newest first, those under way with their progress; job() has reports."""
        with self._lock:
            found = self.ledger.newest(cluster, limit)
            return [self._runs.get(run.job.id, run) for run in found]

    def job(self, id: str) -> JobRun:
        """Raise NoSuchJob."""
        with self._lock:
            return self._runs.get(id) or self.ledger.get(id)

    def upcoming(self, cluster: str | None = None) -> list[Job]:
        """Return what the schedule starts next, the soonest first."""
        loaded = self.config
        entries = entries_of(loaded.config)
        now = self.now()
        return [
            Job("", e.cluster, e.kind, e.words, "schedule", now, moment, e.time_limit_s)
            for moment, e in upcoming(entries, now)
            if cluster in (None, e.cluster)
        ]

    def log(self, id: str, offset: int = 0) -> tuple[str, int]:
        """Return a piece of a job's log from an offset on, and where the next begins."""
        path = log_path(self._jobs_directory, self.job(id).job.id)
        try:
            with open(path, "rb") as file:
                file.seek(max(0, offset))
                piece = file.read(_LOG_PIECE)
                return piece.decode(errors="replace"), file.tell()
        except FileNotFoundError:
            return "", 0

    def start(self, cluster: str, words: Sequence[str], by: str) -> Job:
        """Have a command run for a cluster. Raise NoSuchCluster, NotAJob."""
        self._check_cluster(cluster)
        kind = kind_of(words)
        limit = float(self.config.config.clusters[cluster].schedule.time_limit)
        job = self._add(Job("", cluster, kind.name, tuple(words), by, self.now(), None, limit))
        self.start_waiting()
        self.wake()
        return job

    def start_due(self, due: Due) -> Job:
        """Have a job of the schedule run with the next start_waiting(), and settle its entry."""
        entry = due.entry
        now, limit = self.now(), entry.time_limit_s
        job = Job("", entry.cluster, entry.kind, entry.words, due.by, now, due.due_at, limit)
        # Before it starts: what fails each time must not be tried without end.
        self.ledger.settle(entry.key, due.due_at)
        return self._add(job)

    def cancel(self, id: str) -> None:
        """Ask a job to stop; one that is over is left alone. Raise NoSuchJob."""
        with self._lock:
            run = self.job(id)
            if run.state is JobState.WAITING:
                self._changed(replace(run, state=JobState.CANCELLED, ended_at=self.now()))
                return
        self._runner.cancel(id)

    def under_way(self) -> list[JobRun]:
        """Return the jobs that wait or run, in the order in which they were asked for."""
        with self._lock:
            return list(self._runs.values())

    def start_waiting(self) -> None:
        """Start what waits and may run now."""
        with self._lock:
            if self._starting:
                return  # a job has ended while it was started
            self._starting = True
            try:
                self._start_what_may()
            finally:
                self._starting = False

    def _start_what_may(self) -> None:
        """Go through all that waits once: after downtime it may be a thousand jobs."""
        running: dict[str, list[Job]] = defaultdict(list)  # by cluster
        for run in self._runs.values():
            if run.state is JobState.RUNNING:
                running[run.job.cluster].append(run.job)
        free = self._free_places()
        for run in [run for run in self._runs.values() if run.state is JobState.WAITING]:
            job = run.job
            by_itself = job.by in BY_ITSELF
            if free[by_itself] <= 0 or in_the_way(job, running[job.cluster]):
                continue
            self._heard[job.id] = self.now()
            self._record(replace(run, state=JobState.RUNNING, began_at=self.now()))
            self._runner.start(job, self._changed)
            running[job.cluster].append(job)
            free[by_itself] -= 1

    def _free_places(self) -> dict[bool, int]:
        """Return how many jobs may begin now, of all clusters: of the schedule, and of people."""
        # A job that hangs, as its server or disk does, must not take a place from other clusters;
        # one that was heard of by a clock that was ahead has to be heard of again.
        now = self.now()
        free = {True: self.config.config.service.jobs, False: _ASKED_AT_ONCE}
        for run in self._runs.values():
            if run.state is JobState.RUNNING:
                heard = timedelta() <= now - self._heard[run.job.id] < _SILENT
                free[run.job.by in BY_ITSELF] -= heard
        return free

    def forget_old(self) -> None:
        """Remove what is older than [service] keep_jobs, and of many the oldest, with the logs."""
        before = self.now() - timedelta(seconds=self.config.config.service.keep_jobs)
        gone = set(self.ledger.forget_before(before))
        kept = {run.job.id for run in self.under_way()}
        # Also by their age: the record may have been lost. What cannot be removed stays.
        with contextlib.suppress(OSError), os.scandir(self._jobs_directory) as files:
            for file in files:
                id = Path(file.name).stem
                with contextlib.suppress(OSError):
                    is_old = file.stat(follow_symlinks=False).st_mtime < before.timestamp()
                    if id in gone or (is_old and id not in kept):
                        os.unlink(file)

    def close(self) -> None:
        """Stop all jobs and wait for their end."""
        with self._lock:
            for run in list(self._runs.values()):
                if run.state is JobState.WAITING:
                    self._interrupt(run)
        self._runner.close()
        self.ledger.close()

    def _check_cluster(self, cluster: str) -> None:
        if cluster not in self.config.config.clusters:
            known = ", ".join(self.clusters())
            advice = f"there is {known}" if known else "the config describes none"
            raise NoSuchCluster(f"find cluster {cluster}", "the config has none of it", advice)

    def _add(self, job: Job) -> Job:
        id = f"{job.asked_at:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        job = replace(job, id=id)
        with self._lock:
            self._record(JobRun(job, JobState.WAITING))
        return job

    def _changed(self, run: JobRun) -> None:
        with self._lock:
            before = self._runs.get(run.job.id)
            self._heard[run.job.id] = self.now()
            self._record(run, keep=before is not None and before.state is run.state)
        if run.state.is_over:
            self.start_waiting()
            self.wake()

    def _record(self, run: JobRun, *, keep: bool = False) -> None:
        """Remember a run; `keep`: its progress alone has changed, which is not written down."""
        if not keep:
            self.ledger.put(run)
        if run.state is JobState.INTERRUPTED and run.job.due_at is not None:
            # It is due again: a backup goes on with what the interrupted one has stored. Unless a
            # later one was started: of this one only the end is missing on record.
            key = Key(run.job.cluster, run.job.kind)
            if self.ledger.settled().get(key, run.job.due_at) <= run.job.due_at:
                self.ledger.settle(key, run.job.due_at - timedelta(seconds=1))
        if run.state.is_over:
            self._runs.pop(run.job.id, None)
            self._heard.pop(run.job.id, None)
        else:
            self._runs[run.job.id] = run

    def _interrupt_what_was_open(self) -> None:
        """The service ended without a word: its jobs ended with it."""
        for run in self.ledger.not_over():
            self._interrupt(run)

    def _interrupt(self, run: JobRun) -> None:
        self._record(replace(run, state=JobState.INTERRUPTED, ended_at=self.now()))
