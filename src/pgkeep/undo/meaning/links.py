"""What became of files, as far as one transaction's own records tell.

Pure. A relation that gets a new file has it made, and then its old one listed for removal
(RelationSetNewRelfilelocator in relcache.c): both in the same order, but a commit tells the last
one first. A rewrite fills a relation of its own, and drops it when both have changed files
(make_new_heap in cluster.c).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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
        """Whose a new file surely is: the only relation that was locked right before it was made.

        TRUNCATE locks all its tables first, but their indexes and TOAST tables one by one.
        """
        steps: list[Locked | Made] = [*self.locked, *(m for m in self.deed.made if m.fork == MAIN)]
        steps.sort(key=lambda step: step.lsn)
        found = []
        for earlier, before, after in zip([None, *steps], steps, steps[1:], strict=False):
            alone = isinstance(before, Locked) and not isinstance(earlier, Locked)
            if not alone or not isinstance(after, Made) or not isinstance(before, Locked):
                continue
            key, locator = (before.database, before.oid), after.locator
            if key != (locator[1], locator[2]) and key not in self.made:
                found.append(NewFile(*key, locator))
        return found

    def replaced(self, stays: Callable[[Locator], bool]) -> list[tuple[Locator, Locator]]:
        """Return old and new files that belong together; `stays`: of a relation not dropped.

        Nothing, when there is something else among them: a rewrite, or new tables.
        """
        new = [made.locator for made in self.deed.made if made.fork == MAIN]
        if not new or self.passing:
            return []
        old = [file for file in reversed(self.lost) if stays(file)]
        return list(zip(old, new, strict=True)) if len(old) == len(new) else []

    def whose(self, new: Locator) -> int:
        """Return the OID of the relation that got this file, if its lock tells; else 0."""
        return next((one.oid for one in self.new_files if one.locator == new), 0)

    @property
    def is_rewrite(self) -> bool:
        """Tell whether a relation came and went, and files that were there before went as well."""
        return bool(self.passing and self.lost)

    def emptied(self, new: Locator) -> bool:
        """Tell whether a new file stayed empty, or was filled row by row.

        Indexes are never empty: their first page is written even for an empty table. What is
        moved to another tablespace, or built anew, is written page by page.
        """
        rows = self.deed.rows.get(new, Rows())
        return bool(rows.inserted) or not rows.pages

    def is_toast(self, new: Locator) -> bool:
        """Tell whether it is a TOAST table's: its index, with the next OID, comes behind it."""
        at = next((n for n, one in enumerate(self.new_files) if one.locator == new), None)
        if at is None:
            return False
        database, oid, _ = self.new_files[at]
        return any(one[:2] == (database, oid + 1) for one in self.new_files[at + 1 : at + 2])

    @cached_property
    def any_emptied(self) -> bool:
        """Tell whether one of the files that stay is of no new relation, and empty."""
        return any(
            made.fork == MAIN
            and key not in self.passing
            and key not in self.locked_oids
            and self.emptied(made.locator)
            for key, made in self.made.items()
        )
