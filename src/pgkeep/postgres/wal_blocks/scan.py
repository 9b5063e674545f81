"""Follow WAL record by record, proving that none is missing, and note what changed some blocks.

Pure. Segments come one after the other. A relation stands with the same twelve bytes in every
record that refers to it: records are searched for them, and only those few are looked into.
170 MB/s for a relation that all of WAL is about, 700 MB/s for others; 70 to 100 with checksums.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.crc32c import crc32c
from pgkeep.postgres.wal_blocks.record import (
    HEADER_SIZE,
    BadRecord,
    BlockReference,
    Locator,
    block_references,
    locator_bytes,
    page_of,
)
from pgkeep.postgres.wal_decode import Offsets, Records, is_switch, record_checksums
from pgkeep.postgres.wal_header import HEADER_SIZE as PAGE_HEADER_SIZE
from pgkeep.postgres.wal_header import NotWal, parse_header
from pgkeep.postgres.wal_records import SegmentStream, walk_records

_CONTINUED, _OVERWRITES = 0x0001, 0x0008  # XLP_FIRST_IS_CONTRECORD, ..._OVERWRITE_CONTRECORD
_RM_SMGR, _RM_DATABASE = 2, 4
_SMGR_CREATE, _SMGR_TRUNCATE = 0x10, 0x20
_FEW: Final = 50  # block numbers that are looked for one by one
_KEPT: Final = 20  # changes of a page that are remembered one by one


class BrokenWal(Exception):
    """WAL that does not go on where it should: records may be missing."""

    def __init__(self, segment: Segment, why: str) -> None:
        super().__init__(f"{segment}: {why}")
        self.segment = segment
        self.why = why


class Change(NamedTuple):
    """One record that changed a page."""

    lsn: Lsn  # where the record begins
    end: Lsn  # what the page's LSN is afterwards
    what: str  # 'changed', 'truncated', ...


class Block(NamedTuple):
    locator: Locator
    fork: int
    block: int  # counted over the fork


@dataclass
class PageLog:
    """What WAL says of one page: the last whole image in it, and the changes since."""

    image: bytes | None = None  # its checksum not set, nor its LSN
    image_end: Lsn | None = None  # its LSN
    count: int = 0  # changes since the image; since the beginning without one
    last: deque[Change] = field(default_factory=lambda: deque(maxlen=_KEPT))  # of these

    def changed(self, change: Change) -> None:
        self.count += 1
        self.last.append(change)

    def restored(self, image: bytes, end: Lsn) -> None:
        self.image, self.image_end, self.count = image, end, 0
        self.last.clear()


class BlockScanner:
    """Feed it segments in order; `logs` then tells of every wanted block."""

    def __init__(self, wanted: Iterable[Block], start: Lsn, stop: Lsn) -> None:
        """Records that end at or before `start`, or begin after `stop`, are passed over."""
        self.logs: dict[Block, PageLog] = {block: PageLog() for block in wanted}
        self._start, self._stop = start, stop
        self._patterns = {locator_bytes(block.locator) for block in self.logs}
        self._numbers = {block.block.to_bytes(4, "little") for block in self.logs}
        self._first: Lsn | None = None
        self._last: Lsn | None = None  # where the last whole record began
        self._end: Lsn | None = None
        self._carry: tuple[Lsn, bytes] | None = None  # a record that later segments end

    @property
    def first(self) -> Lsn | None:
        """Where the first whole record begins: nothing is known of what was before."""
        return self._first

    @property
    def end(self) -> Lsn | None:
        """Where the last whole record ends that was reached without a gap."""
        return self._end

    def feed(self, segment: Segment, content: bytes, *, proven: bool) -> None:
        """Take the next segment. `proven`: its bytes were checked already, as the archive does.

        Raise BrokenWal: what was fed before is not connected with what follows.
        """
        try:
            header = parse_header(segment.name, content[:PAGE_HEADER_SIZE])
        except NotWal as error:
            raise BrokenWal(segment, error.why) from error
        if header.start != segment.start or header.segment_size != segment.size:
            raise BrokenWal(segment, f"its content is that of {header.segment}")
        stream = SegmentStream(content, header)
        if not self._end_carried(segment, stream):
            return
        offsets, cut = self._chain(segment, stream)
        if not proven:
            _demand_checksums(segment, stream, offsets)
        self._look_into(segment, stream, self._candidates(stream, offsets))
        if cut is not None:
            lsn = Lsn(int(stream.positions(np.array([cut]))[0]))
            self._carry = (lsn, stream.content[cut:].tobytes())

    def _look_into(self, segment: Segment, stream: SegmentStream, offsets: Offsets) -> None:
        """Note what these records did to wanted blocks."""
        lengths = stream.words[offsets // 4].astype(np.int64)
        lsns = stream.positions(offsets).tolist()
        ends = stream.ends(offsets + (lengths + 7 & ~7)).tolist()
        for start, length, lsn, end in zip(
            offsets.tolist(), lengths.tolist(), lsns, ends, strict=True
        ):
            record = stream.content[start : start + length].tobytes()
            if self._may_tell(record):
                self._note(segment, record, Lsn(lsn), Lsn(end), stream.header.major)

    def _may_tell(self, record: bytes) -> bool:
        """Tell whether it is worth the time to take a record apart."""
        if record[17] in (_RM_SMGR, _RM_DATABASE) or len(self._numbers) > _FEW:
            return True
        return any(number in record for number in self._numbers)

    def _end_carried(self, segment: Segment, stream: SegmentStream) -> bool:
        """Finish the record that the segment before began; False: it goes on in the next one."""
        if self._carry is None:
            if self._last is not None and stream.header.flags & _CONTINUED:
                raise BrokenWal(segment, "it goes on with a record that nobody began")
            return True
        lsn, begun = self._carry
        self._carry = None
        if stream.header.flags & _OVERWRITES:
            return True  # after a crash, the server gave that record up
        left, room = stream.header.continued, len(stream.content)
        if not stream.header.flags & _CONTINUED or len(begun) + left != _length(begun):
            raise BrokenWal(segment, "it does not go on with the record before it")
        if left > room:
            self._carry = (lsn, begun + stream.content.tobytes())
            return False
        record = begun + stream.content[:left].tobytes()
        if not _is_right(record) or self._previous(record) not in (None, self._last):
            raise BrokenWal(segment, "the record that begins before it is damaged")
        end = Lsn(int(stream.ends(np.array([stream.first]))[0]))
        self._last, self._end = lsn, end
        if record[17] in (_RM_SMGR, _RM_DATABASE) or any(p in record for p in self._patterns):
            self._note(segment, record, lsn, end, stream.header.major)
        return True

    def _previous(self, record: bytes) -> int | None:
        return None if self._last is None else int.from_bytes(record[8:16], "little")

    def _chain(self, segment: Segment, stream: SegmentStream) -> tuple[Offsets, int | None]:
        """Return where whole records begin, each linked to the one before, and a cut one."""
        starts, end = walk_records(stream)
        cut = None
        if end > len(stream.content):
            cut = starts.pop()
        offsets = np.array(starts, np.int64)
        if not len(offsets):
            return offsets, cut
        at, lsn = offsets // 4, stream.positions(offsets)
        back = stream.words[at + 3].astype(np.uint64) << np.uint64(32) | stream.words[at + 2]
        if self._last is not None and int(back[0]) != self._last:
            raise BrokenWal(segment, "records are missing before it")
        wrong = np.flatnonzero(back[1:] != lsn[:-1])
        if len(wrong):  # the end of WAL, or damage: whoever asks for more will see
            offsets, cut = offsets[: int(wrong[0]) + 1], None
        if self._first is None:
            self._first = Lsn(int(lsn[0]))
        self._last = Lsn(int(lsn[len(offsets) - 1]))
        after = offsets[-1:] + (stream.words[offsets[-1:] // 4].astype(np.int64) + 7 & ~7)
        self._end = Lsn(int(stream.ends(after)[0]))
        if is_switch(stream.content, int(offsets[-1])):
            self._end = segment.end  # as the server counts it: nothing more comes in this one
        return offsets, cut

    def _candidates(self, stream: SegmentStream, offsets: Offsets) -> Offsets:
        """Return which records name a relation of a wanted block, or a database as a whole."""
        if not len(offsets):
            return offsets
        found = stream.content[offsets + 17] == _RM_DATABASE
        # Only whole records are looked into; what follows is the next segment's.
        whole = int(offsets[-1]) + int(stream.words[offsets[-1] // 4])
        content = stream.content[:whole].tobytes()
        for pattern in self._patterns:
            places = []
            at = content.find(pattern, int(offsets[0]))
            while at >= 0:
                places.append(at)
                at = content.find(pattern, at + len(pattern))
            found[np.searchsorted(offsets, np.array(places, np.int64), side="right") - 1] = True
        chosen: Offsets = offsets[found]
        return chosen

    def _note(self, segment: Segment, record: bytes, lsn: Lsn, end: Lsn, major: int) -> None:
        if end <= self._start or lsn > self._stop:
            return
        try:
            blocks, data = block_references(record, major)
        except BadRecord as error:
            raise BrokenWal(segment, f"its record at {lsn} cannot be read: {error}") from error
        for reference in blocks:
            log = self.logs.get(Block(reference.locator, reference.fork, reference.block))
            if log is not None:
                _note_reference(log, reference, lsn, end)
        for block, what in _hit(record, data, self.logs):
            self.logs[block].changed(Change(lsn, end, what))


def _note_reference(log: PageLog, reference: BlockReference, lsn: Lsn, end: Lsn) -> None:
    if reference.image is None or not reference.image.applied:
        log.changed(Change(lsn, end, "changed"))
        return
    try:
        log.restored(page_of(reference.image), end)
    except BadRecord as error:
        log.changed(Change(lsn, end, f"written whole, but {error}"))


def _hit(record: bytes, data: bytes, logs: Mapping[Block, PageLog]) -> Iterator[tuple[Block, str]]:
    """Yield the blocks that a record changes without referring to them: files come and go."""
    manager, what = record[17], record[16] & 0xF0
    numbers = np.frombuffer(data[: len(data) // 4 * 4], "<u4").tolist()
    if manager == _RM_DATABASE and numbers:
        for block in logs:
            if block.locator[1] == numbers[0]:
                yield block, "its database was created, moved or dropped"
    elif manager == _RM_SMGR and what == _SMGR_CREATE and len(numbers) >= 4:
        for block in logs:
            if block.locator == tuple(numbers[:3]) and block.fork == numbers[3]:
                yield block, "its relation was created"
    elif manager == _RM_SMGR and what == _SMGR_TRUNCATE and len(numbers) >= 4:
        for block in logs:
            if block.locator == tuple(numbers[1:4]) and block.block >= numbers[0]:
                yield block, "its relation was truncated"


def _length(record: bytes) -> int:
    return int.from_bytes(record[:4], "little")


def _is_right(record: bytes) -> bool:
    """Tell whether a record has the checksum that it says: its data first, then its header."""
    if len(record) < HEADER_SIZE:
        return False
    return crc32c(record[:20], crc32c(record[HEADER_SIZE:])) == int.from_bytes(
        record[20:24], "little"
    )


def _demand_checksums(segment: Segment, stream: SegmentStream, offsets: Offsets) -> None:
    """Raise BrokenWal unless every whole record is right."""
    if not len(offsets):
        return
    lengths = stream.words[offsets // 4].astype(np.int64)
    lsn = stream.positions(offsets)
    stored = stream.words[offsets // 4 + 5]
    wrong = record_checksums(Records(offsets, lsn, lsn), stream.content, lengths) != stored
    if wrong.any():
        where = Lsn(int(lsn[int(np.argmax(wrong))]))
        raise BrokenWal(segment, f"its record at {where} is damaged")
