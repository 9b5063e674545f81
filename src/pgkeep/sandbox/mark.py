"""The mark in every sandbox's directory: whose it is, and until when it is to be left alone. Pure.

A file `pgkeep-sandbox.json` of one JSON object. It is written when the directory is made, before
anything else is in it, and replaced when the sandbox is kept.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pgkeep.repository.claims.locks import Process

MARK: Final = "pgkeep-sandbox.json"
PREFIX: Final = "pgkeep-sandbox-"  # of the directories' names
# A directory without a readable mark may be one that is just being made.
_UNMARKED_S: Final = 3600.0


class BadMark(ValueError):
    """What is in a mark file cannot be one."""


class Fate(StrEnum):
    """What becomes of a sandbox's directory that is found."""

    IN_USE = "in use"
    KEPT = "kept"
    STRANGE = "not to be judged from here"
    LEFT_BEHIND = "left behind"


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose a sandbox is."""

    owner: Process
    purpose: str
    cluster: str
    made_at: datetime
    socket_directory: str  # elsewhere, when the path of the sandbox is too long for sockets
    kept_until: datetime | None = None

    def encode(self) -> str:
        facts = {
            "owner": self.owner._asdict(),
            "purpose": self.purpose,
            "cluster": self.cluster,
            "made_at": self.made_at.isoformat(),
            "socket_directory": self.socket_directory,
            "kept_until": None if self.kept_until is None else self.kept_until.isoformat(),
        }
        return json.dumps(facts, indent=2) + "\n"

    @classmethod
    def decode(cls, text: str) -> "Mark":
        """Raise BadMark."""
        try:
            facts = json.loads(text)
            owner = dict(facts["owner"])
            kept = facts["kept_until"]
            mark = cls(
                Process(**{**owner, "pid": int(owner["pid"])}),
                str(facts["purpose"]),
                str(facts["cluster"]),
                _moment(facts["made_at"]),
                str(facts["socket_directory"]),
                None if kept is None else _moment(kept),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise BadMark(str(error)) from error
        return mark


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return found


def judge(mark: Mark | None, gone: bool | None, now: datetime, age: float) -> Fate:
    """Decide what becomes of a directory that was found.

    `gone` says whether the owner's process has ended; None: it cannot be seen from here. `age` is
    how many seconds ago the directory was last changed, for one without a readable mark.
    """
    if mark is None:
        return Fate.LEFT_BEHIND if age > _UNMARKED_S else Fate.IN_USE
    if mark.kept_until is not None and now < mark.kept_until:
        return Fate.KEPT
    if mark.kept_until is not None and gone is None:
        return Fate.LEFT_BEHIND  # its owner has let go of it, wherever it was
    if gone is None:
        return Fate.STRANGE
    return Fate.LEFT_BEHIND if gone else Fate.IN_USE
