"""Censuses as text and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pgkeep.cli.text import Look, fields, safe, table
from pgkeep.model.census import Database, Relation
from pgkeep.repository.census.codec import CensusFacts
from pgkeep.repository.census.shelf import Listed
from pgkeep.units import format_size, plural

_SYSTEM: Final = ("pg_catalog", "pg_toast", "information_schema")
_KINDS: Final = {
    "r": "table",
    "p": "partitioned table",
    "i": "index",
    "I": "partitioned index",
    "S": "sequence",
    "t": "TOAST table",
    "m": "materialized view",
    "v": "view",
    "f": "foreign table",
}


def facts(found: CensusFacts) -> dict[str, Any]:
    return {
        "id": found.id,
        "cluster": found.cluster,
        "taken_at": found.taken_at,
        "lsn": found.lsn,
        "timeline": found.timeline,
        "generation": found.generation,
        "size": sum(block.size for block in found.blocks),
        "databases": [
            {"oid": one.oid, "name": one.name, "relations": one.relations}
            for one in found.databases
        ],
        "unread": [{"name": one.name, "why": one.why} for one in found.unread],
    }


def taken(found: CensusFacts, look: Look) -> str:
    """Say what was written down, and which databases are not in it."""
    title = look.good(f"census {found.id} of cluster {safe(found.cluster)} was taken")
    return "\n".join([title, *_about(found, look)])


def listing(cluster: str, found: Sequence[Listed], look: Look) -> str:
    if not found:
        return f"cluster {safe(cluster)} has no census yet: pgkeep census take, or pgkeep backup"
    rows = [[one.id, look.at(one.moment), format_size(one.size)] for one in found]
    return table(["CENSUS", "TAKEN", "STORED"], rows, look, right=(2,))


def shown(found: CensusFacts, look: Look) -> str:
    title = look.bold(f"census {found.id} of cluster {safe(found.cluster)}")
    rows = [[str(one.oid), one.name, f"{one.relations:,}"] for one in found.databases]
    parts = ["\n".join([title, *_about(found, look)])]
    if rows:
        parts.append(table(["OID", "DATABASE", "RELATIONS"], rows, look, right=(0, 2)))
    return "\n\n".join(parts)


def _about(found: CensusFacts, look: Look) -> list[str]:
    holds = f"{plural(found.relations, 'relation')} in {plural(len(found.databases), 'database')}"
    pairs = [
        ("taken", look.when(found.taken_at)),
        ("WAL position", f"{found.lsn} of timeline {found.timeline}"),
        ("generation", found.generation),
        ("holds", holds),
    ]
    unread = [
        look.weak(f"  without database {safe(one.name)}: {safe(one.why)}") for one in found.unread
    ]
    return [fields(pairs, indent="  "), *unread]


def chosen(database: Database, *, system: bool) -> list[Relation]:
    """Return the relations to show, by their names."""
    found = (one for one in database.relations if system or one.schema not in _SYSTEM)
    return sorted(found, key=lambda one: (one.schema, one.name))


def relation_facts(relations: Sequence[Relation]) -> list[dict[str, Any]]:
    return [asdict(one) | {"key": list(one.key)} for one in relations]


def database(
    found: CensusFacts, database: Database, relations: Sequence[Relation], look: Look
) -> str:
    """Show relations of one database."""
    title = look.bold(f"database {safe(database.name)} at {look.when(found.taken_at)}")
    rows = [
        [
            f"{one.schema}.{one.name}",
            _kind(one),
            format_size(one.size) if one.size else "",
            f"{one.rows:,.0f}" if one.rows >= 0 and one.kind in "rpm" else "",
            ", ".join(one.key),
            f"{one.tablespace}/{database.oid}/{one.filenode}" if one.filenode else "",
        ]
        for one in relations
    ]
    if not rows:
        return f"{title}\nit holds nothing but PostgreSQL's own catalogs"
    header = ["RELATION", "KIND", "SIZE", "ROWS", "KEY", "FILE"]
    note = "sizes and rows are estimates, as of the last VACUUM or ANALYZE"
    return "\n".join([title, table(header, rows, look, right=(2, 3)), note])


def _kind(relation: Relation) -> str:
    kind = _KINDS.get(relation.kind, relation.kind)
    return f"unlogged {kind}" if relation.is_unlogged else kind
