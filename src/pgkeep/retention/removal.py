"""Deletes objects, one by one, and goes on where the store refuses: every refusal is told.

What is locked is left alone, not hidden: what is listed is what is stored, and a deletion of
something that is locked is never pgkeep's work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from pgkeep.errors import PgkeepError
from pgkeep.progress import Progress
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.store.base import Store

_GIVE_UP: Final = 20  # refusals in a row: the store says no to everything
_SHOWN: Final = 3
_AT_ONCE: Final = 1000  # objects whose locks are asked for between two heartbeats


class NotAllDeleted(PgkeepError):
    """The store did not delete everything that should go. Nothing that remains is incomplete."""

    code = "not-all-deleted"
    exit_status = 216

    cluster: str
    failed: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"cannot delete {self.failed} of the objects of cluster {self.cluster} that should go: "
            + "; ".join(self.examples)
        )

    @property
    def hint(self) -> str:
        return "every backup that is listed is still whole; find out why, and run it again"


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that is still there, and why."""

    name: str
    why: str


class Locks(Protocol):
    """What keeps objects from being deleted."""

    def locked_until(self, names: Sequence[str], now: datetime) -> Mapping[str, datetime]:
        """Return until when those of the objects are locked that still are."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """What was to go and is locked: it goes when the lock has ended."""

    objects: int
    size: int  # bytes
    first: datetime  # when the first of them is locked no longer
    last: datetime


class Removed(NamedTuple):
    """How much is gone."""

    objects: int = 0
    size: int = 0  # bytes


NOTHING: Final = Removed()


class Remover:
    """Deletes under a lock that it keeps alive. Raises LockLost, and nothing of single objects."""

    def __init__(
        self,
        store: Store,
        lock: Lock,
        progress: Progress,
        locks: Locks | None = None,
        now: datetime | None = None,
    ) -> None:
        """`locks` are those of the store's objects, if it has any; `now` is when they must end."""
        self._store = store
        self._lock = lock
        self._progress = progress
        self._locks = locks
        self._now = now or datetime.now(UTC)
        self.failures: list[Failure] = []
        self.locked: dict[str, datetime] = {}
        self._locked_size = 0

    def remove(self, title: str, blobs: Iterable[tuple[str, int]]) -> Removed:
        """Delete objects, given as names and sizes, in their order."""
        found: Sequence[tuple[str, int]] = list(blobs)
        if not found:
            return NOTHING
        # Each kind of object only after a look whether another process took us for dead: it may
        # have begun a backup that needs what we think nobody does.
        self._lock.check()
        found = self._unlocked(found)
        self._progress.phase(title, len(found), "objects")
        gone, size, refused = 0, 0, 0
        for place, (name, length) in enumerate(found):
            self._lock.beat()
            if self._remove(name):
                gone, size, refused = gone + 1, size + length, 0
            else:
                refused += 1
            if refused == _GIVE_UP:
                left = [name for name, _ in found[place + 1 :]]
                self._progress.note(f"{title}: given up, {len(left)} more were not tried")
                self.failures += (Failure(name, "not tried after many refusals") for name in left)
                break
            self._progress.advance(gone)
        return Removed(gone, size)

    def sweep_temp(self, older_than_s: float, now: float) -> Removed:
        """Remove what writers left in the store that died long ago."""
        try:
            swept = self._store.sweep_temp(older_than_s, now)
        except PgkeepError as error:
            self.failures.append(Failure("temporary files", str(error)))
            return NOTHING
        return Removed(len(swept), sum(temp.size for temp in swept))

    @property
    def held(self) -> Held | None:
        """What was left alone because it is locked."""
        if not self.locked:
            return None
        ends = self.locked.values()
        return Held(len(self.locked), self._locked_size, min(ends), max(ends))

    def why_stuck(self) -> dict[str, str]:
        """Return why objects are still there that were to go, by name."""
        why = {failure.name: failure.why for failure in self.failures}
        return why | {name: f"locked until {_words(end)}" for name, end in self.locked.items()}

    def problem(self, cluster: str) -> NotAllDeleted | None:
        if not self.failures:
            return None
        examples = tuple(f"{failed.name}: {failed.why}" for failed in self.failures[:_SHOWN])
        return NotAllDeleted(cluster, len(self.failures), examples)

    def _unlocked(self, found: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
        """Return those that may be deleted now, and note the others."""
        if self._locks is None:
            return found
        free: list[tuple[str, int]] = []
        for start in range(0, len(found), _AT_ONCE):
            part = found[start : start + _AT_ONCE]
            self._lock.beat()
            ends = self._locks.locked_until([name for name, _ in part], self._now)
            self.locked.update(ends)
            self._locked_size += sum(size for name, size in part if name in ends)
            free += [(name, size) for name, size in part if name not in ends]
        return free

    def _remove(self, name: str) -> bool:
        try:
            self._store.delete(name)
        except PgkeepError as error:
            self.failures.append(Failure(name, str(error)))
            return False
        return True


def _words(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
