"""WAL segments: fixed-size pieces of one timeline's WAL, and their file names.

Source: xlog_internal.h (XLogFileName, XLByteToSeg, XLByteToPrevSeg).
"""

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, NamedTuple, Self
from pgkeep.model.lsn import Lsn
from pgkeep.model.wal_file import HEX_DIGITS

_4GIB: Final = 1 << 32


class BadSegmentName(PgkeepError):
    """A file name that no WAL segment of this segment size can have."""

    code = "bad-segment-name"
    exit_status = 13

    text: str

    def __str__(self) -> str:
        return f"{self.text!r} is not the name of a WAL segment"

    @property
    def hint(self) -> str:
        return "segment names are 24 hexadecimal digits in capitals, like 000000010000000A000000FF"


class Segment(NamedTuple):
    """One WAL segment; ordered by timeline, then position. Timelines count from 1."""

    timeline: int
    number: int  # counted from the beginning of WAL, in segments
    size: int  # bytes, a power of two from 1 MiB to 1 GiB

    @classmethod
    def parse(cls, name: str, size: int) -> Self:
        """Raise BadSegmentName unless a segment of `size` bytes can have this name."""
        if len(name) != 24 or not HEX_DIGITS.issuperset(name):
            raise BadSegmentName(name)
        per_file = _4GIB // size
        timeline, high, low = int(name[:8], 16), int(name[8:16], 16), int(name[16:], 16)
        if timeline == 0 or low >= per_file:
            raise BadSegmentName(name)
        return cls(timeline, high * per_file + low, size)

    @classmethod
    def containing(cls, lsn: Lsn, timeline: int, size: int) -> Self:
        """Return the segment that holds the byte at `lsn`."""
        return cls(timeline, int(lsn) // size, size)

    @classmethod
    def ending(cls, lsn: Lsn, timeline: int, size: int) -> Self:
        """Return the segment of the last byte before `lsn`: the last one that a stop LSN needs."""
        return cls(timeline, (int(lsn) - 1) // size, size)

    @property
    def name(self) -> str:
        per_file = _4GIB // self.size
        return f"{self.timeline:08X}{self.number // per_file:08X}{self.number % per_file:08X}"

    @property
    def start(self) -> Lsn:
        return Lsn(self.number * self.size)

    @property
    def end(self) -> Lsn:
        """The first byte after the segment."""
        return Lsn((self.number + 1) * self.size)

    def __str__(self) -> str:
        return self.name


def valid_segment_size(size: int) -> bool:
    """Tell whether initdb --wal-segsize could have made `size` (1 MiB to 1 GiB, a power of two)."""
    return 1 << 20 <= size <= 1 << 30 and size & (size - 1) == 0
