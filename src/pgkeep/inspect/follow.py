"""Explains a recovery that is running: how far it is, what it waits for, how it ended.

Only looks: the log is read as it grows, and global/pg_control tells what is safely replayed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgkeep.errors import PgkeepError
from pgkeep.postgres.control import BadControlFile, ControlFile, State, read_control
from pgkeep.postgres.recovery_log import parse_line
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.progress import Progress, Silent
from pgkeep.server.instance import PidFile, running_server
from pgkeep.server.processes import wait_until
from pgkeep.server.recovery import Recovery, advance

_LOOK_S: Final = 1.0  # between two looks


class NothingToFollow(PgkeepError):
    """No server runs in the directory, or its log cannot be found."""

    code = "nothing-to-follow"
    exit_status = 94

    directory: str
    why: str

    def __str__(self) -> str:
        return f"cannot follow a recovery in {self.directory}: {self.why}"

    @property
    def hint(self) -> str:
        return f"pgkeep inspect {self.directory} tells what a start would do"


@dataclass(frozen=True, slots=True)
class FollowReport:
    """How a recovery stands, in words."""

    directory: str
    running: bool
    recovering: bool
    words: str
    replayed: str  # LSN that is safely replayed, by pg_control
    fetched: str  # the last segment from the archive
    goal: str
    log_file: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as --json shows it."""
        return {
            "directory": self.directory,
            "running": self.running,
            "recovering": self.recovering,
            "words": self.words,
            "replayed": self.replayed,
            "fetched": self.fetched,
            "goal": self.goal,
            "log_file": self.log_file,
        }


def follow(
    directory: str, log_file: str | None = None, progress: Progress | None = None
) -> FollowReport:
    """Tell how the recovery in `directory` goes until it has ended or stands still.

    Raise NothingToFollow or CannotLook. A server that is not recovering is told at once.
    """
    progress = progress or Silent()
    progress.phase("following recovery", unit="steps")
    told = reports(directory, log_file)
    report = next(told)
    for later in told:
        progress.note(report.words)  # the last one is the result, and noted by nobody
        report = later
    return report


def reports(directory: str, log_file: str | None = None) -> Iterator[FollowReport]:
    """Yield a report whenever something has changed; the last one is how it ended."""
    directory = os.path.abspath(directory)
    if running_server(directory) is None:
        raise NothingToFollow(directory, "no server is running there")
    watch = _Watch(directory, log_file or _find_log(directory))
    report = watch.look()
    yield report
    while report.recovering and report.running and not watch.stands_still:
        wait_until(lambda before=report: watch.look() != before, _LOOK_S)  # type: ignore[misc]
        found = watch.look()
        if found != report:
            report = found
            yield report


class _Watch:
    """What is known so far; every look reads what has been added to the log."""

    def __init__(self, directory: str, log_file: str) -> None:
        self._directory: Final = directory
        self._log_file: Final = log_file
        self._read = 0
        self._now = Recovery()

    @property
    def stands_still(self) -> bool:
        return self._now.paused is not None

    def look(self) -> FollowReport:
        running = running_server(self._directory) is not None
        self._take_in()
        control = _control(self._directory)
        # postmaster.pid says 'ready' for a hot standby as well: only pg_control tells
        recovering = running and (control is None or control.state is not State.IN_PRODUCTION)
        return FollowReport(
            self._directory,
            running,
            recovering,
            _words(self._now, running=running, recovering=recovering),
            str(max(control.min_recovery_point, control.redo)) if control else "",
            self._now.fetched,
            self._now.goal,
            self._log_file,
        )

    def _take_in(self) -> None:
        try:
            with open(self._log_file, "rb") as log:
                log.seek(self._read)
                grown = log.read()
        except OSError as error:
            why = f"its log {self._log_file} cannot be read: {error.strerror}"
            raise NothingToFollow(self._directory, why) from error
        whole = grown[: grown.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            event = parse_line(line)
            if event is not None:
                # a log may tell of earlier runs as well: each begins anew
                began = Recovery() if self._now.shut_down or self._now.fatal else self._now
                self._now = advance(began, event)


def _words(now: Recovery, *, running: bool, recovering: bool) -> str:
    if now.fatal and not running:
        return f"recovery failed: {now.fatal.reason.value} ({now.fatal.text})"
    if not running:
        return "shut down at its target" if now.shut_down_at_target else "the server has ended"
    if not recovering:
        timeline = f" on timeline {now.timeline}" if now.timeline else ""
        return f"the server is open for reading and writing{timeline}: no recovery is going on"
    return _recovering_words(now)


def _recovering_words(now: Recovery) -> str:
    if now.paused is not None:
        where = f" ({now.stopping.text})" if now.stopping else ""
        if now.paused.at_target:
            return f"paused at its target{where}: SELECT pg_wal_replay_resume() promotes the server"
        return f"paused before its target: {'; '.join(now.words)}"
    goal = f"to {now.goal}" if now.goal else "to the end of all WAL"
    goal = "as a standby" if now.standby else goal
    at = f", last fetched {now.fetched}" if now.fetched else ""
    stage = "not yet consistent" if now.consistent is None else "consistent"
    return f"replaying {goal}{at}: {stage}, {now.fetched_files} files fetched"


def _control(directory: str) -> ControlFile | None:
    try:
        return read_control(directory)
    except (BadControlFile, UnsupportedVersion):
        return None


def _find_log(directory: str) -> str:
    """Return the running server's log: where its standard error goes, as /proc tells."""
    file = PidFile.read(directory)
    pid = file.pid if file else None
    if pid is not None:
        try:
            target = os.readlink(f"/proc/{pid}/fd/2")
        except OSError:
            target = ""
        if target.startswith("/") and Path(target).is_file():
            return target
    beside = f"{directory}.log"
    if os.path.exists(beside):
        return beside
    raise NothingToFollow(directory, "its log cannot be found")
