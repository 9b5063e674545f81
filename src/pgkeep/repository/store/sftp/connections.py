"""The connections of one store in this process: opened when needed, one session for each thread.

The sessions are in one SSH connection as far as the server allows it.

A process that forks leaves them to its parent, and opens its own.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pgkeep.repository.store.sftp.address import SftpAddress
from pgkeep.repository.store.sftp.connecting import Connection, Line, connect
from pgkeep.repository.store.sftp.session import Session

_IDLE: Final = 4  # connections kept for the next caller


class Connections:
    """Connections to one place, lent to one thread at a time."""

    def __init__(self, place: SftpAddress) -> None:
        self._place = place
        self._forget()
        _ALL.add(self)

    @contextmanager
    def session(self, action: str) -> Iterator[Session]:
        """Lend a session; a new one if none is idle. What is lost is closed behind it."""
        connection = self._take() or self._open(action)
        self._lent.add(connection)
        try:
            yield connection.session
        except BaseException as error:
            if not isinstance(error, Exception):  # interrupted: nobody knows in the middle of what
                connection.session.is_lost = True
                connection.line.close()
            raise
        finally:
            self._lent.discard(connection)
            connection.session.forget_all()
            self._give_back(connection)

    def close_idle(self) -> None:
        while (connection := self._take()) is not None:
            connection.close()

    def abandon(self) -> None:
        """In a forked child: what was lent belongs to threads of the parent."""
        for connection in (*self._idle, *self._lent):
            connection.abandon()
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._lines: list[Line] = []
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        # A thread of paramiko's keeps each connection alive: the collector would never close it.
        weakref.finalize(self, _close_all, self._idle)

    def _take(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.close()

    def _open(self, action: str) -> Connection:
        """Open a session: in a line that is there, or else in a new one."""
        full: list[Line] = []
        while True:
            with self._connecting:  # who comes meanwhile gets a session of the same line
                self._lines = [line for line in self._lines if line.is_usable]
                lines = [line for line in self._lines if line not in full]
                if not lines:
                    connection = connect(self._place, action)
                    self._lines.append(connection.line)
                    return connection
            for line in lines:
                if (found := line.another(action)) is not None:
                    return found
            full += lines

    def _give_back(self, connection: Connection) -> None:
        if connection.is_usable:
            with self._lock:
                if len(self._idle) < _IDLE:
                    self._idle.append(connection)
                    return
        connection.close()


_ALL: "Final[weakref.WeakSet[Connections]]" = weakref.WeakSet()


def _close_all(idle: list[Connection]) -> None:
    for connection in idle:
        with suppress(OSError):
            connection.close()


def _before_fork() -> None:
    # A thread that is not there any more, nor its locks, cannot be in the child's way.
    for connections in list(_ALL):
        connections.close_idle()


def _in_child() -> None:
    for connections in list(_ALL):
        connections.abandon()


os.register_at_fork(before=_before_fork, after_in_child=_in_child)
