"""Compares the masks with the restored schema, before any row is loaded."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Final

from pgkeep.logical.encodings import archived
from pgkeep.logical.load.tables import (
    CannotLoad,
    TableData,
    copy_target,
    encoded,
    literal,
    relation_sql,
)
from pgkeep.logical.load.wire import Refused, Wire
from pgkeep.logical.masks.columns import Column
from pgkeep.logical.masks.plan import (
    Key,
    MaskPlan,
    Match,
    Member,
    Schema,
    check_keys,
    check_unique,
    find_matches,
    make_plan,
    new_value,
)
from pgkeep.logical.masks.rules import BadMasks, Kind, MaskRule
from pgkeep.postgres.archive.sql import ForeignKey, Name, always_quoted

_SALT_BYTES: Final = 32
_ROOTS: Final = """
SELECT c.oid, c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND c.relname IN ({})
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
# What a row of a table may lie in: partitions and tables that inherit, at any depth.
_MEMBERS: Final = f"""
WITH RECURSIVE found(root, oid, nspname, relname) AS (
    {_ROOTS}
    UNION
    SELECT f.root, i.inhrelid, f.nspname, f.relname
    FROM found f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid
)
"""  # noqa: S608  # a constant
_FIND_MEMBERS: Final = f"""{_MEMBERS}
SELECT f.nspname, f.relname, n.nspname, c.relname
FROM found f JOIN pg_catalog.pg_class c ON c.oid = f.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2, 3, 4
"""  # noqa: S608  # a constant
# A domain's own type modifier counts, and NOT NULL of every domain on the way. What distributes
# rows over partitions is a matter of all tables above.
_FIND_COLUMNS: Final = f"""{_MEMBERS}
, above(oid, partition) AS (
    SELECT DISTINCT oid, oid FROM found
    UNION
    SELECT i.inhparent, a.partition
    FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
), keys AS (
    SELECT a.partition, k.attname, min(pc.relname) AS relname
    FROM above a JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.oid
    JOIN pg_catalog.pg_class pc ON pc.oid = p.partrelid
    JOIN pg_catalog.pg_attribute k ON k.attrelid = a.oid AND k.attnum = ANY (p.partattrs::int2[])
    GROUP BY 1, 2
), types(id, oid, typtype, typbasetype, typtypmod, not_null) AS (
    SELECT t.oid, t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull
    FROM pg_catalog.pg_type t
    WHERE t.oid IN (SELECT atttypid FROM pg_catalog.pg_attribute
                    WHERE attrelid IN (SELECT oid FROM found))
    UNION ALL
    SELECT b.id, t.oid, t.typtype, t.typbasetype,
           CASE WHEN b.typtypmod >= 0 THEN b.typtypmod ELSE t.typtypmod END,
           b.not_null OR t.typnotnull
    FROM types b JOIN pg_catalog.pg_type t ON b.typtype = 'd' AND t.oid = b.typbasetype
)
SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
       base.typname, base.typcategory,
       CASE WHEN base.typname IN ('varchar', 'bpchar')
            THEN greatest(CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE b.typtypmod END - 4, 0)
            ELSE 0 END,
       a.attnotnull OR b.not_null, a.attgenerated <> '', coalesce(k.relname, '')
FROM (SELECT DISTINCT oid FROM found) f
JOIN pg_catalog.pg_class c ON c.oid = f.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN types b ON b.id = a.atttypid AND b.typtype <> 'd'
JOIN pg_catalog.pg_type base ON base.oid = b.oid
LEFT JOIN keys k ON k.partition = c.oid AND k.attname = a.attname
ORDER BY 1, 2, a.attnum
"""  # noqa: S608  # a constant
_ALL_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1, 2
"""
_ROW: Final = "pgkeep_row"


def plan_masks(  # noqa: PLR0913  # all but three are named
    rules: Sequence[MaskRule],
    conninfo: str,
    encoding: str,
    *,
    tables: Sequence[TableData],
    elsewhere: Sequence[Name] = (),
    foreign_keys: Iterable[ForeignKey] = (),
    unique: Iterable[Key] = (),
    random: Callable[[int], bytes] = os.urandom,
) -> MaskPlan:
    """Plan the masks of a database that has its tables, but no rows yet.

    `tables` will be loaded; the dump has others `elsewhere`. `foreign_keys` and `unique` columns
    are those that the database is going to have. Raise BadMasks for whatever cannot be done,
    CannotLoad and CannotConnect.
    """
    try:
        with closing(Wire.open(conninfo, encoding)) as wire:
            schema = _read_schema(wire, rules, encoding)
            matches = find_matches(rules, schema, encoding, elsewhere)
            check_keys(matches, list(foreign_keys), encoding)
            check_unique(matches, list(unique), encoding)
            _try_out(wire, matches, tables, encoding)
    except Refused as no:
        what = "the dump's data: the masks cannot be compared with the tables"
        raise CannotLoad(what, no.why, no.sqlstate) from no
    return make_plan(matches, tables, encoding, random(_SALT_BYTES))


def _read_schema(wire: Wire, rules: Sequence[MaskRule], encoding: str) -> Schema:
    wanted = {rule.table: _archived(rule.table, encoding) for rule in rules}
    listed = ", ".join(map(literal, filter(None, wanted.values()))) or "NULL"
    members = [
        Member(Name(row[0], row[1]), Name(row[2], row[3]))
        for row in _rows(wire, _FIND_MEMBERS.format(listed))
    ]
    columns = [_column(*row) for row in _rows(wire, _FIND_COLUMNS.format(listed))]
    missing = set(wanted.values()) - {member.root.name for member in members}
    every = [Name(*row) for row in _rows(wire, _ALL_TABLES)] if missing else []
    return Schema(members, columns, every)


def _archived(name: str, encoding: str) -> str:
    """Return a name as the archive has it; '' if its encoding cannot say it: nothing has it."""
    try:
        return archived(name, encoding)
    except UnicodeEncodeError:
        return ""


def _column(*row: str) -> Column:
    schema, table, name, type_name, base, category, length, not_null, generated, key_of = row
    flags = {"not_null": not_null == "t", "generated": generated == "t"}
    return Column(
        schema, table, name, type_name, base, category, int(length), **flags, key_of=key_of
    )


def _try_out(
    wire: Wire, matches: Sequence[Match], tables: Sequence[TableData], encoding: str
) -> None:
    """Have the server parse what people wrote, against the columns that rows will have.

    Nothing is run. One statement each, whatever an expression tries to add.
    """
    loaded = {Name(table.schema, table.name): table for table in tables}
    problems = []
    for match in matches:
        table = loaded.get(Name(match.column.schema, match.column.table))
        if (
            table is not None
            and not table.as_inserts
            and match.rule.kind in {Kind.SQL, Kind.LITERAL}
        ):
            why = _parsed(wire, match, table, encoding)
            if why:
                problems.append(f"{match.rule.key} = {match.rule.words}: {why}")
    if problems:
        raise BadMasks(tuple(dict.fromkeys(problems)))


def _parsed(wire: Wire, match: Match, table: TableData, encoding: str) -> str:
    """Return what the server says against a value; '' for nothing."""
    target = copy_target(table, encoding)
    relation, column = relation_sql(target.table), always_quoted(match.column.name)
    new = new_value(match, encoding)
    listed = ", ".join(map(always_quoted, target.columns))
    source = f"FROM (SELECT {listed} FROM ONLY {relation}) AS {_ROW}"  # noqa: S608  # quoted
    # An aggregate would make one row of all: beside a whole row it is refused.
    look = f"EXPLAIN SELECT {new}, {_ROW} {source}"
    put = f"EXPLAIN INSERT INTO {relation} ({column}) OVERRIDING SYSTEM VALUE SELECT {new} {source}"
    try:
        wire.ask(encoded(look), [], [])
        wire.ask(encoded(put), [], [])
    except Refused as no:
        if no.lost:
            raise
        return no.why
    return ""


def _rows(wire: Wire, statement: str) -> list[list[str]]:
    found = wire.run(encoded(statement)).rows
    return [[(value or b"").decode("utf-8", "surrogateescape") for value in row] for row in found]
