"""The pusher as a process of its own, started by the first push that finds a backlog."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pgkeep.wal.ahead import detach
from pgkeep.wal.ahead.acks import Acks
from pgkeep.wal.ahead.pusher import Pusher
from pgkeep.wal.ahead.settings import read_settings, signature
from pgkeep.wal.place import Candidates, Opened, to_write
from pgkeep.wal.push import push
from pgkeep.wal.several import push_to

if TYPE_CHECKING:
    from pgkeep.wal.main import Call


class Archives:
    """Where WAL goes, opened once; from several threads. `told` hears what went elsewhere."""

    def __init__(
        self, candidates: Candidates, generation: str | None, told: Callable[[str], object]
    ) -> None:
        each = tuple(_Once(candidate) for candidate in candidates.each)
        self._candidates = candidates._replace(each=each)
        self._generation = generation
        self._told = told

    def push(self, path: str) -> None:
        """Return once the file is durable wherever it is wanted. Raise as push_to() does."""
        push_to(self._candidates, lambda opened: self._push(opened, path), self._told)

    def _push(self, opened: Opened, path: str) -> None:
        cluster, level, rights = opened
        # Who may archive is looked up for each file: another server may have taken over.
        push(cluster, path, generation=self._generation, level=level, rights=rights)


class _Once:
    """Opens a repository the first time it is asked, and then has it."""

    def __init__(self, opener: Callable[[], Opened]) -> None:
        self._opener = opener
        self._opened: Opened | None = None

    def __call__(self) -> Opened:
        if self._opened is None:
            self._opened = self._opener()
        return self._opened


def push_ahead(call: "Call") -> None:
    """Push until nothing comes any more, the server has ended, or the config has changed.

    Say nothing: what fails is written down for the push that asks, and where this process ends,
    that push does the work itself and says what there is to say.
    """
    acks = Acks(call.operands[0], call.acks)
    settings = read_settings(call)
    config = signature(settings.config)
    archives = Archives(to_write(call), call.generation, acks.say)
    # What an earlier pusher acknowledged may be gone from the repository, or in another one.
    acks.void()
    detach.leave_folder()

    def goes_on() -> bool:
        return not acks.is_gone(call.lock) and signature(settings.config) == config

    Pusher(acks, archives.push, jobs=settings.jobs).run(goes_on)
    if signature(settings.config) != config:
        acks.void()
    os.close(call.lock)
