"""The health of one cluster at one moment, as coverage and the server tell it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pgkeep.health.condition import Condition, Level


class State(StrEnum):
    """One word for a cluster."""

    PROTECTED = "protected"
    AT_RISK = "at risk"  # protected, with warnings
    IN_DANGER = "in danger"  # something critical
    UNKNOWN = "unknown"  # it could not be told: treated as critical by alerts


WORST_FIRST: Final = (State.IN_DANGER, State.UNKNOWN, State.AT_RISK, State.PROTECTED)


@dataclass(frozen=True, slots=True)
class Proven:
    """The newest restore test that passed."""

    id: str
    at: datetime
    seconds: float  # from its beginning to a server that could be used
    backup: str


@dataclass(frozen=True, slots=True)
class RepositoryRoom:
    """How full one repository is."""

    name: str
    address: str
    bytes: int | None = None  # used by this cluster
    free: int | None = None
    full_at: datetime | None = None  # by its growth


@dataclass(frozen=True, slots=True)
class Health:
    """What can be restored of a cluster, and what endangers that."""

    cluster: str
    state: State
    looked_at: datetime
    protected_to: datetime | None  # the newest moment that can be restored
    protected_from: datetime | None  # the oldest of the span that reaches it
    proven: Proven | None
    conditions: tuple[Condition, ...] = ()  # the worst first
    newest_backup: str = ""
    newest_backup_at: datetime | None = None
    newest_dump_at: datetime | None = None
    cluster_bytes: int | None = None
    wal_behind_bytes: int | None = None  # written by the server and not archived yet
    wal_behind_s: float | None = None
    wal_bytes_per_s: float | None = None
    pg_wal_full_in_s: float | None = None  # while archiving fails
    restore_s: float | None = None  # estimated for a restore to the newest moment
    rpo_s: float | None = None  # what would be lost if the server died now
    rpo_goal_s: float | None = None
    rto_goal_s: float | None = None
    repositories: tuple[RepositoryRoom, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> Level | None:
        return self.conditions[0].level if self.conditions else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as documented for --json."""
        facts = asdict(self)
        facts["conditions"] = [condition.to_dict() for condition in self.conditions]
        return facts
