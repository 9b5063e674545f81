"""What a table held then beside what it holds now, by its key.

The live server only reads its table once, in whatever order. What it sends, keys and hashes, goes
into a temporary table of the recovered copy, which does the rest: so nothing is sorted on the live
server or held in our memory, and keys are compared as their types say, collations included.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.progress import Progress
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.found import Found, row_hash, same_columns, same_key
from pgkeep.undo.returning.look import CUT
from pgkeep.undo.returning.names import columns_sql
from pgkeep.undo.returning.side import Side

SAMPLES: Final = 5
_LIVE: Final = "pg_temp.pgkeep_live"


class Change(NamedTuple):
    """One column of one row: what it was, and is."""

    column: str
    then: str | None
    now: str | None


class ChangedRow(NamedTuple):
    """A row that is there, and other than it was."""

    key: tuple[str | None, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table of then differs from the live one."""

    key: tuple[str, ...]
    rows_then: int  # that were compared: all, or those of a condition
    rows_now: int
    missing: int  # there then, gone now
    changed: int
    new: int | None  # there now, not then; None where a condition chose rows
    missing_sample: tuple[tuple[str | None, ...], ...]  # keys
    changed_sample: tuple[ChangedRow, ...]
    new_sample: tuple[tuple[str | None, ...], ...]
    compared: tuple[str, ...]  # columns
    left_out: tuple[str, ...]  # columns that are not in both, or of another type, or generated

    @property
    def same(self) -> int:
        return self.rows_then - self.missing - self.changed


def compare(
    recovered: Side, live: Side, then: Found, now: Found, where: str, progress: Progress
) -> Difference | None:
    """Compare two tables; None without a key. `where` chooses rows of then, in SQL.

    Leaves the keys of the live rows in the recovered copy's session: see `missing_rows`.
    """
    key = then.key
    shared = same_columns(then, now)
    names = tuple(column.name for column in shared)
    if not key or not set(key) <= set(names):
        return None
    encoding = recovered.value("SELECT pg_catalog.current_setting('server_encoding')")
    progress.phase(f"comparing with the live {now.name}")
    rows_now = _send_keys(recovered, live, then, now, encoding, progress)
    hashed = row_hash(shared, "t")
    chosen = f"(SELECT * FROM {then.source}{_where(where)}) t"
    joined = f"{chosen} LEFT JOIN {_LIVE} l ON {same_key(key, 't', 'l')}"
    rows_then, missing, changed = recovered.run(
        "SELECT count(*), count(*) FILTER (WHERE l.pgkeep_hash IS NULL),"
        f" count(*) FILTER (WHERE l.pgkeep_hash <> {hashed}) FROM {joined}",
        doing=f"compare {then.name}",
    )[0]
    keys = ", ".join(f"pg_catalog.left(t.{always_quoted(k)}::text, {CUT})" for k in key)
    order = columns_sql(key, "t.")
    sample = f"ORDER BY {order} LIMIT {SAMPLES}"
    gone = recovered.run(f"SELECT {keys} FROM {joined} WHERE l.pgkeep_hash IS NULL {sample}")
    whole = ", ".join(f"t.{always_quoted(name)}::pg_catalog.text" for name in key)
    other = recovered.run(
        f"SELECT {whole} FROM {joined} WHERE l.pgkeep_hash <> {hashed} {sample}"  # noqa: S608
    )
    new, new_sample = None, list[tuple[str | None, ...]]()
    if not where:
        fresh = (
            f"{_LIVE} t WHERE NOT EXISTS (SELECT FROM {then.source} o"
            f" WHERE {same_key(key, 'o', 't')})"
        )
        new = recovered.value(f"SELECT count(*) FROM {fresh}")
        new_sample = recovered.run(f"SELECT {keys} FROM {fresh} {sample}")
    everything = dict.fromkeys([c.name for c in then.columns] + [c.name for c in now.columns])
    return Difference(
        key=key,
        rows_then=rows_then,
        rows_now=rows_now,
        missing=missing,
        changed=changed,
        new=new,
        missing_sample=tuple(gone),
        changed_sample=tuple(_changed_row(recovered, live, then, now, row) for row in other),
        new_sample=tuple(new_sample),
        compared=names,
        left_out=tuple(name for name in everything if name not in names),
    )


