"""copy as text. docs/commands.md lists the JSON fields."""

from collections.abc import Mapping, Sequence
from typing import Final

from pgkeep.cli.text import Look, safe, table
from pgkeep.replicate.report import CopyReport
from pgkeep.repository.copies.make import Made
from pgkeep.repository.copies.object_names import ObjectKind
from pgkeep.units import format_duration, format_size, plural

_SHOWN: Final = 10  # lines of a list; --json has them all
_NOUNS: Final = {
    ObjectKind.GENERATION: ("generation", "generations"),
    ObjectKind.WRITER: ("writer", "writers"),
    ObjectKind.LOST: ("record of WAL that was given up", "records of WAL that was given up"),
    ObjectKind.HISTORY: ("timeline history", "timeline histories"),
    ObjectKind.PACK: ("pack", "packs"),
    ObjectKind.WAL: ("WAL file", "WAL files"),
    ObjectKind.MANIFEST: ("manifest", "manifests"),
    ObjectKind.PIN: ("pin", "pins"),
    ObjectKind.CENSUS: ("census", "censuses"),
    ObjectKind.DRILL: ("report of a drill", "reports of drills"),
    ObjectKind.ACT: ("act", "acts"),
}


def reports(done: Sequence[CopyReport], look: Look) -> str:
    """Say what the copy has from now on, what it has not, and why."""
    parts = [_plan(one, look) if one.dry_run else _done(one, look) for one in done]
    return "\n\n".join(parts or ["there is no cluster to copy"])


def made(made: Made, look: Look) -> str:
    """Say that there is a copy now, and show its recovery key."""
    lines = [look.good(f"made a copy in {safe(made.repository.store.url)}")]
    if made.recovery_key:
        lines += [
            "  its recovery key, shown this once: print it and keep it away from this machine",
            f"  {made.recovery_key}",
        ]
    return "\n".join(lines)


def _plan(one: CopyReport, look: Look) -> str:
    head = f"cluster {safe(one.cluster)}, from {safe(one.source)} to {safe(one.target)}"
    if not one.plan.batches:
        lines = [f"{head}: everything is there", *_beside(one, look)]
        return "\n".join(lines)
    rows = [
        [batch.title, f"{len(batch.first) + len(batch.then):,}", format_size(batch.size)]
        for batch in one.plan.batches
    ]
    lines = [
        f"{head}: {format_size(one.plan.size)} in {_counted(one.counts())}, in this order:",
        table(["WHAT", "OBJECTS", "SIZE"], rows, look, right=(1, 2)),
        *_beside(one, look),
        "dry run: nothing was sent",
    ]
    return "\n".join(lines)


def _done(one: CopyReport, look: Look) -> str:
    head = f"cluster {safe(one.cluster)}, to {safe(one.target)}"
    counted = _counted(one.counts())
    if one.troubles:
        line = look.bad(f"{head}: {plural(len(one.troubles), 'object')} could not be copied")
    elif counted:
        line = look.good(f"{head}: copied")
    else:
        line = look.good(f"{head}: everything was there")
    lines = [line]
    if counted:
        how = ", each read again at the copy" if one.verified else ""
        took = format_duration(one.duration_s)
        lines.append(f"  sent: {format_size(one.size)}, {counted}, in {took}{how}")
    if one.listed:
        lines += _cut([f"  new there: {id}" for id in one.listed])
    return "\n".join([*lines, *_beside(one, look)])


def _beside(one: CopyReport, look: Look) -> list[str]:
    lines = [f"  replaced, it was damaged there: {safe(name)}" for name in one.replaced]
    lines += [f"  deleted at the source meanwhile: {id}" for id in one.gone]
    lines += [f"  left out: {s.id}: {safe(s.why)}" for s in one.plan.skipped]
    lines = _cut(lines)
    faults = [look.bad(f"  not copied: {safe(t.name)}: {safe(t.why)}") for t in one.troubles]
    return [*lines, *_cut(faults), *(look.weak(f"  note: {safe(n)}") for n in one.notes)]


def _counted(counts: Mapping[ObjectKind, int]) -> str:
    """Return '12 packs, 1 manifest and 31 WAL files'."""
    words = [plural(counts[kind], *_NOUNS[kind]) for kind in ObjectKind if counts.get(kind)]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"  and {more:,} more (--json has them)"] if more > 0 else lines
