"""What expire, delete and pin decided and did, as text and JSON: docs/commands.md."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pgkeep.cli.context import error_facts
from pgkeep.cli.text import Look, fields, not_before, plural, safe, table
from pgkeep.model.backup import Backup
from pgkeep.retention.delete import DatedLoss, Preview
from pgkeep.retention.judging.branches import Branch
from pgkeep.retention.judging.wal_plan import WalVerdict
from pgkeep.retention.packs import Orphan
from pgkeep.retention.pins import Pin
from pgkeep.retention.plan import BackupVerdict, ExpirePlan
from pgkeep.retention.removal import Removed
from pgkeep.retention.report import Decision, Outcome
from pgkeep.units import format_duration, format_size

# expire


def decision_facts(found: Decision, outcome: Outcome | None, *, dry_run: bool) -> dict[str, Any]:
    plan = found.plan
    orphans = found.packs.orphans if found.packs else ()
    return {
        "cluster": found.cluster,
        "repository": found.repository,
        "dry_run": dry_run,
        "policy": {
            "window_s": int(plan.policy.window.total_seconds()),
            "daily": plan.policy.daily,
            "weekly": plan.policy.weekly,
            "monthly": plan.policy.monthly,
            "yearly": plan.policy.yearly,
            "minimum": plan.policy.minimum,
        },
        "window_start": plan.window_start if plan.policy.window else None,
        "backups": [_backup_facts(verdict) for verdict in plan.backups],
        "unreadable": [
            {"id": bad.id, "code": bad.error.code, "message": bad.why} for bad in found.unreadable
        ],
        "wal": [_wal_facts(verdict, found.wal_sizes) for verdict in plan.wal],
        "restorable": [_branch_facts(branch) for branch in plan.branches],
        "packs": None
        if found.packs is None
        else {
            "drop": len(found.packs.freed),
            "drop_bytes": found.packs.freed_size,
            "keep": len(found.packs.needed),
        },
        "orphans": [
            {"name": o.name, "size": o.size, "age_s": int(o.age_s), "keep": not o.goes}
            for o in orphans
        ],
        "deleted": None if outcome is None else outcome_facts(outcome),
        "error": error_facts(error) if (error := problem_of(found, outcome)) else None,
    }


def problem_of(found: Decision, outcome: Outcome | None) -> Any:
    return outcome.problem if outcome is not None else found.refusal


def _backup_facts(verdict: BackupVerdict) -> dict[str, Any]:
    backup = verdict.backup
    return {
        "id": backup.id,
        "generation": backup.generation.id,
        "timeline": backup.timeline,
        "stopped_at": backup.stopped_at,
        "keep": verdict.keep,
        "why": list(verdict.why),
        "usable": verdict.usable,
    }


def _wal_facts(verdict: WalVerdict, sizes: Mapping[WalVerdict, int]) -> dict[str, Any]:
    first, last = verdict.names()
    return {
        "generation": verdict.generation.id,
        "timeline": verdict.timeline,
        "first": first,
        "last": last,
        "segments": verdict.segments,
        "stored": sizes.get(verdict, 0),
        "keep": verdict.keep,
        "why": verdict.why,
    }


def _branch_facts(branch: Branch) -> dict[str, Any]:
    first = _first(branch)
    return {
        "generation": branch.generation.id,
        "timeline": branch.timeline,
        "from": first.stopped_at if first else None,
        "backup": first.id if first else None,
    }


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    kinds = ("packs", "orphans", "wal", "proofs", "temp")
    removed = {kind: getattr(outcome, kind)._asdict() for kind in kinds}
    return {"backups": list(outcome.backups), **removed, "bytes": outcome.size}


def decision(found: Decision, look: Look) -> str:
    """Show the whole plan: the same words for a dry run and for a real one."""
    plan = found.plan
    head = [look.bold(f"cluster {safe(found.cluster)} in {safe(found.repository)}")]
    if plan.keeps_all:
        head.append(f"everything stays: {plan.keeps_all}")
    head.append(f"retention: {plan.policy}")
    if plan.policy.window:
        head.append(f"the window begins at {look.when(plan.window_start)}")
    parts = ["\n".join(head)]
    if plan.backups or found.unreadable:
        parts.append(_backups(found, look))
    if plan.wal:
        parts.append(_wal(found, look))
    parts.append("\n".join([*_promises(plan, look), *_garbage(found), _sum(found)]))
    return "\n\n".join(parts)


def _backups(found: Decision, look: Look) -> str:
    rows = [
        [
            v.backup.id,
            look.at(not_before(v.backup.stopped_at)),
            format_size(v.backup.stored),
            _verdict(keep=v.keep),
            "; ".join(v.why),
        ]
        for v in found.plan.backups
    ]
    rows += [[bad.id, "?", "?", "keep", f"CANNOT BE READ: {bad.why}"] for bad in found.unreadable]
    return table(["BACKUP", "RESTORABLE FROM", "STORED", "", "WHY"], rows, look, right=(2,))


def _wal(found: Decision, look: Look) -> str:
    rows = [
        [
            _segments(verdict),
            str(verdict.segments),
            format_size(found.wal_sizes.get(verdict, 0)),
            _verdict(keep=verdict.keep),
            verdict.why,
        ]
        for verdict in found.plan.wal
    ]
    return table(["WAL", "SEGMENTS", "STORED", "", "WHY"], rows, look, right=(1, 2))


def _segments(verdict: WalVerdict) -> str:
    first, last = verdict.names()
    return first if first == last else f"{first}..{last[-8:]}"


def _verdict(*, keep: bool) -> str:
    return "keep" if keep else "DROP"


def _promises(plan: ExpirePlan, look: Look) -> list[str]:
    lines, within = [], set()
    for branch in plan.branches:
        first = _first(branch)
        within |= {backup.id for backup in branch.backups}
        if first is not None:
            start = look.when(not_before(first.stopped_at))
            lines.append(f"timeline {branch.timeline}: restorable from {start} on, to any moment")
    islands = [v for v in plan.backups if v.keep and v.usable and v.backup.id not in within]
    if islands and plan.branches:
        count = plural(len(islands), "older backup")
        lines.append(f"and {count}, each to its own end only")
    return lines


def _first(branch: Branch) -> Backup | None:
    return min(branch.backups, key=lambda backup: backup.stop_lsn, default=None)


def _garbage(found: Decision) -> list[str]:
    if found.packs is None:
        return []
    lines = []
    for goes, verb in ((True, "go"), (False, "stay")):
        orphans = [orphan for orphan in found.packs.orphans if orphan.goes == goes]
        if orphans:
            lines.append(f"{_orphans(orphans)} {verb}: {orphans[0].why}")
    if found.proofs:
        lines.append(f"{plural(len(found.proofs), 'old proof')} of pgkeep verify go")
    return lines


def _orphans(orphans: Sequence[Orphan]) -> str:
    size = format_size(sum(orphan.size for orphan in orphans))
    oldest = format_duration(max(orphan.age_s for orphan in orphans))
    what = plural(len(orphans), "pack")
    return f"{what} that an interrupted run left ({size}, up to {oldest} old)"


def _sum(found: Decision) -> str:
    dropped = len(found.plan.dropped)
    segments = sum(verdict.segments for verdict in found.plan.wal if not verdict.keep)
    if not dropped and not segments:
        return "no backup and no WAL goes"
    parts = [plural(dropped, "backup"), plural(segments, "WAL segment")]
    if found.packs is not None:
        parts.insert(1, plural(len(found.packs.freed), "pack"))
    return f"to go: {', '.join(parts)}; {format_size(found.freed)}"


def outcome(done: Outcome) -> str:
    """Say what was deleted."""
    lines = [f"took over from {safe(holder)}: that process is dead" for holder in done.took_over]
    kinds = [
        ("pack", done.packs),
        ("pack of interrupted runs", done.orphans),
        ("WAL file", done.wal),
        ("old proof", done.proofs),
        ("temporary file", done.temp),
    ]
    parts = [plural(len(done.backups), "backup")] if done.backups else []
    parts += [_count(removed, what) for what, removed in kinds if removed.objects]
    if not parts:
        return "\n".join([*lines, "nothing was deleted"])
    return "\n".join([*lines, f"deleted: {', '.join(parts)}; {format_size(done.size)} freed"])


def _count(removed: Removed, what: str) -> str:
    noun, _, rest = what.partition(" of ")
    return plural(removed.objects, noun) + (f" of {rest}" if rest else "")


# delete


def preview_facts(found: Preview, done: Outcome | None, *, dry_run: bool = False) -> dict[str, Any]:
    plan = found.plan
    return {
        "cluster": found.cluster,
        "repository": found.repository,
        "id": found.id,
        "dry_run": dry_run,
        "readable": plan is not None,
        "lost": [
            {
                "timeline": loss.timeline,
                "from": {"lsn": loss.lost.start, "time": loss.start},
                "to": {"lsn": loss.lost.end, "time": loss.end},
            }
            for loss in found.losses
        ],
        "packs": len(found.packs.freed) if found.packs else None,
        "wal": [_wal_facts(verdict, {}) for verdict in plan.wal] if plan else [],
        "bytes": found.freed,
        "restorable": [
            {"timeline": timeline.timeline, "from": span.start, "to": span.end}
            for timeline in (plan.after.timelines if plan else ())
            for span in timeline.spans
        ],
        "deleted": None if done is None else outcome_facts(done),
        "error": error_facts(done.problem) if done is not None and done.problem else None,
    }


def preview(found: Preview, look: Look) -> str:
    """Say what deleting a backup loses, first of all."""
    plan = found.plan
    if plan is None:
        why = safe(found.unreadable.why) if found.unreadable else ""
        return (
            f"backup {found.id} of cluster {safe(found.cluster)} cannot be read: {why}\n"
            "whether it could be saved from another copy of the repository is unknown; what only "
            "it needs goes with a later pgkeep expire"
        )
    backup = plan.backup
    title = look.bold(f"backup {backup.id} of cluster {safe(found.cluster)}")
    lines = [title, _described(backup, look)]
    if found.losses:
        lines.append(look.bad("deleting it loses, for good:"))
        lines += [f"  {_loss(loss, look)}" for loss in found.losses]
    else:
        lines.append(look.good("nothing that can be restored is lost with it"))
    lines += _left(found)
    packs = len(found.packs.freed) if found.packs else 0
    segments = sum(verdict.segments for verdict in plan.wal)
    what = f"{plural(packs, 'pack')}, {plural(segments, 'WAL segment')}"
    lines.append(f"frees {format_size(found.freed)}: {what}")
    return "\n".join(lines)


def _described(backup: Backup, look: Look) -> str:
    when = look.when(not_before(backup.stopped_at))
    return fields([("restorable from", when), ("label", backup.label)], indent="  ")


def _loss(loss: DatedLoss, look: Look) -> str:
    start, end = _moment(loss.start, look), _moment(loss.end, look)
    place = f"timeline {loss.timeline}, {loss.lost.start} to {loss.lost.end}"
    if loss.lost.start == loss.lost.end:
        return f"the moment {start} ({place})"
    if start == end:
        return f"what followed {start} ({place})"
    return f"every moment from {start} to {end} ({place})"


def _moment(moment: datetime | None, look: Look) -> str:
    return look.when(not_before(moment)) if moment else "an unknown time"


def _left(found: Preview) -> list[str]:
    assert found.plan is not None
    return [
        f"timeline {timeline.timeline} stays restorable from {span.start} to {span.end}, "
        f"from {plural(len(span.backups), 'backup')}"
        for timeline in found.plan.after.timelines
        for span in timeline.spans
    ]


# pin


def pin_facts(pin: Pin, now: datetime) -> dict[str, Any]:
    return {
        "backup": pin.backup,
        "id": pin.id,
        "reason": pin.reason,
        "until": pin.until,
        "made_at": pin.made_at,
        "made_by": pin.made_by,
        "holds": pin.holds(now),
    }


def pinned(pin: Pin, look: Look) -> str:
    until = f"until {look.when(pin.until)}" if pin.until else "until its pin is removed"
    return f"backup {pin.backup} stays {until}: {safe(pin.reason)}"


def unpinned(pins: Sequence[Pin]) -> str:
    return "\n".join(f"backup {pin.backup} is no longer pinned: {safe(pin.reason)}" for pin in pins)


def pins(found: Sequence[Pin], now: datetime, look: Look) -> str:
    if not found:
        return "no backup is pinned"
    rows = [
        [
            pin.backup,
            "for ever" if pin.until is None else look.at(pin.until),
            "yes" if pin.holds(now) else "no, ended",
            pin.made_by,
            pin.reason,
        ]
        for pin in found
    ]
    return table(["BACKUP", "UNTIL", "HOLDS", "BY", "REASON"], rows, look)
