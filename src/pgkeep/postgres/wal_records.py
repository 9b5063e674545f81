"""Find transactions, restore points and checkpoints in WAL segments, without a server's tools.

The records of a segment form a chain: each says how long it is and where the one before begins.
Walking the chain is Python's work, everything else numpy's.

Source: xlogrecord.h (XLogRecord), xlog_internal.h (page headers), xact.h (xl_xact_commit and
what ParseCommitRecord reads), pg_control.h (CheckPoint), xlog.c (xl_restore_point); 14 to 18.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.wal_decode import (
    Bytes,
    Checkpoint,
    Found,
    Offsets,
    Positions,
    Records,
    RestorePoint,
    Transactions,
    decode,
    interesting,
    is_switch,
)
from pgkeep.postgres.wal_header import (
    HEADER_SIZE,
    SHORT_HEADER_SIZE,
    WalHeader,
    WrongSegment,
    parse_header,
)

_CONTINUED: Final = 0x0001  # XLP_FIRST_IS_CONTRECORD
_OVERWRITES: Final = 0x0008  # XLP_FIRST_IS_OVERWRITE_CONTRECORD
_RECORD_HEADER: Final = 24
_CARRY_LIMIT: Final = 256 << 20  # no transaction's record comes near


class Ending(Enum):
    """What stands behind a segment's last whole record."""

    FULL = "the next segment goes on"
    SWITCHED = "the server moved on to the next segment early"
    UNUSED = "nothing was written after it"
    BROKEN = "the bytes after it are damaged"


class Carry(NamedTuple):
    """The beginning of a record that a later segment ends."""

    lsn: Lsn
    content: bytes


@dataclass(frozen=True, slots=True)
class SegmentEvents:
    """What one segment tells, in WAL order. A record belongs to the segment in which it ends."""

    segment: Segment
    transactions: Transactions
    restore_points: tuple[RestorePoint, ...]
    checkpoints: tuple[Checkpoint, ...]
    first: Lsn | None  # where the first record that begins here does
    end: Lsn  # after the last whole record; the segment's start if none ends here
    ending: Ending
    records: int  # whole ones that begin here
    carry: Carry | None  # for the next segment's scan; None if nobody would miss it


def scan_segments(contents: Iterable[tuple[Segment, bytes]]) -> Iterator[SegmentEvents]:
    """Scan segments that follow each other; see scan_segment."""
    carry: Carry | None = None
    for segment, content in contents:
        events = scan_segment(content, segment, carry)
        carry = events.carry
        yield events


def scan_segment(content: bytes, segment: Segment, carry: Carry | None = None) -> SegmentEvents:
    """Find the events in a segment, or in the first part of one.

    Without the `carry` of the segment before, a record that began there is left out. Damage ends
    the scan, as it would end recovery: see SegmentEvents.ending. Raise NotWal, UnsupportedVersion
    or WrongSegment when the content is no WAL or not this segment.
    """
    header = parse_header(segment.name, content[:HEADER_SIZE])
    if header.start != segment.start or header.segment_size != segment.size:
        raise WrongSegment(segment.name, f"its content is that of {header.segment}")
    stream = SegmentStream(content[: segment.size], header)
    chain = Chain(stream)
    found = decode(chain.interesting(), stream.content, header.major)
    whole = stream.continued(carry)
    if whole is not None and carry is not None:
        found = _decode_continued(carry, whole, stream).followed_by(found)
    return _events(segment, chain, found, carry)


def record_from(content: bytes, segment: Segment, lsn: Lsn) -> Lsn | None:
    """Return where the first record at or after `lsn` begins; None: none does in this segment.

    It is the record at which recovery_target_lsn stops. Raises as scan_segment.
    """
    header = parse_header(segment.name, content[:HEADER_SIZE])
    if header.start != segment.start or header.segment_size != segment.size:
        raise WrongSegment(segment.name, f"its content is that of {header.segment}")
    stream = SegmentStream(content[: segment.size], header)
    chain = Chain(stream)
    begins = chain.lsn
    if chain.cut is not None:
        begins = np.append(begins, stream.positions(np.array([chain.cut])))
    index = int(np.searchsorted(begins, np.uint64(lsn)))
    return Lsn(int(begins[index])) if index < len(begins) else None


