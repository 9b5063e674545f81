"""Dumps as text and JSON: create, list, show, diff. docs/commands.md lists the fields."""

from collections.abc import Sequence
from typing import Any

from pgkeep.cli.text import Look, fields, safe, table
from pgkeep.logical.create.report import DumpReport, database_facts
from pgkeep.logical.diff import CountChange, Difference, ObjectChange
from pgkeep.logical.largest import CountedTable
from pgkeep.model.dump import Dump
from pgkeep.repository.dumps import DumpCatalog
from pgkeep.repository.manifest.dump_facts import DumpedDatabase, DumpFacts
from pgkeep.units import format_duration, format_size, plural

LARGEST = 20  # tables that show lists
_SHOWN = 200  # lines of a difference; --json has them all


def report(made: DumpReport, look: Look) -> str:
    """Say what was dumped, and whether anything is wrong with it."""
    facts, dump = made.facts, made.dump
    known = f", {format_size(facts.known)} of it known" if facts.known else ""
    counts = f"{plural(dump.tables, 'table')}, {plural(dump.rows, 'row')}"
    pairs = [
        ("shows", f"{look.when(dump.taken_at)} ({facts.consistency})"),
        ("databases", _names(facts)),
        ("holds", f"{counts}; {_globals(facts)}"),
        ("selection", "" if facts.selection.whole else facts.selection.words),
        ("size", f"{format_size(facts.size)}{known}, {format_size(facts.stored)} stored"),
        ("took", format_duration(made.duration_s)),
        ("label", facts.label),
    ]
    lines = [
        look.good(f"dump {facts.id} of cluster {safe(facts.cluster)} is complete"),
        fields(pairs, indent="  "),
    ]
    lines += [f"  note: {safe(note)}" for note in made.notes]
    if not facts.selection.holds_all:
        lines.append(look.weak("  this is not a full backup: it holds what was chosen"))
    return "\n".join(lines)


def _names(facts: DumpFacts) -> str:
    names = ", ".join(database.name for database in facts.databases)
    return f"all: {names}" if facts.all_databases else names


def _globals(facts: DumpFacts) -> str:
    if facts.globals is None:
        return "without roles and tablespaces"
    passwords = "with" if facts.globals.passwords else "without"
    return f"{plural(len(facts.globals.roles), 'role')} {passwords} passwords"


def dump_facts(dump: Dump) -> dict[str, Any]:
    """Return what a list tells of a dump."""
    return {
        "id": dump.id,
        "origin": dump.origin,
        "started_at": dump.started_at,
        "taken_at": dump.taken_at,
        "databases": list(dump.databases),
        "all_databases": dump.all_databases,
        "selection": dump.selection.words,
        "whole": dump.selection.whole,
        "globals": dump.globals,
        "server_version": dump.server_version,
        "label": dump.label,
        "tables": dump.tables,
        "rows": dump.rows,
        "size": dump.size,
        "stored": dump.stored,
        "suspicions": list(dump.suspicions),
    }


def listing(found: DumpCatalog, look: Look) -> str:
    """List dumps; what is wrong with one stands below."""
    if not found.dumps and not found.unreadable:
        return f"cluster {safe(found.cluster)} has no dump yet: pgkeep dump create"
    rows = [
        [
            dump.id,
            look.at(dump.taken_at),
            dump.series_words,
            f"{dump.tables:,}",
            f"{dump.rows:,}",
            format_size(dump.size),
            format_size(dump.stored),
            dump.label,
        ]
        for dump in found.dumps
    ]
    header = ["DUMP", "SHOWS", "HOLDS", "TABLES", "ROWS", "SIZE", "STORED", "LABEL"]
    parts = [table(header, rows, look, right=(3, 4, 5, 6))] if rows else []
    for dump in found.dumps:
        parts += [look.bad(f"{dump.id} looks wrong: {safe(why)}") for why in dump.suspicions]
    parts += [look.bad(f"{bad.id} cannot be read: {safe(bad.why)}") for bad in found.unreadable]
    return "\n".join(parts)


def show_facts(facts: DumpFacts, largest: Sequence[CountedTable]) -> dict[str, Any]:
    """Return everything on record of a dump, and its largest tables."""
    shown = {name: getattr(facts, name) for name in facts.__struct_fields__}
    return shown | {
        "databases": [database_facts(database) for database in facts.databases],
        "largest_tables": [one._asdict() for one in largest],
    }


