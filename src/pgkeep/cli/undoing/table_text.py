"""A table of then and now, and what becomes of it, as text."""

from collections.abc import Iterable, Sequence
from typing import Final

from pgkeep.cli.text import Look, fields, safe, table
from pgkeep.postgres.archive.sql import quote_identifier
from pgkeep.undo.returning.compare import ChangedRow, Difference
from pgkeep.undo.returning.found import Found
from pgkeep.undo.returning.plan import ReturnPlan, RevokeDefaults, Way
from pgkeep.undo.returning.report import Seen, UndoReport
from pgkeep.units import format_size, plural

_NAMES: Final = 12  # that one line lists
_WIDE: Final = 8  # columns of the first rows
_CELL: Final = 24  # characters of a value in a table
_STEPS: Final = 40


def seen(found: Seen, moment: str, look: Look) -> str:
    """Say what a table was, and how it differs from the live one."""
    then = found.then
    rows = plural(then.rows or 0, "matching row" if found.where else "row")
    head = f"{safe(str(then.name))} {moment}: {rows}, {format_size(then.size)} with indexes"
    parts = [look.bold(head), fields(_belongings(then), "  ")]
    if then.first_rows:
        parts.append(_first_rows(then, look))
    parts.append(_now(found, look))
    return "\n".join(filter(None, parts))