def _decode_continued(carry: Carry, whole: bytes, stream: "SegmentStream") -> Found:
    """Decode the record that began in a segment before."""
    content = np.frombuffer(whole + bytes(-len(whole) % 8), np.uint8)
    start = np.array([int(carry.lsn)], np.uint64)
    one = Records(np.zeros(1, np.int64), start, stream.ends(np.array([stream.first])))
    return decode(one.only(interesting(one.offsets, content)), content, stream.header.major)


def _events(segment: Segment, chain: "Chain", found: Found, carry: Carry | None) -> SegmentEvents:
    ending, end = chain.ending, chain.end_lsn
    if found.broken is not None:
        ending, end = Ending.BROKEN, found.broken
    return SegmentEvents(
        segment=segment,
        transactions=found.transactions,
        restore_points=found.restore_points,
        checkpoints=found.checkpoints,
        first=Lsn(int(chain.lsn[0])) if len(chain.lsn) else None,
        end=end,
        ending=ending,
        records=len(chain.offsets),
        carry=chain.carry(carry) if ending is Ending.FULL else None,
    )


class SegmentStream:
    """A segment's records without its page headers; offsets are aligned as LSNs are."""

    def __init__(self, content: bytes, header: WalHeader) -> None:
        self.header = header
        size = header.block_size
        pages = np.frombuffer(content, np.uint8, len(content) // size * size).reshape(-1, size)
        valid = _valid_pages(pages, header)
        self.whole = valid * size == header.segment_size
        self.body = size - SHORT_HEADER_SIZE
        # The first page's header is 16 bytes longer: they are left out at the front.
        bodies = np.ascontiguousarray(pages[:valid, SHORT_HEADER_SIZE:]).reshape(-1)
        self.content: Bytes = bodies[_LONGER:]
        self.words: NDArray[np.uint32] = self.content.view("<u4")
        self.first = 0  # where the first record begins
        if header.flags & _CONTINUED:
            self.first = min(header.continued + 7 & ~7, len(self.content))
        overwriting = np.flatnonzero(pages[:valid, 2] & _OVERWRITES)
        # Where an unfinished record was given up after a crash, and another one begins.
        self.restarts = [int(page) * self.body - _LONGER for page in overwriting if page > 0]

    def positions(self, offsets: Offsets) -> Positions:
        """Return where the bytes at these offsets stand in WAL."""
        page, inside = np.divmod(offsets + _LONGER, self.body)
        relative = page * self.header.block_size + inside + SHORT_HEADER_SIZE
        return relative.astype(np.uint64) + np.uint64(self.header.start)

    def ends(self, offsets: Offsets) -> Positions:
        """Return where records end: at a page's end rather than behind the next one's header."""
        return self.positions(offsets - 1) + np.uint64(1)

    def continued(self, carry: Carry | None) -> bytes | None:
        """Return the whole record that `carry` begins, if it ends here and fits."""
        left = self.header.continued
        if carry is None or not self.header.flags & _CONTINUED or left > len(self.content):
            return None
        if int.from_bytes(carry.content[:4], "little") != len(carry.content) + left:
            return None
        return carry.content + self.content[:left].tobytes()


_LONGER: Final = HEADER_SIZE - SHORT_HEADER_SIZE


def _valid_pages(pages: Bytes, header: WalHeader) -> int:
    """Return how many pages were written as part of this segment; the rest is unused or old."""
    magic = np.ascontiguousarray(pages[:, :2]).view("<u2").ravel()
    address = np.ascontiguousarray(pages[:, 8:16]).view("<u8").ravel()
    expected = np.arange(len(pages), dtype=np.uint64) * np.uint64(header.block_size)
    right = (magic == header.magic) & (address == expected + np.uint64(header.start))
    return len(pages) if right.all() else int(np.argmin(right))


class Chain:
    """The whole records that begin in one segment, each proven by the next one's backward link."""

    def __init__(self, stream: SegmentStream) -> None:
        self.stream = stream
        starts, self.end = walk_records(stream)
        offsets = np.array(starts, np.int64)
        lsn = stream.positions(offsets)
        wrong = _first_wrong_link(stream, offsets, lsn)
        self.cut: int | None = None  # where a record begins that ends in a later segment
        if wrong is not None:
            self.end, offsets = starts[wrong], offsets[:wrong]
        elif self.end > len(stream.content):
            self.end = self.cut = starts[-1]
            offsets = offsets[:-1]
        self.offsets, self.lsn = offsets, lsn[: len(offsets)]
        self.ending = Ending.BROKEN if wrong is not None else self._ending()

    def interesting(self) -> Records:
        """Return the records that are worth decoding."""
        chosen = interesting(self.offsets, self.stream.content)
        offsets = self.offsets[chosen]
        lengths = self.stream.words[offsets // 4].astype(np.int64)
        ends = self.stream.ends(offsets + (lengths + 7 & ~7))
        return Records(offsets, self.lsn[chosen], ends)

    @property
    def end_lsn(self) -> Lsn:
        """After the last whole record."""
        if self.end == 0 or self.stream.header.continued > len(self.stream.content):
            return self.stream.header.start
        return Lsn(int(self.stream.ends(np.array([self.end]))[0]))

    def _ending(self) -> Ending:
        offsets, content = self.offsets, self.stream.content
        if len(offsets) and is_switch(content, int(offsets[-1])):
            return Ending.SWITCHED
        if self.cut is not None or self.end >= len(content):
            return Ending.FULL if self.stream.whole else Ending.UNUSED
        return Ending.BROKEN if content[self.end :].any() else Ending.UNUSED

    def carry(self, before: Carry | None) -> Carry | None:
        """Return the beginning of the record that the next segment goes on with, if it matters."""
        content = self.stream.content
        if self.cut is not None:
            start = Lsn(int(self.stream.positions(np.array([self.cut]))[0]))
            carry = Carry(start, content[self.cut :].tobytes())
        elif before is not None and self.stream.header.continued > len(content):
            carry = Carry(before.lsn, before.content + content.tobytes())
        else:
            return None
        long = int.from_bytes(carry.content[:4], "little") > _CARRY_LIMIT
        boring = len(carry.content) >= _RECORD_HEADER and carry.content[17] > 1
        return None if long or boring else carry


def walk_records(stream: SegmentStream) -> tuple[list[int], int]:
    """Follow the records' lengths; return where each begins and where the last one ends."""
    lengths = stream.words.data
    starts: list[int] = []
    position = stream.first
    for limit in [*stream.restarts, len(stream.content)]:
        while position < limit:
            length = lengths[position >> 2]
            if length < _RECORD_HEADER:
                return starts, position
            starts.append(position)
            position += length + 7 & ~7
        if limit in stream.restarts and position > limit:
            if starts and starts[-1] < limit:
                starts.pop()
            position = limit
    return starts, position


def _first_wrong_link(stream: SegmentStream, offsets: Offsets, lsn: Positions) -> int | None:
    """Return the first record that does not point back to the one before it."""
    linked = offsets[1:]
    linked = linked[: np.searchsorted(linked, len(stream.content) - 16, side="right")]
    words = stream.words
    at = linked // 4
    back = words[at + 3].astype(np.uint64) << np.uint64(32) | words[at + 2]
    wrong = np.flatnonzero(back != lsn[: len(linked)])
    return int(wrong[0]) + 1 if len(wrong) else None
