"""Accidents as the page lists them, the commands that take them back, and what those tell. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pgkeep.undo.event import Event, EventKind, Hit
from pgkeep.undo.meaning.names import in_sql
from pgkeep.units import format_size, plural
from pgkeep.web.words import NOTHING

_STEPS: Final = 40
_CELL: Final = 60  # characters of a value that are shown


class Way(StrEnum):
    """How a table comes back."""

    INTO_PLACE = "Into place: the table is made anew, with all it had"
    MERGE = "Merge: the rows that are gone are inserted; none is overwritten"
    BESIDE = "Beside: all rows as they were, in a new table"


@dataclass(frozen=True, slots=True)
class Lost:
    """One thing that an event destroyed and that can be brought back."""

    noun: str  # 'table', 'database'
    name: str  # as the command takes it
    way: Way  # the one that is usual after such an event


class Ask(NamedTuple):
    """What is to be brought back, and how."""

    event: Event
    lost: Lost
    way: Way
    into: str = ""  # the new table's name, or the database's
    where: str = ""  # SQL: only these rows


_USUAL: Final = {
    EventKind.DELETE: Way.MERGE,
    EventKind.TRUNCATE: Way.MERGE,
    EventKind.DROP_TABLE: Way.INTO_PLACE,
    EventKind.DROP_SCHEMA: Way.INTO_PLACE,
}


def lost_by(event: Event) -> tuple[Lost, ...]:
    """Return what can be brought back of an event: what it hit and whose name is known."""
    if event.kind is EventKind.DROP_DATABASE:
        return (Lost("database", event.database, Way.INTO_PLACE),) if event.database else ()
    way = _USUAL.get(event.kind, Way.BESIDE)
    names = dict.fromkeys(in_sql(*_table_of(hit)) for hit in event.hits if _is_table(hit))
    return tuple(Lost("table", name, way) for name in names)


def _is_table(hit: Hit) -> bool:
    return hit.kind in ("r", "p") and bool(hit.database and hit.schema and hit.name)


def _table_of(hit: Hit) -> tuple[str, str, str]:
    return hit.database, hit.schema, hit.name


def rows_of(event: Event) -> str:
    """'1,204', '>= 1,204' of what may have begun earlier, '~1,200' by the census."""
    if event.rows < 0:
        return NOTHING
    if event.kind in (EventKind.DELETE, EventKind.UPDATE):
        return f"{event.rows:,}" if event.whole else f">= {event.rows:,}"
    return f"~{event.rows:,}"


def size_of(event: Event) -> str:
    """Return the size of what was hit, by the census; '' where none knew it."""
    size = sum(hit.size for hit in event.hits if hit.size > 0)
    return format_size(size) if size else ""


def words_of(event: Event) -> str:
    """'~40 rows, 32 KiB, transaction 756'."""
    rows = f"{rows_of(event)} rows" if event.rows >= 0 else ""
    return ", ".join(filter(None, (rows, size_of(event), f"transaction {event.xid}")))


def details_of(event: Event) -> tuple[str, ...]:
    """Return what must be known of an event beside its numbers."""
    lines = []
    if not event.whole:
        lines.append("it may have begun before the WAL that was searched: look further back")
    if not event.sure:
        lines.append("likely, not certain: other work can leave the same records")
    return (*lines, *event.notes)


def find_words(since: str, table: str = "", min_rows: str = "") -> tuple[str, ...]:
    """Return the words of a search."""
    given = {"--since": since, "--table": table, "--min-rows": min_rows}
    return ("undo", "find", *(w for k, v in given.items() if v.strip() for w in (k, v.strip())))


def return_words(ask: Ask, *, preview: bool = False) -> tuple[str, ...]:
    """Return the words that bring something back, or show what would come.

    The moment is given by its place in WAL: the number of an event means another one as soon as
    somebody looks again.
    """
    # Recovery of a dropped database must stop before its files go: the event knows where.
    moment = ("--before", f"lsn:{ask.event.stop_lsn}")
    last = ("--dry-run",) if preview else ()
    if ask.lost.noun == "database":
        name = ("--as", ask.into) if ask.into else ()
        return ("undo", "database", ask.lost.name, *moment, *name, *last)
    if ask.where:
        words: tuple[str, ...] = ("undo", "rows", ask.lost.name, *moment, "--where", ask.where)
        beside = ("--as", ask.into) if ask.way is Way.BESIDE and ask.into else ()
        return (*words, *beside, *last)
    how = {
        Way.INTO_PLACE: ("--into-place",),
        Way.MERGE: ("--merge", "missing"),
        Way.BESIDE: ("--as", ask.into) if ask.into else (),
    }[ask.way]
    return ("undo", "table", ask.lost.name, *moment, *how, *last)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would come back."""

    facts: tuple[tuple[str, str], ...]
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()  # the first ones
    steps: tuple[str, ...] = ()  # on the live server
    in_vain: bool = False  # no row is missing
    listed: str = "The first rows"


