"""One line of the production checklist."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a line stands, the best first."""

    OK = "ok"  # done in time, and there is proof of it
    UNKNOWN = "not known"  # what would tell cannot be asked
    DUE = "due"  # not done, or longer ago than it may be
    NOT_SET_UP = "not set up"
    FAILED = "failed"  # tried, and it is no good

    @property
    def rank(self) -> int:
        """Return how bad it is."""
        return list(State).index(self)

    @property
    def wants_action(self) -> bool:
        return self in (State.DUE, State.FAILED)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that must be done, whether it is, and how that is known."""

    key: str  # stable: 'test-restore'
    name: str
    why: str
    how_often: str
    state: State
    proof: str  # what was seen: an id, a file, a verdict; what is missing
    last_done: datetime | None = None
    next_due: datetime | None = None
    todo: str = ""  # what to type or write; '' where nothing is to be done


@dataclass(frozen=True, slots=True)
class Checklist:
    """All of it for one cluster at one moment."""

    cluster: str
    looked_at: datetime
    rows: tuple[Row, ...]

    @property
    def wanting(self) -> tuple[Row, ...]:
        """Return the rows that are due or failed."""
        return tuple(row for row in self.rows if row.state.wants_action)

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        return {
            "cluster": self.cluster,
            "looked_at": self.looked_at,
            "ok": not self.wanting,
            "rows": [asdict(row) for row in self.rows],
        }
