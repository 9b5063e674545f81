"""Makes the checks of a drill, one after the other, and keeps what each came to."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from pgkeep.drill.finding import Finding, untested
from pgkeep.errors import PgkeepError
from pgkeep.repository.drills.report import Check, CheckKind

_ORDER: Final = {kind: place for place, kind in enumerate(CheckKind)}


@dataclass
class Checks:
    """The checks that were made so far."""

    clock: Callable[[], float] = time.monotonic
    found: list[Check] = field(default_factory=list)

    def note(self, kind: CheckKind, finding: Finding, seconds: float = 0.0, name: str = "") -> None:
        self.found.append(finding.check(kind, seconds, name))

    def make(self, kind: CheckKind, look: Callable[[], Finding], name: str = "") -> None:
        """Make one check. What keeps it from being made is told, and never counts as passed."""
        began = self.clock()
        try:
            finding = look()
        except PgkeepError as error:
            finding = untested(str(error))
        self.note(kind, finding, self.clock() - began, name)

    def replace(self, kind: CheckKind, finding: Finding) -> None:
        """Say another thing of a check than was said: the server has died since."""
        self.found = [check for check in self.found if check.kind is not kind]
        self.note(kind, finding)

    def told(self) -> tuple[Check, ...]:
        """Return all of them in the order in which they are told; it is not that of the making."""
        return tuple(sorted(self.found, key=lambda check: _ORDER[check.kind]))

    @contextmanager
    def others(self, *kinds: CheckKind, why: str) -> Iterator[None]:
        """Note checks that this block did not come to, in whatever way it ends."""
        try:
            yield
        finally:
            made = {check.kind for check in self.found}
            for kind in kinds:
                if kind not in made:
                    self.note(kind, untested(why))