def preview_of(report: Mapping[str, Any]) -> Preview:
    """Read the report of a --dry-run of undo table, rows or database (docs/undo.md)."""
    if "database" in report:
        return _of_database(report)
    then, difference = report["then"], report.get("difference")
    plan = report.get("plan") or {}
    columns = [str(column["name"]) for column in then["columns"]]
    steps = [str(step["what"]) for step in plan.get("steps", ())]
    facts = (
        ("Table", f"{report['table']}, {report['moment']}"),
        (
            "It had",
            f"{plural(then['rows'] or 0, 'row')}, {format_size(then['size'])} with indexes",
        ),
        ("Key", ", ".join(then["key"]) or "none: rows cannot be compared"),
        ("Now", _now(report.get("now") is not None, difference)),
        *(("Changed", _changed(row)) for row in (difference or {}).get("changed_sample", ())),
        ("Rows go to", str(plan.get("into", NOTHING))),
        *(("Note", str(note)) for note in plan.get("notes", ())),
    )
    return Preview(
        facts,
        tuple(columns),
        tuple(tuple(map(_cell, row)) for row in then.get("first_rows", ())),
        (*steps[:_STEPS], *([f"and {len(steps) - _STEPS} more"] if len(steps) > _STEPS else [])),
        in_vain=not steps,
    )


def _of_database(report: Mapping[str, Any]) -> Preview:
    tables: Sequence[Mapping[str, Any]] = report["tables"]
    rows, size = sum(table["rows"] for table in tables), format_size(report["size"])
    facts = (
        ("Database", f"{report['database']}, {report['moment']}"),
        ("It had", f"{plural(len(tables), 'table')}, {plural(rows, 'row')}, {size}"),
        ("It comes back as", str(report["into"])),
    )
    largest = sorted(tables, key=lambda table: -table["rows"])[:20]
    listed = tuple((f"{t['schema']}.{t['name']}", f"{t['rows']:,}") for t in largest)
    return Preview(facts, ("Table", "Rows"), listed, listed="The largest")


def _now(there: bool, difference: Mapping[str, Any] | None) -> str:
    if not there:
        return "it is gone"
    if difference is None:
        return "it is there; without a key that both have, rows cannot be compared"
    parts = [
        f"{difference['rows_now']:,} rows",
        f"{difference['missing']:,} missing",
        f"{difference['changed']:,} changed since",
        f"{difference['same']:,} the same",
    ]
    if difference.get("new") is not None:
        parts.insert(3, f"{difference['new']:,} new since")
    return ", ".join(parts)


def _changed(row: Mapping[str, Any]) -> str:
    key = ", ".join(_cell(value) for value in row["key"])
    changes = (
        f"{c['column']}: {_cell(c['then'])} is now {_cell(c['now'])}" for c in row["changes"]
    )
    return f"{key}: {'; '.join(changes) or 'changed again while it was looked at'}"


def _cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= _CELL else f"{value[: _CELL - 1]}…"


def returned(report: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what came back, in words, out of the report of undo table, rows or database."""
    point = report.get("restore_point")
    before = [("Restore point set before", str(point["name"]))] if point else []
    if "database" in report:
        rows = sum(table["rows"] for table in report["tables"])
        tables = plural(len(report["tables"]), "table")
        said = f"{report['into']}: {tables} with {plural(rows, 'row')}"
        return (("Is back", said), *before)
    if not report.get("done"):
        return (("Nothing was changed", "no row is missing"),)
    plan = report.get("plan") or {}
    invalid = [f"{one['constraint']} ({one['violations']:,})" for one in report["not_valid"]]
    return (
        ("Is back", f"{plural(report['rows'], 'row')} in {plan.get('into', report['table'])}"),
        *before,
        *(
            [("Met a row that is there", f"{report['in_the_way']:,}")]
            if report["in_the_way"]
            else []
        ),
        *([("Foreign keys not valid", ", ".join(invalid))] if invalid else []),
        *(("Could not be made", str(one)) for one in report["failed"]),
        *(("Note", str(note)) for note in plan.get("notes", ())),
    )
