"""The archive of one generation's WAL: pushed once, fetched whole and checked, or not at all.

On disk: docs/formats/wal-object.md. A damaged segment does not make PostgreSQL fail: it would end
recovery there and promote. So nothing leaves this module unchecked, and "missing" is only said
when the store answered that it is not there.
"""

import time
from collections.abc import Iterator, Sequence
from struct import Struct

from blake3 import blake3

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, overload
from pgkeep.model.segment import BadSegmentName, Segment
from pgkeep.model.wal_file import kind_of
from pgkeep.repository import names
from pgkeep.repository.marker import NotARepository, format_moment, microseconds_of, moment_of
from pgkeep.repository.seal import (
    HEADER_SIZE as BLOCK_HEADER_SIZE,
)
from pgkeep.repository.seal import (
    ID_SIZE,
    TAG_SIZE,
    WAL,
    Damaged,
    FormatTooNew,
    Key,
    Sealer,
    WrongKey,
    read_header,
)
from pgkeep.repository.store.base import BlobExists, BlobMissing, BlobStat, Store
from pgkeep.repository.store.durable import read_range
from pgkeep.repository.store.window import AHEAD, Window

if TYPE_CHECKING:
    from datetime import datetime

HEADER_SIZE: Final = 128
# Bytes of plain content in each block but the last. Blocks that stay in the processor's cache from
# step to step take a third off the time: 13 instead of 19 ms to seal a segment of 16 MiB, 9 instead
# of 13 to unseal it; and fetch has more to overlap with writing.
BLOCK: Final = 512 << 10
CONTENT_LIMIT: Final = 1 << 30  # the largest WAL segment that initdb makes

_MAGIC: Final = b"PGKW"
_VERSION: Final = 1
_HEADER: Final = Struct("<4sBBHIIQQ16sQIIq40s")  # and a check of 16 bytes
_KEPT: Final = 64 << 20  # bytes sealed in memory; larger content is read and sealed twice


class WalMissing(PgkeepError):
    """A WAL file is not in the archive: the store said so. For recovery this is a normal answer."""

    code = "wal-missing"
    exit_status = 77

    store: str
    file: str
    archive: str  # cluster and generation

    def __str__(self) -> str:
        return f"{self.file} is not in the WAL archive of {self.archive} in {self.store}"

    @property
    def hint(self) -> str:
        return "see what is archived: pgkeep wal status"


class WalConflict(PgkeepError):
    """A WAL file is archived already with other content. The archived one was left alone."""

    code = "wal-conflict"
    exit_status = 78

    file: str
    archive: str
    archived_hash: str
    archived_size: int
    archived_at: str
    hash: str
    size: int

    def __str__(self) -> str:
        return (
            f"cannot archive {self.file}: {self.archive} holds another one of this name, "
            f"{self.archived_size} bytes with content id {self.archived_hash}, archived "
            f"{self.archived_at}; this one has {self.size} bytes with content id {self.hash}"
        )

    @property
    def hint(self) -> str:
        return (
            "the archived one was kept. Two servers archive under one cluster name, or one started "
            "again from an old copy: give the newer one another name, then take a full backup of it"
        )


class WalChanged(PgkeepError):
    """A file changed while it was being archived. Nothing was stored."""

    code = "wal-changed"
    exit_status = 76

    file: str

    def __str__(self) -> str:
        return f"cannot archive {self.file}: it changed while it was being read"

    @property
    def hint(self) -> str:
        return "PostgreSQL never changes a finished segment: find out what else writes to pg_wal"


class PushResult(NamedTuple):
    """What a push came to. Either way the file is durably in the archive."""

    stored: bool  # False: it was there already, with the same content
    size: int  # bytes of the file
    stored_size: int  # bytes of the object


class WalObject(NamedTuple):
    """What an archived file's header says of it."""

    file: str
    size: int  # bytes of the file
    stored_size: int  # bytes of the object
    blocks: int
    content_id: bytes  # BLAKE3-128 of its blocks' ids and its size, keyed when encrypted
    stored_us: int  # microseconds since 1970, UTC

    @property
    def stored_at(self) -> "datetime":
        return moment_of(self.stored_us)

    def is_same_as(self, other: "WalObject") -> bool:
        """Tell whether two hold the same: pushed to two places a file is sealed twice."""
        return (self.content_id, self.size) == (other.content_id, other.size)


