"""The service: one loop that starts what is due, has health looked at, and tells who must know.

The loop itself never waits for a repository, a server or a channel: jobs are processes, looks and
messages have threads of their own.
"""

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from pgkeep.app import App, Loaded
from pgkeep.errors import PgkeepError
from pgkeep.health.forecast import WEIGHED, Sample
from pgkeep.health.health import Health
from pgkeep.health.look import Look, Sizes
from pgkeep.places import Place
from pgkeep.schedule.due import Decision, Entry, Key, decide, newly_timed
from pgkeep.service.bell import Bell
from pgkeep.service.board import Board
from pgkeep.service.errors import ServiceFailed
from pgkeep.service.jobs.running import Runner
from pgkeep.service.judging import TELLING, with_jobs
from pgkeep.service.planning import entries_of, kinds_of
from pgkeep.service.systemd import Systemd
from pgkeep.service.watching import Watch
from pgkeep.service.weighing import Weighing
from pgkeep.units import plural

LOCK: Final = "service.lock"
_LONGEST_S: Final = 10.0  # between two rounds: a clock that is set, a queue that stalls
_CLEAN_EVERY: Final = timedelta(hours=1)


class ServiceRuns(ServiceFailed):
    """A second service was to run with the same state directory."""

    code = "service-runs"


class Face(Protocol):
    """What people and programs talk to: the HTTP server, the socket for commands."""

    def start(self) -> None:
        """Listen. Raise PgkeepError when that cannot be done."""
        ...

    def troubles(self, now: datetime) -> list[str]:
        """Say what is or soon will be wrong with it."""
        ...

    def close(self) -> None: ...


class Tells(Protocol):
    """Who tells people: alerts/telling.py."""

    def tell(self, healths: list[Health], now: datetime) -> None: ...

    def troubles(self) -> list[str]:
        """Say which channels fail, and why."""
        ...

    def close(self) -> None: ...


class Parts(Protocol):
    """What the service is put together from besides its own; see cli/serving."""

    def runner(self, config: str, directory: Path) -> Runner: ...

    def look(self, app: App, sizes: Sizes) -> Health: ...

    def weigh(self, app: App) -> Sequence[tuple[Place, Sample]]:
        """Return how much is stored now, in each repository that answers; it may take long."""
        ...

    def tells(self, loaded: Loaded, state_directory: Path) -> Tells: ...

    def faces(self, board: Board) -> Sequence[Face]: ...


