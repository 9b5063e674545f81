"""What a backup reads from, as the backup sees it: a data directory now, a protocol later.

Nothing above this may assume that the cluster's files are local.
"""

from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np

from pgkeep.backup.incremental.changes import ChangedBlocks, Files
from pgkeep.backup.wait_wal import WalSource
from pgkeep.errors import PgkeepError
from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.repository.manifest.builder import Attributes, ManifestBuilder
from pgkeep.repository.manifest.facts import ConfigFile, Database, Extension, Tablespace


class ReadFailed(PgkeepError):
    """The operating system could not read a file of the cluster."""

    code = "read-failed"
    exit_status = 66

    path: str
    position: int
    why: str

    def __str__(self) -> str:
        return f"no backup was made: cannot read {self.path} at byte {self.position}: {self.why}"

    @property
    def hint(self) -> str:
        return "look into the kernel's log (dmesg): the disk or file system may be failing"


class BackupAborted(PgkeepError):
    """A backup was given up in the middle; nothing of it is listed."""

    code = "backup-aborted"
    exit_status = 64

    why: str
    advice: str = "run it again"

    def __str__(self) -> str:
        return f"no backup was made: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class OpenFile(Protocol):
    """A file of the cluster, open for reading."""

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end of the file. Raise ReadFailed."""
        ...


class Reader(Protocol):
    """Opens the cluster's files. Can be pickled, so that worker processes can use it."""

    def open(
        self, path: str, start: int = 0, end: int | None = None, *, sparse: bool = False
    ) -> AbstractContextManager[OpenFile] | None:
        """Return the file, of which [start, end) will be read; None when it is gone.

        `sparse` says that pages here and there will be read.
        """
        ...


class Started(NamedTuple):
    """The moment from which on WAL repairs whatever the copy catches in mid-change."""

    lsn: Lsn
    timeline: int
    at: datetime  # by the server's clock


class Stopped(NamedTuple):
    """The moment from which on the copy can be made consistent."""

    lsn: Lsn
    timeline: int
    at: datetime
    backup_label: str
    tablespace_map: str


@dataclass(slots=True)
class Listing:
    """The cluster's files as they were listed, in columns: there may be a million.

    A file is known by its index here. Directories and links go straight into the manifest.
    """

    paths: list[str] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("Q"))
    first_blocks: "array[int]" = field(default_factory=lambda: array("q"))  # -1: has no pages
    builder: ManifestBuilder = field(default_factory=ManifestBuilder)
    notes: list[str] = field(default_factory=list)  # what was left out and may surprise
    owners: set[tuple[int, int]] = field(default_factory=set)  # uid and gid

    def add_file(
        self, path: str, size: int, attributes: Attributes, first_block: int | None = None
    ) -> int:
        """Enter a file and return its index."""
        index = len(self.paths)
        self.paths.append(path)
        self.sizes.append(size)
        self.first_blocks.append(-1 if first_block is None else first_block)
        self.builder.add_file(index, path, attributes)
        self.owners.add((attributes.uid, attributes.gid))
        return index

    def files(self) -> Files:
        """Return the columns by which files are compared with a parent's."""
        sizes = np.frombuffer(self.sizes, np.uint64).astype(np.int64)
        return Files(self.paths, sizes, *self.builder.times_and_inodes())


class NoSummaries(Exception):
    """Why WAL summaries cannot tell what has changed."""


class ClusterFacts(NamedTuple):
    """What the source tells about the cluster, for the manifest and the preflight."""

    generation: Generation
    server_version: str
    checksums: bool
    data_directory: str
    data_directory_mode: int
    archiving: bool  # the server hands its WAL to an archive_command or archive_library
    settings: dict[str, str]
    databases: Sequence[Database]
    extensions: Sequence[Extension]
    config_files: Sequence[ConfigFile]
    running_since: datetime | None = None  # the server; None: not known


class Source(WalSource, Protocol):
    """A running cluster that can be copied. start() and stop() bracket everything that is read."""

    def facts(self) -> ClusterFacts:
        """Check that this is one cluster, that it can be backed up, and describe it."""
        ...

    def start(self, label: str) -> Started:
        """Begin backup mode: blocks until the server's checkpoint is done."""
        ...

    def changed_blocks(self, since: Lsn, started: Started, history: History) -> ChangedBlocks:
        """Return what WAL summaries say of the time since an LSN. Raise NoSummaries."""
        ...

    def listing(self) -> Listing:
        """List everything to be copied except pg_control, after start()."""
        ...

    def reader(self) -> Reader: ...

    def control_file(self) -> tuple[bytes, Attributes]:
        """Read pg_control, proven whole by its checksum. To be read after everything else."""
        ...

    def ping(self) -> None:
        """Raise BackupAborted when the server has forgotten this backup: session lost, crash."""
        ...

    def stop(self) -> Stopped:
        """End backup mode and switch WAL. Raise BackupAborted when the copy is worthless."""
        ...

    def tablespaces(self) -> Sequence[Tablespace]: ...

    def relation_name(self, path: str) -> str:
        """Return 'shop.public.orders' for a relation's file; '' where the catalog can't tell."""
        ...

    def history(self, timeline: int) -> bytes | None:
        """Return a timeline's history file, None if the source has none."""
        ...
