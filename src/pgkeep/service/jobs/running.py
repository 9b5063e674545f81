"""Runs jobs. Here: each in a process of its own on this host; a queue for workers fits the seam."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import IO, Any, Final, Protocol

import msgspec

from pgkeep import config_file
from pgkeep.service.jobs.following import Follower
from pgkeep.service.jobs.job import Job, JobRun, JobState
from pgkeep.service.jobs.saying import lines_of

Changed = Callable[[JobRun], object]

_PATIENCE_S: Final = 30.0  # between SIGTERM and SIGKILL: a job cleans up after itself
_LOG_LIMIT: Final = 16 << 20  # bytes of a log
_REPORT_LIMIT: Final = 4 << 20  # bytes of a report: the ledger keeps no more
_LEFT_LIMIT: Final = 64 << 20  # bytes of one that is longer and so stays in its file
_ROOM: Final = 1 << 20  # bytes that must be free for a file to be begun
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
        try:
            process.thread.start()
        except RuntimeError as error:  # the host gives us no more threads
            self._ended(job.id)
            now = datetime.now(UTC)
            failed = _not_run(
                JobRun(job, JobState.FAILED, now, now), f"cannot run the job: {error}"
            )
            changed(failed)

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
        self._child: subprocess.Popen[bytes] | None = None  # while its process id is its own
        self._timers: list[Timer] = []
        self._lock = Lock()
        self.thread = Thread(target=self._run, name=f"job {job.id}", daemon=True)

    def stop(self, why: JobState) -> None:
        """Ask it to stop, and make it after a while."""
        with self._lock:
            if self._why is None:
                self._why = why
                self._ask_to_end()

    def _ask_to_end(self) -> None:
        if self._child is not None:
            self._signal(signal.SIGTERM)
            self._after(_PATIENCE_S, self._kill)

    def _kill(self) -> None:
        with self._lock:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Signal the job's process group, while no other process can have its number."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def _after(self, seconds: float, act: Callable[..., None], *given: object) -> None:
        timer = Timer(seconds, act, given)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _run(self) -> None:
        run = JobRun(self._job, JobState.RUNNING, began_at=datetime.now(UTC))
        try:
            self._changed(run)
            run = self._follow(run)
        except OSError as error:
            run = _not_run(run, f"cannot run the job: {error}")
        except Exception as error:  # else it would be on record as running for ever
            run = _not_run(run, f"pgkeep has a bug: {type(error).__name__}: {error}")
        self._forget_timers()
        try:
            self._changed(replace(run, ended_at=datetime.now(UTC), progress=None))
        finally:
            # Only now: who waits for the end of all jobs waits until theirs is on record.
            self._ended(self._job.id)

    def _follow(self, run: JobRun) -> JobRun:
        report = report_path(self._directory, self._job.id)
        with (
            _opened(report) as out,
            _log(log_path(self._directory, self._job.id)) as log,
        ):
            _write(log, f"$ {typed(self._job)}")
            child = self._start(out)
            try:
                self._listen(child, run, log, out)
            finally:
                status = self._reap(child)
        found = _take_report(report)
        error = found.get("error") if found else None
        return replace(
            run,
            state=self._why if self._why and status else _state_of(status),
            exit_status=status if status >= 0 else 128 - status,
            report=None if error else found,
            error=error if isinstance(error, dict) else None,
        )

    def _start(self, out: IO[bytes]) -> "subprocess.Popen[bytes]":
        command = job_command(self._config, self._job)
        # First: a host without another thread must not have a process that nobody stops.
        self._after(self._job.time_limit_s, self.stop, JobState.TIMED_OUT)
        with self._lock:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                env=job_environment(config_file.environment()),
                start_new_session=True,  # so that a signal reaches all that it starts
            )
            self._child = child
            if self._why is not None:
                self._ask_to_end()
        return child

    def _reap(self, child: "subprocess.Popen[bytes]") -> int:
        """Wait for the end; return the exit status."""
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            if self._why is not None:  # what it has started itself and left behind
                self._signal(signal.SIGKILL)
            self._child = None  # from wait() on its number may be another's
            return child.wait()

    def _forget_timers(self) -> None:
        with self._lock:
            for timer in self._timers:
                timer.cancel()

    def _listen(
        self, child: "subprocess.Popen[bytes]", run: JobRun, log: IO[str], out: IO[bytes]
    ) -> None:
        follower = Follower()
        told, written = time.monotonic(), 0
        assert child.stderr is not None
        with child.stderr as said:
            for line in lines_of(said.fileno(), lambda: _has_ended(child.pid, out)):
                now = time.monotonic()
                text = follower.take(line, now)
                if text is not None and written < _LOG_LIMIT:
                    written += _write(log, text)
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


def _not_run(run: JobRun, why: str) -> JobRun:
    sayable = why.encode(errors="replace").decode()  # a name of a file may be no UTF-8
    error = {"code": "job-not-started", "message": sayable, "hint": ""}
    return replace(run, state=JobState.FAILED, error=error)


def _take_report(path: Path) -> dict[str, Any] | None:
    """Return what a job has printed, and remove the file; what is no report to keep may stay."""
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        found = _plain(path.read_bytes()) if size <= _REPORT_LIMIT else None
        if found is not None or size == 0 or size > _LEFT_LIMIT:
            os.unlink(path)
        return found
    return None


def _plain(content: bytes) -> dict[str, Any] | None:
    """Return an object of JSON that can be encoded again; None: it is none.

    A name that is no UTF-8 is printed with halves of characters, which no encoder takes.
    """
    try:
        text = json.dumps(json.loads(content), ensure_ascii=False)
        found = msgspec.json.decode(text.encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _has_ended(pid: int, out: IO[bytes]) -> bool:
    """Tell whether a job has ended; meanwhile take the disk back from one that prints no end."""
    if os.fstat(out.fileno()).st_size > _LEFT_LIMIT:
        os.ftruncate(out.fileno(), 0)  # it goes on writing where it was: what was before is a hole
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _write(log: IO[str], text: str) -> int:
    """Add a line to a log. A full disk costs the log, never the job."""
    with contextlib.suppress(OSError):
        log.write(f"{text}\n")
        log.flush()
    return len(text) + 1


def _opened(path: Path) -> IO[bytes]:
    """Open a file to write to. A disk that is full or read-only costs the file, never the job.

    One that could not print its report would end as if it had failed: there must be room for it.
    """
    try:
        file = open(path, "wb", opener=_private)  # noqa: SIM115 - returned
    except OSError:
        return open(os.devnull, "wb")
    try:
        os.posix_fallocate(file.fileno(), 0, _ROOM)
        os.ftruncate(file.fileno(), 0)
    except OSError:
        file.close()
        return open(os.devnull, "wb")
    return file


@contextlib.contextmanager
def _log(path: Path) -> Iterator[IO[str]]:
    log = io.TextIOWrapper(_opened(path), encoding="utf-8", errors="replace")
    try:
        yield log
    finally:
        with contextlib.suppress(OSError):  # what a full disk did not take
            log.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
