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
from pgkeep.undo.returning.found import Column, Found, row_hash, same_columns, same_key
from pgkeep.undo.returning.look import CUT, condition
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table on two servers."""

    recovered: Side
    live: Side
    then: Found
    now: Found
    where: str  # which rows of then, in SQL; '': all

    def run(self, progress: Progress) -> Difference | None:
        """Compare; None without a key that both have.

        Leaves the keys of the live rows in the recovered copy's session: see `missing_rows`.
        """
        then, key = self.then, self.then.key
        names = tuple(column.name for column in self._shared)
        if not key or not set(key) <= set(names):
            return None
        progress.phase(f"comparing with the live {self.now.name}")
        rows_now = self._send_keys(progress)
        rows_then, missing, changed = self._counts()
        new, new_sample = self._new()
        everything = dict.fromkeys(column.name for column in (*then.columns, *self.now.columns))
        return Difference(
            key=key,
            rows_then=rows_then,
            rows_now=rows_now,
            missing=missing,
            changed=changed,
            new=new,
            missing_sample=tuple(self._missing_sample()),
            changed_sample=tuple(map(self._changed_row, self._changed_keys())),
            new_sample=tuple(new_sample),
            compared=names,
            left_out=tuple(name for name in everything if name not in names),
        )

    @property
    def _shared(self) -> list[Column]:
        return same_columns(self.then, self.now)

    def _send_keys(self, progress: Progress) -> int:
        """Bring keys and hashes of all live rows into a temporary table; return how many."""
        then, now, recovered = self.then, self.now, self.recovered
        if recovered.value("SELECT pg_catalog.pg_is_in_recovery()"):
            raise CannotUndo(
                f"compare {then.name}", "the recovered copy still takes no changes of its own"
            )
        recovered.run(f"DROP TABLE IF EXISTS {_LIVE}")
        recovered.run(
            f"CREATE TEMPORARY TABLE pgkeep_live AS SELECT {columns_sql(then.key)},"
            f" 0::bigint AS pgkeep_hash FROM {then.source} LIMIT 0"
        )
        encoding = recovered.value("SELECT pg_catalog.current_setting('server_encoding')")
        values = f"{columns_sql(then.key, 't.')}, {row_hash(self._shared, 't')}"
        query = f"(SELECT {values} FROM {now.source} t)"
        blocks = _counted(
            self.live.copy_out(query, encoding, f"read the live {now.name}"), progress
        )
        sent = recovered.copy_in(_LIVE, encoding, blocks, f"note the rows of {now.name}")
        recovered.run(f"ANALYZE {_LIVE}")
        return sent

    @property
    def _joined(self) -> str:
        chosen = _chosen(self.then, self.where)
        return f"{chosen} LEFT JOIN {_LIVE} l ON {same_key(self.then.key, 't', 'l')}"

    @property
    def _is_changed(self) -> str:
        return f"l.pgkeep_hash <> {row_hash(self._shared, 't')}"

    @property
    def _first_ones(self) -> str:
        return f"ORDER BY {columns_sql(self.then.key, 't.')} LIMIT {SAMPLES}"

    @property
    def _key_texts(self) -> str:
        cut = (f"pg_catalog.left(t.{always_quoted(k)}::text, {CUT})" for k in self.then.key)
        return ", ".join(cut)

    def _counts(self) -> tuple[int, int, int]:
        """Return how many rows there were, are missing, and are otherwise now."""
        statement = (
            "SELECT count(*), count(*) FILTER (WHERE l.pgkeep_hash IS NULL),"
            f" count(*) FILTER (WHERE {self._is_changed}) FROM {self._joined}"
        )
        rows, missing, changed = self.recovered.run(statement, doing=f"compare {self.then.name}")[0]
        return rows, missing, changed

    def _missing_sample(self) -> list[tuple[str | None, ...]]:
        gone = f"{self._joined} WHERE l.pgkeep_hash IS NULL"
        return self.recovered.run(f"SELECT {self._key_texts} FROM {gone} {self._first_ones}")

    def _changed_keys(self) -> list[tuple[str, ...]]:
        whole = ", ".join(f"t.{always_quoted(k)}::pg_catalog.text" for k in self.then.key)
        other = f"{self._joined} WHERE {self._is_changed}"
        return self.recovered.run(f"SELECT {whole} FROM {other} {self._first_ones}")

    def _new(self) -> tuple[int | None, list[tuple[str | None, ...]]]:
        """Return the rows that were not there then; where rows were chosen nobody can say."""
        if self.where:
            return None, []
        then = self.then
        old = f"SELECT FROM {then.source} o WHERE {same_key(then.key, 'o', 't')}"
        fresh = f"{_LIVE} t WHERE NOT EXISTS ({old})"
        count = self.recovered.value(f"SELECT count(*) FROM {fresh}")
        sample = self.recovered.run(f"SELECT {self._key_texts} FROM {fresh} {self._first_ones}")
        return count, sample

    def _changed_row(self, key: tuple[str, ...]) -> ChangedRow:
        """Return how one row differs; the live one may be gone meanwhile."""
        columns = self._shared
        types = {column.name: column.type for column in columns}
        same = " AND ".join(
            f"{_literally(always_quoted(k))} = %s::{_literally(types[k])}" for k in self.then.key
        )
        texts = ", ".join(f"{always_quoted(column.name)}::pg_catalog.text" for column in columns)

        def read(side: Side, source: str) -> tuple[str | None, ...]:
            query = _literally(f"SELECT {texts} FROM {source}")
            rows = side.run(f"{query} WHERE {same}", *key)
            return rows[0] if rows else (None,) * len(columns)

        old, new = read(self.recovered, self.then.source), read(self.live, self.now.source)
        changes = [
            Change(column.name, _cut(before), _cut(after))
            for column, before, after in zip(columns, old, new, strict=True)
            if before != after
        ]
        return ChangedRow(tuple(map(_cut, key)), tuple(changes))


def missing_rows(then: Found, columns: Iterable[str], where: str) -> str:
    """Return the query of the recovered copy for rows that the live table had not."""
    gone = f"NOT EXISTS (SELECT FROM {_LIVE} l WHERE {same_key(then.key, 't', 'l')})"
    return f"SELECT {columns_sql(columns, 't.')} FROM {_chosen(then, where)} WHERE {gone}"


def _chosen(then: Found, where: str) -> str:
    return f"(SELECT * FROM {then.source}{condition(where)}) t"


def _counted(blocks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    done = 0
    for block in blocks:
        done += len(block)
        progress.advance(done)
        yield block


def _literally(text: str) -> str:
    """Return text of a statement with values: a sign of psycopg's placeholders is doubled."""
    return text.replace("%", "%%")


def _cut(value: str | None) -> str | None:
    return value if value is None or len(value) <= CUT else f"{value[: CUT - 1]}…"
