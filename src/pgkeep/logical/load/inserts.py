"""Runs rows that a dump keeps as INSERT statements (pg_dump --inserts), many in one request."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pgkeep.logical.load.copying import Block, Loaded, Piece
from pgkeep.logical.load.tables import INSERTS_END, CannotLoad
from pgkeep.logical.load.wire import Wire

# Texts and names, in which a semicolon ends nothing; a doubled quote is the end of one and the
# beginning of the next. What is not closed yet reaches to the end.
_TOKEN: Final = re.compile(rb"'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)|;")


class InsertLoader:
    """Loads tables whose rows are statements, over one connection."""

    def __init__(self, wire: Wire, encoding: str) -> None:
        self._wire = wire
        self._encoding = encoding

    def load(self, piece: Piece, blocks: Iterator[Block]) -> Loaded:
        rows, end, left = 0, INSERTS_END, b""
        for statements in whole_statements(blocks):
            left = statements
            if left.endswith(b";"):
                rows += self._wire.run(statements).total
                end = b"\n" + INSERTS_END  # the last row has a line end of its own
        if left != end:
            what = f"table {piece.table.words(self._encoding)}"
            raise CannotLoad(
                what, f"its data in the dump ({piece.table.file}) does not end as it must"
            )
        return Loaded(piece.table.dump_id, rows, piece.size)


def whole_statements(blocks: Iterable[Block]) -> Iterator[bytes]:
    """Yield SQL that ends with a semicolon, in pieces about as they come, then what is left."""
    rest = b""
    for block in blocks:
        text = rest + bytes(block)
        ends = [match.end() for match in _TOKEN.finditer(text) if match[0] == b";"]
        end = ends[-1] if ends else 0
        if end:
            yield text[:end]
        rest = text[end:]
    yield rest