def _belongings(then: Found) -> list[tuple[str, str]]:
    columns = [f"{quote_identifier(one.name)} {one.type}" for one in then.columns]
    partitions = [m.name for m in then.members[1:]] if then.kind == "p" else []
    key = ", ".join(then.key)
    return [
        ("columns", _listed(columns)),
        ("key", key if then.key_is_primary else f"{key} (unique, not primary)" * bool(key)),
        ("owner", then.owner),
        ("comment", then.comment),
        ("tablespace", then.tablespace),
        ("partitions", _listed(partitions)),
        ("heirs", _listed(f"{one.schema}.{one.name}" for one in then.heirs)),
        ("part of", _listed(then.parents)),
        ("indexes", _listed(one.name for one in then.indexes)),
        ("constraints", _listed(one.name for one in then.constraints)),
        ("references", _listed(f"{one.name} {one.definition}" for one in then.foreign_keys)),
        ("referenced by", _listed(f"{k.schema}.{k.table} ({k.name})" for k in then.incoming)),
        ("sequences", _listed(f"{s.schema}.{s.name} of {s.column}" for s in then.sequences)),
        ("triggers", _listed(one.name for one in then.triggers)),
        ("views on it", _listed(then.views)),
        ("grants", _listed(then.grants)),
        ("policies", _listed(one.name for one in then.policies)),
        ("row security", "on" if then.row_security else ""),
        ("unlogged", "its rows are in no backup and no WAL" if then.unlogged else ""),
    ]


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - _NAMES
    return ", ".join(every[:_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _first_rows(then: Found, look: Look) -> str:
    shown = then.columns[:_WIDE]
    rows = [[_cell(value) for value in row[:_WIDE]] for row in then.first_rows]
    text = table([column.name for column in shown], rows, look)
    more = len(then.columns) - len(shown)
    rest = f" ({plural(more, 'more column')})" if more > 0 else ""
    return f"first rows{rest}:\n" + "\n".join(f"  {line}" for line in text.splitlines())


def _cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= _CELL else f"{value[: _CELL - 1]}…"


def _now(found: Seen, look: Look) -> str:
    if found.now is None:
        return look.bad("now it is gone")
    difference = found.difference
    if difference is None:
        return "now it is there; without a key that both have, rows cannot be compared"
    words = [
        f"{difference.missing:,} missing",
        f"{difference.changed:,} changed since",
        *([f"{difference.new:,} new since"] if difference.new is not None else []),
        f"{difference.same:,} the same",
    ]
    key = safe(", ".join(difference.key))
    now = f"now it has {plural(difference.rows_now, 'row')}; by {key}: {', '.join(words)}"
    lines = [look.bold(now), *_samples(difference)]
    if difference.left_out:
        names = safe(_listed(difference.left_out))
        lines.append(f"  not compared (in one of both only, or computed): {names}")
    return "\n".join(lines)


def _samples(difference: Difference) -> list[str]:
    lines = []
    for title, keys in (
        ("missing", difference.missing_sample),
        ("new", difference.new_sample),
    ):
        if keys:
            lines.append(f"  {title}, the first: {', '.join(map(_key, keys))}")
    lines += [f"  changed: {_key(row.key)}: {_changes(row)}" for row in difference.changed_sample]
    return lines


def _key(key: Sequence[str | None]) -> str:
    values = [safe(_cell(value)) for value in key]
    return values[0] if len(values) == 1 else f"({', '.join(values)})"


def _changes(row: ChangedRow) -> str:
    if not row.changes:
        return "changed again while it was looked at"
    shown = row.changes[:3]
    words = [
        f"{safe(one.column)} {safe(_cell(one.then))} -> {safe(_cell(one.now))}" for one in shown
    ]
    more = len(row.changes) - len(shown)
    return ", ".join(words) + (f" and {plural(more, 'more column')}" if more > 0 else "")


def plan(what: ReturnPlan, found: Seen, file: str, look: Look) -> str:
    """Say what will be done."""
    match what.way:
        case Way.DUMP:
            head = f"it will be dumped into {safe(file)}; the live server is not changed"
        case Way.BESIDE:
            head = f"its rows will come back as {safe(str(what.into))}, a new table"
        case Way.INTO_PLACE:
            head = "it will be made anew in its place, with what hung on it, in one transaction"
        case Way.MERGE:
            missing = found.difference.missing if found.difference else 0
            head = (
                f"{plural(missing, 'row')} that {'is' if missing == 1 else 'are'} gone will be "
                "inserted, in one transaction; no row that is there is changed"
            )
    lines = [look.bold(head)]
    if what.way is Way.INTO_PLACE:
        steps = [step for step in what.steps if not isinstance(step, RevokeDefaults)]
        lines += [f"  {safe(step.what)}: {safe(step.reason)}" for step in steps[:_STEPS]]
        more = len(steps) - _STEPS
        lines += [f"  and {plural(more, 'more step')}"] if more > 0 else []
    lines += [look.weak(f"  {safe(note)}") for note in what.notes]
    return "\n".join(lines)


def report(done: UndoReport, look: Look) -> str:
    """Say what was done."""
    what, work = done.plan, done.done
    if what.way is Way.DUMP:
        size = format_size(done.file_size)
        return (
            f"dumped {safe(str(what.table))} into {safe(done.file)}, {size}; "
            "to load it: pg_restore -d DATABASE " + safe(done.file)
        )
    if work is None:
        return "no row is missing: nothing was changed"
    into = safe(str(what.into))
    lines = [look.good(f"{plural(work.rows, 'row')} came back: {into}")]
    if work.in_the_way:
        lines.append(
            f"  {plural(work.in_the_way, 'row')} stayed away: a row that is there now has the same "
            "key or other unique value"
        )
    lines += [look.weak(_not_valid(name, count)) for name, count in work.not_valid]
    lines += [look.bad(f"  not brought back: {safe(one)}") for one in work.failed]
    if done.restore_point is not None:
        name = done.restore_point.name
        lines.append(
            f"restore point {name} was set before: pgkeep undo table {safe(what.table.typed)} "
            f"--at name:{name} shows the moment before this undo"
        )
    return "\n".join(lines)


def _not_valid(name: str, count: int) -> str:
    refers = "refers" if count == 1 else "refer"
    return (
        f"  {safe(name)} is NOT VALID: {plural(count, 'row')} {refers} to what is gone; mend that, "
        "then ALTER TABLE ... VALIDATE CONSTRAINT"
    )
