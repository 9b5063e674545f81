"""The SQL by which rows get from where they are staged to their table, masked. Pure.

Everything that is unmasked stays in temporary tables: they are not in WAL, and their files go with
the session.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pgkeep.logical.load.tables import column_list, copy_into
from pgkeep.logical.masks.columns import SALT
from pgkeep.logical.masks.plan import NewValue
from pgkeep.postgres.archive.sql import always_quoted

STAGING: Final = "pg_temp.pgkeep_staging"
MAKE_SALT: Final = f"CREATE TEMPORARY TABLE {SALT} (salt bytea)"
PUT_SALT: Final = f"COPY {SALT} FROM STDIN"
DROP_STAGING: Final = f"DROP TABLE IF EXISTS {STAGING}"


class Counts(NamedTuple):
    """What became of one column's values in one batch."""

    masked: int  # values that were not NULL
    alike: int  # of these, came out as they went in
    kept: bool  # the table has what the mask gave


def make_staging(relation: str, columns: Sequence[str]) -> str:
    """Return a statement for a table with these columns, emptied by every commit."""
    listed = ", ".join(map(always_quoted, columns))
    query = f"SELECT {listed} FROM ONLY {relation}"  # noqa: S608  # names are quoted
    return f"CREATE TEMPORARY TABLE {STAGING} ON COMMIT DELETE ROWS AS {query} WITH NO DATA"


def stage(columns: Sequence[str]) -> str:
    return f"BEGIN; {copy_into(STAGING, columns)}"


def move(relation: str, columns: Sequence[str], values: Sequence[NewValue]) -> str:
    """Return a statement that inserts all that is staged, and tells what it did.

    Each new value is computed once. What is compared is what INSERT says it has stored.
    """
    given = {value.column: place for place, value in enumerate(values)}
    computed = "".join(f", {value.sql} AS pgkeep_new_{n}" for n, value in enumerate(values))
    listed = ", ".join(
        f"{_new(given[name])} AS {always_quoted(name)}" if name in given else always_quoted(name)
        for name in columns
    )
    states = "".join(f", {_state(value.column, n)}" for n, value in enumerate(values))
    masked = [always_quoted(value.column) for value in values]
    target = column_list(columns)
    before = "".join(
        f", count(*) FILTER (WHERE pgkeep_state_{n} > 0)"
        f", count(*) FILTER (WHERE pgkeep_state_{n} = 2), {_sum(name)}"
        for n, name in enumerate(masked)
    )
    after = "".join(f", {_sum(name)}" for name in masked)
    return f"""
WITH staged AS (SELECT s.*{computed} FROM {STAGING} s OFFSET 0),
masked AS MATERIALIZED (SELECT {listed}{states} FROM staged),
put AS (INSERT INTO {relation}{target} OVERRIDING SYSTEM VALUE
        SELECT {", ".join(map(always_quoted, columns))} FROM masked
        RETURNING {", ".join(masked)})
SELECT * FROM (SELECT count(*){before} FROM masked) b, (SELECT count(*){after} FROM put) a
"""  # noqa: S608  # names are quoted


def read_counts(row: Sequence[bytes | None], columns: int) -> tuple[int, int, list[Counts]]:
    """Read what `move` tells: rows that were staged, rows inserted, and each column's counts."""
    before, after = row[: 1 + 3 * columns], row[1 + 3 * columns :]
    counts = [
        Counts(_int(masked), _int(alike), kept=wanted == found)
        for masked, alike, wanted, found in zip(
            before[1::3], before[2::3], before[3::3], after[1:], strict=True
        )
    ]
    return _int(before[0]), _int(after[0]), counts


def _new(number: int) -> str:
    return f"pgkeep_new_{number}"


def _state(column: str, number: int) -> str:
    """Return 0 for NULL, 1 for a masked value, 2 for one that came out as it went in."""
    old, new = always_quoted(column), _new(number)
    alike = f'({new})::text COLLATE "C" = ({old})::text COLLATE "C"'
    return f"CASE WHEN {old} IS NULL THEN 0 WHEN {alike} THEN 2 ELSE 1 END AS pgkeep_state_{number}"


def _sum(name: str) -> str:
    """Return a sum over a column's values that two sets have in common only if they are equal."""
    text = f'({name})::text COLLATE "C"'
    return f"count({name}) || ' ' || coalesce(sum(pg_catalog.hashtextextended({text}, 0)), 0)"


def _int(value: bytes | None) -> int:
    return int(value or 0)
