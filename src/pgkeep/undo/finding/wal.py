"""The WAL there is: archived, and in a live server's pg_wal where nothing has archived it yet."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgkeep.coverage.record import Record
from pgkeep.errors import PgkeepError
from pgkeep.model.coverage import segment_on
from pgkeep.model.segment import BadSegmentName, Segment
from pgkeep.model.timeline import BadHistory, History
from pgkeep.model.wal_file import kind_of
from pgkeep.postgres.control import read_control
from pgkeep.postgres.versions import UnsupportedVersion
from pgkeep.postgres.wal_header import HEADER_SIZE, NotWal, WrongSegment, parse_header
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import ShortRead
from pgkeep.repository.wal_archive import WalArchive, WalMissing

_UNUSABLE: Final = (Damaged, FormatTooNew, NotWal, ShortRead, WalMissing, WrongKey, WrongSegment)


class Unreadable(Exception):
    """A segment that is there, or was, and cannot be used."""


class Live(NamedTuple):
    """A server's pg_wal, as far as it may be read here."""

    directory: str
    timeline: int
    segments: frozenset[str]  # written ones, archived or not
    histories: tuple[History, ...] = ()


class NoLive(NamedTuple):
    """Why there is none."""

    why: str


def look_at_live(data_directory: str, record: Record) -> Live | NoLive:
    """Look into a data directory; nothing in it is locked, the server may go on writing."""
    try:
        control = read_control(data_directory)
    except (OSError, PgkeepError) as error:
        return NoLive(str(error) or type(error).__name__)
    if control.generation.id != record.generation.id:
        return NoLive(f"{data_directory} holds another cluster, {control.generation.id}")
    directory = os.path.join(data_directory, "pg_wal")
    try:
        names = sorted(name for name in os.listdir(directory) if kind_of(name))
    except OSError as error:
        return NoLive(f"{directory}: {(error.strerror or str(error)).lower()}")
    size = record.generation.segment_size
    written = {name for name in names if len(name) == 24 and _is_written(directory, name, size)}
    histories = tuple(
        history
        for name in names
        if name.endswith(".history")
        if (history := _history(os.path.join(directory, name), int(name[:8], 16)))
    )
    newest = max([control.timeline, *(history.timeline for history in histories)])
    return Live(directory, newest, frozenset(written), histories)


def _is_written(directory: str, name: str, size: int) -> bool:
    """Tell whether a file holds the segment of its name; recycled ones hold an older one."""
    try:
        segment = Segment.parse(name, size)
        with open(os.path.join(directory, name), "rb") as file:
            header = parse_header(name, file.read(HEADER_SIZE))
    except (BadSegmentName, NotWal, OSError, UnsupportedVersion):
        return False
    return header.start == segment.start and header.segment_size == size


def _history(path: str, timeline: int) -> History | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return History.parse(timeline, file.read())
    except (BadHistory, OSError):
        return None


@dataclass(frozen=True)
class Line:
    """The WAL of one history, by segment numbers."""

    history: History
    segment_size: int
    archived: frozenset[str]
    live: Live | None = None

    @classmethod
    def of(cls, record: Record, live: Live | None) -> "Line":
        """Follow the newest timeline: the server's own where it can be looked at."""
        histories = {line.timeline: line.history for line in record.coverage.timelines}
        histories |= {one.timeline: one for one in live.histories} if live else {}
        newest = max(histories, default=1) if live is None else live.timeline
        history = histories.get(newest, History(newest))
        return cls(history, record.generation.segment_size, frozenset(record.listing.stats), live)

    def numbers(self) -> list[int]:
        """Return the numbers of all segments that are there, in order."""
        names = [name for name in self.archived if len(name) == 24]
        names += self.live.segments if self.live else ()
        segments = {Segment.parse(name, self.segment_size) for name in names}
        return sorted({one.number for one in segments if self.segment(one.number) == one})

    def segment(self, number: int) -> Segment:
        return segment_on(self.history, number, self.segment_size)

    def only_live(self, number: int) -> bool:
        """Tell whether a segment is not archived yet."""
        return self.segment(number).name not in self.archived

    def read(self, archive: WalArchive, number: int) -> bytes:
        """Return a segment. Raise Unreadable, or what the store raises when it fails."""
        segment, why = self.segment(number), "it is neither archived nor in pg_wal"
        if segment.name in self.archived or self.live is None:
            try:
                return b"".join(archive.fetch(segment.name))
            except _UNUSABLE as error:
                why = str(error)
        if self.live is not None:
            try:
                with open(os.path.join(self.live.directory, segment.name), "rb") as file:
                    content = file.read()
            except OSError as error:
                return self._archived_by_now(archive, segment, error)
            if len(content) == segment.size:
                return content
            why = f"it has {len(content)} bytes in pg_wal"
        raise Unreadable(why)

    def _archived_by_now(self, archive: WalArchive, segment: Segment, error: OSError) -> bytes:
        """Read what the server has removed since it was looked at: archived segments only."""
        try:
            return b"".join(archive.fetch(segment.name))
        except _UNUSABLE as unusable:
            raise Unreadable(f"{unusable} ({(error.strerror or '').lower()} in pg_wal)") from error


def runs(numbers: Sequence[int]) -> list[range]:
    """Return the stretches of numbers that follow each other."""
    found: list[range] = []
    for number in numbers:
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found
