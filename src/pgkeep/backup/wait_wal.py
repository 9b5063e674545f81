"""A backup without its WAL is worthless: wait until every segment of it is in the repository."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.progress import Progress
from pgkeep.repository.marker import NotARepository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.wal_archive import WalArchive, WalMissing
from pgkeep.units import format_duration

_POLL_S: Final = (0.01, 1.0)  # between two looks, at first and at most
_NUDGE_S: Final = 5.0  # without progress, before the server is asked to switch WAL once more


class WalIncomplete(PgkeepError):
    """A copy is whole, but WAL without which it cannot be restored is not in the repository."""

    code = "wal-incomplete"
    exit_status = 63

    first: str
    last: str
    missing: int
    why: str
    advice: str

    def __str__(self) -> str:
        segments = self.first if self.missing == 1 else f"{self.first} to {self.last}"
        return (
            f"no backup was made: what was copied is not restorable without WAL segment {segments},"
            f" {self.why}"
            if self.missing == 1
            else f"no backup was made: what was copied is not restorable without {self.missing} "
            f"WAL segments, {segments}, {self.why}"
        )

    @property
    def hint(self) -> str:
        return self.advice


class Archiver(NamedTuple):
    """What the server says about its archiver."""

    archived: int
    last_archived: str = ""
    last_failed: str = ""
    last_failed_at: datetime | None = None

    def __str__(self) -> str:
        if self.last_failed and self.last_failed_at:
            at = self.last_failed_at.astimezone(UTC)
            return f"archiving {self.last_failed} failed at {at:%Y-%m-%d %H:%M:%S} UTC"
        if self.last_archived:
            return f"the server says that it archived {self.last_archived}, but not to here"
        return "the server has not archived anything"


class WalSource(Protocol):
    """The part of a source that knows about its WAL."""

    def archiver(self) -> Archiver | None:
        """Return the archiver's state; None when the server does not answer any more."""
        ...

    def written(self) -> Lsn:
        """Return how far WAL has been written."""
        ...

    def switch_wal(self) -> None:
        """End the current segment, if anything is in it. Where that is not allowed: nothing."""
        ...

    def wal_segment(self, segment: Segment) -> bytes | None:
        """Return a finished segment from the server's own pg_wal; None when it is gone."""
        ...


def segments_between(start: Lsn, stop: Lsn, timeline: int, size: int) -> list[Segment]:
    """Return every segment that holds a byte of [start, stop)."""
    first = Segment.containing(start, timeline, size)
    last = Segment.ending(stop, timeline, size)
    return [Segment(timeline, number, size) for number in range(first.number, last.number + 1)]


class WalCollector:
    """Stores a backup's segments itself, for a server that does not archive."""

    def __init__(self, source: WalSource, archive: WalArchive, first: Segment) -> None:
        self._source = source
        self._archive = archive
        self._next = first

    def collect(self, end: Lsn) -> None:
        """Store every segment that is finished at `end`. Raise WalIncomplete when one is gone."""
        while self._next.end <= end:
            segment = self._next
            if not self._archive.has(segment.name):
                content = self._source.wal_segment(segment)
                if content is None:
                    raise _removed(segment, Segment.ending(end, segment.timeline, segment.size))
                self._archive.push(segment.name, content)
            self._next = segment._replace(number=segment.number + 1)


def _removed(first: Segment, last: Segment) -> WalIncomplete:
    return WalIncomplete(
        first.name,
        last.name,
        last.number - first.number + 1,
        "which the server has removed from pg_wal already (archive_mode is off)",
        "set archive_mode = on and archive_command (pgkeep init --apply), or a larger "
        "wal_keep_size, and run it again",
    )


def wait_for_wal(  # noqa: PLR0913  # all but three are named
    wanted: Sequence[Segment],
    source: WalSource,
    archive: "WalArchive | GatheredWal",
    *,
    progress: Progress,
    patience: float,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Return when all segments are in the repository.

    Raise WalIncomplete after `patience` seconds in which nothing arrived and nothing was archived.
    """
    progress.phase("waiting for WAL", len(wanted), "segments")
    done, archived = 0, -1
    last_progress = time.monotonic()
    nudged = False
    pause = _POLL_S[0]
    while True:
        arrived = _arrived(wanted, done, archive)
        state = source.archiver() if arrived == done else None
        if arrived > done or (state is not None and state.archived > archived >= 0):
            last_progress, pause = time.monotonic(), _POLL_S[0]
        done, archived = arrived, state.archived if state else archived
        progress.advance(done)
        if done == len(wanted):
            return
        waited = time.monotonic() - last_progress
        if waited >= patience:
            raise _timeout(wanted[done:], patience, state)
        if waited >= _NUDGE_S and not nudged:
            source.switch_wal()  # on an idle server nothing else would end the segment
            progress.note(f"waiting for WAL segment {wanted[done].name}: {state or 'no news'}")
            nudged = True
        tick()
        time.sleep(pause)
        pause = min(pause * 1.5, _POLL_S[1])


class GatheredWal:
    """The WAL of a repository, to which what went to one of its copies is brought.

    WAL goes to the first repository that works: while that changes, a backup's is scattered.
    """

    def __init__(self, archive: WalArchive, copies: Sequence[WalArchive]) -> None:
        self._archive = archive
        self._copies = copies

    def has(self, file: str) -> bool:
        """Tell whether a file is archived here; one that a copy has, and it alone, is from now on.

        Raise when the store cannot say.
        """
        if self._archive.has(file):
            return True
        for copy in self._copies:
            try:
                if copy.has(file):
                    self._archive.push(file, b"".join(copy.fetch(file)))
                    return True
            except (StoreFailed, NotARepository, Damaged, WalMissing):
                continue  # it is waited for
        return False


def _arrived(wanted: Sequence[Segment], done: int, archive: WalArchive | GatheredWal) -> int:
    """Return how many of the first segments are there, without a hole."""
    while done < len(wanted) and archive.has(wanted[done].name):
        done += 1
    return done


def _timeout(missing: Sequence[Segment], patience: float, state: Archiver | None) -> WalIncomplete:
    why = f"which did not reach the repository: nothing arrived for {format_duration(patience)}"
    if state is not None:
        why += f", and {state}"
    return WalIncomplete(
        missing[0].name,
        missing[-1].name,
        len(missing),
        why,
        "find out why the archive_command fails (pgkeep check, the server's log), then run "
        "pgkeep backup again",
    )
