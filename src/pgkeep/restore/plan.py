"""What a restore will do, and why; or why it cannot be done. Pure: nothing is read or written.

PostgreSQL itself does not refuse what cannot be reached: a time before the end of the backup
gives a later state than asked, missing WAL ends recovery without an error (recovery.conf semantics
of xlogrecovery.c, recoveryStopsBefore and recoveryStopsAfter). So it is refused here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from pgkeep.model.backup import Backup, BackupId
from pgkeep.model.coverage import Coverage, Hole, Reach, TimelineCoverage, segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import (
    Action,
    AtLsn,
    AtName,
    AtTime,
    AtXid,
    BadTarget,
    Immediate,
    Latest,
    RecoveryTarget,
    TimelineChoice,
)
from pgkeep.model.timeline import History
from pgkeep.restore.databases import Database, choose_shells
from pgkeep.restore.tablespaces import TablespaceMove
from pgkeep.restore.target.found import Damage, Search, StopPoint, moment, typed_time
from pgkeep.restore.target.unreachable import (
    BackupCannotReach,
    NothingToRestore,
    TargetBehindDamage,
    TargetInHole,
    TargetNotFound,
    TargetTooEarly,
    TargetTooLate,
    WrongTimeline,
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a cluster, and what is on record of it."""

    cluster: str
    coverage: Coverage
    backups: tuple[Backup, ...]  # of this generation, oldest first
    recovery: RecoveryTarget
    named: BackupId | None = None  # the backup the user insists on
    standby: bool = False
    stop_at_hole: bool = False  # accept that WAL after a hole is lost

    @property
    def target(self) -> str:
        return str(self.recovery.target)

    def backup(self, backup_id: BackupId) -> Backup:
        return next(backup for backup in self.backups if backup.id == backup_id)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """All that is decided before the first byte is written."""

    cluster: str
    backup: Backup
    target_dir: str
    asked: str
    history: History  # of the timeline along which it goes
    action: Action
    stop: StopPoint | None  # None: the end of the WAL, or of the backup
    settings: tuple[tuple[str, str], ...]  # recovery_target_*
    first_segment: Segment
    last_segment: Segment
    standby: bool
    tablespaces: tuple[TablespaceMove, ...] = ()
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    delta: bool = False  # over what is in the directory
    local_wal: tuple[Segment, ...] = ()  # of the old directory, not archived, for recovery
    databases: tuple[str, ...] = ()  # the only ones asked for; none: all
    shells: tuple[Database, ...] = ()  # those that will be empty

    @property
    def timeline(self) -> int:
        return self.history.timeline

    @property
    def wal_bytes(self) -> int:
        """Upper limit of the WAL that recovery will read."""
        segments = self.last_segment.number - self.first_segment.number + 1 + len(self.local_wal)
        return segments * self.first_segment.size

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as --json shows it."""
        return {
            "cluster": self.cluster,
            "backup": self.backup.id,
            "target_dir": self.target_dir,
            "target": self.asked,
            "timeline": self.timeline,
            "action": self.action.value,
            "stops": str(self.stop) if self.stop else None,
            "stop_lsn": str(self.stop.lsn) if self.stop else None,
            "settings": dict(self.settings),
            "first_segment": self.first_segment.name,
            "last_segment": self.last_segment.name,
            "wal_bytes": self.wal_bytes,
            "standby": self.standby,
            "tablespaces": [asdict(move) for move in self.tablespaces],
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "delta": self.delta,
            "local_wal": [segment.name for segment in self.local_wal],
            "databases": list(self.databases),
            "shells": [database.name for database in self.shells],
        }


def choose_timeline(question: Question) -> TimelineCoverage:
    """Return the timeline along which to recover; raise WrongTimeline or NothingToRestore."""
    coverage, choice = question.coverage, question.recovery.timeline
    if not question.backups:
        raise NothingToRestore(question.cluster, "there is no backup of it in this repository")
    number = _timeline_number(question, choice)
    if number is None:
        stranded = coverage.stranded[-1]
        raise NothingToRestore(
            question.cluster,
            f"none of its backups can be made consistent: {stranded.backup} needs WAL segment "
            f"{stranded.missing}, which is not archived",
        )
    line = coverage.timeline(number)
    if line is None:
        known = ", ".join(str(t.timeline) for t in coverage.timelines)
        why = f"there is no timeline {number} on record"
        raise WrongTimeline(question.target, why, f"timelines on record: {known}")
    if not line.history_known:
        why = f"the history file of timeline {number} is not archived, so its past is unknown"
        advice = f"archive {number:08X}.history from the server's pg_wal, or choose --timeline N"
        raise WrongTimeline(question.target, why, advice)
    return line


def _timeline_number(question: Question, choice: TimelineChoice) -> int | None:
    if isinstance(choice, int):
        return choice
    if choice == "current":
        newest = question.backups[-1]
        return question.backup(question.named).timeline if question.named else newest.timeline
    latest = question.coverage.latest
    return latest.timeline if latest else None


def usable_reaches(question: Question, line: TimelineCoverage) -> tuple[Reach, ...]:
    """Return the stretches that may serve, by start; raise when there is none at all."""
    if question.named is None:
        if not line.reaches:
            why = f"no backup leads to timeline {line.timeline}"
            raise WrongTimeline(question.target, why, "see pgkeep list")
        return line.reaches
    reaches = tuple(reach for reach in line.reaches if reach.backup == question.named)
    if not reaches:
        raise _named_is_useless(question, line)
    return reaches


def _named_is_useless(question: Question, line: TimelineCoverage) -> BackupCannotReach:
    backup = question.backup(BackupId(str(question.named)))
    for stranded in question.coverage.stranded:
        if stranded.backup == backup.id:
            why = f"WAL segment {stranded.missing}, which makes it consistent, is not archived"
            return BackupCannotReach(question.target, backup.id, why)
    if not line.history.includes(backup.timeline, backup.stop_lsn):
        why = (
            f"it was taken on timeline {backup.timeline}, which is no part of the history of "
            f"timeline {line.timeline} at that point"
        )
        return BackupCannotReach(question.target, backup.id, why)
    why = f"WAL along timeline {line.timeline} is missing right after it"
    return BackupCannotReach(question.target, backup.id, why)


def candidates(question: Question, line: TimelineCoverage) -> tuple[Reach, ...]:
    """Return the reaches whose backup was complete before the target, oldest first.

    Raise TargetTooEarly or BackupCannotReach when there is none. Transactions and names say
    nothing of when they were, so every reach is a candidate for them.
    """
    reaches = usable_reaches(question, line)
    target = question.recovery.target
    if isinstance(target, AtTime):
        chosen = tuple(r for r in reaches if _complete(question, r, target.time))
    elif isinstance(target, AtLsn):
        chosen = tuple(reach for reach in reaches if reach.start <= target.lsn)
    else:
        return reaches
    if not chosen:
        raise _too_early(question, line, reaches)
    return chosen


def _complete(question: Question, reach: Reach, time: datetime) -> bool:
    """Tell whether a backup was complete at a moment, by the server's own clock."""
    stopped = question.backup(reach.backup).stopped_at
    return stopped <= time if question.recovery.inclusive else stopped < time


