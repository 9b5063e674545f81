"""What leaves a relation where it is, and takes its rows or columns. Pure.

TRUNCATE leaves an empty file behind, a rewrite (VACUUM FULL, CLUSTER, REFRESH, some ALTER TABLE) a
full one. DROP COLUMN leaves a row in pg_attribute that says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.postgres.wal_changes.rows import FIRST_OID
from pgkeep.undo.event import Event, EventKind, Hit
from pgkeep.undo.meaning.maker import Maker
from pgkeep.undo.meaning.names import Known

MIN_ROWS: Final = 1000
FEW_ROWS: Final = 20  # below it, half of a table is nothing: a queue, a table of settings


@dataclass(frozen=True, slots=True)
class Weight:
    """From how many rows on deleting or updating them is an event."""

    rows: int = MIN_ROWS
    or_half: bool = True  # of the table, by the census, if that is at least FEW_ROWS

    @property
    def floor(self) -> int:
        """Fewer are never an event."""
        return min(self.rows, FEW_ROWS) if self.or_half else self.rows

    def heavy(self, rows: int, estimate: float) -> bool:
        """Tell whether it is an event; an estimate below 0 is none."""
        if rows >= self.rows:
            return True
        return self.or_half and estimate > 0 and rows >= max(FEW_ROWS, estimate / 2)


def emptied_or_rewritten(maker: Maker) -> Iterator[Event]:
    """TRUNCATE, and what only rewrites."""
    if maker.dropped and not maker.deed.dropped:
        return  # before 15 a commit does not tell what it dropped: see Maker.dropped
    emptied, kept, doubtful = _Sorted(maker).sort()
    truncated = (*emptied, *doubtful)
    if truncated:
        unknown = all(not hit.name for hit in truncated)
        notes = (maker.unknown(),) * unknown + _refilled(maker)
        yield maker.event(
            EventKind.TRUNCATE, truncated, sure=not doubtful and not unknown, notes=notes
        )
    if kept:
        hits = tuple(replace(hit, rows=-1) for hit in kept)
        yield maker.event(EventKind.REWRITE, hits)


class _Sorted:
    """Sorts what got another file into emptied, rewritten, and what may be either."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._traces = maker.traces
        self._dropped = maker.dropped_set
        self._emptied: list[Hit] = []
        self._kept: list[Hit] = []
        self._doubtful: list[Hit] = []

    def sort(self) -> tuple[tuple[Hit, ...], tuple[Hit, ...], tuple[Hit, ...]]:
        for old, new in self._maker.replaced:
            self._with_new_file(old, new)
        if not self._maker.replaced:
            self._among_other_work()
        return tuple(self._emptied), tuple(self._kept), tuple(self._doubtful)

    def _with_new_file(self, old: Locator, new: Locator) -> None:
        """Judge a relation whose old and new files are known."""
        emptied = self._traces.emptied(new) and old[0] == new[0]
        key = (old[1], self._maker.names.oid_of(old))
        known = self._maker.known_file(old) or self._maker.known(key)
        if known is None:
            toast = self._traces.is_toast(new) or key in self._maker.names.toast
            if emptied and not toast:
                self._emptied.append(self._maker.stranger(key, old))
        elif _is_table(known):
            (self._emptied if emptied else self._kept).append(known.hit(locator=old))

    def _among_other_work(self) -> None:
        """Judge what lost its file in a transaction that made or dropped other relations too."""
        for file in self._traces.lost:
            known = self._maker.known_file(file)
            if known is not None and (known.database.oid, known.relation.oid) not in self._dropped:
                self._without(known, file)
        for new in self._traces.new_files:
            key, toast = (new.database, new.oid), self._traces.is_toast(new.locator)
            known = self._maker.known(key)
            if known is None and self._traces.emptied(new.locator) and not toast:
                self._emptied.append(self._maker.stranger(key))

    def _without(self, known: Known, file: Locator) -> None:
        """Judge a relation that lost its file beside other work: which new one is its, if any?"""
        if known.relation.kind == "m":
            self._kept.append(known.hit(locator=file))
        elif _is_table(known):
            new = next(
                (n for n in self._traces.new_files if n[:2] == (file[1], known.relation.oid)), None
            )
            hit = known.hit(locator=file)
            if new is not None:
                emptied = self._traces.emptied(new.locator) and new.locator[0] == file[0]
                (self._emptied if emptied else self._kept).append(hit)
            else:
                (self._doubtful if self._traces.any_emptied else self._kept).append(hit)