class Service:
    """Everything that runs, and the loop."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        state_directory: Path,
        parts: Parts,
        say: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._load = load
        self._parts = parts
        self._say = say
        self._clock = clock
        self._bell = Bell()
        self._systemd = Systemd()
        self._stopping = self._reloading = False
        self.board = Board(load(), state_directory, parts.runner, clock)
        self.board.wake = self._bell.ring
        self._entries = entries_of(self.board.config.config)
        self._there_since = clock()
        self._cleaned = self._there_since - _CLEAN_EVERY
        self._decided = self._decide_again = self._there_since
        self._notes_said = 0
        self._refused = ""  # why a new config is not in force
        self._watch = Watch(self.board, _looking(self.board, parts))
        self._weighing = Weighing(self.board, parts.weigh)
        self._tells = parts.tells(self.board.config, state_directory)
        self._faces: list[Face] = []

    def run(self) -> None:
        """Serve until stop(). Raise PgkeepError when it cannot even listen."""
        try:
            for face in self._parts.faces(self.board):
                face.start()
                self._faces.append(face)
            self._ready()
            while not self._stopping:
                self._bell.wait(self._round())
        finally:
            self._close()

    def stop(self) -> None:
        """Have run() end soon. For signal handlers too."""
        self._stopping = True
        self._bell.ring()

    def reload(self) -> None:
        """Have the config read again. For signal handlers too."""
        self._reloading = True
        self._bell.ring()

    def _ready(self) -> None:
        self._systemd.say("READY=1", f"STATUS=watching {self._watched()}")
        count = sum(bool(entry.times) for entry in self._entries)
        self._say(f"pgkeep serves: {self._watched()}, {plural(count, 'schedule')}")

    def _watched(self) -> str:
        return plural(len(self.board.clusters()), "cluster")

    def _round(self) -> float:
        """Go on, whatever goes wrong: jobs that run must not end for it.

        A round that fails tells systemd's watchdog nothing, so if none succeeds it starts us anew.
        """
        try:
            return self.go_on()
        except Exception as error:
            self._say(f"error: a round of the service failed: {type(error).__name__}: {error}")
            return _LONGEST_S

    def go_on(self) -> float:
        """Do what is to be done now; return the seconds until there may be more."""
        self._say_notes()
        if self._reloading:
            self._reload()
        now = self._clock()
        # Of a clock that was ahead when we started: nothing would be due until then.
        self._there_since = min(self._there_since, now)
        if not self._decided <= now < self._decide_again:  # the clock may have been set back
            self._start_due(now)
        self.board.start_waiting()
        look_at = self._watch.go_on(now)
        self._weighing.go_on(now)
        self._tell(now)
        if not timedelta() <= now - self._cleaned < _CLEAN_EVERY:
            self._cleaned = now
            self.board.forget_old()
        self._systemd.say("WATCHDOG=1")
        seconds = (min(self._decide_again, look_at) - now).total_seconds()
        return min(seconds, _LONGEST_S, self._systemd.watchdog_s or _LONGEST_S)

    def _say_notes(self) -> None:
        notes = self.board.ledger.notes[self._notes_said :]
        self._notes_said += len(notes)
        for note in notes:
            self._say(f"warning: {note}")

    def _start_due(self, now: datetime) -> None:
        """Start what is due. With 200 clusters this is too long to be done after every look."""
        decision = self._decide(now)
        for due in decision.passed_over:
            self._say(f"passed over: {due.entry.cluster} {due.entry.kind} of {due.due_at}")
            self.board.ledger.settle(due.entry.key, due.due_at)
        for due in decision.start:
            job = self.board.start_due(due)
            self._say(f"{due.by}: {job.cluster} {job.kind} is job {job.id}")
        # Not later: a job that ends may leave another due, a first look tell what was missed.
        longest = now + timedelta(seconds=_LONGEST_S)
        self._decided = now
        self._decide_again = min(decision.look_again or longest, longest)

    def _decide(self, now: datetime) -> Decision:
        settled = self._settled()
        busy = {
            Key(run.job.cluster, run.job.kind)
            for run in self.board.under_way()
            if run.job.due_at is not None
        }
        return decide(self._entries, settled, busy, self._there_since, now)

    def _settled(self) -> dict[Key, datetime]:
        """Return what is settled; where the record of jobs is lost, repositories tell."""
        settled = self.board.ledger.settled()
        for health in self.board.healths():
            proven = health.proven.at if health.proven else None
            for kind, at in (
                ("backup", health.newest_backup_at),
                ("dump", health.newest_dump_at),
                ("drill", proven),
            ):
                if at is not None:
                    settled.setdefault(Key(health.cluster, kind), at)
        return settled

    def _tell(self, now: datetime) -> None:
        self._tells.tell(self.board.healths(), now)
        of_faces = [trouble for face in self._faces for trouble in face.troubles(now)]
        troubles = [*filter(None, [self._refused]), *self._tells.troubles(), *of_faces]
        for trouble in troubles:
            if trouble not in (*self.board.troubles, self._refused):
                self._say(f"error: {trouble}")
        self.board.troubles = troubles

    def _reload(self) -> None:
        """Go on with the config as it is now, or with the old one if it is no good."""
        self._reloading = False
        self._systemd.say("RELOADING=1", f"MONOTONIC_USEC={_monotonic_usec()}")
        try:
            loaded = self._load()
            entries = entries_of(loaded.config)
        except PgkeepError as error:
            # Jobs are processes that read the file themselves.
            self._refused = f"the old config stays in force, but jobs fail by the new one: {error}"
            self._say(f"error: {self._refused}")
            self._systemd.say("READY=1", "STATUS=the new config was refused")
            return
        self._refused = ""
        self._count_from_now(entries)
        self.board.reload(loaded)
        self._entries = entries
        self._decide_again = self._decided
        self._tells.close()
        self._tells = self._parts.tells(loaded, self.board.state_directory)
        self._say(f"the config was read again: {self._watched()}")
        self._systemd.say("READY=1", f"STATUS=watching {self._watched()}")

    def _count_from_now(self, entries: list[Entry]) -> None:
        """Settle what a config that is read now would have had done earlier."""
        now = self._clock()
        settled = self._settled()
        for entry in newly_timed(self._entries, entries, settled, self._there_since, now):
            self.board.ledger.settle(entry.key, now)

    def _close(self) -> None:
        self._systemd.say("STOPPING=1")
        with contextlib.ExitStack() as last_first:  # each, whatever becomes of the others
            last_first.callback(self._tells.close)
            last_first.callback(self.board.close)
            for face in self._faces:
                last_first.callback(face.close)


def _looking(board: Board, parts: Parts) -> Look:
    def look(cluster: str) -> Health:
        runs = board.ledger.newest_of_each(TELLING, cluster)
        sizes = board.ledger.sizes(cluster, board.now() - WEIGHED)
        health = parts.look(board.app(cluster), sizes)
        return with_jobs(health, runs, kinds_of(board.config.config, cluster))

    return look


@contextmanager
def alone(state_directory: Path) -> Iterator[None]:
    """Be the only service with this state directory. Raise ServiceRuns, ServiceFailed."""
    path = state_directory / LOCK
    try:
        state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_shared(state_directory)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = f"{error.filename} cannot be made or opened: {(error.strerror or '').lower()}"
        advice = 'name another one: state_directory = "..." under [service]'
        raise ServiceFailed("keep the state of the service", why, advice) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            why = f"process {who} serves with {state_directory} already"
            advice = "stop it first, or give this one a state_directory of its own"
            raise ServiceRuns("start the service", why, advice) from None
        with contextlib.suppress(OSError):  # on a full disk a second service is not told who we are
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _refuse_shared(directory: Path) -> None:
    """Refuse a folder in which others could put users, or a socket, of their own."""
    found, what = directory.stat(), "keep the state of the service"
    if found.st_mode & 0o022:
        advice = f"look who changed what is in it, then: chmod go-w {directory}"
        raise ServiceFailed(what, f"others may write to {directory}", advice)
    if os.geteuid() not in (0, found.st_uid) and found.st_uid != 0:
        advice = 'name another one: state_directory = "..." under [service]'
        raise ServiceFailed(what, f"{directory} is another user's, who may change it", advice)


@contextmanager
def signals_for(service: Service) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C stop the service, and SIGHUP have it read its config again."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        service.stop()

    def reload(_number: int, _frame: FrameType | None) -> None:
        service.reload()

    wanted = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, act) for number, act in wanted.items()}
    try:
        yield
    finally:
        for number, act in before.items():
            signal.signal(number, act)


def _monotonic_usec() -> int:
    import time

    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
