"""Protects the database at the cost of its WAL, where the config says so; and mends the chain.

Beyond a limit, what cannot be archived is given up: noted, and PostgreSQL is told to let go of it.
As soon as the store works again the loss goes on record, and a new backup makes recovery possible
from then on. Until that is done nothing is forgotten.
"""

import os
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final
from pgkeep.model.wal_file import kind_of
from pgkeep.wal.ahead.acks import Acks, Refusal
from pgkeep.wal.ahead.losses import Losses, Lost
from pgkeep.wal.ahead.plan import to_give_up

_AGAIN_S: Final = 300.0  # between two backups that failed


class Chain:
    """Gives up, and mends. `limit` is in bytes, 0 for never; `record` puts losses on record."""

    def __init__(
        self,
        acks: Acks,
        limit: int,
        record: Callable[[Sequence[Lost]], None],
        backup: Sequence[str],
    ) -> None:
        self._acks = acks
        self._limit = limit
        self._record = record
        self._command = list(backup)
        self._losses = Losses(acks.pg_wal)
        self._running: subprocess.Popen[bytes] | None = None
        self._mending: list[Lost] = []
        self._not_before = 0.0

    @property
    def is_mending(self) -> bool:
        return self._running is not None

    def give_up(self, file: str, needed: Sequence[str], busy: Collection[str], why: str) -> bool:
        """Give up `file`, which PostgreSQL asks for, if there is too much; tell whether it was.

        Raise OSError when that could not be noted: then it is not given up.
        """
        # A history is asked for first, and says nothing of how large segments are.
        segment = next((other for other in needed if kind_of(other) == "segment"), file)
        size = os.stat(self._acks.path(segment)).st_size
        if file not in to_give_up(needed, busy, size, self._limit):
            return False
        # The note first: PostgreSQL must not let go of what nobody knows to be lost.
        self._losses.add([file], int(time.time()), why)
        message = (
            f"GIVEN UP: {file} was not archived, and never will be: more than "
            f"archive_backlog_limit waits, and {why}"
        )
        hint = "no recovery goes across it; a backup is made when the repository works again"
        self._acks.refuse(file, Refusal(0, message, hint))
        return True

    def mend(self, now: float) -> None:
        """Go on with what makes the chain whole again. The store must work. Raise OSError."""
        if self._running is not None:
            self._look_at_backup(now)
        elif now >= self._not_before and (lost := self._losses.read()):
            self._not_before = now + _AGAIN_S
            with suppress(PgkeepError):  # the store fails again, and so does archiving
                self._record(lost)
                self._acks.say(f"{len(lost)} WAL files were given up: making a new backup")
                self._mending = lost
                nothing = subprocess.DEVNULL
                self._running = subprocess.Popen(
                    self._command,
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                    start_new_session=True,
                )

    def _look_at_backup(self, now: float) -> None:
        assert self._running is not None
        status = self._running.poll()
        if status is None:
            return
        self._running = None
        if status == 0:
            self._losses.forget(self._mending)
            self._acks.say("there is a new backup: recovery is possible again from then on")
        else:
            self._not_before = now + _AGAIN_S
            self._acks.say(f"the new backup failed with status {status}: run pgkeep backup")
