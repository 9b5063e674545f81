"""What a worker is told to do, and what it brings home."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pgkeep.backup.copying.page_check import BadPage
from pgkeep.repository.manifest.builder import StoredChunks
from pgkeep.repository.manifest.tables import Array, ChunkTable, PackTable
from pgkeep.repository.pack import Placed


class ChangedPages(NamedTuple):
    """Only some pages of a file are to be stored."""

    blocks: Array  # these in any case, rising
    since: int | None  # and, reading all of it, those changed since this LSN; None: `blocks` alone


class Reading(NamedTuple):
    """One file, or part of one, to be copied."""

    entry: int  # its place in the listing
    path: str
    first_block: int | None  # of the file within its relation; None when it has no pages
    start: int = 0
    end: int | None = None  # None: up to its size when it is opened
    changed: ChangedPages | None = None  # None: all of it
    known: Mapping[bytes, Placed] | None = None  # chunks of the parent; their packs are its rows


class Moves(NamedTuple):
    """Chunks of the parent that are to be carried into new packs."""

    rows: Array  # in the parent's chunk table
    chunks: ChunkTable  # these rows; packs are rows of `packs`
    packs: PackTable


class Work(NamedTuple):
    """A task with all that a worker needs to know to do it."""

    readings: Sequence[Reading]
    start_lsn: int  # pages changed since are not judged: WAL will write them again
    moves: Moves | None = None


class Copied(NamedTuple):
    """What a worker made of a task. Packs named in it are durable once the workers have settled."""

    stored: StoredChunks
    gone: Sequence[int] = ()  # entries that had vanished before their beginning was read
    bad_pages: Sequence[BadPage] = ()
    read: int = 0  # bytes of the cluster
    known: int = 0  # of those, bytes that the parent holds already
    resumed: int = 0  # and bytes that an interrupted attempt had stored
    moved: Array | None = None  # rows of the parent's chunk table, in the order of `stored`
    notes: Sequence[str] = ()
