"""SFTP version 3 as bytes: draft-ietf-secsh-filexfer-02, and OpenSSH's extensions (its PROTOCOL).

Pure: requests are made and answers read here; session.py carries them.
"""

import struct
from typing import Final, NamedTuple, TypeAlias

VERSION: Final = 3
PACKET_LIMIT: Final = 1 << 20  # OpenSSH sends at most 256 KiB (sftp-common.h: SFTP_MAX_MSG_LENGTH)

INIT, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT = 1, 3, 4, 5, 6, 7, 8
OPENDIR, READDIR, REMOVE, MKDIR, STAT, RENAME, EXTENDED = 11, 12, 13, 14, 17, 18, 200
_VERSION, _STATUS, _HANDLE, _CONTENT, _NAMES, _ATTRIBUTES, _REPLY = 2, 101, 102, 103, 104, 105, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = 0, 1, 2, 3, 4, 5
UNSUPPORTED: Final = 8
# The names that the draft gives them; servers add little to these.
STATUS_WORDS: Final = {
    EOF: "end of file",
    NO_SUCH_FILE: "no such file",
    PERMISSION_DENIED: "permission denied",
    FAILURE: "failure",
    BAD_MESSAGE: "bad message",
    UNSUPPORTED: "operation unsupported",
}
FLAG_READ, FLAG_WRITE, FLAG_CREATE, FLAG_EXCLUSIVE = 0x01, 0x02, 0x08, 0x20

FSYNC: Final = b"fsync@openssh.com"
HARDLINK: Final = b"hardlink@openssh.com"
POSIX_RENAME: Final = b"posix-rename@openssh.com"
STATVFS: Final = b"statvfs@openssh.com"
LIMITS: Final = b"limits@openssh.com"

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 0x1, 0x2, 0x4, 0x8, 0x80000000
_READ_ONLY: Final = 1  # SSH2_FXE_STATVFS_ST_RDONLY


class Malformed(Exception):
    """An answer that is not SFTP."""


class Status(NamedTuple):
    """How a request ended."""

    code: int
    text: str


class Handle(NamedTuple):
    """An open file or folder."""

    value: bytes


class Content(NamedTuple):
    """What was read of a file."""

    value: bytes


class Attributes(NamedTuple):
    """What a server tells of a file; None where it doesn't."""

    size: int | None = None
    mode: int | None = None
    modified: int | None = None  # seconds since 1970


class Entry(NamedTuple):
    """A line of a listing."""

    name: bytes
    attributes: Attributes


class Names(NamedTuple):
    """A piece of a listing."""

    entries: tuple[Entry, ...]


class Reply(NamedTuple):
    """The answer to an extension's request."""

    value: bytes


class Room(NamedTuple):
    """What a file system has left."""

    free: int  # bytes that this user may still write
    files: int | None  # files that he may still make; None: as many as fit (btrfs)
    read_only: bool


Answer: TypeAlias = Status | Handle | Content | Attributes | Names | Reply


def request(kind: int, number: int, *fields: bytes) -> bytes:
    """Return a request; `fields` are made by text(), integer() and long()."""
    body = struct.pack(">BI", kind, number) + b"".join(fields)
    return struct.pack(">I", len(body)) + body


def write_head(number: int, handle: bytes, offset: int, length: int) -> bytes:
    """Return what stands before the content in a WRITE, so that the content needs no copy."""
    body = struct.pack(">BI", WRITE, number) + text(handle) + struct.pack(">QI", offset, length)
    return struct.pack(">I", len(body) + length) + body


def hello() -> bytes:
    return struct.pack(">IBI", 5, INIT, VERSION)


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def integer(value: int) -> bytes:
    return struct.pack(">I", value)


def long(value: int) -> bytes:
    return struct.pack(">Q", value)


def mode_alone(mode: int) -> bytes:
    """Return attributes that say nothing but a mode."""
    return struct.pack(">II", _HAS_MODE, mode)


def read_version(packet: bytes) -> dict[bytes, bytes]:
    """Return the extensions that a server offers in its first packet. Raise Malformed."""
    reader = _Reader(packet)
    if reader.byte() != _VERSION:
        raise Malformed("its first answer names no version")
    if (version := reader.integer()) != VERSION:
        raise Malformed(f"it speaks version {version} of SFTP, not {VERSION}")
    offered = {}
    while reader.left():
        name = reader.text()
        offered[name] = reader.text()
    return offered


def read_answer(packet: bytes) -> tuple[int, Answer]:
    """Return which request is answered, and how. Raise Malformed."""
    reader = _Reader(packet)
    kind, number = reader.byte(), reader.integer()
    if kind == _STATUS:
        code = reader.integer()
        words = reader.text() if reader.left() else b""
        return number, Status(code, words.decode(errors="replace"))
    if kind == _HANDLE:
        return number, Handle(reader.text())
    if kind == _CONTENT:
        return number, Content(reader.text())
    if kind == _ATTRIBUTES:
        return number, reader.attributes()
    if kind == _NAMES:
        return number, Names(tuple(reader.entry() for _ in range(reader.integer())))
    if kind == _REPLY:
        return number, Reply(reader.rest())
    raise Malformed(f"an answer of kind {kind} is unknown")


def read_room(reply: bytes) -> Room:
    """Return the answer to STATVFS. Raise Malformed."""
    reader = _Reader(reply)
    fields = [reader.long() for _ in range(11)]
    _, fragment, _, _, free, possible, _, files, _, flags, _ = fields
    return Room(free * fragment, files if possible else None, bool(flags & _READ_ONLY))


def read_limits(reply: bytes) -> tuple[int, int]:
    """Return how much one READ and one WRITE may ask for; 0 is no promise. Raise Malformed."""
    reader = _Reader(reply)
    _packet, read, write = reader.long(), reader.long(), reader.long()
    return read, write


class _Reader:
    """Fields of a packet, one after the other; each is checked to be there."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._at = 0

    def left(self) -> int:
        return len(self._packet) - self._at

    def byte(self) -> int:
        return self._take(1)[0]

    def integer(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def long(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def text(self) -> bytes:
        return self._take(self.integer())

    def rest(self) -> bytes:
        return self._take(self.left())

    def entry(self) -> Entry:
        name = self.text()
        self.text()  # the line that ls would print
        return Entry(name, self.attributes())

    def attributes(self) -> Attributes:
        flags = self.integer()
        size = self.long() if flags & _HAS_SIZE else None
        if flags & _HAS_OWNER:
            self._take(8)
        mode = self.integer() if flags & _HAS_MODE else None
        modified = None
        if flags & _HAS_TIMES:
            self._take(4)
            modified = self.integer()
        for _ in range(self.integer() if flags & _HAS_MORE else 0):
            self.text()
            self.text()
        return Attributes(size, mode, modified)

    def _take(self, length: int) -> bytes:
        if length > self.left():
            raise Malformed("an answer ends too early")
        self._at += length
        return self._packet[self._at - length : self._at]
