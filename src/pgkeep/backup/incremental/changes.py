"""What becomes of each file: taken over, read whole, or only its changed pages. Pure.

The rules and their reasons: docs/architecture.md, "What changed since the parent". Files are judged
as numpy columns; only those that changed are looked at one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

import numpy as np

from pgkeep.postgres.layout import VERSION_FILE, Fork, RelationFile, relation_of_path
from pgkeep.postgres.pages import PAGE_SIZE
from pgkeep.repository.manifest.tables import Array, EntryKind, Tables

RACY_NS: Final = 2_000_000_000  # a file this young when it was listed may have changed unseen
_SMALL: Final = 4 * PAGE_SIZE  # changed files up to here are read whole: an overlay saves nothing
_MAP: Final = "_vm"
MOST_LAYERS: Final = 32  # of one file: reading it stays within as many places
NOTHING: Final = np.zeros(0, np.uint32)


class Fate(IntEnum):
    """What is done with a file."""

    WHOLE = 0  # read and stored
    KEPT = 1  # not read: the parent's content is its content
    PAGES = 2  # the named pages are read and stored
    SCAN = 3  # read; pages that changed since the parent began are stored
    LEFT_OUT = 4  # a visibility map that may be ahead of the pages that are kept


class WentBack(Exception):
    """The data directory is older than the parent: nothing can be taken over from it."""


class Changed(Protocol):
    """What WAL summaries say of one relation file."""

    @property
    def recreated(self) -> bool: ...
    @property
    def limit(self) -> int | None:
        """From this block of the file on everything may have changed."""
        ...

    @property
    def blocks(self) -> Array: ...


class ChangedBlocks(Protocol):
    """What WAL summaries say of a stretch of WAL."""

    def of(self, relation: RelationFile, segment_blocks: int) -> Changed: ...


class Files(NamedTuple):
    """The files of a listing, in columns."""

    paths: Sequence[str]
    size: Array
    mtime_ns: Array
    ctime_ns: Array
    inode: Array


@dataclass(frozen=True, slots=True)
class Parent:
    """The backup that is built upon."""

    tables: Tables
    listed_ns: int  # when its files were listed
    unreliable: frozenset[str] = frozenset()  # paths whose content must not be taken over
    lost_packs: frozenset[int] = frozenset()  # rows of packs that are not in the repository
    lacks_maps: bool = False  # visibility maps were left out of it


@dataclass(frozen=True, slots=True)
class Rules:
    """How changes are found, and when overlays are cleaned away."""

    segment_blocks: int
    summaries: ChangedBlocks | None  # None: pages tell by their LSNs
    overlay_limit: int = 50  # percent of a file
    hints_logged: bool = True  # pages marked all-visible get a new LSN: checksums are on
    doubtful: bool = False  # neither LSNs nor summaries tell: the cluster may have gone back


@dataclass(slots=True)
class Changes:
    """The fate of every file of a listing."""

    fate: Array
    row: Array  # in the parent's file table, -1: none
    blocks: dict[int, Array] = field(default_factory=dict)  # PAGES: which; SCAN: these in any case
    base_only: set[int] = field(default_factory=set)  # files whose overlays are stored anew
    reasons: dict[str, int] = field(default_factory=dict)  # why files are read whole, counted

    def taken_over(self) -> Array:
        """Return the files that begin with the parent's layers."""
        return np.flatnonzero((self.fate != Fate.WHOLE) & (self.fate != Fate.LEFT_OUT))

    def left_out(self) -> list[int]:
        """Return the files that the backup does not have."""
        found: list[int] = np.flatnonzero(self.fate == Fate.LEFT_OUT).tolist()
        return found

    def __str__(self) -> str:
        counts = ", ".join(f"{np.count_nonzero(self.fate == f)} {f.name.lower()}" for f in Fate)
        return f"{counts}; whole because: {self.reasons}"


def find_changes(files: Files, parent: Parent, rules: Rules) -> Changes:
    """Decide for every file. Raise WentBack when the files are older than the parent's."""
    return _Judge(files, parent, rules).judge()


