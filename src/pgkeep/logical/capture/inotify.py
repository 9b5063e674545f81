"""Tells which files of a directory are made and closed, by inotify(7).

Nothing is told of writes: pg_dump makes one every 4 KiB, and a look at the few open files is
cheaper than an event for each.
"""

import ctypes
import os
from struct import Struct
from types import TracebackType
from typing import Final, NamedTuple, Self

_CREATE: Final = 0x100  # sys/inotify.h
_CLOSE_WRITE: Final = 0x8
_OVERFLOW: Final = 0x4000
_ONLY_DIRECTORIES: Final = 0x1000000
_EVENT: Final = Struct("iIII")  # watch, mask, cookie, length of the name with its padding
_BUFFER: Final = 1 << 18  # bytes; 8,000 events of short names


class Event(NamedTuple):
    name: str  # '' when events were lost: look for yourself
    closed: bool  # False: it was made


class DirectoryWatch:
    """Watches one directory. Not for several threads."""

    def __init__(self, directory: str) -> None:
        """Raise OSError: EMFILE and ENOSPC say that the system has no watches left."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            mask = _CREATE | _CLOSE_WRITE | _ONLY_DIRECTORIES
            path = os.fsencode(directory)
            _checked(libc.inotify_add_watch(self._file, path, ctypes.c_uint32(mask)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def fileno(self) -> int:
        """Return what can be waited for: it is readable when there are events."""
        return self._file

    def read(self) -> list[Event]:
        """Return all events that there are, without waiting."""
        events: list[Event] = []
        while True:
            try:
                content = os.read(self._file, _BUFFER)
            except BlockingIOError:
                return events
            offset = 0
            while offset < len(content):
                _, mask, _, length = _EVENT.unpack_from(content, offset)
                offset += _EVENT.size
                name = content[offset : offset + length].rstrip(b"\0")
                offset += length
                if mask & (_CREATE | _CLOSE_WRITE):
                    events.append(Event(os.fsdecode(name), bool(mask & _CLOSE_WRITE)))
                elif mask & _OVERFLOW:
                    events.append(Event("", closed=False))


def _checked(answer: int) -> int:
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer
