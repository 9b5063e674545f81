"""What the last find found, so that `--event 3` means something to the next command.

A file of the user's own for each cluster of each repository: names of tables and databases are
nobody else's business.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pgkeep import config_file
from pgkeep.errors import PgkeepError
from pgkeep.repository.repository import ClusterFolder
from pgkeep.undo.errors import CannotUndo, NoSuchEvent
from pgkeep.undo.event import Event

_VERSION: Final = 1
_LIMIT: Final = 64 << 20  # bytes; a find that names 100,000 relations takes a third of it


@dataclass(frozen=True, slots=True)
class Remembered:
    """The events of the last find of one cluster."""

    path: str

    @classmethod
    def of(cls, cluster: ClusterFolder) -> "Remembered":
        environment = config_file.environment()
        home = environment.get("HOME") or os.path.expanduser("~")
        base = environment.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
        name = f"{cluster.name}-{cluster.repository.id}.json"
        return cls(os.path.join(base, "pgkeep", "found", name))

    def remember(self, events: Sequence[Event]) -> str | None:
        """Keep these, and forget those of the find before. Return why not, or None."""
        content = json.dumps({"version": _VERSION, "events": [e.to_dict() for e in events]})
        beside = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(content)
            os.replace(beside, self.path)  # another find may run: whole files only
        except OSError as error:
            with suppress(OSError):
                os.unlink(beside)
            return f"{self.path}: {(error.strerror or str(error)).lower()}"
        return None

    def recall(self, number: int) -> Event:
        """Return the event with this number. Raise NoSuchEvent, or CannotUndo."""
        events = {event.number: event for event in self.events()}
        if number in events:
            return events[number]
        what = f"use event {number}"
        if not events:
            raise NoSuchEvent(what, "the last find found none, or there was none")
        why = f"the last find numbered its events 1 to {max(events)}"
        raise NoSuchEvent(what, why, "look again: pgkeep undo find")

    def searched_at(self) -> datetime | None:
        """Return when the last find ended; None if there was none."""
        try:
            return datetime.fromtimestamp(os.stat(self.path).st_mtime, UTC)
        except OSError:
            return None

    def events(self) -> list[Event]:
        """Return what the last find found; nothing if there was none. Raise CannotUndo."""
        try:
            with open(self.path, encoding="utf-8") as file:
                content = file.read(_LIMIT + 1)
            facts = json.loads(content)
            if facts["version"] != _VERSION:
                return []  # as good as forgotten
            return [Event.from_dict(one) for one in facts["events"]]
        except FileNotFoundError:
            return []
        except (OSError, KeyError, TypeError, ValueError, AttributeError, PgkeepError) as error:
            why = f"{self.path} cannot be read: {error}"
            raise CannotUndo(
                "use an event by its number", why, "run it: pgkeep undo find"
            ) from error
