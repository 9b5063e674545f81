"""Asks a server what a table is and what belongs to it."""

from dataclasses import replace
from typing import Final

from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.found import (
    Column,
    Found,
    Incoming,
    Member,
    Part,
    Sequence,
)
from pgkeep.undo.returning.names import TableName, columns_sql, nearest, relation_sql
from pgkeep.undo.returning.side import Refused, Side

FIRST_ROWS: Final = 5
CUT: Final = 200  # characters of a value that are shown

_TABLE: Final = """
SELECT c.oid, c.relkind::text, pg_catalog.pg_get_userbyid(c.relowner), coalesce(t.spcname, ''),
       c.relrowsecurity, coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''),
       c.relpersistence = 'u'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
WHERE n.nspname = %s AND c.relname = %s
"""
_KNOWN: Final = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1, 2
"""
# Not their defaults: of a table with 1600 columns PostgreSQL 15 takes 20 s to write them.
_COLUMNS: Final = """
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attgenerated::text, a.attidentity::text,
       CASE WHEN a.attcollation <> t.typcollation THEN
         pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname)
       ELSE '' END,
       coalesce(pg_catalog.col_description(a.attrelid, a.attnum), '')
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# The primary key, else the first unique index that tells all rows apart.
_KEY: Final = """
SELECT i.indisprimary, ARRAY(
    SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(n, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
    WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (
    SELECT FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(n, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
    WHERE k.place <= i.indnkeyatts AND (NOT a.attnotnull OR a.attgenerated <> ''))
ORDER BY i.indisprimary DESC, c.relname LIMIT 1
"""
_TREE: Final = """
WITH RECURSIVE tree (oid, depth) AS (
    SELECT %s::pg_catalog.oid, 0
  UNION ALL
    SELECT i.inhrelid, tree.depth + 1
    FROM pg_catalog.pg_inherits i JOIN tree ON tree.oid = i.inhparent
)
SELECT n.nspname, c.relname, c.relkind::text, ARRAY(
    SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)
FROM (SELECT oid, max(depth) AS depth FROM tree GROUP BY oid) tree
JOIN pg_catalog.pg_class c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY tree.depth, n.nspname, c.relname
"""
_SIZE: Final = """
WITH RECURSIVE tree (oid) AS (
    SELECT %s::pg_catalog.oid
  UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON tree.oid = i.inhparent
)
SELECT coalesce(
    pg_catalog.sum(pg_catalog.pg_total_relation_size(tree.oid::pg_catalog.regclass)), 0
)::bigint
FROM tree
"""
_PARENTS: Final = """
SELECT inhparent::pg_catalog.regclass::text FROM pg_catalog.pg_inherits WHERE inhrelid = %s
ORDER BY inhseqno
"""
_INDEXES: Final = """
SELECT c.relname, pg_catalog.pg_get_indexdef(i.indexrelid)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s ORDER BY i.indisprimary DESC, c.relname
"""
_CONSTRAINTS: Final = """
SELECT conname, pg_catalog.pg_get_constraintdef(oid), contype = 'f' FROM pg_catalog.pg_constraint
WHERE conrelid = %s AND contype <> 't' AND contype <> 'n' ORDER BY contype, conname
"""
_INCOMING: Final = """
SELECT n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid)
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confrelid = %s AND k.conrelid <> k.confrelid AND k.conparentid = 0
ORDER BY 1, 2, 3
"""
_SEQUENCES: Final = """
SELECT n.nspname, c.relname, a.attname, s.seqincrement, s.seqstart
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = %s
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
ORDER BY 1, 2
"""
_TRIGGERS: Final = """
SELECT tgname, pg_catalog.pg_get_triggerdef(oid) FROM pg_catalog.pg_trigger
WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname
"""
_VIEWS: Final = """
SELECT DISTINCT r.ev_class::pg_catalog.regclass::text
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refobjid = %s
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND r.ev_class <> d.refobjid AND c.relkind IN ('v', 'm') ORDER BY 1
"""
_GRANTS: Final = """
SELECT pg_catalog.string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) || ' to ' ||
       CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END
FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
WHERE c.oid = %s AND a.grantee <> c.relowner GROUP BY a.grantee ORDER BY 1
"""
_POLICIES: Final = """
SELECT polname, CASE polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
         WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END
       || coalesce(' USING (' || pg_catalog.pg_get_expr(polqual, polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_catalog.pg_get_expr(polwithcheck, polrelid) || ')', '')
FROM pg_catalog.pg_policy WHERE polrelid = %s ORDER BY polname
"""
_NOT_TABLES: Final = {
    "v": "a view, which holds no rows of its own",
    "m": "a materialized view: REFRESH MATERIALIZED VIEW makes its rows anew",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "f": "a foreign table, whose rows are elsewhere",
    "c": "a composite type",
    "t": "a TOAST table",
}


class TableUnknown(CannotUndo):
    """The recovered copy has no such table."""

    code = "table-unknown"


