"""Proves, with coverage itself, that a plan loses nothing that its policy promises. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import BackupId
from pgkeep.model.coverage import Coverage, Span, coverage
from pgkeep.model.dump import Origin
from pgkeep.model.lsn import Lsn
from pgkeep.retention.judging.branches import Branch, Known
from pgkeep.retention.judging.dumps import DumpPlan
from pgkeep.retention.judging.wal_plan import WalVerdict
from pgkeep.retention.plan import ExpirePlan, Marks
from pgkeep.retention.policy import KeepPolicy, age


class PlanBroken(PgkeepError):
    """A plan would have lost what its policy promises. Nothing was deleted."""

    code = "plan-broken"
    exit_status = 213

    cluster: str
    lost: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"cannot delete anything of cluster {self.cluster}: the plan contradicts its own "
            f"promise, {self.lost[0]}"
        )

    @property
    def hint(self) -> str:
        return (
            "this is a bug in pgkeep, and nothing was deleted: report it with the output of "
            "pgkeep list --json and pgkeep expire --dry-run --json"
        )


def demand_promise(cluster: str, known: Sequence[Known], marks: Marks, plan: ExpirePlan) -> None:
    """Raise PlanBroken unless what remains keeps every promise."""
    lost = tuple(broken_promises(known, marks, plan))
    if lost:
        raise PlanBroken(cluster, lost)


def broken_promises(known: Sequence[Known], marks: Marks, plan: ExpirePlan) -> Iterator[str]:
    """Yield what a plan would lose of what must stay."""
    kept = {backup.id for backup in plan.kept}
    yield from _lost_backups(known, marks, plan, kept)
    for one in known:
        whole = [backup for backup in one.backups if backup.id not in marks.damaged]
        before = coverage(one.generation, whole, one.segments, one.histories)
        left = remaining_segments(one, plan.wal)
        remaining = [backup for backup in whole if backup.id in kept]
        after = coverage(one.generation, remaining, left, one.histories)
        still = _usable(after)
        for backup_id in sorted(_usable(before) & kept - still):
            yield f"backup {backup_id} would lose WAL that makes it consistent"
        for branch in plan.branches:
            if branch.generation.id == one.generation.id:
                yield from _lost_moments(branch, before, after)


def demand_dumps(
    cluster: str, plan: DumpPlan, marks: Marks, policy: KeepPolicy, now: datetime
) -> None:
    """Raise PlanBroken unless what remains of the dumps keeps every promise."""
    lost = tuple(broken_dumps(plan, marks, policy, now))
    if lost:
        raise PlanBroken(cluster, lost)


def broken_dumps(plan: DumpPlan, marks: Marks, policy: KeepPolicy, now: datetime) -> Iterator[str]:
    """Yield the dumps that would go though they must stay."""
    for dump in plan.dropped:
        alike = [other for other in plan.kept if other.series == dump.series]
        whole = [other for other in alike if other.id not in marks.damaged]
        newer = [other for other in whole if age(other) > age(dump)]
        what = ""
        if not policy.asks:
            what = "though nothing is to go"
        elif dump.id in marks.pinned:
            what = "a pinned one"
        elif dump.origin is Origin.FILE:
            what = "an imported one"
        elif dump.stopped_at > now - policy.window:
            what = "one in the window"
        elif not whole:
            what = "and no whole one of its series stays"
        elif dump.id not in marks.damaged:
            good = dump.suspicions or any(not other.suspicions for other in newer)
            if len(newer) < policy.minimum or not good:
                what = "one of the newest of its series"
        if what:
            yield f"dump {dump.id} would go, {what}"


def remaining_segments(known: Known, verdicts: Iterable[WalVerdict]) -> Mapping[int, list[int]]:
    """Return the archived segments that verdicts let stay."""
    left: dict[int, list[int]] = {}
    for verdict in verdicts:
        if verdict.keep and verdict.generation.id == known.generation.id:
            left.setdefault(verdict.timeline, []).extend(range(verdict.first, verdict.last + 1))
    return {timeline: sorted(numbers) for timeline, numbers in left.items()}


def _lost_backups(
    known: Sequence[Known], marks: Marks, plan: ExpirePlan, kept: set[BackupId]
) -> Iterator[str]:
    everything = [backup for one in known for backup in one.backups]
    if len(plan.backups) != len(everything):
        yield "not every backup has a verdict"
    usable = sorted(
        (backup for one in known for backup in one.sound(marks.damaged)),
        key=lambda backup: backup.stopped_at,
    )
    wanted: dict[str, str] = {
        backup.id: "the newest backups" for backup in usable[-plan.policy.minimum :]
    }
    clean = [backup for backup in usable if not backup.corrupt_pages][-1:]
    wanted |= {backup.id: "the newest backup without damaged pages" for backup in clean}
    wanted |= {
        backup.id: "a backup in the window"
        for backup in everything
        if backup.stopped_at > plan.window_start
    }
    wanted |= dict.fromkeys(marks.pinned, "a pinned backup")
    for backup_id, what in sorted(wanted.items()):
        if backup_id not in kept and any(backup.id == backup_id for backup in everything):
            yield f"backup {backup_id} would go, {what}"


def _usable(found: Coverage) -> set[BackupId]:
    return {reach.backup for timeline in found.timelines for reach in timeline.reaches}


def _lost_moments(branch: Branch, before: Coverage, after: Coverage) -> Iterator[str]:
    floor = branch.anchor.stop_lsn if branch.anchor else Lsn(0)
    old, new = (
        _clipped(timeline.spans if timeline else (), floor)
        for timeline in (before.timeline(branch.timeline), after.timeline(branch.timeline))
    )
    if old != new:
        name = f"timeline {branch.timeline} of {branch.generation.id}"
        yield f"{name} would be restorable {_said(new)} instead of {_said(old)}"


def _clipped(spans: Iterable[Span], floor: Lsn) -> list[tuple[Lsn, Lsn]]:
    return [(max(span.start, floor), span.end) for span in spans if span.end >= floor]


def _said(spans: Sequence[tuple[Lsn, Lsn]]) -> str:
    return " and ".join(f"from {start} to {end}" for start, end in spans) or "nowhere"
