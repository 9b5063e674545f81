"""Removes what a backup does not have: from a data directory, and this version's tablespaces.

No link is followed, except where pg_wal itself is one. What is outside of the data directory and of
the version's own directory in its tablespaces is never touched.
"""

import os
import stat
from dataclasses import dataclass
from typing import Final

from pgkeep.postgres.layout import Rule, skip_anywhere
from pgkeep.repository.manifest.tables import EntryKind
from pgkeep.restore.writing.copy import told
from pgkeep.restore.writing.layout import NOT_RESTORED, Layout
from pgkeep.traces import MARKER

_WAL: Final = "pg_wal"


@dataclass(frozen=True, slots=True)
class Ground:
    """What stays of a directory although no backup has it, and what goes beside it."""

    kept: frozenset[str]  # files, relative to PGDATA
    logs: str | None  # a directory whose contents stay
    leftovers: tuple[str, ...]  # this version's directories in tablespaces that are no more there


@dataclass(slots=True)
class Deleted:
    """How much was removed."""

    files: int = 0  # links and special files too
    size: int = 0


class Cleaner:
    """Removes from disk what the layout does not put there."""

    def __init__(self, layout: Layout, ground: Ground) -> None:
        self._layout: Final = layout
        self._ground: Final = ground
        self._spaces: Final = {move.new for move in layout.moves}
        self._links: Final = dict(layout.links())
        self.deleted: Final = Deleted()

    def run(self) -> Deleted:
        """Clean all places. Raise CannotWrite."""
        # These first: the links that lead to them go with the rest.
        for path in self._ground.leftovers:
            if os.path.lexists(path):
                self._remove(path)
        self._clean(self._layout.target_dir, "")
        for move in self._layout.moves:
            for folder in self._layout.version_folders(move.oid):
                path = os.path.join(move.new, folder)
                inside = f"pg_tblspc/{move.oid}/{folder}"
                if os.path.isdir(path) and not os.path.islink(path):
                    self._clean(path, inside)
                elif os.path.lexists(path):
                    self._remove(path)
        return self.deleted

    def _clean(self, directory: str, inside: str) -> None:
        """Clean one directory; `inside` is its path as the backup names it."""
        with told("read", directory):
            names = sorted(os.listdir(directory))
        for name in names:
            path = os.path.join(directory, name)
            known = f"{inside}/{name}" if inside else name
            if self._stays(path, known):
                continue
            status = os.lstat(path)
            if self._is_directory(path, known, status):
                self._clean(path, known)
            elif not self._belongs(path, known, status):
                self._remove(path)

    def _stays(self, path: str, known: str) -> bool:
        """Tell whether something is none of our business, with all that is in it."""
        lost_found = skip_anywhere(os.path.basename(path)) is Rule.LOST_FOUND
        return (
            known in (MARKER, self._ground.logs)
            or known in self._ground.kept
            or path in self._spaces
            or lost_found
        )

    def _is_directory(self, path: str, known: str, status: os.stat_result) -> bool:
        """Tell whether to look into a directory rather than remove it."""
        if stat.S_ISLNK(status.st_mode):
            return known == _WAL and os.path.isdir(path)  # initdb --waldir
        if not stat.S_ISDIR(status.st_mode):
            return False
        on_the_way = any(space.startswith(f"{path}/") for space in self._spaces)
        return on_the_way or self._kind(known) is EntryKind.DIRECTORY

    def _belongs(self, path: str, known: str, status: os.stat_result) -> bool:
        if stat.S_ISLNK(status.st_mode):
            if path in self._links:
                return os.readlink(path) == self._links[path]
            return self._kind(known) is EntryKind.SYMLINK and not known.startswith("pg_tblspc/")
        if not stat.S_ISREG(status.st_mode) or known in NOT_RESTORED:
            return False
        # A file with another name elsewhere (pg_upgrade --link, a snapshot by hard links) is not
        # ours alone: writing into it would change that one as well.
        return self._kind(known) is EntryKind.FILE and status.st_nlink == 1

    def _kind(self, known: str) -> EntryKind | None:
        number = self._layout.tables.find(known)
        return None if number is None else EntryKind(int(self._layout.tables.file.kind[number]))

    def _remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        with told("remove", path):
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(path)
                self.deleted.files += 1
                self.deleted.size += status.st_size if stat.S_ISREG(status.st_mode) else 0
                return
            for name in os.listdir(path):
                self._remove(os.path.join(path, name))
            os.rmdir(path)
