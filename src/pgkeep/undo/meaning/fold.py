"""Puts transactions together from pieces of WAL: the few that may have destroyed something.

Pure. Pieces come in WAL order. Only what is open at a piece's end is kept as Python objects; the
thousands of small transactions that begin and end within one are weighed as columns and forgotten.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Final, NamedTuple, TypeVar

import numpy as np

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.postgres.wal_changes.batch import U32
from pgkeep.postgres.wal_changes.ends import NOTHING
from pgkeep.postgres.wal_changes.few import (
    DroppedColumn,
    DroppedFolder,
    Locked,
    Made,
    RowOfDatabase,
    Running,
)
from pgkeep.postgres.wal_changes.piece import PG_CLASS, Piece, Sample
from pgkeep.postgres.wal_changes.rows import FIRST_OID, RowCounts
from pgkeep.postgres.wal_decode import Kind, Transaction, to_time
from pgkeep.undo.meaning.deed import Deed, Rows

_HALF: Final = 1 << 31  # transaction ids are compared on a circle of 2^32
_MAIN: Final = 0  # MAIN_FORKNUM


@dataclass
class _Open:
    """What a (sub)transaction did so far."""

    first: Lsn
    rows: dict[Locator, Rows] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    locked: list[Locked] = field(default_factory=list)
    columns: list[DroppedColumn] = field(default_factory=list)
    databases: list[RowOfDatabase] = field(default_factory=list)
    folders: list[DroppedFolder] = field(default_factory=list)


class Fold:
    """Feed it pieces; what they finish comes out. `floor` rows make a transaction worth it."""

    def __init__(self, floor: int) -> None:
        self.samples: list[Sample] = []
        self.toast: set[tuple[int, int]] = set()  # database and OID of tables made as such
        self.born: dict[tuple[int, int], Lsn] = {}  # relations whose making was seen
        self.swapped: set[tuple[int, int]] = set()  # indexes that REINDEX CONCURRENTLY replaced
        self._floor = max(1, floor)
        self._open: dict[int, _Open] = {}
        self._marks: list[RowOfDatabase] = []  # changes of pg_database's rows in place
        self._known_from: Running | None = None

    def nothing_before(self) -> None:
        """Say that no transaction began before the WAL that comes: initdb made its beginning."""
        self._known_from = Running(Lsn(0), 0)

    def gap(self) -> None:
        """Say that WAL is missing here: what is open may have ended there, or done more."""
        self._known_from = None
        self._open.clear()

    def take(self, piece: Piece) -> Iterator[Deed]:
        """Yield the transactions that end in a piece, as far as they may have destroyed anything.

        The first piece after a gap that tells what runs makes younger transactions whole ones.
        """
        if self._known_from is None:
            self._known_from = piece.running
        self.samples += piece.samples
        self._note_births(piece)
        self._note_swaps(piece)
        self._marks += [row for row in piece.database_rows if not row.deleted]
        ends = self._worth(piece)
        self._open_up(piece, ends)
        gone: set[int] = set()
        for end in ends:
            parts = [part for xid in (end.xid, *end.subxacts) if (part := self._open.get(xid))]
            gone.update((end.xid, *end.subxacts))
            if end.kind in (Kind.COMMIT, Kind.COMMIT_PREPARED):
                deed = self._deed(end, parts, piece)
                if deed is not None:
                    yield deed
        for xid in gone:
            self._open.pop(xid, None)

    def _worth(self, piece: Piece) -> list[Transaction]:
        """Return the ends in a piece that matter: of transactions that are open, large or special.

        An end that is left out belongs to a transaction which began in this piece and did little.
        """
        ends = piece.ends
        interesting = set(self._open) | self._special(piece) | _large(piece, self._floor)
        known = np.fromiter(interesting, np.uint32, len(interesting))
        telling = np.fromiter(piece.details, np.uint64, len(piece.details))
        chosen = np.isin(ends.xid, known) | np.isin(ends.lsn, telling)
        for lsn, subxacts in ends.subxacts.items():
            if not interesting.isdisjoint(subxacts):
                chosen[np.searchsorted(ends.lsn, np.uint64(lsn))] = True
        return [end for at in np.flatnonzero(chosen).tolist() if (end := ends[at]).kind.ends]

    def _special(self, piece: Piece) -> set[int]:
        few = (piece.columns, piece.database_rows, piece.folders)
        return {one.xid for several in few for one in several}

    def _open_up(self, piece: Piece, ends: list[Transaction]) -> None:
        """Add what a piece tells to the transactions that go on or end with consequences."""
        wanted = {xid for end in ends for xid in (end.xid, *end.subxacts)}
        ended = np.concatenate((piece.ends.xid[piece.ends.kind != Kind.PREPARE], _subxacts(piece)))
        seen = piece.seen.xid
        stays = ~np.isin(seen, ended) | np.isin(seen, np.fromiter(wanted, np.uint32, len(wanted)))
        for xid, lsn in zip(
            piece.seen.xid[stays].tolist(), piece.seen.lsn[stays].tolist(), strict=True
        ):
            self._open.setdefault(xid, _Open(Lsn(lsn)))
        rows = piece.rows.only(np.isin(piece.rows.xid, piece.seen.xid[stays]))
        for xid, locator, counts in _each(rows):
            known = self._open[xid].rows
            known[locator] = known.get(locator, Rows()).plus(counts)
        for one in piece.made:
            self._add(one.xid, "made", one)
        for lock in piece.locked:
            self._add(lock.xid, "locked", lock)
        for column in piece.columns:
            self._add(column.xid, "columns", column)
        for row in piece.database_rows:
            if row.deleted:
                self._add(row.xid, "databases", row)
        for folder in piece.folders:
            self._add(folder.xid, "folders", folder)

    def _add(self, xid: int, name: str, what: object) -> None:
        known = self._open.get(xid)
        if known is not None:
            getattr(known, name).append(what)

    def _deed(self, end: Transaction, parts: list[_Open], piece: Piece) -> Deed | None:
        details = piece.details.get(int(end.lsn), NOTHING)
        rows: dict[Locator, Rows] = {}
        for part in parts:
            for locator, counts in part.rows.items():
                rows[locator] = rows.get(locator, Rows()).plus(counts)
        first = min((part.first for part in parts), default=end.lsn)
        databases = tuple(one for part in parts for one in part.databases)
        after, before = self._around(first, end.time)
        deed = Deed(
            xid=end.xid,
            first=first,
            commit=end.lsn,
            time=end.time,
            rows=rows,
            made=_sorted(one for part in parts for one in part.made),
            locked=_sorted(one for part in parts for one in part.locked),
            files=details.files,
            dropped=details.dropped,
            changed=details.changed,
            columns=_sorted(one for part in parts for one in part.columns),
            databases=databases,
            marked=self._mark(databases),
            folders=_sorted(one for part in parts for one in part.folders),
            whole=self._is_whole(end),
            began_after=after,
            began_before=before,
        )
        return deed if self._matters(deed) else None

    def _matters(self, deed: Deed) -> bool:
        if deed.files or deed.columns or deed.databases or deed.folders:
            return True
        counts = [rows for (_, _, file), rows in deed.rows.items() if file >= FIRST_OID]
        return sum(rows.deleted + rows.updated for rows in counts) >= self._floor

    def _mark(self, databases: tuple[RowOfDatabase, ...]) -> Lsn | None:
        """Return where the row that was deleted then was changed in place last: DROP DATABASE."""
        places = {row.place for row in databases}
        before = max((row.lsn for row in databases), default=Lsn(0))
        marks = [m.lsn for m in self._marks if m.place in places and m.lsn < before]
        return max(marks, default=None)

    def _is_whole(self, end: Transaction) -> bool:
        """Tell whether a transaction surely began in the WAL that was read."""
        known = self._known_from
        if known is None:
            return False
        if not known.lsn:
            return True
        xids = (end.xid, *end.subxacts)
        return all((xid - known.next_xid) % (2 * _HALF) < _HALF for xid in xids)

    def _around(self, lsn: Lsn, end: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the times of commits before and behind a place, the latter at most `end`."""
        at = bisect_left(self.samples, lsn, key=lambda sample: sample.lsn)
        after = to_time(self.samples[at - 1].time_us) if at else None
        before = to_time(self.samples[at].time_us) if at < len(self.samples) else end
        return after, min(before, end)

    def _note_births(self, piece: Piece) -> None:
        """Remember which relations were made, and which of them are TOAST tables.

        A table's types get OIDs right behind its own. A TOAST table has none: its index follows.
        """
        locked: dict[tuple[int, int], Locked] = {}
        for lock in piece.locked:  # a checkpoint tells all locks again
            locked.setdefault((lock.database, lock.oid), lock)
        made = [one for one in piece.made if one.fork == _MAIN]
        for one, following in zip_longest(made, made[1:]):
            key = one.locator[1], one.locator[2]
            self.born.setdefault(key, one.lsn)
            first = locked.get(key)
            if following is None or first is None or first.lsn > one.lsn:
                continue
            if following.locator[1:] == (key[0], key[1] + 1) and following.xid == one.xid:
                self.toast.add(key)

    def _note_swaps(self, piece: Piece) -> None:
        """Remember which indexes gave their names to new ones: a commit changed both, and no file.

        The old one's row in pg_class is updated, then the new one's: index_concurrently_swap in
        index.c. Behind them comes their table.
        """
        for lsn, details in piece.details.items():
            if details.files or len(details.changed) != 3 or details.changed[1] not in self.born:
                continue
            xid = piece.ends.xid[np.searchsorted(piece.ends.lsn, np.uint64(lsn))]
            updates = piece.rows.updated[(piece.rows.xid == xid) & (piece.rows.file == PG_CLASS)]
            if updates.tolist() == [2]:
                self.swapped.add(details.changed[0])


