"""Data files of tables: rows as COPY wrote them, and an end mark. Pure.

Source: pg_dump.c, dumpTableData_copy. Every row ends with a line feed and has no other: COPY's text
format writes those of values as `\\n`. What pg_dump --inserts wrote is SQL instead, without an end
mark: its entries have no COPY statement.
"""

from typing import Final

# The same in every version from 9.x to 18.
END_MARK: Final = b"\\.\n\n\n"
_ENDING: Final = b"\n" + END_MARK  # behind rows


class RowCount:
    """Counts the rows of a data file as it goes by."""

    def __init__(self) -> None:
        self._line_feeds = 0
        self._size = 0
        self._last = b""

    def add(self, piece: bytes) -> None:
        self._line_feeds += piece.count(b"\n")
        self._size += len(piece)
        self._last = (self._last + piece[-len(_ENDING) :])[-len(_ENDING) :]

    @property
    def complete(self) -> bool:
        """Whether the end mark stands at the end, on a line of its own."""
        if self._size == len(END_MARK):
            return self._last == END_MARK
        return self._last == _ENDING

    @property
    def rows(self) -> int:
        """How many rows there are; only of a complete file it is true."""
        return self._line_feeds - (END_MARK.count(b"\n") if self.complete else 0)


def count_rows(content: bytes) -> int:
    """Return how many rows a piece of a data file holds that begins and ends at row ends.

    The end mark does not count.
    """
    count = RowCount()
    count.add(content)
    return count.rows
