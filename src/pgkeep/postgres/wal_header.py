"""The first page header of a WAL segment: is this file the segment that its name says?

Light: the WAL commands read it. Layout: xlog_internal.h (XLogLongPageHeaderData).
"""

import struct

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, NamedTuple
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment, valid_segment_size
from pgkeep.postgres.versions import VERSIONS, UnsupportedVersion, major_of_wal_magic

HEADER_SIZE: Final = 40  # the long header, on the first page of each segment
SHORT_HEADER_SIZE: Final = 24  # on all other pages
_LONG: Final = struct.Struct("<HHIQI4xQII")
_LONG_HEADER: Final = 0x0002  # XLP_LONG_HEADER
_ALL_FLAGS: Final = 0x000F  # XLP_ALL_FLAGS
# A newer version's magic continues this series; anything else is no WAL at all.
_MAGIC_SERIES: Final = range(0xD100, 0xD200)


class NotWal(PgkeepError):
    """A file that should hold WAL and does not."""

    code = "not-wal"
    exit_status = 46

    file: str
    why: str

    def __str__(self) -> str:
        return f"cannot take {self.file} as WAL: {self.why}"

    @property
    def hint(self) -> str:
        return "only files that the server finished in pg_wal are WAL; look at what wrote this one"


class WrongWalSize(PgkeepError):
    """A WAL file that is shorter or longer than a segment of its cluster."""

    code = "wrong-wal-size"
    exit_status = 47

    file: str
    size: int
    expected: int

    def __str__(self) -> str:
        return (
            f"cannot take {self.file} as WAL: it has {self.size} bytes instead of {self.expected}"
        )

    @property
    def hint(self) -> str:
        return "the copy of this file is incomplete: fetch it again from where it came from"


class WrongSegment(PgkeepError):
    """WAL, but not the segment that the file's name says."""

    code = "wrong-segment"
    exit_status = 48

    file: str
    why: str

    def __str__(self) -> str:
        return f"cannot take {self.file} as that WAL segment: {self.why}"

    @property
    def hint(self) -> str:
        return (
            "the file was renamed, recycled or copied over another: find the segment's true content"
        )


class WalHeader(NamedTuple):
    """What the first page of a segment says about itself."""

    magic: int
    major: int
    flags: int
    timeline: int  # of the first record; a new timeline's first segment carries its parent's
    start: Lsn
    continued: int  # bytes of a record that began in the segment before
    system_identifier: int
    segment_size: int
    block_size: int

    @property
    def segment(self) -> Segment:
        """The segment that this page begins, on the page's own timeline."""
        return Segment.containing(self.start, self.timeline, self.segment_size)


def parse_header(file: str, header: bytes) -> WalHeader:
    """Read a segment's first 40 bytes. Raise NotWal or UnsupportedVersion, naming `file`."""
    if len(header) < HEADER_SIZE:
        raise NotWal(file, f"it ends after {len(header)} bytes")
    magic, flags, timeline, start, continued, identifier, size, block = _LONG.unpack_from(header)
    if not any(header[:HEADER_SIZE]):
        raise NotWal(file, "it begins with zeros: it was pre-allocated and never written")
    major = _major(file, magic)
    if not flags & _LONG_HEADER or flags & ~_ALL_FLAGS:
        raise NotWal(file, f"its first page is not the beginning of a segment (flags {flags:#06x})")
    if not valid_segment_size(size) or block not in (1024 << n for n in range(7)):
        raise NotWal(file, f"its header names segments of {size} and pages of {block} bytes")
    if timeline == 0 or start % block:
        raise NotWal(file, f"its header names timeline {timeline} and position {Lsn(start)}")
    return WalHeader(magic, major, flags, timeline, Lsn(start), continued, identifier, size, block)


def check_segment(name: str, header: bytes, size: int) -> WalHeader:
    """Return the header of the WAL file `name`, proven to begin that segment.

    `header` is the file's first 40 bytes, `size` the file's size; '.partial' names are fine.
    Raise NotWal, UnsupportedVersion, WrongWalSize, WrongSegment or BadSegmentName.
    """
    found = parse_header(name, header)
    if size != found.segment_size:
        raise WrongWalSize(name, size, found.segment_size)
    named = Segment.parse(name.removesuffix(".partial"), found.segment_size)
    if found.start != named.start:
        raise WrongSegment(name, _true_identity(found, named))
    if found.timeline > named.timeline:
        raise WrongSegment(name, f"it was written on the later timeline {found.timeline}")
    return found


def _major(file: str, magic: int) -> int:
    major = major_of_wal_magic(magic)
    if major is None and magic in _MAGIC_SERIES:
        raise UnsupportedVersion(file, f"with WAL magic {magic:#06x}, an unknown version")
    if major is None:
        raise NotWal(file, f"it begins with {magic:#06x}, which is no WAL page magic")
    if major not in VERSIONS:
        raise UnsupportedVersion(file, str(major))
    return major


def _true_identity(found: WalHeader, named: Segment) -> str:
    if found.start % found.segment_size:
        return f"its first page belongs at {found.start}, inside a segment, not at {named.start}"
    recycled = " (recycled and not yet written again)" if found.start < named.start else ""
    return f"its content is that of {found.segment}{recycled}"
