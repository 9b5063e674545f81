"""Follow WAL from segment to segment, proving that no record is missing between them.

Pure. A run of segments may be read anywhere: what its first segment ends of a record that began
before is its `head`, what its last one begins is its `tail`; join() reads those.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.wal_changes.batch import Batch
from pgkeep.postgres.wal_changes.piece import Catalogs, Piece, piece_of
from pgkeep.postgres.wal_header import HEADER_SIZE, WrongSegment, parse_header
from pgkeep.postgres.wal_records import Chain, Ending, SegmentStream

_CONTINUED, _OVERWRITES = 0x0001, 0x0008  # XLP_FIRST_IS_CONTRECORD, ..._OVERWRITE_CONTRECORD
_LONGEST: Final = 1 << 30  # MaxAllocSize: no record is longer


@dataclass(frozen=True, slots=True)
class Tail:
    """The beginning of a record that later segments end."""

    lsn: Lsn
    content: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """What a segment holds first: the rest of a record, or a part of the middle of one."""

    content: bytes
    left: int  # bytes of the record that stand in this segment and those after it
    end: Lsn  # after it

    @property
    def whole(self) -> bool:
        return len(self.content) == self.left


@dataclass(frozen=True, slots=True)
class Stretch:
    """One segment: a piece, and the halves of records at both ends."""

    segment: Segment
    head: Head | None
    overwrites: bool  # after a crash: the record that began before will never be whole
    piece: Piece
    tail: Tail | None
    ending: Ending
    major: int
    previous: Lsn | None  # where the record before the first one here begins, as that one says
    last: Lsn | None  # where the last whole record here begins


def scan(content: bytes, segment: Segment, catalogs: Catalogs) -> Stretch:
    """Read one segment. Raise NotWal, UnsupportedVersion or WrongSegment."""
    header = parse_header(segment.name, content[:HEADER_SIZE])
    if header.start != segment.start or header.segment_size != segment.size:
        raise WrongSegment(segment.name, f"its content is that of {header.segment}")
    stream = SegmentStream(content[: segment.size], header)
    chain = Chain(stream)
    lengths = stream.words[chain.offsets >> 2].astype(np.int64)
    ends = stream.ends(chain.offsets + (lengths + 7 & ~7))
    batch = Batch(stream.content, stream.words, chain.offsets, chain.lsn, ends, header.major)
    any_here = len(chain.offsets) > 0
    return Stretch(
        segment=segment,
        head=_head(stream),
        overwrites=bool(header.flags & _OVERWRITES),
        piece=piece_of(batch, segment.start, chain.end_lsn, catalogs),
        tail=_tail(stream, chain),
        ending=chain.ending,
        major=header.major,
        previous=_back(stream, int(chain.offsets[0])) if any_here else None,
        last=Lsn(int(chain.lsn[-1])) if any_here else None,
    )


def _head(stream: SegmentStream) -> Head | None:
    header = stream.header
    if not header.flags & _CONTINUED:
        return None
    content = stream.content[: header.continued].tobytes()
    end = Lsn(int(stream.ends(np.array([stream.first]))[0]))
    return Head(content, header.continued, end)


def _tail(stream: SegmentStream, chain: Chain) -> Tail | None:
    if chain.cut is None or chain.ending is not Ending.FULL:
        return None
    lsn = Lsn(int(stream.positions(np.array([chain.cut]))[0]))
    return Tail(lsn, stream.content[chain.cut :].tobytes())


def _back(stream: SegmentStream, offset: int) -> Lsn | None:
    """Return where a record says that the one before it begins."""
    at = offset >> 2
    if at + 3 >= len(stream.words):
        return None
    return Lsn(int(stream.words[at + 3]) << 32 | int(stream.words[at + 2]))


class Gap(Exception):
    """WAL that does not go on where it should: records may be missing before `segment`."""

    def __init__(self, segment: Segment, why: str) -> None:
        super().__init__(why)
        self.segment = segment
        self.why = why


class Thread:
    """Joins stretches that follow each other: yields all pieces in WAL order."""

    def __init__(self, catalogs: Catalogs) -> None:
        self._catalogs = catalogs
        self._tail: Tail | None = None
        self._last: Lsn | None = None  # where the last whole record began
        self.end: Lsn | None = None  # after the last whole record

    def begin(self) -> None:
        """Forget what was before: a gap follows."""
        self._tail = self._last = None

    def join(self, stretch: Stretch) -> Iterator[Piece]:
        """Yield the record that ends here, then the rest. Raise Gap, before anything."""
        segment = stretch.segment
        between = self._between(stretch)
        if self._last is not None and stretch.previous not in (None, self._last):
            raise Gap(segment, "records are missing before it")
        if between is not None:
            yield between
        if stretch.last is not None:
            self._last, self.end = stretch.last, stretch.piece.end
        elif between is not None:
            self.end = between.end
        if stretch.tail is not None:
            self._tail = stretch.tail
        yield stretch.piece

    def _between(self, stretch: Stretch) -> Piece | None:
        """Return the record that began in a segment before and ends here."""
        tail, head = self._tail, stretch.head
        self._tail = None
        if tail is None:
            if self._last is not None and head is not None and not stretch.overwrites:
                raise Gap(stretch.segment, "it goes on with a record that nobody began")
            return None
        if stretch.overwrites:
            return None
        if head is None:
            raise Gap(stretch.segment, "it does not go on with the record before it")
        length = int.from_bytes(tail.content[:4], "little")
        if length > _LONGEST or len(tail.content) + head.left != length:
            raise Gap(stretch.segment, "it does not go on with the record before it")
        content = tail.content + head.content
        if not head.whole:
            self._tail = Tail(tail.lsn, content)
            return None
        self._last = tail.lsn
        return _single(content, tail.lsn, head.end, stretch.major, self._catalogs)


def _single(record: bytes, lsn: Lsn, end: Lsn, major: int, catalogs: Catalogs) -> Piece:
    content = np.frombuffer(record + bytes(64 - len(record) % 8), np.uint8)
    one = np.array([int(lsn)], np.uint64)
    ends = np.array([int(end)], np.uint64)
    batch = Batch(content, content.view("<u4"), np.zeros(1, np.int64), one, ends, major)
    return piece_of(batch, lsn, end, catalogs)
