"""Effects on another machine's files that a power cut there cannot take back: see durable.py.

Everything raises NoSuchFile, Refused and Lost, as sessions do.
"""

import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from blake3 import blake3

from pgkeep.repository.store.sftp import protocol
from pgkeep.repository.store.sftp.protocol import (
    Attributes,
    Content,
    Entry,
    Handle,
    Names,
    Status,
    integer,
    mode_alone,
    text,
)
from pgkeep.repository.store.sftp.session import NoSuchFile, Refused, Session, attributes_of

_NEW: Final = protocol.FLAG_WRITE | protocol.FLAG_CREATE | protocol.FLAG_EXCLUSIVE
_NO_ATTRIBUTES: Final = integer(0)
_NOT_LIKE_FILES: Final = (protocol.FAILURE, protocol.BAD_MESSAGE, protocol.UNSUPPORTED)
_PAGES: Final = 4  # READDIRs asked for at once; OpenSSH answers each with up to 100 names


def write_new(session: Session, path: str, parts: Iterable[bytes | memoryview]) -> bytes:
    """Write a new file, sync it, and return its digest. Its name is not yet durable.

    `parts` is gone through once, so they may be made as they are asked for.
    """
    flags = integer(_NEW) + mode_alone(0o600)
    handle = session.ask(Handle, protocol.OPEN, text(path.encode()), flags)
    digest = blake3()
    is_closed = False

    def requests() -> Iterator[int]:
        nonlocal is_closed
        yield from _writes(session, handle, parts, digest)
        # Content before name: no name may ever lead to less than the whole blob.
        if session.offers(protocol.FSYNC):
            yield session.extended(protocol.FSYNC, text(handle.value))
        is_closed = True
        yield session.send(protocol.CLOSE, text(handle.value))

    try:
        for number in session.pipelined(requests(), session.write_size):
            session.answer(number, Status)  # CLOSE, too: some report a full disk only then
    except Exception:
        if not (session.is_lost or is_closed):
            session.close_handle(handle)
        raise
    return digest.digest()


def read_range(session: Session, path: str, start: int, length: int | None) -> tuple[bytes, int]:
    """Return what a file has there, and its size; less, or nothing, where it ends before.

    Raise NotPlain.
    """
    looked = session.send(protocol.LSTAT, text(path.encode()))
    flags = integer(protocol.FLAG_READ) + _NO_ATTRIBUTES
    opened = session.send(protocol.OPEN, text(path.encode()), flags)
    (found,) = session.all_of(Attributes, [looked])
    (handle,) = session.all_of(Handle, [opened])
    try:
        if found is not None:
            demand_plain(found)
        # Missing in one look and there in the other: it came or went between the two.
        if found is None or handle is None:
            raise NoSuchFile(protocol.NO_SUCH_FILE, "")
        return _read_open(session, handle, start, length, found.size or 0)
    finally:
        if handle is not None and not session.is_lost:
            session.close_handle(handle)


class NotPlain(Exception):
    """There is something else than a file where a blob should be."""


def demand_plain(found: Attributes) -> Attributes:
    if found.mode is None or not stat.S_ISREG(found.mode):
        raise NotPlain
    return found


def is_folder(session: Session, path: str) -> bool | None:
    """Tell whether a folder, or a link to one, is there; None: nothing is."""
    try:
        mode = attributes_of(session, path, follow=True).mode
    except NoSuchFile:
        return None
    return mode is not None and stat.S_ISDIR(mode)


def are_folders(session: Session, paths: Sequence[str]) -> list[bool | None]:
    """Tell of each path what is_folder() does; all are asked for at once."""
    asked = [session.send(protocol.STAT, text(path.encode())) for path in paths]
    found = session.all_of(Attributes, asked)
    return [None if f is None else f.mode is not None and stat.S_ISDIR(f.mode) for f in found]


def make_folder(session: Session, path: str) -> None:
    """Make a folder for nobody else's eyes, durably. It may be there already. Raise NotPlain."""
    # Also when another writer made it a moment ago: it may not have come to its own sync yet.
    sync_folders(session, [_above(path)], lambda: _make(session, path))


def make_way(session: Session, there: Sequence[str], missing: Sequence[str]) -> None:
    """Make folders, each in the one before: each is durable before it is used. Raise NotPlain.

    `there` are those above them, from the top; their names are made durable as well.
    """
    unsynced = list(there[:-1])
    for path in missing:
        sync_folders(session, [*unsynced, _above(path)], partial(_make, session, path))
        unsynced.clear()
    sync_folders(session, unsynced)


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _make(session: Session, path: str) -> None:
    try:
        session.ask(Status, protocol.MKDIR, text(path.encode()), mode_alone(0o700))
    except NoSuchFile:
        raise
    except Refused:
        found = is_folder(session, path)  # servers say no more than "failure"
        if found is None:
            raise
        if not found:
            raise NotPlain from None


def sync_folder(session: Session, path: str) -> None:
    """Make the names in a folder durable, where the server can."""
    sync_folders(session, [path])


def sync_folders(
    session: Session, paths: Sequence[str], first: Callable[[], None] = lambda: None
) -> None:
    """Make the names in folders durable, where the server can, after `first` has changed some.

    OpenSSH's opens a folder like any file, and then fsync@openssh.com works on it too. They are
    opened while `first` is under way, and synced together.
    """
    able = session.offers(protocol.FSYNC) and session.syncs_folders
    flags = integer(protocol.FLAG_READ) + _NO_ATTRIBUTES
    opened = [
        session.send(protocol.OPEN, text(path.encode()), flags) for path in (paths if able else ())
    ]
    try:
        first()
    except (Refused, NotPlain):
        for handle in _handles(session, opened)[0]:
            session.close_handle(handle)
        raise
    handles, refused = _handles(session, opened)
    synced = [session.extended(protocol.FSYNC, text(handle.value)) for handle in handles]
    for handle in handles:
        session.close_handle(handle)
    for number in synced:
        session.answer(number, Status)
    if refused is not None:
        if refused.code not in _NOT_LIKE_FILES:
            raise refused
        session.syncs_folders = False


