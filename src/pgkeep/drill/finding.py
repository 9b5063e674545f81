"""What one look at a restored copy found, and what all of them come to. Pure."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Final

from pgkeep.repository.drills.report import ESSENTIAL, Check, CheckKind, Status

_LINES: Final = 20  # of evidence that a report keeps
_WIDTH: Final = 300  # characters of each


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check."""

    status: Status
    words: str
    evidence: tuple[str, ...] = ()

    def check(self, kind: CheckKind, seconds: float, name: str = "") -> Check:
        """Return it as a report keeps it: with the first few lines of its evidence."""
        return Check(
            kind=kind,
            status=self.status,
            words=_cut(self.words),
            name=name,
            evidence=tuple(map(_cut, self.evidence[:_LINES])),
            more=max(0, len(self.evidence) - _LINES),
            seconds=round(seconds, 3),
        )


def passed(words: str) -> Finding:
    return Finding(Status.PASSED, words)


def failed(words: str, evidence: Iterable[str] = ()) -> Finding:
    return Finding(Status.FAILED, words, tuple(evidence))


def untested(words: str, evidence: Iterable[str] = ()) -> Finding:
    return Finding(Status.NOT_TESTED, words, tuple(evidence))


def judge(checks: Sequence[Check], essential: Set[CheckKind] = ESSENTIAL) -> Status:
    """Return what a drill comes to.

    One failed check is enough to fail. Where nothing failed, and yet a check is missing without
    which nothing is known of the backup, it could not be tested. All else is passed: a check that
    could not be made beside that is named, and never counts as passed.
    """
    if any(check.status is Status.FAILED for check in checks):
        return Status.FAILED
    done = {check.kind for check in checks if check.status is Status.PASSED}
    return Status.PASSED if done >= essential else Status.NOT_TESTED


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
