"""dump export and dump import as text. docs/commands.md lists their JSON fields."""

from pgkeep.cli.text import Look, fields, safe
from pgkeep.logical.export.formats import STDOUT
from pgkeep.logical.export.report import ExportReport
from pgkeep.logical.importing.report import ImportReport
from pgkeep.units import format_duration, format_size, plural


def exported(done: ExportReport, look: Look) -> str:
    """Say what was written, and where."""
    parts = [*(["roles and tablespaces"] if done.globals else []), *done.databases]
    where = "stdout" if done.output == STDOUT else safe(done.output)
    compressed = "" if done.compression == "none" else f", {done.compression}"
    return look.good(
        f"wrote {where}: {safe(', '.join(parts))} of dump {done.dump}, format {done.format}"
        f"{compressed}, {format_size(done.read)} of content in {format_duration(done.duration_s)}"
    )


def imported(made: ImportReport, look: Look) -> str:
    """Say what a file was, and which dump it is now."""
    facts = made.facts
    dump = facts.dump()
    packed = f" in {made.packed}" if made.packed else ""
    counts = f"{plural(dump.tables, 'table')}, {plural(dump.rows, 'row')}"
    roles = f"{plural(len(facts.globals.roles), 'role')}" if facts.globals is not None else ""
    known = f", {format_size(facts.known)} of it known" if facts.known else ""
    stored = "" if made.dry_run else f"{known}, {format_size(facts.stored)} stored"
    versions = {database.dump_version for database in facts.databases} - {""}
    pairs = [
        ("was", f"{made.kind}{packed}"),
        ("made", look.when(dump.taken_at)),
        ("database", ", ".join(dump.databases)),
        ("holds", "; ".join(filter(None, [counts if dump.databases else "", roles]))),
        ("server", facts.server_version),
        ("pg_dump", ", ".join(sorted(versions))),
        ("selection", "" if facts.selection.whole else facts.selection.words),
        ("size", f"{format_size(facts.size)}{stored}"),
        ("took", format_duration(made.duration_s)),
        ("label", facts.label),
    ]
    head = f"{safe(made.file)} is whole; nothing was stored (--dry-run)"
    if not made.dry_run:
        head = f"{safe(made.file)} is dump {facts.id} of cluster {safe(facts.cluster)} now"
    lines = [look.good(head), fields(pairs, indent="  ")]
    lines += [look.bad(f"  warning: {safe(why)}") for why in facts.suspicions]
    lines += [f"  note: {safe(note)}" for note in made.notes]
    return "\n".join(lines)
