"""The pusher as a process of its own, started by the first push that finds a backlog."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pgkeep.coverage.lost_wal import LostWal, record_loss
from pgkeep.model.wal_file import kind_of
from pgkeep.repository.marker import format_moment
from pgkeep.wal.ahead import detach
from pgkeep.wal.ahead.acks import Acks
from pgkeep.wal.ahead.chain import Chain
from pgkeep.wal.ahead.losses import Lost
from pgkeep.wal.ahead.pusher import Pusher
from pgkeep.wal.ahead.settings import read_settings, signature
from pgkeep.wal.identity import generation_of, identifier_beside
from pgkeep.wal.place import Candidates, Opened, to_write
from pgkeep.wal.push import push
from pgkeep.wal.several import AWAY, push_to

if TYPE_CHECKING:
    from pgkeep.wal.main import Call


class Archives:
    """Where WAL goes, opened once; from several threads. `told` hears what went elsewhere."""

    def __init__(
        self, candidates: Candidates, generation: str | None, told: Callable[[str], object]
    ) -> None:
        self._places = tuple(_Once(candidate) for candidate in candidates.each)
        self._candidates = candidates._replace(each=self._places)
        self._generation = generation
        self._told = told

    def push(self, path: str) -> None:
        """Return once the file is durable wherever it is wanted. Raise as push_to() does."""
        push_to(self._candidates, lambda opened: self._push(opened, path), self._told)

    @property
    def can_spread(self) -> bool:
        """Whether one that fails may keep others waiting that work."""
        return self._candidates.all_of_them and len(self._places) > 1

    def spread(self, path: str) -> None:
        """Push to those that worked when they were asked last. Raise only what is not the store's.

        One that fails now is left alone, too, until push() has found that it works again.
        """
        for place in self._places:
            if place.works:
                with suppress(*AWAY):
                    self._push(place(), path)

    def _push(self, opened: Opened, path: str) -> None:
        cluster, level, rights = opened
        place = next(place for place in self._places if place.url == cluster.store.url)
        # Who may archive is looked up for each file: another server may have taken over.
        with place.watched():
            push(cluster, path, generation=self._generation, level=level, rights=rights)

    def record(self, pg_wal: str, lost: Sequence[Lost]) -> None:
        """Put on record, wherever WAL is wanted, what was given up; push what can still be had.

        Raise the store's errors.
        """
        for path in (os.path.join(pg_wal, one.file) for one in lost):
            # PostgreSQL keeps histories; a segment's file may be another one's by now.
            if kind_of(os.path.basename(path)) == "history" and os.path.exists(path):
                self.push(path)
        push_to(self._candidates, lambda opened: _record(opened, pg_wal, lost), self._told)


def _record(opened: Opened, pg_wal: str, lost: Sequence[Lost]) -> None:
    cluster = opened.cluster
    known = tuple(cluster.generation_ids())
    identifier = identifier_beside(os.path.join(pg_wal, "any"))
    own = None if identifier is None else generation_of(identifier, known)
    for generation in known if own is None else (own,):
        for loss in _by_timeline(lost):
            record_loss(cluster, generation, loss)


def _by_timeline(lost: Sequence[Lost]) -> list[LostWal]:
    found = []
    segments = sorted(one for one in lost if kind_of(one.file) == "segment")
    for timeline in sorted({one.file[:8] for one in segments}):
        these = [one for one in segments if one.file[:8] == timeline]
        last = max(these, key=lambda one: one.at)
        when = format_moment(datetime.fromtimestamp(last.at, UTC))
        found.append(LostWal(these[0].file, these[-1].file, len(these), when, last.why))
    return found


class _Once:
    """Opens a repository the first time it is asked, and then has it."""

    def __init__(self, opener: Callable[[], Opened]) -> None:
        self._opener = opener
        self._opened: Opened | None = None
        self.url = ""  # once it is open
        self.works = True  # as far as is known

    def __call__(self) -> Opened:
        if self._opened is None:
            with self.watched():
                opened = self._opener()
            self._opened, self.url = opened, opened.cluster.store.url
        return self._opened

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Remember whether it works from how what is done with it ends."""
        try:
            yield
        except AWAY:
            self.works = False
            raise
        self.works = True


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

    chain = None
    # Losses are mended even where nothing is to be given up any more.
    if settings.limit or (settings.config and acks.has_losses()):
        record = partial(archives.record, acks.pg_wal)
        chain = Chain(acks, settings.limit, record, backup_command(settings.config, call.cluster))
    spread = archives.spread if archives.can_spread else None
    Pusher(acks, archives.push, jobs=settings.jobs, chain=chain, spread=spread).run(goes_on)
    if signature(settings.config) != config:
        acks.void()
    os.close(call.lock)


def backup_command(config: str, cluster: str | None) -> list[str]:
    """Return the words of a new backup: by the pgkeep that is installed with this pgkeep-wal."""
    program = os.path.join(os.path.dirname(sys.executable), "pgkeep")
    which = ["--cluster", cluster] if cluster else []
    return [program, "--config", config, *which, "backup"]
