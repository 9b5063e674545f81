"""Where every entry of a backup goes on this machine. Pure."""

import os
import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pgkeep.repository.manifest.tables import Array, Entry, EntryKind, Tables
from pgkeep.restore.databases import is_in_shell
from pgkeep.restore.tablespaces import TablespaceMove

CONTROL: Final = "global/pg_control"
_TABLESPACES: Final = "pg_tblspc/"

# Told by the server's own state, not by the backup: a restore writes those it wants itself.
# backup_label and tablespace_map come from the manifest; the signal files of a backup taken from a
# standby would make the copy a standby as well.
NOT_RESTORED: Final = frozenset(
    {
        "backup_label",
        "tablespace_map",
        "recovery.signal",
        "standby.signal",
        "recovery.conf",
        "postmaster.pid",
        "postmaster.opts",
    }
)


class Part(NamedTuple):
    """A file, or a range of a large one, that a worker writes."""

    path: str  # where on this machine
    size: int  # of the whole file
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Owners:
    """Numbers of users and groups here, by their numbers on the source."""

    users: Mapping[int, int]
    groups: Mapping[int, int]

    def of(self, entry: Entry) -> tuple[int, int]:
        return self.users.get(entry.uid, entry.uid), self.groups.get(entry.gid, entry.gid)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the entries of one backup go."""

    tables: Tables
    target_dir: str
    moves: tuple[TablespaceMove, ...]
    owners: Owners
    mode: int = 0o700  # of the data directory and of the tablespaces' own
    block_size: int = 8192
    shells: frozenset[int] = frozenset()  # oids of databases whose files get no content

    def place(self, path: str) -> str:
        """Return the final path of an entry; those of a tablespace go to where it is moved."""
        if path.startswith(_TABLESPACES):
            oid, _, rest = path[len(_TABLESPACES) :].partition("/")
            for move in self.moves:
                if rest and oid == str(move.oid):
                    return posixpath.join(move.new, rest)
        return posixpath.join(self.target_dir, path)

    def directories(self) -> Iterator[tuple[str, Entry]]:
        for entry in self.tables.entries():
            if entry.kind is EntryKind.DIRECTORY:
                yield self.place(entry.path), entry

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield each link of a tablespace with its final target; there are no others to restore."""
        for move in self.moves:
            yield posixpath.join(self.target_dir, _TABLESPACES, str(move.oid)), move.new

    def version_folders(self, oid: int) -> tuple[str, ...]:
        """Return the directories of a tablespace that hold the backup's files: one, usually."""
        files, prefix = self.tables.file, os.fsencode(f"{_TABLESPACES}{oid}/")
        paths = files.path.items
        found, place = [], bisect_left(paths, prefix)
        while place < len(paths) and paths[place].startswith(prefix):
            folder = paths[place][len(prefix) :].partition(b"/")[0]
            found.append(os.fsdecode(folder))
            place = bisect_left(paths, prefix + folder + b"0", place + 1)  # '0' follows '/'
        return tuple(found)

    def foreign_links(self) -> tuple[str, ...]:
        """Return symlinks that are not tablespaces': their targets are not in the backup."""
        oids = {f"{_TABLESPACES}{move.oid}" for move in self.moves}
        return tuple(
            entry.path
            for entry in self.tables.entries()
            if entry.kind is EntryKind.SYMLINK and entry.path not in oids
        )

    def files(self) -> Array:
        """Return the numbers of the files to restore, except pg_control, which comes last."""
        wanted = self.tables.file.kind == EntryKind.FILE
        for path in (*NOT_RESTORED, CONTROL):
            number = self.tables.find(path)
            if number is not None:
                wanted[number] = False
        return np.flatnonzero(wanted)

    def without_content(self, numbers: Array) -> Array:
        """Return which of these files are written as zeros: empty ones, and those of shells."""
        hollow: Array = self.tables.file.size[numbers] == 0
        if self.shells:
            paths = self.tables.file.path
            hollow |= np.fromiter(
                (is_in_shell(os.fsdecode(paths[n]), self.shells) for n in numbers.tolist()),
                bool,
                len(numbers),
            )
        return hollow

    def part(self, entry: Entry) -> Part:
        uid, gid = self.owners.of(entry)
        # setuid and setgid have no place in a data directory
        return Part(self.place(entry.path), entry.size, entry.mode & 0o777, uid, gid)

    def sizes(self) -> dict[str, int]:
        """Return how many bytes go to each directory tree: the target and each tablespace."""
        sizes = {self.target_dir: 0, **{move.new: 0 for move in self.moves}}
        news = {str(move.oid): move.new for move in self.moves}
        for entry in self.tables.entries():
            root = self.target_dir
            if entry.path.startswith(_TABLESPACES):
                root = news.get(entry.path.split("/", 2)[1], root)
            held = 0 if is_in_shell(entry.path, self.shells) else entry.size
            # a file takes whole blocks of the file system, and a directory takes one
            sizes[root] += -(-max(held, 1) // 4096) * 4096
        return sizes
