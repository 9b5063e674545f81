"""What is asked of a drill."""

from dataclasses import dataclass, field

from pgkeep.drill.queries import Query
from pgkeep.model.target import RecoveryTarget
from pgkeep.units import GIB

RANDOM = "random"
_TO_THE_END = RecoveryTarget()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is looked at in a restored copy."""

    read_all: str = "auto"  # or 'always', 'never'
    read_limit: int = 100 * GIB  # for 'auto': bytes of all databases
    may_be_empty: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
    query_timeout_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """Which moment of which backup, or which dump, is restored, and with what."""

    wanted: str | None = None  # a backup or dump, or the beginning of its id; None: the newest
    newest_dump: bool = False  # without `wanted`: the newest dump instead of a backup
    asked: str = "latest"  # as typed; 'random' draws a moment
    recovery: RecoveryTarget = _TO_THE_END  # what that means, unless a moment is drawn
    seed: str = ""  # for 'random'
    wishes: Wishes = field(default_factory=Wishes)
    directory: str = ""  # where sandboxes are made; '': the usual place
    jobs: int = 1
    rate: int = 0  # bytes per second that restoring may write; 0: no limit
    fetch_command: tuple[str, ...] = ("pgkeep-wal", "fetch")
    environment: tuple[tuple[str, str], ...] = ()  # of the server: restore_command may need it
    pg_bin: str | None = None