def _is_table(known: Known) -> bool:
    return known.relation.kind == "r" and known.relation.oid >= FIRST_OID


def _refilled(maker: Maker) -> tuple[str, ...]:
    """Say that rows were put into the emptied tables at once."""
    rows, made = maker.deed.rows, maker.deed.made
    total = sum(rows[one.locator].inserted for one in made if one.locator in rows)
    return (f"{total:,} rows were put in afterwards, in the same transaction",) if total else ()


def columns(maker: Maker) -> Iterator[Event]:
    """DROP COLUMN: the column's row in pg_attribute says that it is a dropped one."""
    deed = maker.deed
    for database in dict.fromkeys(column.database for column in deed.columns):
        own = [column for column in deed.columns if column.database == database]
        oids = [column.oid for column in own if column.oid]
        if len(oids) < len(own):
            oids += _altered(maker, database)
        known = {oid: maker.known((database, oid)) for oid in dict.fromkeys(oids)}
        hits = tuple(
            one.hit() if one else maker.stranger((database, oid))
            for oid, one in known.items()
            if one is None or one.relation.kind in "rp"
        )
        numbers = tuple(sorted({column.number for column in own}))
        notes = () if any(known.values()) else (maker.unknown(),)
        yield maker.event(EventKind.DROP_COLUMN, hits, columns=numbers, notes=notes)


def _altered(maker: Maker, database: int) -> list[int]:
    """Return the tables whose definition was changed, and which were locked for it."""
    changed = {oid for of, oid in maker.deed.changed if of == database}
    locked = (lock.oid for lock in maker.traces.locked if lock.database == database)
    return [oid for oid in locked if oid in changed]


def rows(maker: Maker, weight: Weight) -> Iterator[Event]:
    """DELETE and UPDATE of many rows: all that the transaction hit, if it is much together."""
    for kind, name in ((EventKind.DELETE, "deleted"), (EventKind.UPDATE, "updated")):
        hits = [
            hit
            for locator, counts in maker.deed.rows.items()
            if (count := getattr(counts, name)) and _were_there(maker, locator)
            for hit in _hit(maker, locator, count)
        ]
        total = sum(hit.rows for hit in hits)
        if total < weight.rows and not any(weight.heavy(hit.rows, hit.estimate) for hit in hits):
            continue
        named = all(hit.name for hit in hits)
        notes = () if named else (maker.unknown(),)
        yield maker.event(kind, tuple(hits), sure=named, notes=notes)


def _were_there(maker: Maker, locator: Locator) -> bool:
    """Tell whether these rows are a user's, older than the transaction, in a file that stays."""
    user = locator[2] >= FIRST_OID and locator[1] != 0
    return user and locator[1:] not in maker.traces.made and locator not in maker.deed.files


def _hit(maker: Maker, locator: Locator, count: int) -> list[Hit]:
    """Return a table whose rows were hit; a TOAST table's are parts of values."""
    names, known = maker.names, maker.known_file(locator)
    if known is not None:
        return [known.hit(count, locator)] if _is_table(known) else []
    if names.is_toast(locator):
        return []
    key = (locator[1], names.oid_of(locator))
    born = key in names.born and key not in names.passing
    was_seen = born or key[1] != locator[2]
    return [maker.stranger(key if was_seen else (key[0], 0), locator, count)]
