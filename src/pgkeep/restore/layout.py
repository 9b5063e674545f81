"""Where every entry of a backup goes on this machine, and how the copying is divided. Pure."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pgkeep.repository.manifest.tables import Array, ChunkTable, Entry, EntryKind, Tables
from pgkeep.restore.tablespaces import TablespaceMove
from pgkeep.units import MIB

CONTROL: Final = "global/pg_control"
_TABLESPACES: Final = "pg_tblspc/"

# Told by the server's own state, not by the backup: a restore writes those it wants itself.
# backup_label and tablespace_map come from the manifest; the signal files of a backup taken from a
# standby would make the copy a standby as well.
_NOT_RESTORED: Final = frozenset(
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
_LARGEST: Final = 128 * MIB  # of one task
_SMALLEST: Final = 4 * MIB
_TASKS_PER_WORKER: Final = 12  # so that the last ones to finish wait little
_MOST_FILES: Final = 2048  # in one task: creating that many takes as long as 128 MiB


class Part(NamedTuple):
    """A file, or a range of a large one, that a worker writes."""

    path: str  # where on this machine
    size: int  # of the whole file
    mode: int
    uid: int
    gid: int


class Task(NamedTuple):
    """What a worker does at one go. `part` and `position` run parallel to the rows of `chunks`."""

    parts: Sequence[Part]
    chunks: ChunkTable
    part: Array  # index into parts, rising
    position: Array  # in the file, bytes
    size: int


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

    def foreign_links(self) -> tuple[str, ...]:
        """Return symlinks that are not tablespaces': their targets are not in the backup."""
        oids = {f"{_TABLESPACES}{move.oid}" for move in self.moves}
        return tuple(
            entry.path
            for entry in self.tables.entries()
            if entry.kind is EntryKind.SYMLINK and entry.path not in oids
        )

    def files(self) -> Iterator[Entry]:
        """Yield the files to restore, except pg_control, which comes last of all."""
        for entry in self.tables.entries():
            wanted = entry.path not in _NOT_RESTORED and entry.path != CONTROL
            if entry.kind is EntryKind.FILE and wanted:
                yield entry

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
            # a file takes whole blocks of the file system, and a directory takes one
            sizes[root] += -(-max(entry.size, 1) // 4096) * 4096
        return sizes


def plan_tasks(layout: Layout, jobs: int) -> list[Task]:
    """Divide the copying: every file is in one task, a large one in several, in pack order.

    Files whose chunks lie side by side in a pack come together, so that packs are read in long
    ranges.
    """
    entries = list(layout.files())
    total = sum(entry.size for entry in entries)
    limit = max(_SMALLEST, min(_LARGEST, total // (jobs * _TASKS_PER_WORKER)))
    pieces = _Pieces.of(layout, [entry[0] for entry in entries], limit)
    by_index = {entry[0]: entry for entry in entries}
    tasks = [pieces.task(first, end, layout, by_index) for first, end in pieces.groups(limit)]
    empty = [layout.part(entry) for entry in entries if entry.size == 0]
    tasks += [_empty_task(layout, part) for part in _slices(empty, _MOST_FILES)]
    tasks.sort(key=lambda task: -task.size)  # the large ones first: all workers end together
    return tasks


def control_task(layout: Layout) -> Task | None:
    """Return the task that writes pg_control, or None when the backup has none."""
    index = layout.tables.find(CONTROL)
    if index is None or layout.tables.file.size[index] == 0:
        return None
    pieces = _Pieces.of(layout, [index], _LARGEST)
    return pieces.task(0, 1, layout, {index: layout.tables.entry(index)})


class _Pieces(NamedTuple):
    """The chunks to write, ordered by piece: a file, or a range of a large one."""

    row: Array  # per chunk
    position: Array
    plain: Array
    start: Array  # per piece, where its chunks begin; and the end
    file: Array  # per piece

    @classmethod
    def of(cls, layout: Layout, files: Sequence[int], limit: int) -> "_Pieces":
        tables = layout.tables
        placed = tables.placements(np.asarray(files, np.int64))
        _, first, inverse = np.unique(placed.file, return_index=True, return_inverse=True)
        rank = first[inverse]  # files in the order in which the packs bring them
        part = placed.position // limit
        order = np.lexsort((np.arange(len(rank)), part, rank))
        rank, part = rank[order], part[order]
        changes = np.flatnonzero((np.diff(rank) != 0) | (np.diff(part) != 0)) + 1
        start = np.concatenate(([0], changes, [len(rank)])) if len(rank) else np.zeros(1, np.int64)
        row, file = placed.row[order], placed.file[order]
        plain = tables.chunk.plain[row].astype(np.int64)
        return cls(row, placed.position[order], plain, start, file[start[:-1]])

    def groups(self, limit: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of pieces that make up a task."""
        sizes = np.add.reduceat(self.plain, self.start[:-1]) if len(self.file) else self.plain
        first, held = 0, 0
        for piece, size in enumerate(sizes.tolist()):
            if piece > first and (held + size > limit or piece - first >= _MOST_FILES):
                yield first, piece
                first, held = piece, 0
            held += size
        if first < len(self.file):
            yield first, len(self.file)

    def task(self, first: int, end: int, layout: Layout, entries: Mapping[int, Entry]) -> Task:
        chunks = slice(int(self.start[first]), int(self.start[end]))
        counts = np.diff(self.start[first : end + 1])
        return Task(
            [layout.part(entries[index]) for index in self.file[first:end].tolist()],
            layout.tables.chunk.take(self.row[chunks]),
            np.repeat(np.arange(end - first), counts),
            self.position[chunks],
            int(self.plain[chunks].sum()),
        )


def _empty_task(layout: Layout, parts: Sequence[Part]) -> Task:
    nothing = np.zeros(0, np.int64)
    return Task(parts, layout.tables.chunk.take(nothing), nothing, nothing, 0)


def _slices(items: Sequence[Part], length: int) -> Iterator[Sequence[Part]]:
    for start in range(0, len(items), length):
        yield items[start : start + length]