def _too_early(
    question: Question, line: TimelineCoverage, reaches: Sequence[Reach], stop: Lsn | None = None
) -> TargetTooEarly | BackupCannotReach:
    target = question.recovery.target
    oldest = question.backup(reaches[0].backup)
    end = f"{moment(oldest.stopped_at)} ({oldest.stop_lsn})"
    if question.named is None:
        typed = f"lsn:{oldest.stop_lsn}"
        if isinstance(target, AtTime):
            typed = f"'{typed_time(oldest.stopped_at)}'"
        return TargetTooEarly(question.target, oldest.id, end, typed)
    lsn = target.lsn if isinstance(target, AtLsn) else stop
    instead = [
        reach.backup
        for reach in line.reaches
        if (lsn is not None and reach.holds(lsn))
        or (isinstance(target, AtTime) and _complete(question, reach, target.time))
    ]
    why = f"it was complete only at {end}; nothing before that can be reached from it"
    return BackupCannotReach(question.target, oldest.id, why, instead[-1] if instead else "")


def plan_restore(
    question: Question,
    line: TimelineCoverage,
    search: Search,
    target_dir: str,
    tablespaces: tuple[TablespaceMove, ...] = (),
) -> RestorePlan:
    """Decide backup, timeline and recovery settings; raise why the target cannot be reached."""
    _refuse_contradictions(question)
    reach, stop, reason = _choose(question, line, search)
    backup = question.backup(reach.backup)
    recovery = question.recovery
    size = question.coverage.generation.segment_size
    if isinstance(recovery.target, Immediate):
        end = backup.stop_lsn
    else:
        end = stop.lsn + 1 if stop else reach.end
    last = segment_on(line.history, (end - 1) // size, size)
    return RestorePlan(
        cluster=question.cluster,
        backup=backup,
        target_dir=target_dir,
        asked=question.target,
        history=line.history,
        action=recovery.action,
        stop=stop,
        settings=(*_settings(question, line, search), *_without_prefetch(backup, search)),
        first_segment=backup.first_segment,
        last_segment=last,
        standby=question.standby,
        tablespaces=tablespaces,
        reasons=(
            reason,
            _timeline_reason(question, line),
            *_stop_reason(question, stop, reach, search),
        ),
        warnings=(
            *_warnings(question, line, backup),
            *(stop.warnings if stop else ()),
            *_damage_behind(search),
        ),
    )


def _refuse_contradictions(question: Question) -> None:
    recovery = question.recovery
    if question.standby and not isinstance(recovery.target, Latest):
        why = "a standby follows its primary and stops nowhere"
        raise BadTarget(question.target, why, "leave out --to, or leave out --standby")
    if isinstance(recovery.target, Latest) and recovery.action is not Action.PROMOTE:
        why = f"there is no target at which the server could {recovery.action.value}"
        advice = "leave out --action, or give the moment of the newest change with --to"
        raise BadTarget(question.target, why, advice)


def _choose(
    question: Question, line: TimelineCoverage, search: Search
) -> tuple[Reach, StopPoint | None, str]:
    """Return the stretch to recover in, where it stops, and why this backup."""
    reaches = candidates(question, line)
    target = question.recovery.target
    if isinstance(target, Latest | Immediate):
        newest = reaches[-1]
        if search.damage is not None:
            raise _behind_damage(question, search.damage, search)
        hole = _hole_after(line, newest)
        if isinstance(target, Latest) and hole and not question.stop_at_hole:
            raise _in_hole(question, line, hole, search)
        return newest, None, _why(question, newest, "is the newest that can be restored")
    stop = search.stop
    if stop is None and search.damage is not None:
        raise _behind_damage(question, search.damage, search)
    if stop is None:
        raise _not_there(question, line, reaches, search)
    reaching = [reach for reach in reaches if reach.start <= stop.lsn < reach.end]
    if not reaching:
        raise _too_early(question, line, reaches, stop.lsn)
    return (
        reaching[-1],
        stop,
        _why(question, reaching[-1], "is the newest before the target"),
    )


def _why(question: Question, reach: Reach, why: str) -> str:
    backup = question.backup(reach.backup)
    if question.named is not None:
        why = "was asked for and reaches the target"
    return f"backup {backup.id} {why}: it was complete at {moment(backup.stopped_at)}"


def _not_there(
    question: Question, line: TimelineCoverage, reaches: Sequence[Reach], search: Search
) -> TargetInHole | TargetTooLate | TargetNotFound:
    target = question.recovery.target
    if isinstance(target, AtTime | AtLsn):
        hole = _hole_after(line, reaches[-1])
        if hole:
            return _in_hole(question, line, hole, search)
        newest = str(search.newest) if search.newest else f"WAL position {reaches[-1].end}"
        if isinstance(target, AtLsn):
            newest = f"WAL position {reaches[-1].end}"
        return TargetTooLate(question.target, newest)
    newest = f"; the newest change on record is {search.newest}" if search.newest else ""
    return TargetNotFound(question.target, f"{search.why}{newest}")


def _behind_damage(question: Question, damage: Damage, search: Search) -> TargetBehindDamage:
    before = f"'{typed_time(search.newest.time)}'" if search.newest else "immediate"
    return TargetBehindDamage(question.target, damage.segment.name, damage.why, before)


def _without_prefetch(backup: Backup, search: Search) -> tuple[tuple[str, str], ...]:
    """Keep the server from asking for the damaged segment while the target is still before it."""
    if search.damage is None or backup.generation.major < 15:
        return ()
    return (("recovery_prefetch", "off"),)


def _damage_behind(search: Search) -> tuple[str, ...]:
    if search.damage is None:
        return ()
    return (
        f"WAL segment {search.damage.segment}, behind the target, is damaged: nothing later can be "
        f"restored from backups before it; take a new backup now ({search.damage.why})",
    )


def _hole_after(line: TimelineCoverage, reach: Reach) -> Hole | None:
    return next((hole for hole in line.holes if hole.first.start >= reach.end), None)


def _in_hole(
    question: Question, line: TimelineCoverage, hole: Hole, search: Search
) -> TargetInHole:
    before = f"lsn:{hole.first.start}"
    if search.newest:
        before = f"{moment(search.newest.time)} (--to '{typed_time(search.newest.time)}')"
    later = [question.backup(r.backup) for r in line.reaches if r.start >= hole.last.end]
    after = f"{moment(later[0].stopped_at)} (backup {later[0].id})" if later else ""
    return TargetInHole(question.target, hole.first.name, hole.last.name, before, after)


def _settings(
    question: Question, line: TimelineCoverage, search: Search
) -> tuple[tuple[str, str], ...]:
    """Return the recovery settings. The timeline is plain decimal: '010' is octal."""
    recovery = question.recovery
    if question.standby:
        follow = isinstance(recovery.timeline, str)
        return (("recovery_target_timeline", "latest" if follow else str(line.timeline)),)
    chosen = [("recovery_target_timeline", str(line.timeline))]
    inclusive = ("recovery_target_inclusive", "on" if recovery.inclusive else "off")
    match recovery.target:
        case Latest():
            return tuple(chosen)
        case Immediate():
            chosen.append(("recovery_target", "immediate"))
        case AtTime(time):
            chosen += _time_settings(typed_time(time), inclusive, search)
        case AtXid(xid):
            # 64-bit ids carry an epoch that WAL records don't have
            chosen += [("recovery_target_xid", str(xid & 0xFFFFFFFF)), inclusive]
        case AtLsn(lsn):
            chosen += [("recovery_target_lsn", str(lsn)), inclusive]
        case AtName(name):
            chosen.append(("recovery_target_name", name))
    return (*chosen, ("recovery_target_action", recovery.action.value))


def _time_settings(time: str, inclusive: tuple[str, str], search: Search) -> list[tuple[str, str]]:
    """PostgreSQL waits for a change after the time; at the newest change itself there is none."""
    stop, newest = search.stop, search.newest
    if stop and stop.applied and newest and stop.lsn == newest.lsn:
        return [("recovery_target_lsn", str(stop.lsn)), ("recovery_target_inclusive", "on")]
    return [("recovery_target_time", time), inclusive]


def _timeline_reason(question: Question, line: TimelineCoverage) -> str:
    choice = question.recovery.timeline
    if isinstance(choice, int):
        return f"timeline {line.timeline}, as asked"
    words = {"latest": "the newest on record", "current": "the backup's own"}
    return f"timeline {line.timeline}: {words[choice]}"


def _stop_reason(
    question: Question, stop: StopPoint | None, reach: Reach, search: Search
) -> tuple[str, ...]:
    if isinstance(question.recovery.target, Immediate):
        return ("recovery stops as soon as the backup is consistent",)
    if question.standby:
        return ("the server stays a standby and follows its primary",)
    if stop is None:
        newest = (f"the newest change on record is {search.newest}",) if search.newest else ()
        return (f"recovery replays all archived WAL, up to {reach.end} at most", *newest)
    included = (f"the last change included is {stop.last}",) if stop.last else ()
    return (f"recovery stops {stop}", *included)


def _warnings(question: Question, line: TimelineCoverage, backup: Backup) -> tuple[str, ...]:
    found = []
    if backup.corrupt_pages:
        found.append(
            f"backup {backup.id} holds {backup.corrupt_pages} pages that were damaged at the source"
        )
    newer = [s.backup for s in question.coverage.stranded if s.backup > backup.id]
    if newer and question.named is None:
        found.append(f"newer backups cannot be used, their WAL is missing: {', '.join(newer)}")
    others = [t.timeline for t in question.coverage.timelines if t.timeline > line.timeline]
    if others and question.recovery.timeline == "latest":
        numbers = ", ".join(map(str, others))
        found.append(f"newer timelines exist without a usable backup: {numbers}")
    return tuple(found)


def with_tablespaces(plan: RestorePlan, moves: tuple[TablespaceMove, ...]) -> RestorePlan:
    """Return `plan` with the places of its tablespaces."""
    return replace(plan, tablespaces=moves)


def with_databases(
    plan: RestorePlan, databases: Sequence[Database], wanted: Sequence[str], *, images: bool
) -> RestorePlan:
    """Return `plan` for some databases only. Raise UnknownDatabase.

    `images` says that WAL holds a whole image of each page before its first change.
    """
    shells = choose_shells(databases, wanted, plan.backup.id)
    settings, warnings = plan.settings, list(plan.warnings)
    if shells:
        names = ", ".join(database.name for database in shells)
        warnings.append(
            f"these databases become empty shells, for nothing but DROP DATABASE: {names}"
        )
    if shells and not images:
        # heap_xlog_visible and others then meet pages that are all zeros (log_invalid_page).
        settings = (*settings, ("ignore_invalid_pages", "on"))
        warnings.append(
            "recovery must ignore invalid pages, because the cluster has neither checksums nor "
            "wal_log_hints (or full_page_writes is off): damage in the WAL of the restored "
            "databases would show in the server's log only"
        )
    return replace(
        plan,
        databases=tuple(wanted),
        shells=shells,
        settings=settings,
        warnings=tuple(warnings),
    )