class _Judge:
    """Looks at one listing."""

    def __init__(self, files: Files, parent: Parent, rules: Rules) -> None:
        self._files = files
        self._parent = parent
        self._tables = parent.tables
        self._rules = rules
        self._row = _match(files.paths, parent.tables)
        self._same_inode = self._same("inode")
        self._renewed = self._renewed_folders()
        self._lost = _touching(parent.tables, parent.lost_packs)
        self._changes = Changes(np.zeros(len(files.paths), np.uint8), self._row)

    def judge(self) -> Changes:
        self._refuse_older()
        untouched = self._untouched()
        self._changes.fate[untouched] = Fate.KEPT
        for index in np.flatnonzero(~untouched).tolist():
            why = self._decide(index)
            if why:
                self._changes.fate[index] = Fate.WHOLE
                self._because(why)
        if not self._rules.hints_logged:
            self._leave_maps_out()
        return self._changes

    def _leave_maps_out(self) -> None:
        """Leave out visibility maps that may know more than the pages that are kept.

        Where hints are not logged, VACUUM marks a page as visible to all and leaves its LSN, so a
        scan keeps the parent's page without the mark. Deleting a row from it would not clear the
        map, and index-only scans would return the row. Without its map a table is right, and slower
        until VACUUM has made a new one (visibilitymap_set, heap_delete).
        """
        paths, fate = self._files.paths, self._changes.fate
        maps = {path.removesuffix(_MAP): i for i, path in enumerate(paths) if path.endswith(_MAP)}
        for index, path in enumerate(paths):
            number = maps.get(path, maps.get(path.rpartition(".")[0]))
            if number is None or fate[index] == Fate.WHOLE:
                continue
            # Other pages fit their map, unless it was left out of the parent already.
            lacking = self._row[number] < 0 and self._parent.lacks_maps
            if fate[index] == Fate.SCAN or lacking:
                fate[number] = Fate.LEFT_OUT

    def _same(self, name: str) -> Array:
        found: Array = getattr(self._tables.file, name)[self._row] == getattr(self._files, name)
        return found & (self._row >= 0)

    def _renewed_folders(self) -> frozenset[str]:
        """Return the databases' directories that are not those of the parent; '' is PGDATA itself.

        The server copies whole directories (CREATE DATABASE, ALTER DATABASE SET TABLESPACE), and so
        do people: pages keep their LSNs, and may find the very inodes of files that were removed.
        PG_VERSION is written once, when its directory is.
        """
        same = self._same_inode & self._same("mtime_ns") & self._same("ctime_ns")
        return frozenset(
            path[: -len(VERSION_FILE)].rstrip("/")
            for path, unchanged in zip(self._files.paths, same.tolist(), strict=True)
            if not unchanged and path.endswith(VERSION_FILE)
        )

    def _folder(self, index: int) -> str:
        """Return the directory whose PG_VERSION tells of a relation's file."""
        folder = self._files.paths[index].rpartition("/")[0]
        return "" if folder == "global" else folder

    def _untouched(self) -> Array:
        """Tell which files need not be read: nothing about them has changed since, for sure."""
        before = self._tables.file
        calm = self._parent.listed_ns - RACY_NS
        changed_ns = np.maximum(before.mtime_ns, before.ctime_ns)[self._row]
        size = before.size[self._row].astype(np.int64) == self._files.size
        same = size & self._same("mtime_ns") & self._same("ctime_ns") & self._same_inode
        trusted: Array = same & (changed_ns < calm) & ~self._lost[self._row]
        for path in self._parent.unreliable & set(self._files.paths):
            trusted[self._files.paths.index(path)] = False
        return trusted

    def _refuse_older(self) -> None:
        """Raise WentBack for a file that changed later in the parent than now.

        Nobody can set a ctime: it goes back with a snapshot of the disk, or with the clock.
        """
        before = self._tables.file.ctime_ns[self._row]
        older = np.flatnonzero(self._same_inode & (self._files.ctime_ns < before))
        if len(older):
            path = self._files.paths[int(older[0])]
            raise WentBack(
                f"{path} was changed later then than now: the disk, or the clock, was set back"
            )

    def _decide(self, index: int) -> str:
        """Enter what is done with a file that changed; return why it must be read whole, or ''."""
        row, size = int(self._row[index]), int(self._files.size[index])
        if row < 0:
            return "new"
        relation = relation_of_path(self._files.paths[index])
        if relation is None or relation.fork is not Fork.MAIN or size == 0:
            return "not made of pages that tell"
        before = int(self._tables.file.size[row])
        if before == 0 or before % PAGE_SIZE or size % PAGE_SIZE or size <= _SMALL:
            return "small"
        if not self._same_inode[index]:
            return "replaced by another file"
        if self._folder(index) in self._renewed:
            return "in a directory made anew"
        if self._rules.doubtful:
            return "changed since a restart without archiving"
        if self._lost[row]:
            return "missing from the repository"
        if self._files.paths[index] in self._parent.unreliable:
            return "damaged in the parent"
        return self._pages(index, relation)

    def _pages(self, index: int, relation: RelationFile) -> str:
        """Enter the pages of a relation's file that are to be taken, or say why all of them."""
        row = int(self._row[index])
        pages = int(self._files.size[index]) // PAGE_SIZE
        before = int(self._tables.file.size[row]) // PAGE_SIZE
        fresh = np.arange(before, pages, dtype=np.uint32)
        # A file that became shorter needs an overlay that says so: its last page will do.
        mark = np.array([pages - 1], np.uint32) if pages < before else NOTHING
        always = np.union1d(fresh, mark)
        if self._rules.summaries is None:
            return self._enter(index, Fate.SCAN, always)
        changed = self._rules.summaries.of(relation, self._rules.segment_blocks)
        if changed.recreated:
            return "created anew or truncated"
        if pages < before and changed.limit is None:
            return "shorter, and WAL does not say why"
        if changed.limit is not None and changed.limit < pages:
            always = np.union1d(always, np.arange(changed.limit, pages, dtype=np.uint32))
        named = changed.blocks[changed.blocks < pages]
        blocks = np.union1d(always, named)
        if not len(blocks):  # only hints changed, which PostgreSQL sets again by itself
            self._changes.fate[index] = Fate.KEPT
            return ""
        return self._enter(index, Fate.PAGES, blocks)

    def _enter(self, index: int, fate: Fate, blocks: Array) -> str:
        """Enter `blocks` as the pages to take, unless the file is due for a whole copy."""
        tables, row = self._tables, int(self._row[index])
        first, end = (int(layer) for layer in tables.file.layer_start[row : row + 2])
        pages = slice(int(tables.layer.page_start[first]), int(tables.layer.page_start[end]))
        overlaid = pages.stop - pages.start
        size = int(self._files.size[index])
        if (overlaid + len(blocks)) * PAGE_SIZE * 100 > self._rules.overlay_limit * size:
            return "due for a whole copy"
        if end - first >= MOST_LAYERS:
            # All pages of the overlays are stored anew, as one.
            old = tables.page.block[pages]
            blocks = np.union1d(blocks, old[old < size // PAGE_SIZE])
            self._changes.base_only.add(index)
        self._changes.fate[index] = fate
        self._changes.blocks[index] = blocks.astype(np.uint32)
        return ""

    def _because(self, why: str) -> None:
        self._changes.reasons[why] = self._changes.reasons.get(why, 0) + 1


def _match(paths: Sequence[str], tables: Tables) -> Array:
    """Return each path's row in the parent's file table, -1 where it is no file there."""
    rows = {path: row for row, path in enumerate(tables.file.path.items)}
    found = np.fromiter(
        (rows.get(path.encode("utf-8", "surrogateescape"), -1) for path in paths),
        np.int64,
        len(paths),
    )
    found[tables.file.kind[found] != EntryKind.FILE] = -1
    return found


def _touching(tables: Tables, packs: frozenset[int]) -> Array:
    """Tell for each of the parent's files whether it needs one of these packs."""
    if not packs:
        return np.zeros(len(tables.file), bool)
    lost = np.isin(tables.chunk.pack, list(packs))
    ends = tables.layer.chunk_start[tables.file.layer_start]
    touching: Array = np.diff(np.concatenate(([0], np.cumsum(lost)))[ends]) > 0
    return touching
