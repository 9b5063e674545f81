"""Restored dumps as text."""

from pgkeep.cli.text import Look, fields, safe
from pgkeep.logical.restoring.every import RestoredDatabases
from pgkeep.logical.restoring.report import RestoreReport
from pgkeep.units import format_duration, format_size, plural

_NAMED = 10


def report(made: RestoreReport, look: Look) -> str:
    """Say what was restored where, what came along, and what did not."""
    counts = f"{plural(made.tables, 'table')}, {plural(made.rows, 'row')}"
    if made.large_objects:
        counts += f", {plural(made.large_objects, 'large object')}"
    if made.dry_run:
        head = (
            f"database {safe(made.database)} of {made.dump} would be restored as {safe(made.name)}"
        )
    else:
        head = look.good(
            f"database {safe(made.database)} of {made.dump} is restored as {safe(made.name)}"
        )
    phases = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in made.phases)
    old = ""
    if made.swapped is not None:
        old = "dropped" if made.swapped.dropped else f"{made.swapped.old}: DROP DATABASE removes it"
    pairs = [
        ("server", f"PostgreSQL {made.server}"),
        ("holds", counts),
        ("loaded", format_size(made.bytes) if made.bytes else ""),
        ("compared", _compared(made)),
        ("roles made", ", ".join(made.roles_created)),
        ("came along", _came(made)),
        ("old one", old),
        ("took", f"{format_duration(made.duration_s)}: {phases}" if phases else ""),
    ]
    lines = [head, fields(pairs, indent="  ")]
    lines += [look.weak(f"  left out: {safe(what)}") for what in made.left_out]
    lines += [
        f"  masked {safe(one.column.table)}.{safe(one.column.column)} ({safe(one.column.rule)}): "
        f"{plural(one.values, 'value')}"
        for one in made.masked
    ]
    if made.sample is not None:
        sample = made.sample
        lines.append(
            f"  sample of {sample.share:.0%}: {sample.kept:,} of {sample.before:,} rows, every "
            "foreign key with its row"
        )
    lines += [f"  note: {safe(note)}" for note in made.notes]
    if made.dry_run:
        lines.append("dry run: nothing was changed")
    return "\n".join(lines)


def _compared(made: RestoreReport) -> str:
    """Say what was compared with the dump: a sample has other rows, and scripts tell nothing."""
    if made.dry_run or not made.compared:
        return ""
    rows = " and all rows" if made.rows and made.sample is None else ""
    return f"{plural(made.compared, 'object')}{rows}"


def every(made: RestoredDatabases, look: Look) -> str:
    """Say what became of each database of a dump."""
    parts = [report(one, look) for one in made.reports]
    if made.left_alone:
        names = safe(", ".join(made.left_alone))
        parts.append(f"left as they are: {names}; every server has them, the dump nothing in them")
    return "\n\n".join(parts)


def _came(made: RestoreReport) -> str:
    """Name what nobody chose, and came because what was chosen needs it."""
    if not made.needed:
        return ""
    more = len(made.needed) - _NAMED
    shown = ", ".join(made.needed[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"without rows: {shown}"
