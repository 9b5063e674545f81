"""verify as text, and what `list` shows of proofs. docs/commands.md lists the JSON fields."""

from collections.abc import Sequence
from typing import Any, Final

from pgkeep.cli.text import Look, safe, table
from pgkeep.model.dump import noun_of
from pgkeep.repository.names import wal_prefix
from pgkeep.repository.proofs import Proof, Proofs, Verdict
from pgkeep.units import format_duration, format_size, plural
from pgkeep.verify.heal import HealReport
from pgkeep.verify.hits import FilesHit
from pgkeep.verify.report import VerifyReport, WalLoss, describe_blocks

_SHOWN: Final = 10  # files of a backup, and objects, that are listed; --json has them all
_WORDS: Final = {
    Verdict.GOOD: "good",
    Verdict.DAMAGED: "DAMAGED",
    Verdict.NOT_RESTORABLE: "NOT RESTORABLE",
}


def report(done: VerifyReport, look: Look) -> str:
    """Say what can be restored, what is lost, and what was not looked at."""
    parts = [_head(done, look)]
    for head, found in (("BACKUP", done.backups), ("DUMP", done.dumps)):
        if found:
            rows = [[b.id, _WORDS[b.verdict], b.why or done.proof.words] for b in found]
            parts.append(table([head, "VERDICT", "PROVEN, OR WHAT IS LOST"], rows, look))
    parts += [_files(ids, files, look) for files, ids in _hit(done).items()]
    if done.damaged:
        lines = [f"  {safe(d.name)}: {safe(d.why)}" for d in done.damaged]
        parts.append("\n".join([look.bad("faults:"), *_cut(lines)]))
    parts += ["\n".join(_cut([_loss(loss, look) for loss in done.wal]))] if done.wal else []
    parts += _restorable(done, look)
    beside = _beside(done, look)
    return "\n\n".join([*parts, "\n".join(beside)] if beside else parts)


def healed(done: HealReport, look: Look) -> str:
    """Say what was mended, and then what there is now."""
    if not done.found:
        return report(done.verified, look)
    lines = [f"  healed from {safe(h.source)}: {safe(h.name)}" for h in done.healed]
    line = f"{plural(done.found, 'fault')} found, {plural(len(done.healed), 'object')} healed"
    parts = ["\n".join([(look.weak if done.unhealed else look.good)(line), *_cut(lines)])]
    if done.unhealed:
        left = [f"  {safe(u.name)}: {safe(u.why)}" for u in done.unhealed]
        parts.append("\n".join([look.bad("no copy has them intact:"), *_cut(left)]))
    return "\n\n".join([*parts, report(done.verified, look)])


def _head(done: VerifyReport, look: Look) -> str:
    proof = done.proof
    kinds = {"backup": done.backups, "dump": done.dumps}
    counts = {noun: plural(len(found), noun) for noun, found in kinds.items() if found}
    count = " and ".join(counts.values())
    bad = {n: sum(one.verdict is not Verdict.GOOD for one in found) for n, found in kinds.items()}
    of = f"of cluster {safe(proof.cluster)}"
    if any(bad.values()):
        hit = " and ".join(f"{bad[noun]} of {counts[noun]}" for noun in counts if bad[noun])
        line = look.bad(f"{hit} {of} cannot be restored whole")
    elif done.damaged:
        line = look.bad(f"{plural(len(done.damaged), 'fault')}; all {count} {of} can be restored")
    elif not done.found:
        line = look.weak(f"cluster {safe(proof.cluster)} has no backup to verify")
    else:
        line = look.good(f"{count} {of}: no fault found")
    read = f", {format_size(proof.read)} read" if proof.read else ""
    facts = (
        f"  proven: {proof.words}; {plural(proof.packs, 'pack')}, "
        f"{plural(proof.wal_files, 'WAL file')}{read}, in {format_duration(done.duration_s)}"
    )
    lines = [line, facts]
    if done.unproven:
        lines.append(look.weak(f"  not proven: {done.unproven}"))
    if proof.seed:
        lines.append(f"  the same sample again: --sample {proof.sample} --seed {safe(proof.seed)}")
    if proof.since:
        lines.append(f"  only what is newer than {look.when(proof.since)}")
    return "\n".join(lines)


def _hit(done: VerifyReport) -> dict[FilesHit, list[str]]:
    """Return what was lost, and the backups that share each loss."""
    hit: dict[FilesHit, list[str]] = {}
    for found in done.found:
        if found.files.count:
            hit.setdefault(found.files, []).append(found.id)
    return hit


