"""Who works here: one object per holder, with a heartbeat. On disk: docs/formats/locks.md.

A holder creates an object of its own, and then looks for others: of two that come at once at least
one sees the other, so two never hold conflicting locks. The dead never need to be cleaned by hand.
"""

import os
import random
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.progress import Progress
from pgkeep.repository import names
from pgkeep.repository.claims.writers import user_here
from pgkeep.repository.marker import encode_document, format_moment, read_document
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobMissing, BlobStat, Store, StoreFailed, UnsafeName
from pgkeep.repository.store.distance.at_once import at_once
from pgkeep.repository.store.durable import process_is_alive
from pgkeep.units import format_duration

if TYPE_CHECKING:
    from pgkeep.repository.repository import ClusterFolder

BEAT_S: Final = 30.0  # between heartbeats; ten may be lost before anyone takes the lock
STALE_S: Final = 300.0  # after which a holder on another host counts as dead
_NEWCOMER_S: Final = 5.0  # a lock younger than this may be about to be withdrawn
_ATTEMPTS: Final = 4
# Whoever holds a lock of this kind deletes objects, which takes seconds to minutes: worth a wait.
PASSING: Final = "expire"
_PATIENCE_S: Final = 600.0
_PAUSE_S: Final = 1.0


class Process(NamedTuple):
    """A process, told apart from every other one there ever was."""

    host: str
    boot_id: str
    pid_namespace: str  # containers of one host share the boot id, and count their own pids
    pid: int
    pid_start: str  # clock ticks after boot: pids are used again
    user: str


class Holder(NamedTuple):
    """Who holds a lock, and what for."""

    lock_id: str
    kind: str
    command: str
    process: Process
    started_at: str  # ISO 8601, UTC, by the holder's clock
    silent_s: float  # seconds since its last heartbeat, by the store's clock

    def __str__(self) -> str:
        return (
            f"{self.command!r}, process {self.process.pid} of {self.process.user} "
            f"on {self.process.host}, since {self.started_at}"
        )


class LockTaken(PgkeepError):
    """Somebody else is at work on this cluster's part of the repository."""

    code = "lock-taken"
    exit_status = 40

    cluster: str
    kind: str
    command: str
    host: str
    pid: int
    user: str
    since: str
    silent_s: float  # since its last heartbeat

    def __str__(self) -> str:
        return (
            f"cannot work on cluster {self.cluster} now: {self.command!r} is at work, "
            f"process {self.pid} of {self.user} on {self.host}, since {self.since}, "
            f"last heard of {format_duration(self.silent_s)} ago"
        )

    @property
    def hint(self) -> str:
        if self.host == os.uname().nodename:
            return f"wait for it, or end it: kill {self.pid}"
        return (
            f"wait for it, or end it on {self.host}; should that host be dead, the lock gives way "
            f"{format_duration(STALE_S)} after its last sign of life"
        )


class LockLost(PgkeepError):
    """This process's lock is gone: it was silent for so long that another took over."""

    code = "lock-lost"
    exit_status = 41

    cluster: str
    command: str
    silent_s: float

    def __str__(self) -> str:
        return (
            f"cannot finish {self.command!r} on cluster {self.cluster}: its lock was removed, "
            f"{format_duration(self.silent_s)} after its last heartbeat"
        )

    @property
    def hint(self) -> str:
        return "nothing stored earlier was touched; look whether another one is at work, and retry"


