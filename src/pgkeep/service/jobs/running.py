"""Runs jobs. Here: each in a process of its own on this host; a queue for workers fits the seam."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import IO, Any, Final, Protocol

from pgkeep import config_file
from pgkeep.service.jobs.following import Follower
from pgkeep.service.jobs.job import Job, JobRun, JobState

Changed = Callable[[JobRun], object]

_PATIENCE_S: Final = 30.0  # between SIGTERM and SIGKILL: a job cleans up after itself
_LOG_LIMIT: Final = 16 << 20  # bytes of a log
_REPORT_LIMIT: Final = 64 << 20  # bytes of a report
_EVERY_S: Final = 0.5  # between two words of progress
_NO: Final = 3  # exit status: the answer is "no"


class Runner(Protocol):
    """Where jobs run. `changed` hears of each state, from a thread of the runner's own."""

    def start(self, job: Job, changed: Changed) -> None: ...

    def cancel(self, id: str) -> bool:
        """Ask a job to stop; tell whether it runs here."""
        ...

    def close(self) -> None:
        """Stop all jobs, as interrupted, and return when they have ended."""
        ...


class OwnProcesses:
    """Runs each job as a process of its own, which ends when this one does."""

    def __init__(self, config: str, directory: Path) -> None:
        self._config = config
        self._directory = directory
        self._running: dict[str, _Process] = {}
        self._lock = Lock()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, job: Job, changed: Changed) -> None:
        process = _Process(job, self._config, self._directory, changed, self._ended)
        with self._lock:
            self._running[job.id] = process
        process.thread.start()

    def cancel(self, id: str) -> bool:
        with self._lock:
            process = self._running.get(id)
        if process is None:
            return False
        process.stop(JobState.CANCELLED)
        return True

    def close(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for process in running:
            process.stop(JobState.INTERRUPTED)
        for process in running:
            process.thread.join()

    def _ended(self, id: str) -> None:
        with self._lock:
            self._running.pop(id, None)


def log_path(directory: Path, id: str) -> Path:
    return directory / f"{id}.log"


def report_path(directory: Path, id: str) -> Path:
    return directory / f"{id}.json"


class _Process:
    """One job under way. Its thread starts it, listens to it and tells how it ended."""

    def __init__(
        self, job: Job, config: str, directory: Path, changed: Changed, ended: Callable[[str], None]
    ) -> None:
        self._job = job
        self._config = config
        self._directory = directory
        self._changed = changed
        self._ended = ended
        self._why: JobState | None = None  # it is stopped for
        self._child: subprocess.Popen[str] | None = None
        self._lock = Lock()
        self.thread = Thread(target=self._run, name=f"job {job.id}", daemon=True)

    def stop(self, why: JobState) -> None:
        """Ask it to stop, and make it after a while."""
        with self._lock:
            first, self._why = self._why is None, self._why or why
            child = self._child
        if child is not None and first:
            _signal(child, signal.SIGTERM)
            killer = Timer(_PATIENCE_S, _signal, (child, signal.SIGKILL))
            killer.daemon = True
            killer.start()

    def _run(self) -> None:
        run = JobRun(self._job, JobState.RUNNING, began_at=datetime.now(UTC))
        try:
            self._changed(run)
            run = self._follow(run)
        except OSError as error:
            problem = {"code": "job-not-started", "message": f"cannot run the job: {error}"}
            run = replace(run, state=JobState.FAILED, error={**problem, "hint": ""})
        finally:
            self._ended(self._job.id)
            self._changed(replace(run, ended_at=datetime.now(UTC), progress=None))

    def _follow(self, run: JobRun) -> JobRun:
        report = report_path(self._directory, self._job.id)
        with (
            open(report, "wb", opener=_private) as out,
            open(log_path(self._directory, self._job.id), "w", opener=_private) as log,
        ):
            log.write(f"$ pgkeep --cluster {self._job.cluster} {' '.join(self._job.words)}\n")
            log.flush()
            child = self._start(out)
            limit = Timer(self._job.time_limit_s, self.stop, (JobState.TIMED_OUT,))
            limit.daemon = True
            limit.start()
            try:
                self._listen(child, run, log)
            finally:
                status = child.wait()
                limit.cancel()
                if self._why:  # what the command has started itself and left behind
                    _signal(child, signal.SIGKILL)
        found = _read_report(report)
        error = found.get("error") if found else None
        return replace(
            run,
            state=self._why if self._why and status else _state_of(status),
            exit_status=status if status >= 0 else 128 - status,
            report=None if error else found,
            error=error if isinstance(error, dict) else None,
        )

    def _start(self, out: IO[bytes]) -> "subprocess.Popen[str]":
        command = job_command(self._config, self._job)
        with self._lock:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                env=job_environment(config_file.environment()),
                start_new_session=True,  # so that a signal reaches all that it starts
                text=True,
                errors="replace",
            )
            self._child = child
            stopped = self._why is not None
        if stopped:
            _signal(child, signal.SIGTERM)
        return child

    def _listen(self, child: "subprocess.Popen[str]", run: JobRun, log: IO[str]) -> None:
        follower = Follower()
        told, written = time.monotonic(), 0
        assert child.stderr is not None
        with child.stderr as said:
            for line in said:
                now = time.monotonic()
                text = follower.take(line.rstrip("\n"), now)
                if text is not None and written < _LOG_LIMIT:
                    written += log.write(f"{text}\n")
                    log.flush()
                if text is not None or now - told >= _EVERY_S:
                    told = now
                    self._changed(replace(run, progress=follower.progress))


def job_command(config: str, job: Job) -> list[str]:
    """Return the command line of a job."""
    cluster = ["--cluster", job.cluster] if job.cluster else []
    return [sys.executable, "-m", "pgkeep", "--config", config, *cluster, "--json", *job.words]


def job_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a job: it says progress for programs, and ends with its parent."""
    service = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
    kept = {name: value for name, value in ours.items() if name not in service}
    return kept | {
        config_file.PROGRESS_VARIABLE: "json",
        config_file.PARENT_VARIABLE: str(os.getpid()),
    }


def typed(job: Job) -> str:
    """Return a job as one would type it."""
    import shlex

    cluster: Sequence[str] = ["--cluster", job.cluster] if job.cluster else []
    return shlex.join(["pgkeep", *cluster, *job.words])


def _state_of(status: int) -> JobState:
    if status == 0:
        return JobState.DONE
    return JobState.NO if status == _NO else JobState.FAILED


def _read_report(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        if path.stat().st_size <= _REPORT_LIMIT:
            found = json.loads(path.read_bytes())
            return found if isinstance(found, dict) else None
    return None


def _signal(child: "subprocess.Popen[str]", number: int) -> None:
    """Signal the job's process group; it may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