class WalListing(NamedTuple):
    """What is in an archive, by name alone; nothing was opened."""

    segments: dict[int, list[int]]  # timeline: sorted segment numbers
    histories: list[int]  # timelines that have a history file
    partials: list[str]  # file names
    backups: list[str]  # backup history files' names
    cut_off: list[str]  # WAL files whose object is too short to be one: never restorable
    foreign: list[str]  # objects that pgkeep has not put there
    stats: dict[str, BlobStat]  # of every WAL file, by its name

    @property
    def newest(self) -> BlobStat | None:
        """The segment that was archived last, by the store's clock."""
        found = [stat for file, stat in self.stats.items() if len(file) == 24]
        return max(found, key=lambda stat: stat.modified, default=None)


class WalArchive:
    """The WAL of one generation of one cluster. Files go in once and are never replaced."""

    def __init__(self, store: Store, key: Key | None, cluster: str, generation_id: str) -> None:
        major, _, identifier = generation_id.partition("-")
        if not (_is_number(major, 4) and _is_number(identifier, 20)):
            raise names.BadName(generation_id)
        self._store = store
        self._key = key
        self._cluster = cluster
        self._generation_id = generation_id
        self._major, self._system_identifier = int(major), int(identifier)
        self._check_key = None if key is None else key.derive("wal headers")

    @property
    def generation_id(self) -> str:
        return self._generation_id

    def push(
        self,
        file: str,
        content: bytes | BinaryIO,
        *,
        level: int = 1,
        now: "datetime | None" = None,
    ) -> PushResult:
        """Archive a file durably; success if the same content is there. Never replaces anything.

        An open file is read from its beginning by position, and may be read twice: of more than
        64 MiB only a few blocks are ever in memory. Raise WalConflict, WalChanged, Damaged (the
        object that is there), or the store's errors; OSError if `content` cannot be read.
        """
        name = self._name(file)
        sealer = Sealer(self._key, level)
        sealed = _seal_pieces(content, sealer, file)
        stored_size = HEADER_SIZE + sum(length for _, length in sealed.blocks)
        pushed = WalObject(
            file,
            sealed.size,
            stored_size,
            len(sealed.blocks),
            sealed.content_id,
            time.time_ns() // 1000 if now is None else microseconds_of(now),
        )
        header = self._encode(pushed, sealer.key_id)
        try:
            self._store.create(name, _Parts(header, sealed, content, sealer, file))
        except BlobExists:
            self._demand_same(pushed)
            return PushResult(False, pushed.size, stored_size)
        return PushResult(True, pushed.size, stored_size)

    def fetch(self, file: str) -> Iterator[bytes]:
        """Return the file's content, block by block; use nothing of it before the last came.

        The last block only comes when the whole has been checked; of several copies of the
        repository, the first comes then, too. Raise WalMissing, at once and
        only when the store answered that the file is not there; Damaged, WrongKey, FormatTooNew or
        the store's errors in every other case.
        """
        union = self._store.union
        if union is not None:
            flawed = (Damaged, FormatTooNew, WrongKey, NotARepository)
            absent = (WalMissing, BlobMissing)
            found = union.intact(lambda copy: list(self._in(copy).fetch(file)), flawed, absent)
            return iter(found)
        return self._contents(*self._begin(file, AHEAD))

    def describe(self, file: str) -> WalObject:
        """Read a file's header alone, and check that its object has its whole length."""
        return self._begin(file, HEADER_SIZE)[0]

    def _begin(self, file: str, most: int) -> tuple[WalObject, bytes]:
        """Return what describe() does, and up to `most` bytes of the object's beginning."""
        name = self._name(file)
        try:
            content, size = self._store.beginning(name, most)
        except BlobMissing:
            self._demand_repository()
            raise WalMissing(self._store.url, file, self._archive) from None
        where = self._where(name)
        if size < HEADER_SIZE:
            raise Damaged(where, f"it ends after {size} bytes, within its header")
        found = self._decode(content[:HEADER_SIZE], where)
        if found.file != file:
            raise Damaged(where, f"it holds {found.file}: somebody renamed it")
        if found.stored_size != size:
            raise Damaged(where, f"it has {size} bytes instead of {found.stored_size}")
        return found, content

    def has(self, file: str) -> bool:
        """Tell whether a file is archived, whatever its state. Raise when the store cannot say."""
        try:
            # Of a bucket an answer to stat() would not say what it is that is missing.
            self._store.beginning(self._name(file), HEADER_SIZE)
        except BlobMissing:
            self._demand_repository()
            return False
        return True

    def list(self, segment_size: int) -> WalListing:
        """Return what is archived, from names and sizes alone."""
        listing = WalListing({}, [], [], [], [], [], {})
        for blob in self._store.list(names.wal_prefix(self._cluster, self._generation_id)):
            _sort_in(listing, blob, self._file_of(blob.name), segment_size)
        for numbers in listing.segments.values():
            numbers.sort()
        return listing

    def _in(self, copy: Store) -> "WalArchive":
        """Return the same archive in one of several copies."""
        return WalArchive(copy, self._key, self._cluster, self._generation_id)

    @property
    def _archive(self) -> str:
        return f"cluster {self._cluster}, generation {self._generation_id}"

    def _name(self, file: str) -> str:
        if not kind_of(file):
            raise BadSegmentName(file)
        return names.wal(self._cluster, self._generation_id, file)

    def _file_of(self, name: str) -> str:
        """Return the WAL file that an object holds by its name; '' if it is none of ours."""
        file = name.rpartition("/")[2]
        return file if kind_of(file) and self._name(file) == name else ""

    def _where(self, name: str) -> str:
        return f"{name} in {self._store.url}"

    def _demand_repository(self) -> None:
        """Raise NotARepository when more than one file is away, as after an unmount."""
        try:
            self._store.stat(names.MARKER)
        except BlobMissing:
            raise NotARepository(self._store.url) from None

    def _demand_same(self, pushed: WalObject) -> None:
        """Raise WalConflict, or Damaged, unless what is archived is what was pushed."""
        found = self.describe(pushed.file)
        if (found.content_id, found.size) != (pushed.content_id, pushed.size):
            raise WalConflict(
                file=pushed.file,
                archive=self._archive,
                archived_hash=found.content_id.hex(),
                archived_size=found.size,
                archived_at=format_moment(found.stored_at),
                hash=pushed.content_id.hex(),
                size=pushed.size,
            )

    def _encode(self, facts: WalObject, key_id: int) -> bytes:
        header = _HEADER.pack(
            _MAGIC,
            _VERSION,
            0,
            HEADER_SIZE,
            key_id,
            facts.blocks,
            facts.size,
            facts.stored_size,
            facts.content_id,
            self._system_identifier,
            self._major,
            0,
            facts.stored_us,
            facts.file.encode(),
        )
        return header + self._check(header)

    def _decode(self, content: bytes, where: str) -> WalObject:
        """Check a header and return its facts, all of them within their limits."""
        header, check = content[: _HEADER.size], content[_HEADER.size :]
        magic, version, _, _, key_id, blocks, size, stored, content_id, *rest = _HEADER.unpack(
            header
        )
        system_identifier, major, _, stored_at, file = rest
        if magic != _MAGIC:
            raise Damaged(where, f"it begins with {magic.hex()} instead of {_MAGIC.hex()}")
        if version > _VERSION:
            raise FormatTooNew(where, version, _VERSION)
        ours = 0 if self._key is None else self._key.id
        if key_id not in (0, ours):
            raise WrongKey(where, f"it is sealed with key {key_id:08x}, and ours is {ours:08x}")
        if check != self._check(header):
            raise Damaged(where, "its header does not fit the check in it")
        if (major, system_identifier) != (self._major, self._system_identifier):
            raise Damaged(where, f"it belongs to another cluster, {major}-{system_identifier}")
        most = size + blocks * (BLOCK_HEADER_SIZE + TAG_SIZE) + HEADER_SIZE
        if size > CONTENT_LIMIT or blocks != -(-size // BLOCK) or stored > most:
            raise Damaged(where, "its header holds values that are never written")
        name = file.rstrip(b"\0").decode("ascii", "replace")
        return WalObject(name, size, stored, blocks, content_id, stored_at)

    def _check(self, header: bytes) -> bytes:
        """Return the header's checksum; with a key, one that nobody without it can make."""
        if self._check_key is None:
            return blake3(header).digest(ID_SIZE)
        return blake3(header, key=self._check_key).digest(ID_SIZE)

    def _contents(self, facts: WalObject, beginning: bytes) -> Iterator[bytes]:
        name = self._name(facts.file)
        where, sealer = self._where(name), Sealer(self._key)
        window = Window(self._store, name, facts.stored_size, beginning)
        ids: list[bytes] = []
        left, at = facts.size, HEADER_SIZE
        held: bytes | None = None
        for _ in range(facts.blocks):
            here = f"{where} at byte {at}"
            header = read_header(window.take(at, BLOCK_HEADER_SIZE, where), here)
            length = min(left, BLOCK)
            if header.plain_length != length:
                raise Damaged(here, f"a block has {header.plain_length} bytes instead of {length}")
            plain = sealer.unseal(WAL, window.take(at, header.length, where), here)
            ids.append(header.id)
            left, at = left - length, at + header.length
            if held is not None:
                yield held
            held = plain
        if at != facts.stored_size:
            raise Damaged(where, f"its blocks end at byte {at} instead of {facts.stored_size}")
        # Each block is right by itself; this says that they are the right ones, in their order.
        if _content_id(ids, facts.size, sealer) != facts.content_id:
            raise Damaged(where, "its blocks are not those that were archived together")
        if held is not None:
            yield held


class _Sealed(NamedTuple):
    """Content after its first sealing."""

    size: int
    content_id: bytes
    blocks: list[tuple[bytes, int]]  # id and sealed length of each
    kept: list[bytes]  # the sealed blocks, or nothing when there were too many


class _Parts(Sequence[bytes]):
    """An object's parts as the store takes them; those of large content are sealed once more.

    The header comes first and tells the object's length, so all blocks must have been sealed
    before the first byte is written; but a segment of 1 GiB is not to be held in memory.
    """

    def __init__(
        self, header: bytes, sealed: _Sealed, content: bytes | BinaryIO, sealer: Sealer, file: str
    ) -> None:
        self._header = header
        self._sealed = sealed
        self._content = content
        self._sealer = sealer
        self._file = file

    def __len__(self) -> int:
        return 1 + len(self._sealed.blocks)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index == 0:
            return self._header
        if self._sealed.kept:
            return self._sealed.kept[index - 1]
        id, length = self._sealed.blocks[index - 1]
        piece = _piece(self._content, (index - 1) * BLOCK)
        again = self._sealer.seal(WAL, piece)
        if again.id != id or len(again.data) != length:
            raise WalChanged(self._file)
        return again.data


def _seal_pieces(content: bytes | BinaryIO, sealer: Sealer, file: str) -> _Sealed:
    size = 0
    blocks: list[tuple[bytes, int]] = []
    kept: list[bytes] = []
    while piece := _piece(content, size):
        size += len(piece)
        if size > CONTENT_LIMIT:
            raise BadSegmentName(file)
        sealed = sealer.seal(WAL, piece)
        blocks.append((sealed.id, len(sealed.data)))
        kept.append(sealed.data)
        if size > _KEPT:
            kept.clear()
    content_id = _content_id([id for id, _ in blocks], size, sealer)
    return _Sealed(size, content_id, blocks, kept if size <= _KEPT else [])


def _content_id(ids: list[bytes], size: int, sealer: Sealer) -> bytes:
    """Return the id of a whole file, from those of its blocks: its bytes are hashed only once.

    All blocks but the last are of one length, so equal files have equal ids, and only they.
    """
    return sealer.chunk_id(b"".join(ids) + size.to_bytes(8, "little"))


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def _piece(content: bytes | BinaryIO, start: int) -> bytes | memoryview:
    if isinstance(content, bytes):
        return memoryview(content)[start : start + BLOCK]
    return read_range(content.fileno(), start, start + BLOCK)


def _sort_in(listing: WalListing, blob: BlobStat, file: str, segment_size: int) -> None:
    """Add one object to a listing."""
    kind = kind_of(file)
    if not kind:
        listing.foreign.append(blob.name)
        return
    if kind != "history":
        try:
            segment = Segment.parse(file[:24], segment_size)
        except BadSegmentName:  # of another segment size
            listing.foreign.append(blob.name)
            return
    listing.stats[file] = blob
    if blob.size < HEADER_SIZE:
        listing.cut_off.append(file)
    elif kind == "history":
        listing.histories.append(int(file[:8], 16))
    elif kind == "segment":
        listing.segments.setdefault(segment.timeline, []).append(segment.number)
    else:
        (listing.partials if kind == "partial" else listing.backups).append(file)
