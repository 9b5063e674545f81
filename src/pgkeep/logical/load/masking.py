"""Loads the rows of tables that are masked: staged where nothing is logged, then inserted."""

from collections.abc import Iterable, Iterator
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.load.copying import Block, Loaded, Masked, Piece
from pgkeep.logical.load.tables import copy_target, encoded, relation_sql
from pgkeep.logical.load.wire import Refused, Wire
from pgkeep.logical.masks.plan import MaskPlan, NewValue
from pgkeep.logical.masks.statements import (
    DROP_STAGING,
    MAKE_SALT,
    PUT_SALT,
    make_staging,
    move,
    read_counts,
    stage,
)
from pgkeep.units import MIB

_BATCH: Final = 16 * MIB  # of rows as text: fits into the buffers below, so no file gets them
_SETTINGS: Final = "SET temp_buffers = '64MB'; SET work_mem = '64MB'; SET jit = off"
# Errors quote rows; what a superuser sees of them need not be in the server's log as well.
_WISHES: Final = ("SET log_error_verbosity = terse", "SET log_min_error_statement = panic")


class MasksFailed(PgkeepError):
    """Masked columns hold something else than their masks gave. The copy is not fit for use."""

    code = "masks-failed"
    exit_status = 225

    table: str
    column: str  # '' rows as a whole
    rule: str
    why: str

    def __str__(self) -> str:
        place = f"column {self.column} of table {self.table}" if self.column else self.table
        return f"the masks were not applied: {place} ({self.rule}): {self.why}"

    @property
    def hint(self) -> str:
        return "drop the copy; correct the rule in [dump.masks] and restore again"


class MaskLoader:
    """Loads masked tables over one connection."""

    def __init__(self, wire: Wire, encoding: str, plan: MaskPlan) -> None:
        """Prepare the session. Raise Refused."""
        self._wire = wire
        self._encoding = encoding
        self._plan = plan
        wire.run(_SETTINGS.encode())
        for wish in _WISHES:
            wire.wish(wish)
        wire.run(MAKE_SALT.encode())
        # As a row: statements with it, or its parameters, might be logged.
        wire.copy(PUT_SALT.encode(), [b"\\\\x" + plan.salt.hex().encode() + b"\n"])

    def load(self, piece: Piece, blocks: Iterator[Block]) -> Loaded:
        target = copy_target(piece.table, self._encoding)
        relation = relation_sql(target.table)
        mask = self._plan.tables[piece.table.dump_id]
        values = [value for value in mask.values if value.column in target.columns]
        staging = f"{DROP_STAGING}; {make_staging(relation, target.columns)}"
        self._wire.run(encoded(staging))
        statement = encoded(move(relation, target.columns, values))
        rows, sent = 0, 0
        masked = [Masked(value.number, 0, 0) for value in values]
        for batch in row_batches(blocks):
            try:
                staged = self._wire.copy(encoded(stage(target.columns)), batch)
                row = self._wire.run(statement).rows[0]
                found = self._checked(piece, values, staged, row)
                self._wire.run(b"COMMIT")
            except Refused as no:
                raise no.without_values(sent) from None
            masked = [old.plus(new) for old, new in zip(masked, found, strict=True)]
            rows, sent = rows + staged, sent + sum(map(len, batch))
        return Loaded(piece.table.dump_id, rows, piece.size, tuple(masked))

    def _checked(
        self, piece: Piece, values: list[NewValue], staged: int, row: tuple[bytes | None, ...]
    ) -> list[Masked]:
        """Compare what went in with what is there. Raise MasksFailed."""
        table = piece.table.words(self._encoding)
        before, after, counts = read_counts(row, len(values))
        if not staged == before == after:
            why = f"{staged} rows of the dump became {after}: an expression must give one value"
            raise MasksFailed(table, "", "all rules", why)
        found = []
        for value, count in zip(values, counts, strict=True):
            column = self._plan.columns[value.number]
            why = ""
            if not count.kept:
                why = "the table holds something else than the mask gave; a trigger may do that"
            elif value.differs and count.alike:
                why = f"{count.alike} values came out of the mask as they went in"
            if why:
                raise MasksFailed(table, column.column, column.rule, why)
            found.append(Masked(value.number, count.masked, count.alike))
        return found


def row_batches(blocks: Iterable[Block], limit: int = _BATCH) -> Iterator[list[Block]]:
    """Yield blocks together, about `limit` bytes, that end where a row does."""
    batch, held, before = list[Block](), 0, b""
    for block in blocks:
        batch.append(block)
        held += len(block)
        if held >= limit and (end := _row_end(before + bytes(block)) - len(before)) > 0:
            batch[-1] = block[:end]
            yield batch
            batch, held = [block[end:]], len(block) - end
        before = bytes(block[-1:])
    if held:
        yield batch


def _row_end(block: bytes) -> int:
    """Return where the last row ends in a block; 0 if none does."""
    end = block.rfind(b"\n")
    while end > 0 and block[end - 1 : end] == b"\\":  # a line end within a row, written by hand
        end = block.rfind(b"\n", 0, end)
    return end + 1