def demand_condition(recovered: Side, then: Found, where: str) -> int:
    """Return how many rows a condition chooses. Raise CannotUndo for one that is no SQL."""
    # Sent so that the server takes one statement: nothing can follow the condition.
    statement = f"SELECT count(*) FROM {then.source}{_where(where)}"  # noqa: S608  # that is asked for
    return int(recovered.single(statement, doing=f"read --where {where!r}"))


def missing_rows(then: Found, columns: Iterable[str], where: str) -> str:
    """Return the query of the recovered copy for rows that the live table had not."""
    chosen = f"(SELECT * FROM {then.source}{_where(where)}) t"
    gone = f"NOT EXISTS (SELECT FROM {_LIVE} l WHERE {same_key(then.key, 't', 'l')})"
    return f"SELECT {columns_sql(columns, 't.')} FROM {chosen} WHERE {gone}"  # noqa: S608  # quoted


def _where(where: str) -> str:
    # The line end closes a comment that the condition may end with.
    return f" WHERE ({where}\n)" if where else ""


def _send_keys(
    recovered: Side, live: Side, then: Found, now: Found, encoding: str, progress: Progress
) -> int:
    """Bring keys and hashes of all live rows into a temporary table; return how many."""
    shared = same_columns(then, now)
    if recovered.value("SELECT pg_catalog.pg_is_in_recovery()"):
        raise CannotUndo(
            f"compare {then.name}", "the recovered copy still takes no changes of its own"
        )
    recovered.run(f"DROP TABLE IF EXISTS {_LIVE}")
    keys = columns_sql(then.key)
    recovered.run(
        f"CREATE TEMPORARY TABLE pgkeep_live AS SELECT {keys}, 0::bigint AS pgkeep_hash"  # noqa: S608
        f" FROM {then.source} LIMIT 0"
    )
    query = f"(SELECT {columns_sql(then.key, 't.')}, {row_hash(shared, 't')} FROM {now.source} t)"  # noqa: S608
    blocks = _counted(live.copy_out(query, encoding, f"read the live {now.name}"), progress)
    sent = recovered.copy_in(_LIVE, encoding, blocks, f"note the rows of {now.name}")
    recovered.run(f"ANALYZE {_LIVE}")
    return sent


def _counted(blocks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    done = 0
    for block in blocks:
        done += len(block)
        progress.advance(done)
        yield block


def _changed_row(
    recovered: Side, live: Side, then: Found, now: Found, key: tuple[str, ...]
) -> ChangedRow:
    """Return how one row differs; the live one may be gone meanwhile."""
    columns = same_columns(then, now)
    types = {column.name: column.type for column in columns}
    same = " AND ".join(f"{_literally(always_quoted(k))} = %s::{types[k]}" for k in then.key)
    texts = ", ".join(f"{always_quoted(column.name)}::pg_catalog.text" for column in columns)

    def read(side: Side, source: str) -> tuple[str | None, ...]:
        query = _literally(f"SELECT {texts} FROM {source}")  # noqa: S608  # quoted
        rows = side.run(f"{query} WHERE {same}", *key)
        return rows[0] if rows else (None,) * len(columns)

    pairs = zip(columns, read(recovered, then.source), read(live, now.source), strict=True)
    changes = [
        Change(column.name, _cut(old), _cut(new)) for column, old, new in pairs if old != new
    ]
    return ChangedRow(tuple(map(_cut, key)), tuple(changes))


def _literally(text: str) -> str:
    """Return text of a statement with values: a sign of psycopg's placeholders is doubled."""
    return text.replace("%", "%%")


def _cut(value: str | None) -> str | None:
    return value if value is None or len(value) <= CUT else f"{value[: CUT - 1]}…"
