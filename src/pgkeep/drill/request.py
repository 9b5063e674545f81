"""What is asked of a drill."""

from dataclasses import dataclass, field
from typing import Final

from pgkeep.drill.looking.queries import Query
from pgkeep.sandbox.request import SandboxRequest
from pgkeep.units import GIB

RANDOM: Final = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is looked at in a restored copy."""

    amcheck: str = "full"  # or 'quick', 'never'
    read_all: str = "auto"  # or 'always', 'never'
    read_limit: int = 100 * GIB  # for 'auto': bytes of all databases
    may_be_empty: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
    query_timeout_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """Which moment of which backup, or which dump, is restored, where and with what."""

    sandbox: SandboxRequest  # its recovery is the target, unless a moment is drawn
    wanted: str | None = None  # a backup or dump, or the beginning of its id; None: the newest
    newest_dump: bool = False  # without `wanted`: the newest dump instead of a backup
    asked: str = "latest"  # as typed; 'random' draws a moment
    seed: str = ""  # for 'random'
    wishes: Wishes = field(default_factory=Wishes)
