"""Timelines: the branches of a cluster's history, and the history files that tell them.

Source: timeline.c (readTimeLineHistory, writeTimeLineHistory).
"""

import re
from dataclasses import dataclass
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn

_LINE: Final = re.compile(r"\s*(\d{1,10})\s+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})\s*(.*?)\s*")
_NAME: Final = re.compile(r"([0-9A-F]{8})\.history")


class BadHistory(PgkeepError):
    """A timeline history file that cannot be trusted."""

    code = "bad-timeline-history"
    exit_status = 14

    timeline: int
    why: str

    def __str__(self) -> str:
        return f"cannot follow timeline {self.timeline}: its history file {self.why}"

    @property
    def hint(self) -> str:
        name = history_name(self.timeline)
        return f"archive {name} again from the server's pg_wal, or restore along another timeline"


@dataclass(frozen=True, slots=True)
class Branch:
    """A parent timeline and where its child left it."""

    timeline: int
    switch: Lsn  # the first byte that belongs to the child
    reason: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """One timeline and its ancestors, oldest first. Timeline 1 has none."""

    timeline: int
    ancestors: tuple[Branch, ...] = ()

    @classmethod
    def parse(cls, timeline: int, text: str) -> "History":
        """Read a history file; blank lines and # comments are normal. Raise BadHistory."""
        branches: list[Branch] = []
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise BadHistory(timeline, f"has an unreadable line {line[:60]!r}")
            branch = Branch(int(match[1]), Lsn.parse(match[2]), match[3])
            if branches and (
                branch.timeline <= branches[-1].timeline or branch.switch < branches[-1].switch
            ):
                raise BadHistory(timeline, f"goes backwards at {line[:60]!r}")
            branches.append(branch)
        if not branches:
            raise BadHistory(timeline, "names no parent")
        if branches[0].timeline == 0 or branches[-1].timeline >= timeline:
            raise BadHistory(timeline, f"names timeline {branches[-1].timeline} as its parent")
        return cls(timeline, tuple(branches))

    @property
    def parent(self) -> Branch | None:
        return self.ancestors[-1] if self.ancestors else None

    def timeline_at(self, lsn: Lsn) -> int:
        """Return the timeline to which the byte at `lsn` belongs, seen from this one."""
        for branch in self.ancestors:
            if lsn < branch.switch:
                return branch.timeline
        return self.timeline

    def switch_of(self, timeline: int) -> Lsn | None:
        """Return where this history leaves `timeline`; None for the newest or a stranger."""
        for branch in self.ancestors:
            if branch.timeline == timeline:
                return branch.switch
        return None

    def includes(self, timeline: int, lsn: Lsn) -> bool:
        """Tell whether the state at `lsn` of `timeline` is part of this history."""
        if timeline == self.timeline:
            return True
        switch = self.switch_of(timeline)
        return switch is not None and lsn <= switch


def history_name(timeline: int) -> str:
    """Return the file name under which PostgreSQL keeps a timeline's history."""
    return f"{timeline:08X}.history"


def parse_history_name(name: str) -> int | None:
    """Return the timeline of a history file's name, or None."""
    match = _NAME.fullmatch(name)
    return int(match[1], 16) if match else None
