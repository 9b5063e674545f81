"""The SQL of a sample. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from pgkeep.logical.load.tables import column_list, relation_sql
from pgkeep.logical.sample.plan import Edge, Family, SamplePlan
from pgkeep.postgres.archive.sql import Name, always_quoted

ROWS: Final = "pg_temp.pgkeep_rows"
ROW: Final = "pgkeep_row"  # an alias that no column of theirs has: it stands for the whole row


class ColumnType(NamedTuple):
    """What a key's column is made of."""

    schema: str  # of its type, whose operators are there
    ranges: bool  # a range or multirange


def keep_table(scratch: str, number: int) -> str:
    return f"{always_quoted(scratch)}.keep_{number}"


def begin_keeping(scratch: str, family: Family, plan: SamplePlan) -> str:
    """Return a statement for the list of rows to keep, beginning with those taken by chance.

    A row is its place. With it go the columns by which it references others, and the round that
    added it.
    """
    carried = "".join(f", {column}" for column in _numbered(family))
    only = "" if family.partitioned else "ONLY "
    where = "" if family.whole else f" WHERE {by_chance(plan)}"
    return (
        f"CREATE UNLOGGED TABLE {keep_table(scratch, family.number)} AS "  # noqa: S608  # quoted
        f"SELECT {ROW}.tableoid AS pgkeep_table, {ROW}.ctid AS pgkeep_place, 0 AS pgkeep_round"
        f"{carried} "
        f"FROM {only}{relation_sql(family.root)} {ROW}{where}"
    )


def by_chance(plan: SamplePlan) -> str:
    """Return the condition by which rows are taken: the same ones in every restore."""
    hashed = f'pg_catalog.hashtextextended({ROW}::text COLLATE "C", {plan.seed})'
    return f"({hashed} & {(1 << 63) - 1}) < {plan.threshold}"


def index_keeping(scratch: str, family: Family) -> list[str]:
    """Return statements that make it fast to look whether a row is in the list, and who is new."""
    table = keep_table(scratch, family.number)
    return [
        f"CREATE INDEX ON {table} (pgkeep_table, pgkeep_place)",
        f"CREATE INDEX ON {table} (pgkeep_round)",
    ]


def index_referenced(edge: Edge, name: str) -> str:
    """Return a statement by which referenced rows are found one by one."""
    only = "ONLY " if edge.only else ""
    columns = column_list(tuple(dict.fromkeys(edge.referenced_columns)))
    return f"CREATE INDEX {always_quoted(name)} ON {only}{relation_sql(edge.referenced)}{columns}"


def follow(
    scratch: str,
    edge: Edge,
    families: Sequence[Family],
    types: Mapping[tuple[Name, str], ColumnType],
    rounds: tuple[int, int],
) -> str:
    """Return a statement that adds what rows of these rounds reference, as the round after."""
    source, target = families[edge.source], families[edge.target]
    mine = dict(zip(source.carried, range(len(source.carried)), strict=True))
    conditions = [f"k.pgkeep_round BETWEEN {rounds[0]} AND {rounds[1]}"]
    if edge.within:
        conditions.append(f"k.pgkeep_table IN ({', '.join(map(str, edge.within))})")
    for column, referenced in zip(edge.columns, edge.referenced_columns, strict=True):
        # Of a temporal key, all rows are needed whose periods may cover the one that references.
        sign = "&&" if types[edge.referenced, referenced].ranges else "="
        conditions.append(f"k.c{mine[column]} {sign} {ROW}.{always_quoted(referenced)}")
    carried = "".join(f", {column}" for column in _numbered(target))
    only = "ONLY " if edge.only else ""
    there = keep_table(scratch, edge.target)
    return (
        f"INSERT INTO {there} "  # noqa: S608  # names are quoted
        f"SELECT {ROW}.tableoid, {ROW}.ctid, {rounds[1] + 1}{carried} "
        f"FROM {only}{relation_sql(edge.referenced)} {ROW} "
        f"WHERE EXISTS (SELECT FROM {keep_table(scratch, edge.source)} k "
        f"WHERE {' AND '.join(conditions)}) "
        f"AND NOT EXISTS (SELECT FROM {there} x "
        f"WHERE x.pgkeep_table = {ROW}.tableoid AND x.pgkeep_place = {ROW}.ctid)"
    )


def kept(scratch: str, family: Family) -> str:
    """Return a query for the rows kept of each leaf, and how many because they are referenced."""
    return (
        "SELECT pgkeep_table, count(*), count(*) FILTER (WHERE pgkeep_round > 0) "  # noqa: S608
        f"FROM {keep_table(scratch, family.number)} GROUP BY 1"
    )


def set_aside(
    scratch: str, family: Family, leaf: tuple[int, Name], columns: Sequence[str], plan: SamplePlan
) -> str:
    """Return a statement that copies the rows to keep of one leaf."""
    oid, name = leaf
    listed = ", ".join(f"{ROW}.{always_quoted(column)}" for column in columns)
    where = by_chance(plan)
    source = f"ONLY {relation_sql(name)} {ROW}"
    if family.linked:
        source += f", {keep_table(scratch, family.number)} k"
        where = f"k.pgkeep_table = {oid} AND k.pgkeep_place = {ROW}.ctid"
    query = f"SELECT {listed} FROM {source} WHERE {where}"  # noqa: S608  # names are quoted
    return f"CREATE TEMPORARY TABLE {ROWS} ON COMMIT DROP AS {query}"


def put_back(name: Name, columns: Sequence[str]) -> str:
    """Return statements that leave a table with the rows that were set aside, and no other."""
    listed = ", ".join(map(always_quoted, columns))
    target = relation_sql(name)
    insert = f"INSERT INTO {target}{column_list(columns)} OVERRIDING SYSTEM VALUE"
    return f"TRUNCATE ONLY {target}; {insert} SELECT {listed} FROM {ROWS}"  # noqa: S608


def search_path(types: Iterable[ColumnType]) -> str:
    """Return a statement that lets types find their own operators: citext's '=', say."""
    schemas = dict.fromkeys(["pg_catalog", *sorted({found.schema for found in types})])
    return f"SET search_path = {', '.join(map(always_quoted, schemas))}"


def _numbered(family: Family) -> list[str]:
    return [f"{ROW}.{always_quoted(column)} AS c{n}" for n, column in enumerate(family.carried)]