def _large(piece: Piece, floor: int) -> set[int]:
    """Return the transactions that changed many rows in a piece, with their parts."""
    rows = piece.rows
    changed = np.where(rows.file >= FIRST_OID, rows.deleted + rows.updated, 0)
    some = changed > 0
    xids, changed = _top(piece, rows.xid[some]), changed[some]
    numbers, index = np.unique(xids, return_inverse=True)
    total = np.bincount(index, weights=changed, minlength=len(numbers))
    return set(numbers[total >= floor].tolist())


def _top(piece: Piece, xids: U32) -> U32:
    """Return the top-level transactions of those whose end in this piece tells."""
    parts = _subxacts(piece)
    if not len(parts):
        return xids
    ends = piece.ends
    whose = np.repeat(
        ends.xid[np.searchsorted(ends.lsn, np.fromiter(ends.subxacts, np.uint64))],
        [len(several) for several in ends.subxacts.values()],
    )
    order = np.argsort(parts)
    at = np.minimum(np.searchsorted(parts[order], xids), len(parts) - 1)
    return np.where(parts[order][at] == xids, whose[order][at], xids)


def _subxacts(piece: Piece) -> U32:
    several = piece.ends.subxacts.values()
    return np.fromiter((xid for some in several for xid in some), np.uint32)


def _each(rows: RowCounts) -> Iterator[tuple[int, Locator, Rows]]:
    columns = (rows.xid, rows.tablespace, rows.database, rows.file)
    counts = (rows.deleted, rows.updated, rows.inserted, rows.pages)
    for xid, tablespace, database, file, *numbers in zip(
        *(column.tolist() for column in (*columns, *counts)), strict=True
    ):
        yield xid, (tablespace, database, file), Rows(*numbers)


_T = TypeVar("_T", bound=NamedTuple)


def _sorted(found: Iterable[_T]) -> tuple[_T, ...]:
    """Return them in WAL order: every one begins with its place."""
    return tuple(sorted(found))
