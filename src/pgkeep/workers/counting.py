"""Numbers that worker processes count and their owner reads, in memory that they share.

Nothing has to be sent home, and what a worker counted stays when it dies.
"""

import multiprocessing
from collections.abc import MutableSequence
from threading import Lock
from typing import Any, Final, NamedTuple

WIDTH: Final = 8  # numbers in a row


class Row:
    """Numbers under one name. add() may be called by several threads."""

    def __init__(self, cells: MutableSequence[int], offset: int) -> None:
        self._cells = cells
        self._offset = offset
        self._lock = Lock()

    def add(self, first: int, count: int, second: int = 0, size: int = 0) -> None:
        """Add `count` to the number at `first` and `size` to the one at `second`."""
        with self._lock:
            self._cells[self._offset + first] += count
            self._cells[self._offset + second] += size

    def numbers(self) -> list[int]:
        return list(self._cells[self._offset : self._offset + WIDTH])


class Share(NamedTuple):
    """Rows for each worker of one pool, seat by seat."""

    names: tuple[str, ...]
    seats: int
    taken: Any  # workers that have a seat
    cells: Any


_rows: Final[dict[str, Row]] = {}
_shares: Final[list[Share]] = []


def row(name: str) -> Row:
    """Return this process's row of that name: the same one every time."""
    found = _rows.get(name)
    return found or _rows.setdefault(name, Row([0] * WIDTH, 0))


def share(seats: int) -> Share:
    """Return what workers that begin now are to sit() with. All names are known by then."""
    context = multiprocessing.get_context("forkserver")
    names = tuple(_rows)
    try:
        cells = context.RawArray("Q", max(1, seats * len(names) * WIDTH))
        made = Share(names, seats, context.Value("i", 0), cells)
    except OSError:
        # No room for shared memory, no files left: work must not fail for want of its figures.
        return Share((), 0, None, None)
    _shares.append(made)
    return made


def sit(given: Share) -> None:
    """Let this process, a worker, count where its owner reads."""
    if given.taken is None:
        return
    with given.taken.get_lock():
        seat = given.taken.value
        given.taken.value += 1
    if seat < given.seats:
        for number, name in enumerate(given.names):
            _rows[name] = Row(given.cells, (seat * len(given.names) + number) * WIDTH)


def total(name: str) -> list[int]:
    """Return what this process and all its workers have counted under a name."""
    sums = row(name).numbers()
    for given in _shares:
        if name in given.names:
            place = given.names.index(name)
            for seat in range(given.seats):
                start = (seat * len(given.names) + place) * WIDTH
                cells = given.cells[start : start + WIDTH]
                sums = [one + other for one, other in zip(sums, cells, strict=True)]
    return sums