class Timing(NamedTuple):
    """How a lock sees time pass."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


REAL_TIME: Final = Timing()


def hold(  # noqa: PLR0913  # all but four are named
    cluster: "ClusterFolder",
    kind: str,
    command: str,
    conflicts: Collection[str],
    *,
    waiting: Callable[[str], None] | None = None,
    timing: Timing = REAL_TIME,
) -> "Lock":
    """Return a lock for a `with` statement. Entering it raises LockTaken.

    With `waiting` the end of an expire is waited for, up to ten minutes: a backup at night must not
    fail because of it. `waiting` is told, once, which command it is.
    """
    return Lock(cluster, _Wanted(kind, command, frozenset(conflicts)), timing, waiting)


def keep_from_expiring(
    cluster: "ClusterFolder", kind: str, command: str, progress: Progress, stack: ExitStack
) -> "Lock | None":
    """Hold a lock that no expire passes, until `stack` ends; None where no lock can be written.

    What lies in a repository that can only be read can be restored all the same; that is noted.
    Raise LockTaken.
    """
    wanted = hold(
        cluster,
        kind,
        command,
        {"expire"},
        waiting=lambda other: progress.phase(f"waiting for the end of {other!r}"),
    )
    try:
        return stack.enter_context(wanted)
    except StoreFailed as error:
        progress.note(f"without a lock, so nothing must be deleted meanwhile: {error}")
        return None


class _Wanted(NamedTuple):
    """What a lock is to be."""

    kind: str
    command: str
    conflicts: frozenset[str]  # kinds of locks that must not be held beside it


class Lock:
    """A lock while it is held. beat() often; check() before anything that cannot be undone."""

    def __init__(
        self,
        cluster: "ClusterFolder",
        wanted: _Wanted,
        timing: Timing,
        waiting: Callable[[str], None] | None,
    ) -> None:
        self._store: Store = cluster.store
        self._cluster = cluster.name
        self._kind, self._command, self._conflicts = wanted
        self._clock, self._pause = timing
        self._waiting = waiting
        self._name = ""
        self._facts: dict[str, Any] = {}
        self._beaten = 0.0
        self.took_over: list[Holder] = []  # dead holders whose locks were removed: tell the user

    @property
    def name(self) -> str:
        """The object that shows that it is held."""
        return self._name

    def __enter__(self) -> "Lock":
        deadline = self._clock() + _PATIENCE_S
        told, attempt = False, 0
        while True:
            taken = self._try_to_take()
            if taken is None:
                return self
            if self._waiting and taken.kind == PASSING and self._clock() < deadline:
                if not told:
                    self._waiting(taken.command)
                told = True
                self._pause(_PAUSE_S)
                continue
            # Two that came at once have both withdrawn; one of them should get through.
            attempt += 1
            if attempt == _ATTEMPTS or taken.silent_s > _NEWCOMER_S:
                raise _taken(self._cluster, taken)
            self._pause(random.uniform(0.05, 0.5))  # noqa: S311 - not a secret

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._store.delete(self._name)
        except PgkeepError:
            # The lock gives way by itself once this process is gone; that must not hide `error`.
            if error is None:
                raise

    def beat(self) -> None:
        """Show that we are alive: a look at the clock, and every 30 s a write. Raise LockLost."""
        if self._clock() - self._beaten >= BEAT_S:
            self.check()
            self._write(self._store.put)

    def check(self) -> None:
        """Raise LockLost unless the lock is still ours."""
        try:
            self._store.stat(self._name)
        except BlobMissing:
            silent = self._clock() - self._beaten
            raise LockLost(self._cluster, self._command, silent) from None

    def _try_to_take(self) -> Holder | None:
        """Take the lock, or leave nothing behind and return who has it."""
        lock_id = f"{self._kind}-{os.urandom(8).hex()}"
        self._name = names.lock(self._cluster, lock_id)
        self._facts = {
            "kind": self._kind,
            "command": self._command,
            **this_process()._asdict(),
            "started_at": format_moment(datetime.now(UTC)),
        }
        # First our own, then look at others: the other way round two could miss each other.
        self._write(self._store.create)
        try:
            taken = self._first_living()
        except BaseException:
            self._store.delete(self._name)
            raise
        if taken is not None:
            self._store.delete(self._name)
        return taken

    def _write(self, write: Callable[[str, list[bytes]], None]) -> None:
        self._beaten = self._clock()
        seen = {"seen_at": format_moment(datetime.now(UTC))}
        write(self._name, [encode_document({**self._facts, **seen})])

    def _first_living(self) -> Holder | None:
        """Return a conflicting holder that may live; remove the locks of the dead."""
        blobs = list(self._store.list(names.lock(self._cluster, "x").removesuffix("x.json")))
        # Ages are differences of the store's own times: the clocks of hosts disagree.
        now = next((b.modified for b in blobs if b.name == self._name), None)
        if now is None:
            raise LockLost(self._cluster, self._command, 0)
        others = [blob for blob in blobs if blob.name != self._name]
        read = (partial(_read_holder, self._store, blob, now) for blob in others)
        for blob, holder in zip(others, at_once(self._store, read), strict=True):
            if holder is None or holder.kind not in self._conflicts:
                continue
            if not _is_dead(holder):
                return holder
            self._store.delete(blob.name)
            self.took_over.append(holder)
        return None


def _taken(cluster: str, holder: Holder) -> LockTaken:
    process = holder.process
    return LockTaken(
        cluster=cluster,
        kind=holder.kind,
        command=holder.command,
        host=process.host,
        pid=process.pid,
        user=process.user,
        since=holder.started_at,
        silent_s=holder.silent_s,
    )


def holders(cluster: "ClusterFolder", now: float) -> list[Holder]:
    """Return everyone who has a lock, dead or alive; `now` is seconds since 1970."""
    prefix = names.lock(cluster.name, "x").removesuffix("x.json")
    blobs = cluster.store.list(prefix)
    found = at_once(
        cluster.store, (partial(_read_holder, cluster.store, blob, now) for blob in blobs)
    )
    return [holder for holder in found if holder is not None]


def this_process() -> Process:
    """Describe the process that asks."""
    pid = os.getpid()
    return Process(os.uname().nodename, _boot_id(), _pid_namespace(), pid, _start(pid), user_here())


def _read_holder(store: Store, blob: BlobStat, now: float) -> Holder | None:
    """Return what a lock says; None if it was withdrawn while we looked."""
    lock_id = blob.name.rpartition("/")[2].removesuffix(".json")
    silent = max(0.0, now - blob.modified)
    try:
        facts = read_document(store, blob.name)
        numbers = {**facts, "pid": int(facts["pid"])}
        process = Process(**{field: numbers[field] for field in Process._fields})
        kind, command, since = (str(facts[field]) for field in ("kind", "command", "started_at"))
        return Holder(lock_id, kind, command, process, since, silent)
    except BlobMissing:
        return None
    except (Damaged, UnsafeName, KeyError, TypeError, ValueError):
        # It protects somebody all the same, as long as it is young.
        unknown = Process("an unknown host", "", "", 0, "", "an unknown user")
        kind = lock_id.rpartition("-")[0]
        return Holder(lock_id, kind, "an unreadable lock", unknown, "an unknown time", silent)


def _is_dead(holder: Holder) -> bool:
    """Tell whether a holder is surely gone: its process by our own eyes, or long silent."""
    gone = has_ended(holder.process)
    return holder.silent_s > STALE_S if gone is None else gone


def has_ended(there: Process) -> bool | None:
    """Tell whether a process has ended; None when that cannot be seen from here."""
    here = this_process()
    same = ("boot_id", "pid_namespace")
    if not here.boot_id or any(getattr(here, name) != getattr(there, name) for name in same):
        return None
    start = _start(there.pid)
    # Hidden from us (hidepid) is not gone: another user's process may still be there.
    return start != there.pid_start if start else not process_is_alive(there.pid)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start(pid: int) -> str:
    """Return when a process started, in ticks after boot; '' when that cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # Fields of proc(5), counted behind the command's name, which may hold anything.
            fields = file.read().rpartition(")")[2].split()
            return "gone" if fields[0] in "ZX" else fields[19]  # a zombie does no work any more
    except (OSError, IndexError):
        return ""
