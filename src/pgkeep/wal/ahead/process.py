"""The pusher as a process of its own, started by the first push that finds a backlog."""

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.repository.store.base import StoreFailed
from pgkeep.wal import detach
from pgkeep.wal.ahead.acks import Acks
from pgkeep.wal.ahead.pusher import Pusher
from pgkeep.wal.ahead.settings import read_settings, signature
from pgkeep.wal.place import Opened, open_cluster
from pgkeep.wal.push import push

if TYPE_CHECKING:
    from pgkeep.wal.main import Call

Rule = Literal["all", "first"]


class Archives(NamedTuple):
    """Where WAL goes: to all of these, or to the first one in order whose store works."""

    opened: tuple[Opened, ...]
    rule: Rule = "all"

    def push(self, path: str, generation: str | None = None) -> None:
        """Return once the file is safe where it is wanted. Raise the first error met."""
        first: PgkeepError | None = None
        for cluster, level in self.opened:
            try:
                push(cluster, path, generation=generation, level=level)
            except PgkeepError as error:
                # Another archive's content of that name is no reason to look for a third one.
                if self.rule == "first" and not isinstance(error, StoreFailed):
                    raise
                first = first or error
            else:
                if self.rule == "first":
                    return
        if first is not None:
            raise first


def push_ahead(call: "Call") -> None:
    """Push until nothing comes any more, the server has ended, or the config has changed.

    Say nothing: what fails is written down for the push that asks, and where this process ends,
    that push does the work itself and says what there is to say.
    """
    acks = Acks(call.operands[0], call.acks)
    settings = read_settings(call)
    config = signature(settings.config)
    archives = Archives((open_cluster(call),))
    detach.leave_folder()

    def goes_on() -> bool:
        return not acks.is_gone(call.lock) and signature(settings.config) == config

    pusher = Pusher(acks, lambda path: archives.push(path, call.generation), jobs=settings.jobs)
    pusher.run(goes_on)
    if signature(settings.config) != config:
        # What is acknowledged may lie in a repository that is not the one any more.
        acks.keep_only(frozenset())
    os.close(call.lock)
