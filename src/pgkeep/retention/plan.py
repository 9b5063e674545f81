"""Which backups and which WAL a policy lets go, and why each of the rest stays. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo

from pgkeep.model.backup import Backup
from pgkeep.model.segment import Segment
from pgkeep.retention.judging.branches import Branch, Known, branch, living
from pgkeep.retention.judging.wal_plan import WalVerdict, is_needed, judge_wal
from pgkeep.retention.policy import KeepPolicy, age, chosen

NO_POLICY = "no retention is configured"
NONE_USABLE = "no backup can be restored: nothing goes until one can"


@dataclass(frozen=True)
class Marks:
    """What is known of backups and dumps beside their manifests, in words that follow a colon.

    By id, which tells the two kinds apart.
    """

    pinned: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)  # a proof says so
    stuck: Mapping[str, str] = field(default_factory=dict)  # the store did not delete it


@dataclass(frozen=True, slots=True)
class BackupVerdict:
    """Whether a backup stays, and why."""

    backup: Backup
    keep: bool
    why: tuple[str, ...]  # every reason there is
    usable: bool = True  # it counts: it can be restored, and no proof says that it is damaged


@dataclass(frozen=True, slots=True)
class ExpirePlan:
    """What expire does to backups and WAL, and why."""

    policy: KeepPolicy
    now: datetime
    backups: tuple[BackupVerdict, ...]  # oldest first
    wal: tuple[WalVerdict, ...]  # by generation and timeline, oldest first
    branches: tuple[Branch, ...]  # along which every moment stays restorable
    keeps_all: str = ""  # why nothing is judged at all

    @property
    def window_start(self) -> datetime:
        return self.now - self.policy.window

    @property
    def kept(self) -> list[Backup]:
        return [verdict.backup for verdict in self.backups if verdict.keep]

    @property
    def dropped(self) -> list[Backup]:
        return [verdict.backup for verdict in self.backups if not verdict.keep]

    @property
    def drops_nothing(self) -> bool:
        kept_wal = all(verdict.keep for verdict in self.wal)
        return kept_wal and all(verdict.keep for verdict in self.backups)

    def needs(self, generation_id: str, segment: Segment) -> bool:
        """Tell whether what was archived beside a segment stays: .partial and .backup files."""
        return bool(self.keeps_all) or is_needed(self.branches, self.kept, segment, generation_id)


class Reasons:
    """Why backups or dumps stay, in the order in which it was found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, id: str, *reasons: str) -> None:
        self._found.setdefault(id, []).extend(reasons)

    def add_marks(self, marks: Marks) -> None:
        for id, why in marks.pinned.items():
            self.add(id, f"pinned: {why}")
        for id, why in marks.stuck.items():
            self.add(id, f"could not be deleted: {why}")

    def of(self, id: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._found.get(id, ())))


def plan_expire(
    known: Sequence[Known], marks: Marks, policy: KeepPolicy, now: datetime, zone: tzinfo
) -> ExpirePlan:
    """Decide over every backup and every range of WAL of one cluster."""
    sound = sorted((backup for k in known for backup in k.sound(marks.damaged)), key=age)
    if not policy.asks:
        return _keep_all(known, marks, policy, now, NO_POLICY)
    if not sound:
        return _keep_all(known, marks, policy, now, NONE_USABLE)
    start = now - policy.window
    alive = living(known, marks.damaged, policy.window, now)
    branches = [
        branch(k, timeline, marks.damaged, start)
        for k in known
        for timeline in k.coverage.timelines
        if timeline.timeline in alive.get(k.generation.id, ())
    ]
    reasons = Reasons()
    _by_window(reasons, known, branches, start)
    for backup_id, periods in chosen(
        [backup for backup in sound if backup.stopped_at <= start], policy, zone
    ).items():
        reasons.add(backup_id, *periods)
    _by_number(reasons, sound, policy.minimum)
    reasons.add_marks(marks)
    verdicts = tuple(_verdicts(known, marks, reasons, policy))
    kept = [verdict.backup for verdict in verdicts if verdict.keep]
    wal = [verdict for k in known for verdict in judge_wal(k, branches, kept)]
    return ExpirePlan(policy, now, verdicts, tuple(wal), tuple(branches))


def _by_window(
    reasons: Reasons, known: Sequence[Known], branches: Iterable[Branch], start: datetime
) -> None:
    for k in known:
        for backup in k.backups:
            if backup.stopped_at > start:
                reasons.add(backup.id, "in the window")
    for one in branches:
        if one.anchor is not None:
            reasons.add(one.anchor.id, f"timeline {one.timeline} is restorable from it on")
        for backup in one.newer:
            if backup.stopped_at <= start:  # a clock was set back
                reasons.add(backup.id, "in the window by its place in WAL, not by the clock")


def _by_number(reasons: Reasons, sound: Sequence[Backup], minimum: int) -> None:
    """Keep the newest ones, and as many of those in which no page was damaged."""
    clean = [backup for backup in sound if not backup.corrupt_pages]
    for kind, backups in (("", sound), (" without damaged pages", clean)):
        if kind and len(clean) == len(sound):
            continue  # the same ones
        for rank, backup in enumerate(reversed(backups[-minimum:]), start=1):
            which = "the newest" if rank == 1 else f"one of the newest {minimum}"
            reasons.add(backup.id, f"{which}{kind}")


def why_dropped(policy: KeepPolicy) -> str:
    return "older than the window" if policy.window else "no rule keeps it"


def _verdicts(
    known: Sequence[Known], marks: Marks, reasons: Reasons, policy: KeepPolicy
) -> Iterable[BackupVerdict]:
    age_said = why_dropped(policy)
    everything = [(k, backup) for k in known for backup in k.backups]
    for k, backup in sorted(everything, key=lambda pair: age(pair[1])):
        state = _state(k, backup, marks)
        why = reasons.of(backup.id)
        if why:
            yield BackupVerdict(backup, True, (*why, *state), not state)
        else:
            yield BackupVerdict(backup, False, (*state, age_said), not state)


def _state(known: Known, backup: Backup, marks: Marks) -> tuple[str, ...]:
    """Say why a backup counts for nothing; empty for one that counts."""
    if backup.id in known.stranded:
        return (f"not restorable: WAL segment {known.stranded[backup.id]} is missing",)
    if backup.id in marks.damaged:
        return (f"damaged: {marks.damaged[backup.id]}",)
    return ()


def _keep_all(
    known: Sequence[Known], marks: Marks, policy: KeepPolicy, now: datetime, why: str
) -> ExpirePlan:
    reasons = Reasons()
    for k in known:
        for backup in k.backups:
            reasons.add(backup.id, why)
    reasons.add_marks(marks)
    wal = [replace(verdict, keep=True, why=why) for k in known for verdict in judge_wal(k, (), ())]
    return ExpirePlan(
        policy, now, tuple(_verdicts(known, marks, reasons, policy)), tuple(wal), (), why
    )