def show(facts: DumpFacts, largest: Sequence[CountedTable], why_not: str, look: Look) -> str:
    dump = facts.dump()
    pairs = [
        ("cluster", facts.cluster),
        ("label", facts.label),
        ("origin", "pgkeep dump create" if facts.origin == "server" else f"file {facts.source}"),
        ("shows", look.when(dump.taken_at)),
        ("consistent", facts.consistency),
        ("began", f"{look.when(dump.started_at)}, took {format_duration(facts.duration_s)}"),
        ("PostgreSQL", facts.server_version),
        ("from", f"{facts.source}{', a standby' if facts.standby else ''}"),
        ("selection", facts.selection.words),
        ("globals", _globals(facts)),
        ("size", f"{format_size(facts.size)} in {plural(facts.files, 'file')}"),
        ("stored", f"{format_size(facts.stored)}; it needs {plural(facts.packs, 'pack')}"),
        ("made by", f"pgkeep {facts.pgkeep_version} on {facts.source_host}"),
    ]
    parts = [look.bold(f"dump {facts.id}"), fields(pairs, indent="  ")]
    if facts.suspicions:
        parts.append("\n".join(look.bad(safe(why)) for why in facts.suspicions))
    if facts.databases:
        header = ["DATABASE", "OWNER", "ENCODING", "COLLATION", "TABLES", "ROWS", "DATA", "LOBS"]
        rows = [_database_row(database) for database in facts.databases]
        parts.append(table(header, rows, look, right=(4, 5, 6, 7)))
    parts += _largest(dump.tables, largest, look)
    if why_not:
        parts.append(look.bad(f"its tables cannot be listed: {safe(why_not)}"))
    settings = [[d.name, setting] for d in facts.databases for setting in d.settings]
    if settings:
        parts.append(table(["DATABASE", "SETTING"], settings, look))
    extensions = [[e.database, e.name, e.version] for d in facts.databases for e in d.extensions]
    if extensions:
        parts.append(table(["DATABASE", "EXTENSION", "VERSION"], extensions, look))
    if facts.globals is not None and facts.globals.roles:
        parts.append(f"roles: {safe(', '.join(facts.globals.roles))}")
    return "\n\n".join(parts)


def _largest(tables: int, largest: Sequence[CountedTable], look: Look) -> list[str]:
    """List tables with rows; empty ones last, and all that there is no room for counted."""
    if not largest:
        return []
    rows = [
        [one.database, f"{one.schema}.{one.name}", f"{one.rows:,}", format_size(one.bytes)]
        for one in largest
    ]
    found = table(["DATABASE", "TABLE", "ROWS", "DATA"], rows, look, right=(2, 3))
    if tables > len(largest) == LARGEST:
        found += f"\nthe largest of {tables:,}; pgkeep dump export, and pg_restore --list, has all"
    return [found]


def _database_row(database: DumpedDatabase) -> list[str]:
    return [
        database.name,
        database.owner,
        database.encoding,
        " ".join(filter(None, [database.collate, database.collation_version])),
        f"{database.tables:,}",
        f"{database.rows:,}",
        format_size(database.data_bytes),
        f"{database.large_objects:,}",
    ]


def difference(found: Difference, look: Look) -> str:
    """Say what changed, the most telling first."""
    if not found.differs:
        return f"nothing differs between {found.older} and {found.newer}"
    lines = [look.bold(f"from {found.older} to {found.newer}")]
    lines += [look.bad(f"- database {safe(name)}") for name in found.databases_removed]
    lines += [look.good(f"+ database {safe(name)}") for name in found.databases_added]
    lines += _cut([_object_line(change, look) for change in found.objects])
    if found.counts:
        rows = [_count_row(change) for change in found.counts[:_SHOWN]]
        header = ["DATABASE", "TABLE", "ROWS WERE", "ROWS ARE", "CHANGE", "BYTES"]
        lines.append(table(header, rows, look, right=(2, 3, 4, 5)))
        lines += _more(len(found.counts))
    was, now = map(safe, found.selections)
    if was != now:
        lines.append(
            f"note: much of this was not chosen, rather than dropped or made: {found.older} holds "
            f"{was}, {found.newer} {now}"
        )
    if not found.comparable:
        lines.append(
            "note: another major version of pg_dump made one of them: definitions were not compared"
        )
    return "\n".join(lines)


def _object_line(change: ObjectChange, look: Look) -> str:
    name = safe(f"{change.schema}.{change.name}" if change.schema else change.name)
    what = f"{change.type} {name} in {safe(change.database)}"
    match change.change:
        case "added":
            return look.good(f"+ {what}")
        case "removed":
            return look.bad(f"- {what}")
        case "owner":
            return look.weak(f"~ {what}: owner {safe(change.was)}, now {safe(change.now)}")
    return look.weak(f"~ {what}: defined otherwise")


def _count_row(change: CountChange) -> list[str]:
    was, now = change.was, change.now
    moved = "" if was is None or now is None else f"{now - was:+,}"
    grown = change.now_bytes - change.was_bytes
    return [
        change.database,
        f"{change.schema}.{change.name}",
        "-" if was is None else f"{was:,}",
        "-" if now is None else f"{now:,}",
        moved or ("new" if was is None else "gone"),
        f"{'-' if grown < 0 else '+'}{format_size(abs(grown))}",
    ]


def _cut(lines: Sequence[str]) -> list[str]:
    return [*lines[:_SHOWN], *_more(len(lines))]


def _more(count: int) -> list[str]:
    return [f"... and {count - _SHOWN:,} more: --json has all"] if count > _SHOWN else []
