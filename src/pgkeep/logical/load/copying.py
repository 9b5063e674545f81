"""Sends the rows of tables to the server: one COPY for a table, or for a part of one."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from pgkeep.logical.load.plan import SMALL
from pgkeep.logical.load.tables import (
    END_MARK,
    CannotLoad,
    TableData,
    copy_into,
    copy_target,
    encoded,
    literal,
    plain_copy,
    relation_sql,
)
from pgkeep.logical.load.wire import Refused, Wire

Block = bytes | memoryview
_DIGITS: Final = re.compile(r"\d+")
# Rows can be frozen only in a table that this transaction emptied, and only in an ordinary one
# (copyfrom.c: CopyFrom). A table that holds rows is never emptied.
_FREEZABLE: Final = """
SELECT c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) = 0
       AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
FROM pg_catalog.pg_class c WHERE c.oid = {}::pg_catalog.regclass
"""


class Piece(NamedTuple):
    """A table of a task, or a part of one."""

    table: TableData
    chunks: int  # how many of the task's chunks are its own
    start: int  # where it begins in the file
    size: int  # bytes, with the end mark if it is the last
    last: bool  # it ends with the end mark

    @property
    def whole(self) -> bool:
        return self.last and self.start == 0


class Loaded(NamedTuple):
    """What became of a piece."""

    dump_id: int
    rows: int
    bytes: int  # sent
    masked: tuple["Masked", ...] = ()


class Masked(NamedTuple):
    """How many values of one column are masked."""

    number: int  # in MaskPlan.columns
    values: int  # that were not NULL
    alike: int  # of these, what they hide happens to be the same

    def plus(self, other: "Masked") -> "Masked":
        return Masked(self.number, self.values + other.values, self.alike + other.alike)


class PieceLoader(Protocol):
    """How the rows of a piece reach their table."""

    def load(self, piece: Piece, blocks: Iterator[Block]) -> Loaded:
        """Raise Refused, Stopped, CannotLoad, or what `blocks` raises."""
        ...


class CopyLoader:
    """Sends rows straight to their tables."""

    def __init__(self, wire: Wire, encoding: str, *, fresh: bool) -> None:
        """`fresh` says that tables were made just now and nobody else writes to them."""
        self._wire = wire
        self._encoding = encoding
        self._fresh = fresh

    def load(self, piece: Piece, blocks: Iterator[Block]) -> Loaded:
        rows = self._wire.copy(encoded(self._statements(piece)), blocks)
        return Loaded(piece.table.dump_id, rows, piece.size)

    def _statements(self, piece: Piece) -> str:
        """Return what loads a piece, frozen if it can be: no VACUUM need touch its pages again.

        For small tables emptying them would take longer than loading them.
        """
        if not self._fresh or not piece.whole or piece.size < SMALL:
            return plain_copy(piece.table, self._encoding)
        target = copy_target(piece.table, self._encoding)
        relation = relation_sql(target.table)
        copy = copy_into(relation, target.columns)
        asked = self._wire.run(encoded(_FREEZABLE.format(literal(relation))))
        return (
            f"TRUNCATE ONLY {relation}; {copy} WITH (FREEZE)" if asked.rows == [(b"t",)] else copy
        )


def load_piece(
    piece: Piece,
    chunks: Iterator[bytes],
    loader: PieceLoader,
    *,
    encoding: str,
    sent: Callable[[int], None],
) -> Loaded:
    """Load one piece from the task's chunks. Raise CannotLoad, Stopped, or what reading raises."""
    what = f"table {piece.table.words(encoding)}"
    content = _counted(islice(chunks, piece.chunks), sent)
    if piece.last and not piece.table.as_inserts:
        content = _without_mark(content, piece, what)
    if piece.whole and piece.size == len(END_MARK) and not piece.table.as_inserts:
        for _ in content:
            pass  # there are no rows, but the mark must be there
        return Loaded(piece.table.dump_id, 0, piece.size)
    try:
        return loader.load(piece, content)
    except Refused as no:
        raise refusal(no, what, piece) from no


def refusal(no: Refused, what: str, piece: Piece | None = None) -> CannotLoad:
    """Say which table it was, and which line of its file if the server tells."""
    line = _line(no.context)
    if piece is None or not line:
        return CannotLoad(what, no.why, no.sqlstate, no.context)
    start = piece.start + no.start
    return CannotLoad(what, no.why, no.sqlstate, no.context, line, piece.table.file, start)


def _line(context: str) -> int:
    """Return the line in 'COPY orders, line 3, column id: "x"', in whatever language."""
    words = context.split(", ")
    if not context.startswith("COPY ") or len(words) < 2:
        return 0
    match = next(filter(None, map(_DIGITS.search, words[1:])), None)
    return int(match[0]) if match else 0


def _counted(chunks: Iterable[bytes], sent: Callable[[int], None]) -> Iterator[Block]:
    for chunk in chunks:
        yield chunk
        sent(len(chunk))


def _without_mark(blocks: Iterable[Block], piece: Piece, what: str) -> Iterator[Block]:
    """Yield all but the end mark, which is no row. Raise CannotLoad where it is missing."""
    left, tail = piece.size - len(END_MARK), b""
    for block in blocks:
        if len(block) <= left:
            yield block
        else:
            if left > 0:
                yield memoryview(block)[:left]
            tail += bytes(block[max(left, 0) :])
        left -= len(block)
    if tail != END_MARK:
        raise CannotLoad(what, f"its data in the dump ({piece.table.file}) does not end as it must")
