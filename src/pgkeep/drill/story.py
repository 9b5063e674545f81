"""What a drill has found out so far: whatever ends it, the report is made of this."""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field

from msgspec.structs import replace

from pgkeep.drill.checking import Checks
from pgkeep.repository.drills.report import ESSENTIAL, CheckKind, Measures


@dataclass
class Story:
    """One drill being made."""

    target: str
    of: str = ""
    seed: str = ""
    timeline: int | None = None
    reached: str = ""
    server: str = ""
    measures: Measures = field(default_factory=Measures)
    notes: tuple[str, ...] = ()
    essential: Set[CheckKind] = ESSENTIAL
    clock: Callable[[], float] = time.monotonic
    checks: Checks = field(default_factory=Checks)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self.clock() - self.began

    def is_ready(self) -> None:
        """Note that by now the copy can be used."""
        self.measures = replace(self.measures, ready_s=round(self.seconds, 3))
