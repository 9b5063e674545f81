"""What a job's process says on stderr: progress as JSON lines, all else is its log. Pure."""

import json
from dataclasses import replace
from typing import Any, Final, TypeGuard

from pgkeep.service.jobs.job import Progressed

MARK: Final = '{"progress": '  # as cli/progress.py begins its lines
_MOST: Final = 1 << 63
_TEXT: Final = 200  # characters of a phase's or detail's name


class Follower:
    """Makes one Progressed of the lines so far; `clock` are the caller's seconds."""

    def __init__(self) -> None:
        self.progress = Progressed()
        self._began = 0.0

    def take(self, line: str, clock: float) -> str | None:
        """Return what belongs into the log, or None for a line that is progress alone."""
        if not line.startswith(MARK):
            return line
        try:
            said = json.loads(line)["progress"]
        except (ValueError, KeyError, RecursionError):
            return line
        if not isinstance(said, dict):
            return line
        if "note" in said:
            return str(said["note"])
        if "phase" in said:
            total = said.get("total")
            self.progress = Progressed(
                phase=_words(said["phase"]),
                total=total if _counts(total) and total else None,
                unit=_words(said.get("unit", "bytes")),
            )
            self._began = clock
            return self.progress.phase
        self._advance(said, clock)
        return None

    def _advance(self, said: dict[str, Any], clock: float) -> None:
        done = said.get("done")
        if _counts(done):
            total, seconds = self.progress.total, clock - self._began
            left = None
            if total and done and seconds >= 1:
                left = max(0, total - done) * seconds / done
            self.progress = replace(self.progress, done=done, left_s=left)
        if "detail" in said:
            self.progress = replace(self.progress, detail=_words(said["detail"]))


def _counts(found: object) -> TypeGuard[int]:
    """Tell whether it is a number that can be counted with, and sent on."""
    return isinstance(found, int) and 0 <= found < _MOST


def _words(found: object) -> str:
    """Return a short text without halves of characters, as names that are no UTF-8 have."""
    return str(found)[:_TEXT].encode(errors="replace").decode()