def look(side: Side, name: TableName) -> Found | None:
    """Return what a table is; None where there is none. Raise CannotUndo for what is no table."""
    rows = side.run(_TABLE, name.schema, name.table, doing=f"look at {name}")
    if not rows:
        return None
    oid, kind, owner, tablespace, row_security, comment, unlogged = rows[0]
    if kind not in ("r", "p"):
        what = _NOT_TABLES.get(kind, f"of kind {kind}")
        raise CannotUndo(f"bring back {name}", f"on {side.title} it is {what}", "")
    key = side.run(_KEY, oid)
    constraints = side.run(_CONSTRAINTS, oid)
    return Found(
        name=name,
        kind=kind,
        owner=owner,
        size=side.value(_SIZE, oid),
        rows=None,
        columns=tuple(Column(*row) for row in side.run(_COLUMNS, oid)),
        key=tuple(key[0][1]) if key else (),
        key_is_primary=bool(key and key[0][0]),
        tablespace=tablespace,
        comment=comment,
        members=_members(side, oid),
        parents=_first(side, _PARENTS, oid),
        indexes=tuple(Part(*row) for row in side.run(_INDEXES, oid)),
        constraints=tuple(Part(*row[:2]) for row in constraints if not row[2]),
        foreign_keys=tuple(Part(*row[:2]) for row in constraints if row[2]),
        incoming=tuple(Incoming(*row) for row in side.run(_INCOMING, oid)),
        sequences=_sequences(side, oid),
        triggers=tuple(Part(*row) for row in side.run(_TRIGGERS, oid)),
        views=_first(side, _VIEWS, oid),
        grants=_first(side, _GRANTS, oid),
        policies=tuple(Part(*row) for row in side.run(_POLICIES, oid)),
        row_security=row_security,
        unlogged=unlogged,
    )


def look_recovered(side: Side, name: TableName, moment: str, where: str) -> Found:
    """Return what a table was, with the rows that are meant counted and the first of them.

    Raise TableUnknown, which says what may have been meant, and Refused for a bad condition.
    """
    found = look(side, name)
    if found is None:
        close = nearest(name, [(row[0], row[1]) for row in side.run(_KNOWN)])
        near = " or ".join(map(str, close))
        raise TableUnknown(
            f"bring back {name}",
            f"there was no such table {moment}",
            f"there was {near}; if {name} was there earlier, name an earlier moment with --at"
            if near
            else "it was dropped or renamed before, or not made yet: pgkeep undo find "
            f"--table {name.table} shows when, and --before takes the transaction",
        )
    chosen = f"{found.source}{condition(where)}"
    doing = f"read --where {where!r}" if where else f"count {name}"
    # Sent so that the server takes one statement: nothing can follow the condition.
    counted = side.single(f"SELECT count(*) FROM {chosen}", doing=doing)
    return replace(found, rows=int(counted), first_rows=_first_rows(side, found, chosen))


def types_missing(side: Side, found: Found) -> list[str]:
    """Return the types of columns that a server does not have."""
    missing = []
    for type_name in dict.fromkeys(column.type for column in found.columns):
        try:
            known = side.value("SELECT pg_catalog.to_regtype(%s) IS NOT NULL", type_name)
        except Refused:
            known = False  # a name that only the other server can read
        if not known:
            missing.append(type_name)
    return missing


def _first(side: Side, statement: str, oid: int) -> tuple[str, ...]:
    return tuple(row[0] for row in side.run(statement, oid))


def _members(side: Side, oid: int) -> tuple[Member, ...]:
    return tuple(
        Member(schema, name, kind, tuple(columns))
        for schema, name, kind, columns in side.run(_TREE, oid)
    )


def _sequences(side: Side, oid: int) -> tuple[Sequence, ...]:
    found = []
    for schema, name, column, increment, start in side.run(_SEQUENCES, oid):
        where = relation_sql(schema, name)
        last, called = side.run(f"SELECT last_value, is_called FROM {where}")[0]
        found.append(Sequence(schema, name, column, last, called, increment, start))
    return tuple(found)


def condition(where: str) -> str:
    """Return the clause that chooses rows by a user's words; '' for all."""
    # The line end closes a comment that the words may end with.
    return f" WHERE ({where}\n)" if where else ""


def _first_rows(side: Side, found: Found, chosen: str) -> tuple[tuple[str | None, ...], ...]:
    """Return some rows as text, in the order of the key, so that they are the same each time."""
    if not found.columns:
        return ()
    values = ", ".join(
        f"pg_catalog.left({always_quoted(column.name)}::pg_catalog.text, {CUT})"
        for column in found.columns
    )
    order = f" ORDER BY {columns_sql(found.key)}" if found.key else ""
    query = f"SELECT {values} FROM {chosen}{order} LIMIT {FIRST_ROWS}"
    return tuple(side.run(query, doing=f"read {found.name}"))