def _files(ids: Sequence[str], files: FilesHit, look: Look) -> str:
    shown = [[h.path, h.database or "-", describe_blocks(h)] for h in files.first[:_SHOWN]]
    more = files.count - len(shown)
    noun = noun_of(ids[0])
    who = f"{noun} {ids[0]} has" if len(ids) == 1 else f"{noun}s {', '.join(ids)} have"
    lines = [
        look.bad(f"{who} lost something of {plural(files.count, 'file')}:"),
        table(["FILE", "DATABASE", "LOST"], shown, look),
    ]
    return "\n".join([*lines, *([f"and {more:,} more (--json has them)"] if more else [])])


def _loss(loss: WalLoss, look: Look) -> str:
    one = loss.first == loss.last
    what = f"WAL segment {loss.first}" if one else f"WAL segments {loss.first} to {loss.last}"
    lines = [look.bad(f"{what}: {safe(loss.why)}")]
    if loss.stranded:
        lines.append(f"  backups that cannot be restored at all: {', '.join(loss.stranded)}")
    if loss.cut:
        lines.append(f"  backups that can be recovered up to {loss.at} only: {', '.join(loss.cut)}")
    return "\n".join(lines)


def _restorable(done: VerifyReport, look: Look) -> list[str]:
    """With faults, say which moments are left."""
    if not done.damaged or not done.proof.everything or not (done.backups or done.wal):
        return []
    lines = [
        f"  timeline {p.timeline}: {look.good('restorable')} from {p.span.start} to {p.span.end}"
        for p in done.proven
    ]
    good = [dump.id for dump in done.dumps if dump.verdict is Verdict.GOOD]
    if good:
        lines.append(f"  {plural(len(good), 'dump')}, up to {good[-1]}")
    return ["\n".join(["what is left:", *(lines or [look.bad("  nothing can be restored whole")])])]


def _beside(done: VerifyReport, look: Look) -> list[str]:
    lines = [look.weak(f"note: {safe(note)}") for note in done.notes]
    if done.gone and done.gone_since:
        gone = f"{', '.join(done.gone)}, there on {look.when(done.gone_since)}"
        lines.append(look.weak(f"note: gone since the last proof: {gone}, and packs were left"))
    if done.orphans and done.orphans[0]:
        count, size = done.orphans
        what = f"{plural(count, 'pack')}, {format_size(size)}, that no backup and no dump names"
        lines.append(f"note: {what}: left by one that was interrupted, or of one that is running")
    if done.unexplained_count:
        few = ", ".join(safe(name) for name in done.unexplained[:_SHOWN])
        more = done.unexplained_count - min(done.unexplained_count, _SHOWN)
        rest = f" and {more:,} more" if more else ""
        what = plural(done.unexplained_count, "object")
        lines.append(f"note: {what} that pgkeep has not put there, left alone: {few}{rest}")
    return lines


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"  and {more:,} more (--json has them)"] if more > 0 else lines


# what `list` shows


def proof_words(proofs: Proofs, backup_id: str, look: Look) -> str:
    """Return 'bytes 2026-11-02, objects 2026-11-23', or 'never'."""
    return _said(proofs.of(backup_id), look) or "never"


def wal_words(proofs: Proofs, look: Look) -> str:
    """Return when all WAL was verified last, and how."""
    return _said(_of_wal(proofs), look) or "never"


def proof_facts(proofs: Sequence[Proof]) -> list[dict[str, Any]]:
    """Return what --json shows of proofs, the strongest first."""
    return [
        {
            "id": proof.id,
            "time": proof.finished_at,
            "level": proof.level.value,
            "sample": proof.sample or None,
            "proven": proof.words,
        }
        for proof in reversed(proofs)
    ]


def wal_proof_facts(proofs: Proofs) -> list[dict[str, Any]]:
    return proof_facts(_of_wal(proofs))


def damaged_wal(proofs: Proofs, cluster: str, generation: str) -> list[str]:
    """Return the WAL objects that the last proofs found missing or damaged."""
    prefix = wal_prefix(cluster, generation)
    found = (damaged.name for _, damaged in proofs.standing())
    return sorted({name for name in found if name.startswith(prefix)})


def _of_wal(proofs: Proofs) -> list[Proof]:
    return proofs.strongest(proof for proof in proofs.found if proof.everything)


def _said(proofs: Sequence[Proof], look: Look) -> str:
    return ", ".join(
        f"{f'{proof.sample} of bytes' if proof.sample else proof.level.value} "
        f"{proof.finished_at.astimezone(look.zone):%Y-%m-%d}"
        for proof in reversed(proofs)
    )
