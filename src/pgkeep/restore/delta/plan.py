"""What a delta restore does with WAL that only the old directory has. Pure.

Such segments hold the newest changes there are. They are kept where recovery will replay them, and
never thrown away unasked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgkeep.errors import PgkeepError
from pgkeep.model.segment import Segment
from pgkeep.model.target import Latest, RecoveryTarget
from pgkeep.restore.plan import RestorePlan


class LocalWalAtRisk(PgkeepError):
    """The directory to restore over holds WAL that is nowhere else and would be lost."""

    code = "local-wal-at-risk"
    exit_status = 240

    target: str
    directory: str  # pg_wal
    segments: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        shown = ", ".join(self.segments[:4]) + (", ..." if len(self.segments) > 4 else "")
        return (
            f"cannot restore to {self.target} over this directory: changes would be lost for good, "
            f"{self.directory} has WAL that is not archived ({shown}) and {self.why}; "
            "nothing was changed"
        )

    @property
    def hint(self) -> str:
        push = f"pgkeep wal push {self.directory}/{self.segments[0]}"
        each = f" and so on, {len(self.segments)} segments" if len(self.segments) > 1 else ""
        return f"archive it first: {push}{each}; or give these changes up with --discard-wal"


@dataclass(frozen=True, slots=True)
class LocalSegment:
    """A segment in the old directory's pg_wal that holds what its name says."""

    segment: Segment
    archived: bool  # with this very content
    changes: bool  # the end of a transaction or a restore point is in it


@dataclass(frozen=True, slots=True)
class WalChoice:
    """Which local segments stay for recovery; every other one goes."""

    kept: tuple[Segment, ...] = ()
    given_up: tuple[Segment, ...] = ()  # with changes, as the user asked

    def words(self) -> tuple[str, ...]:
        """Say what becomes of WAL that is not archived."""
        found = []
        if self.kept:
            one = len(self.kept) == 1
            stay, them = ("stays", "it") if one else ("stay", "them")
            found.append(
                f"{_not_archived(self.kept)} {stay} in pg_wal, and recovery replays {them}: "
                f"{_span(self.kept)}"
            )
        if self.given_up:
            found.append(
                f"changes in {_not_archived(self.given_up)} are given up, as asked: "
                f"{_span(self.given_up)}"
            )
        return tuple(found)


def choose_wal(
    local: Sequence[LocalSegment],
    plan: RestorePlan,
    recovery: RecoveryTarget,
    directory: str,
    *,
    discard: bool,
) -> WalChoice:
    """Decide which segments stay; raise LocalWalAtRisk where changes would be lost unasked."""
    here = sorted(
        (one for one in local if not _in_backup(one.segment, plan)),
        key=lambda one: one.segment,
    )
    only_here = [one for one in here if not one.archived]
    kept: tuple[Segment, ...] = ()
    if isinstance(recovery.target, Latest) and not discard:
        kept = _continuing([one.segment for one in only_here], plan)
    lost = tuple(one.segment for one in only_here if one.changes and one.segment not in kept)
    if lost and not discard:
        names = tuple(segment.name for segment in lost)
        raise LocalWalAtRisk(plan.asked, directory, names, _why(lost, plan, recovery))
    return WalChoice(kept, lost)


def _in_backup(segment: Segment, plan: RestorePlan) -> bool:
    """Tell whether the backup holds all that a segment did.

    An old primary may have gone on after the moment at which the new one left its timeline: that
    the backup was made later does not bring such changes into it.
    """
    before = segment.end <= plan.backup.start_lsn
    return before and plan.history.includes(segment.timeline, segment.end)


def _continuing(segments: Sequence[Segment], plan: RestorePlan) -> tuple[Segment, ...]:
    """Return the segments that follow the archived ones on the plan's timeline, without a gap."""
    there, found = set(segments), []
    following = Segment(plan.timeline, plan.last_segment.number + 1, plan.last_segment.size)
    while following in there:
        found.append(following)
        following = following._replace(number=following.number + 1)
    return tuple(found)


def _why(lost: Sequence[Segment], plan: RestorePlan, recovery: RecoveryTarget) -> str:
    if not isinstance(recovery.target, Latest):
        return "this target leaves it out"
    others = sorted({segment.timeline for segment in lost} - {plan.timeline})
    if others:
        return f"it is of timeline {others[0]}, while the restore follows timeline {plan.timeline}"
    return f"it does not follow {plan.last_segment}, the last archived segment"


def _not_archived(segments: Sequence[Segment]) -> str:
    if len(segments) == 1:
        return "1 WAL segment that is not archived"
    return f"{len(segments)} WAL segments that are not archived"


def _span(segments: Sequence[Segment]) -> str:
    names = [segment.name for segment in segments]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
