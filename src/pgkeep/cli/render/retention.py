"""What expire, delete and pin decided and did, as text and JSON: docs/commands.md."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pgkeep.cli.context import error_facts
from pgkeep.cli.text import Look, fields, not_before, safe, table
from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.model.dump import Dump, noun_of
from pgkeep.retention.delete import DatedLoss, Preview
from pgkeep.retention.judging.branches import Branch
from pgkeep.retention.judging.deletion import DeletePlan
from pgkeep.retention.judging.dump_deletion import DumpDeletion
from pgkeep.retention.judging.dumps import DumpVerdict
from pgkeep.retention.judging.wal_plan import WalVerdict
from pgkeep.retention.packs import Orphan
from pgkeep.retention.pins import Pin
from pgkeep.retention.plan import BackupVerdict, ExpirePlan
from pgkeep.retention.removal import Held, Removed
from pgkeep.retention.report import Decision, Outcome
from pgkeep.units import format_duration, format_size, plural

_NOTHING_GOES: Final = "no backup and no WAL goes"

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
        "dumps": [_dump_facts(verdict) for verdict in found.dumps.dumps],
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
        "censuses": [
            {"id": id, "keep": keep, "why": why}
            for keep, those in ((True, found.censuses.keep), (False, found.censuses.drop))
            for id, why in those.items()
        ],
        "deleted": None if outcome is None else outcome_facts(outcome),
        "error": error_facts(problem_of(found, outcome)),
    }


def problem_of(found: Decision, outcome: Outcome | None) -> PgkeepError | None:
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


def _dump_facts(verdict: DumpVerdict) -> dict[str, Any]:
    return {
        **_dump_as_is(verdict.dump),
        "keep": verdict.keep,
        "why": list(verdict.why),
        "usable": verdict.usable,
    }


def _dump_as_is(dump: Dump) -> dict[str, Any]:
    return {
        "id": dump.id,
        "taken_at": dump.taken_at,
        "origin": dump.origin.value,
        "databases": list(dump.databases),
        "series": dump.series_words,
        "suspicions": list(dump.suspicions),
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
    kinds = ("packs", "orphans", "wal", "censuses", "proofs", "drills", "acts", "temp")
    removed = {kind: getattr(outcome, kind)._asdict() for kind in kinds}
    ids = {"backups": list(outcome.backups), "dumps": list(outcome.dumps)}
    held = outcome.held
    locked = {
        "objects": held.objects if held else 0,
        "size": held.size if held else 0,
        "first_until": held.first if held else None,
        "last_until": held.last if held else None,
    }
    return {**ids, **removed, "bytes": outcome.size, "locked": locked}


def decision(found: Decision, look: Look) -> str:
    """Show the whole plan: the same words for a dry run and for a real one."""
    plan = found.plan
    head = [look.bold(f"cluster {safe(found.cluster)} in {safe(found.repository)}")]
    if plan.keeps_all and (plan.backups or plan.wal or not found.dumps.dumps):
        dumps_go = found.dumps.dumps and plan.policy.asks
        what = "all backups and WAL stay" if dumps_go else "everything stays"
        head.append(f"{what}: {plan.keeps_all}")
    head.append(f"retention: {plan.policy}")
    if plan.policy.window:
        head.append(f"the window begins at {look.when(plan.window_start)}")
    parts = ["\n".join(head)]
    backups, dumps = _backups(found, look), _dumps(found, look)
    if backups:
        heads = ["BACKUP", "RESTORABLE FROM", "STORED", "", "WHY"]
        parts.append(table(heads, backups, look, right=(2,)))
    if dumps:
        heads = ["DUMP", "SHOWS", "HOLDS", "STORED", "", "WHY"]
        parts.append(table(heads, dumps, look, right=(3,)))
    if plan.wal:
        parts.append(_wal(found, look))
    parts.append("\n".join([*_promises(plan, look), *_garbage(found), _sum(found)]))
    return "\n\n".join(parts)


def _backups(found: Decision, look: Look) -> list[list[str]]:
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
    return rows + [[id, "?", "?", "keep", why] for id, why in _unreadable(found, "backup")]


def _dumps(found: Decision, look: Look) -> list[list[str]]:
    rows = [
        [
            v.dump.id,
            look.at(v.dump.taken_at),
            v.dump.series_words,
            format_size(v.dump.stored),
            _verdict(keep=v.keep),
            "; ".join(v.why),
        ]
        for v in found.dumps.dumps
    ]
    return rows + [[id, "?", "?", "?", "keep", why] for id, why in _unreadable(found, "dump")]


def _unreadable(found: Decision, noun: str) -> Iterator[tuple[str, str]]:
    for bad in found.unreadable:
        if noun_of(bad.id) == noun:
            yield bad.id, f"CANNOT BE READ: {bad.why}"


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
    if going := len(found.censuses.drop):
        of_all = going + len(found.censuses.keep)
        lines.append(f"{going} of {plural(of_all, 'census', 'censuses')} go: others tell the names")
    if found.proofs:
        lines.append(f"{plural(len(found.proofs), 'old proof')} of pgkeep verify go")
    if found.acts:
        lines.append(f"{plural(len(found.acts), 'old act')} go")
    if found.drills:
        lines.append(f"{plural(len(found.drills), 'old report')} of pgkeep drill go")
    return lines


def _orphans(orphans: Sequence[Orphan]) -> str:
    size = format_size(sum(orphan.size for orphan in orphans))
    oldest = format_duration(max(orphan.age_s for orphan in orphans))
    what = plural(len(orphans), "pack")
    return f"{what} that an interrupted run left ({size}, up to {oldest} old)"


def _sum(found: Decision) -> str:
    segments = sum(verdict.segments for verdict in found.plan.wal if not verdict.keep)
    backups, dumps = found.plan.dropped, found.dumps.dropped
    if not backups and not dumps and not segments:
        return "no backup, no dump and no WAL goes" if found.dumps.dumps else _NOTHING_GOES
    packs = [] if found.packs is None else [(len(found.packs.freed), "pack")]
    parts = [(len(backups), "backup"), *packs, (segments, "WAL segment")]
    if found.dumps.dumps:
        parts = [part for part in parts if part[0]]
        parts.insert(1 if backups else 0, (len(dumps), "dump"))
    words = ", ".join(plural(count, noun) for count, noun in parts)
    return f"to go: {words}; {format_size(found.freed)}"


def outcome(done: Outcome) -> str:
    """Say what was deleted."""
    lines = [f"took over from {safe(holder)}: that process is dead" for holder in done.took_over]
    kinds = [
        ("pack", done.packs),
        ("pack of interrupted runs", done.orphans),
        ("WAL file", done.wal),
        ("census", done.censuses),
        ("old proof", done.proofs),
        ("old report of a drill", done.drills),
        ("old act", done.acts),
        ("temporary file", done.temp),
    ]
    parts = [plural(len(done.backups), "backup")] if done.backups else []
    parts += [plural(len(done.dumps), "dump")] if done.dumps else []
    parts += [_count(removed, what) for what, removed in kinds if removed.objects]
    if parts:
        lines.append(f"deleted: {', '.join(parts)}; {format_size(done.size)} freed")
    else:
        lines.append("nothing was deleted")
    return "\n".join(lines + ([_held(done.held)] if done.held else []))


def _held(held: Held) -> str:
    first, last = (f"{end:%Y-%m-%d %H:%M} UTC" for end in (held.first, held.last))
    what = f"{plural(held.objects, 'object')} ({format_size(held.size)})"
    more = f", the last of them until {last}" if last != first else ""
    return f"left alone: {what}, locked until {first}{more}; a later pgkeep expire deletes them"


def _count(removed: Removed, what: str) -> str:
    noun, _, rest = what.partition(" of ")
    many = "censuses" if noun == "census" else ""
    return plural(removed.objects, noun, many) + (f" of {rest}" if rest else "")


# delete


def preview_facts(found: Preview, done: Outcome | None, *, dry_run: bool = False) -> dict[str, Any]:
    plan = found.plan
    return {
        "cluster": found.cluster,
        "repository": found.repository,
        "id": found.id,
        "dry_run": dry_run,
        "readable": plan is not None,
        **(_dump_loss(plan) if noun_of(found.id) == "dump" else _backup_loss(found)),
        "packs": len(found.packs.freed) if found.packs else None,
        "bytes": found.freed,
        "deleted": None if done is None else outcome_facts(done),
        "error": error_facts(done.problem if done is not None else None),
    }


def _backup_loss(found: Preview) -> dict[str, Any]:
    plan = found.plan if isinstance(found.plan, DeletePlan) else None
    return {
        "lost": [
            {
                "timeline": loss.timeline,
                "from": {"lsn": loss.lost.start, "time": loss.start},
                "to": {"lsn": loss.lost.end, "time": loss.end},
            }
            for loss in found.losses
        ],
        "wal": [_wal_facts(verdict, {}) for verdict in plan.wal] if plan else [],
        "restorable": [
            {"timeline": timeline.timeline, "from": span.start, "to": span.end}
            for timeline in (plan.after.timelines if plan else ())
            for span in timeline.spans
        ],
    }


def _dump_loss(plan: DeletePlan | DumpDeletion | None) -> dict[str, Any]:
    if not isinstance(plan, DumpDeletion):
        return {"dump": None, "left": [], "lost_databases": []}
    return {
        "dump": _dump_as_is(plan.dump),
        "left": [_dump_as_is(dump) for dump in plan.left],
        "lost_databases": list(plan.lost),
    }


def preview(found: Preview, look: Look) -> str:
    """Say what a deletion loses, first of all."""
    plan, noun = found.plan, noun_of(found.id)
    if plan is None:
        why = safe(found.unreadable.why) if found.unreadable else ""
        return (
            f"{noun} {found.id} of cluster {safe(found.cluster)} cannot be read: {why}\n"
            "whether it could be saved from another copy of the repository is unknown; what only "
            "it needs goes with a later pgkeep expire"
        )
    title = look.bold(f"{noun} {found.id} of cluster {safe(found.cluster)}")
    freed = [plural(len(found.packs.freed) if found.packs else 0, "pack")]
    if isinstance(plan, DumpDeletion):
        lines = _of_dump(plan, look)
    else:
        lines = _of_backup(found, plan, look)
        freed.append(plural(sum(verdict.segments for verdict in plan.wal), "WAL segment"))
    return "\n".join([title, *lines, f"frees {format_size(found.freed)}: {', '.join(freed)}"])


def _of_backup(found: Preview, plan: DeletePlan, look: Look) -> list[str]:
    lines = [_described(plan.backup, look)]
    if found.losses:
        lines.append(look.bad("deleting it loses, for good:"))
        lines += [f"  {_loss(loss, look)}" for loss in found.losses]
    else:
        lines.append(look.good("nothing that can be restored is lost with it"))
    return lines + _left(plan)


def _of_dump(plan: DumpDeletion, look: Look) -> list[str]:
    dump = plan.dump
    facts = [
        ("shows", look.when(dump.taken_at)),
        ("databases", ", ".join(dump.databases)),
        ("of them", "" if dump.selection.whole else dump.selection.words),
        ("label", dump.label),
        ("suspicious", "; ".join(dump.suspicions)),
    ]
    lines = [fields(facts, indent="  ")]
    if plan.lost:
        what = "database" if len(plan.lost) == 1 else "databases"
        names = ", ".join(map(safe, plan.lost))
        lines.append(look.bad(f"no other dump holds {what} {names} as a whole"))
    if not plan.left:
        series = safe(dump.series_words)
        return [*lines, look.bad(f"no other dump of its series is left: {series}")]
    newest = plan.left[-1]
    count = plural(len(plan.left), "other dump")
    stay = f"{count} of its series {'stays' if len(plan.left) == 1 else 'stay'}"
    return [*lines, look.good(f"{stay}, the newest of {look.when(newest.taken_at)}: {newest.id}")]


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


def _left(plan: DeletePlan) -> list[str]:
    return [
        f"timeline {timeline.timeline} stays restorable from {span.start} to {span.end}, "
        f"from {plural(len(span.backups), 'backup')}"
        for timeline in plan.after.timelines
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
    return f"{noun_of(pin.backup)} {pin.backup} stays {until}: {safe(pin.reason)}"


def unpinned(pins: Sequence[Pin]) -> str:
    return "\n".join(
        f"{noun_of(pin.backup)} {pin.backup} is no longer pinned: {safe(pin.reason)}"
        for pin in pins
    )


def pins(found: Sequence[Pin], now: datetime, look: Look) -> str:
    if not found:
        return "nothing is pinned"
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
    return table(["PINNED", "UNTIL", "HOLDS", "BY", "REASON"], rows, look)
