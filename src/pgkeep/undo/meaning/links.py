"""Which file was whose, as far as one transaction's own records tell.

Pure. A relation that gets a new file is locked, then its file is made (RelationSetNewRelfilelocator
in relcache.c); the old files are listed at the commit, the last one first. A rewrite fills a
relation of its own and drops it when both have changed files (make_new_heap in cluster.c).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.postgres.wal_changes.few import Locked, Made
from pgkeep.undo.meaning.deed import Deed, Rows

MAIN: Final = 0  # MAIN_FORKNUM

OidKey = tuple[int, int]  # database, OID
FileKey = tuple[int, int]  # database, file number


class NewFile(NamedTuple):
    """A relation that was there before got a new, empty file."""

    database: int
    oid: int
    locator: Locator


@dataclass(frozen=True)
class Traces:
    """What a deed's records about files and locks come to."""

    deed: Deed

    @cached_property
    def made(self) -> dict[FileKey, Made]:
        """The files that it made, whatever their fork: unlogged relations log one only."""
        return {(one.locator[1], one.locator[2]): one for one in self.deed.made}

    @cached_property
    def locked(self) -> list[Locked]:
        """What it locked, each once, in order: a checkpoint tells all locks again."""
        first: dict[OidKey, Locked] = {}
        for lock in self.deed.locked:
            first.setdefault((lock.database, lock.oid), lock)
        return list(first.values())

    @cached_property
    def locked_oids(self) -> frozenset[OidKey]:
        return frozenset((lock.database, lock.oid) for lock in self.locked)

    @cached_property
    def lost(self) -> list[Locator]:
        """The files that were there before it and are gone."""
        return [file for file in self.deed.files if (file[1], file[2]) not in self.made]

    @cached_property
    def dropped(self) -> list[OidKey]:
        """The relations that were there before it and are gone, in the order of dropping."""
        return [key for key in reversed(self.deed.dropped) if key not in self.made]

    @cached_property
    def passing(self) -> list[OidKey]:
        """Relations that it made and dropped: a rewrite's, or its own temporary work."""
        return [key for key in reversed(self.deed.dropped) if key in self.made]

    @cached_property
    def new_files(self) -> list[NewFile]:
        """The relations that got new files, in order."""
        steps: list[Locked | Made] = [*self.locked, *(m for m in self.deed.made if m.fork == MAIN)]
        steps.sort(key=lambda step: step.lsn)
        found = []
        for before, after in pairwise(steps):
            if not isinstance(before, Locked) or not isinstance(after, Made):
                continue
            key, locator = (before.database, before.oid), after.locator
            if key != (locator[1], locator[2]) and key not in self.made:
                found.append(NewFile(*key, locator))
        return found

    @property
    def is_rewrite(self) -> bool:
        """Tell whether a relation came and went, and files that were there before went as well."""
        return bool(self.passing and self.lost)

    def emptied(self, new: NewFile) -> bool:
        """Tell whether a new file stayed empty, or was filled row by row.

        Indexes are never empty: their first page is written even for an empty table. What is
        moved to another tablespace, or built anew, is written page by page.
        """
        rows = self.deed.rows.get(new.locator, Rows())
        return bool(rows.inserted) or not rows.pages

    def is_toast(self, new: NewFile) -> bool:
        """Tell whether it is a TOAST table's: its index, with the next OID, comes behind it."""
        at = self.new_files.index(new)
        following = self.new_files[at + 1 : at + 2]
        return any(one[:2] == (new.database, new.oid + 1) for one in following)

    @cached_property
    def emptied_without_lock(self) -> bool:
        """Tell whether an empty new file is that of a relation which was locked long before."""
        told = {new.locator for new in self.new_files}
        return any(
            made.fork == MAIN
            and made.locator not in told
            and key not in self.passing
            and key not in self.locked_oids
            and self.emptied(NewFile(key[0], 0, made.locator))
            for key, made in self.made.items()
        )


def links(deed: Deed) -> Iterator[tuple[FileKey, int]]:
    """Yield whose a file is, or was: database and number of it, and the relation's OID."""
    traces = Traces(deed)
    for new in traces.new_files:
        yield (new.database, new.locator[2]), new.oid
    if not traces.passing and len(traces.lost) == len(traces.new_files):
        for old, new in zip(reversed(traces.lost), traces.new_files, strict=True):
            yield (old[1], old[2]), new.oid
    if not deed.made and len(traces.lost) == len(traces.dropped):
        for old, (_, oid) in zip(traces.lost, traces.dropped, strict=True):
            yield (old[1], old[2]), oid
    if traces.is_rewrite:
        whose = next((lock.oid for lock in traces.locked if _is_old(lock, traces)), None)
        heads = [key for key in traces.passing if key in traces.locked_oids]
        if whose is not None and heads:
            yield min(heads), whose


def _is_old(lock: Locked, traces: Traces) -> bool:
    return (lock.database, lock.oid) not in traces.made