def _handles(session: Session, opened: Iterable[int]) -> tuple[list[Handle], Refused | None]:
    """Return what could be opened, and why something could not."""
    handles: list[Handle] = []
    refused: Refused | None = None
    for number in opened:
        try:
            handles.append(session.answer(number, Handle))
        except Refused as error:
            refused = refused or error
    return handles, refused


def replace(session: Session, old: str, new: str) -> None:
    """Give a file a name that may be taken, at once."""
    names = text(old.encode()), text(new.encode())
    session.answer(session.extended(protocol.POSIX_RENAME, *names), Status)


def take_name(session: Session, old: str, new: str) -> None:
    """Give a file a name, or raise Refused if it is taken.

    Without hard links it is the draft's own rename that refuses. OpenSSH makes a hard link for
    that, too, and looks before it renames only where the file system has none: sftp-server.c,
    process_rename.
    """
    names = text(old.encode()), text(new.encode())
    if session.offers(protocol.HARDLINK):
        session.answer(session.extended(protocol.HARDLINK, *names), Status)
    else:
        session.ask(Status, protocol.RENAME, *names)


def remove(session: Session, path: str) -> None:
    session.ask(Status, protocol.REMOVE, text(path.encode()))


def list_folders(session: Session, paths: list[str]) -> list[list[Entry]]:
    """Return what is in each of some folders, all asked for at once; one may not be there."""
    try:
        return _list_folders(session, paths)
    except Refused:
        session.is_lost = True  # folders that are open there are closed with the connection
        raise


def _list_folders(session: Session, paths: list[str]) -> list[list[Entry]]:
    opened = [session.send(protocol.OPENDIR, text(path.encode())) for path in paths]
    handles = session.all_of(Handle, opened)
    asked = [
        None if handle is None else deque(_ask_for_names(session, handle) for _ in range(_PAGES))
        for handle in handles
    ]
    found = []
    for handle, pages in zip(handles, asked, strict=True):
        entries: list[Entry] = []
        if handle is not None and pages is not None:
            while (page := _page(session, pages.popleft())) is not None:
                entries += page
                pages.append(_ask_for_names(session, handle))
            for number in pages:
                session.forget(number)
            session.close_handle(handle)
        found.append(entries)
    return found


def digest_of(session: Session, path: str) -> bytes:
    """Return the digest of a file as write_new() does."""
    content, _ = read_range(session, path, 0, None)
    return blake3(content).digest()


def _ask_for_names(session: Session, handle: Handle) -> int:
    return session.send(protocol.READDIR, text(handle.value))


def _page(session: Session, number: int) -> tuple[Entry, ...] | None:
    try:
        return session.answer(number, Names).entries
    except Refused as error:
        if error.code == protocol.EOF:
            return None
        raise


def _read_open(
    session: Session, handle: Handle, start: int, length: int | None, expected: int
) -> tuple[bytes, int]:
    """Read an open file, whose size is asked for on the way: it may be another than was listed."""
    sized = session.send(protocol.FSTAT, text(handle.value))
    end = expected if length is None else min(start + length, expected)
    pieces = list(_pieces(session, handle, start, end))
    size = session.answer(sized, Attributes).size or 0
    content = b"".join(pieces)
    wanted = size if length is None else min(start + length, size)
    if wanted != end:  # replaced between two looks: read what is open
        content = b"".join(_pieces(session, handle, start, wanted))
    return content, size


def _pieces(session: Session, handle: Handle, start: int, end: int) -> Iterator[bytes]:
    """Yield the content of a range in order, until the file ends."""
    size = session.read_size
    asked: deque[tuple[int, int]] = deque()

    def ask() -> Iterator[int]:
        for at in range(start, end, size):
            length = min(size, end - at)
            number = session.send_read(handle, at, length)
            asked.append((at, length))
            yield number

    for number in session.pipelined(ask(), size):
        at, length = asked.popleft()
        content = _read(session, number)
        while content:
            if len(content) > length:
                raise Refused(protocol.BAD_MESSAGE, "more was sent than was asked for")
            yield content
            at, length = at + len(content), length - len(content)
            if length == 0:
                break
            # Servers may answer with less than was asked for, and not only at the end.
            content = _read(session, session.send_read(handle, at, length))
        if length:
            return


def _read(session: Session, number: int) -> bytes:
    try:
        return session.answer(number, Content).value
    except Refused as error:
        if error.code == protocol.EOF:
            return b""
        raise


def _writes(
    session: Session, handle: Handle, parts: Iterable[bytes | memoryview], digest: blake3
) -> Iterator[int]:
    offset = 0
    for piece in _cut(parts, session.write_size):
        digest.update(piece)
        yield session.send_write(handle, offset, piece)
        offset += len(piece)


def _cut(parts: Iterable[bytes | memoryview], size: int) -> Iterator[bytes | memoryview]:
    """Yield pieces of at most `size` bytes; small parts are put together, large ones not copied."""
    held = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        if held or len(view) < size:
            taken = min(len(view), size - len(held))
            held += view[:taken]
            view = view[taken:]
            if len(held) == size:
                yield bytes(held)
                held.clear()
        while len(view) >= size:
            yield view[:size]
            view = view[size:]
        held += view
    if held:
        yield bytes(held)
