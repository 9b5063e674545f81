"""restore and inspect as text."""

from typing import Final

from pgkeep.cli.text import Look, fields, not_before, safe
from pgkeep.inspect.follow import FollowReport
from pgkeep.inspect.seen import InspectReport
from pgkeep.model.target import Immediate
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.restore import DeltaCounts, RestoreReport
from pgkeep.restore.start import RecoveryOutcome
from pgkeep.units import format_duration, format_size, plural

LOCKED_OUT: Final = (
    "the server's restore_command needs the passphrase: start it with $PGKEEP_PASSPHRASE in its "
    "environment, or name a passphrase_file in the config"
)


def plan(decided: RestorePlan, look: Look) -> str:
    """Say what will be done and why, before it is done."""
    backup = decided.backup
    kind = "a standby of " if decided.standby else ""
    where = "over what is in" if decided.delta else "into"
    head = f"restoring {kind}cluster {safe(decided.cluster)} {where} {safe(decided.target_dir)}"
    pairs = [
        ("backup", f"{backup.id}, consistent from {look.when(not_before(backup.stopped_at))} on"),
        ("target", decided.asked),
        ("stops", _stops(decided)),
        ("timeline", str(decided.timeline)),
        ("then", "" if decided.standby else decided.action.value),
        ("WAL", f"{decided.first_segment} to {decided.last_segment}, at most "
         f"{format_size(decided.wal_bytes)} to replay"),
        ("databases", ", ".join(safe(name) for name in decided.databases)),
        ("size", f"{format_size(backup.size)} in {plural(backup.files, 'file')}"),
    ]  # fmt: skip
    lines = [look.bold(head), fields(pairs, indent="  ")]
    lines += [
        f"  tablespace {safe(str(m.old))} goes to {safe(str(m.new))}" for m in decided.tablespaces
    ]
    lines += [f"  because {safe(reason)}" for reason in decided.reasons]
    lines += [look.weak(f"  warning: {safe(warning)}") for warning in decided.warnings]
    return "\n".join(lines)


def _stops(decided: RestorePlan) -> str:
    if decided.standby:
        return "nowhere: a standby goes on replaying"
    if decided.stop is not None:
        return str(decided.stop)
    if decided.asked == str(Immediate()):
        return "at the end of the backup, as soon as it is consistent"
    if decided.local_wal:
        return f"at the end of the WAL, the directory's own included: {decided.local_wal[-1]}"
    return "at the end of the archived WAL"


def written(done: RestoreReport) -> str:
    """Say what lies on disk now."""
    seconds, size = format_duration(done.seconds), format_size(done.size)
    where = safe(done.plan.target_dir)
    words = f"restored {plural(done.files, 'file')}, {size}, in {seconds}: {where}"
    return f"{words}\n{fields(_counts(done.delta), indent='  ')}" if done.delta else words


def _counts(counts: DeltaCounts) -> list[tuple[str, str]]:
    """Return what a delta restore found and did, each with files and bytes."""
    return [
        ("compared", f"{plural(counts.compared_files, 'file')}, "
         f"{format_size(counts.compared_bytes)} that were there"),
        ("rewritten", f"{plural(counts.rewritten_files, 'file')}, "
         f"{format_size(counts.rewritten_bytes)} of them"),
        ("deleted", f"{plural(counts.deleted_files, 'file')}, "
         f"{format_size(counts.deleted_bytes)}"),
        ("fetched", f"{format_size(counts.fetched_bytes)} from the repository"),
    ]  # fmt: skip


def report(done: RestoreReport, outcome: RecoveryOutcome | None, look: Look) -> str:
    """Say what was restored, how far recovery came, and what to type next."""
    lines = [look.good(written(done)), *(f"  note: {safe(note)}" for note in done.notes)]
    if outcome is None:
        lines += ["", "start it, and see how its recovery goes:", f"  {safe(done.start_command)}"]
        lines.append(f"  pgkeep inspect --follow {safe(done.plan.target_dir)}")
    else:
        lines += ["", look.good(safe(outcome.words))]
        pairs = [
            ("stopped", outcome.stopped),
            ("last transaction", outcome.last_transaction),
            ("timeline", str(outcome.timeline or "")),
            ("process", str(outcome.pid or "")),
            ("log", outcome.log_file),
            ("recovery took", format_duration(outcome.seconds)),
        ]
        lines.append(fields(pairs, indent="  "))
        lines += [look.weak(f"  warning: {safe(warning)}") for warning in outcome.warnings]
    if done.promote_command:
        lines += ["promote it when you have looked at it:", f"  {safe(done.promote_command)}"]
    return "\n".join(lines)


def followed(found: FollowReport, look: Look) -> str:
    """Say how a recovery ended, or where it stands still."""
    pairs = [
        ("goal", found.goal),
        ("replayed", found.replayed),
        ("last segment", found.fetched),
        ("log", found.log_file),
    ]
    words = look.bold(safe(found.words))
    return "\n".join([words, fields(pairs, indent="  ")])


def inspected(found: InspectReport, look: Look) -> str:
    """Say what a directory is, what a start would do, and what never to delete."""
    paint = look.good if found.starts else look.bad
    lines = [look.bold(safe(found.directory)), paint(safe(found.headline))]
    parts = (
        ("if it is started:", found.what_happens),
        ("why it would not start:", found.problems),
        ("warnings:", found.warnings),
        ("never delete:", found.never_delete),
        ("what to type:", found.next_steps),
    )
    for title, texts in parts:
        if texts:
            lines += ["", title, *(f"  {safe(text)}" for text in texts)]
    if found.facts:
        lines += ["", fields(list(found.facts.items()))]
    return "\n".join(lines)
