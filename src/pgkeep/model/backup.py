"""A physical backup, as lists, plans and coverage see it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from pgkeep.model.cluster import Generation
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment

BackupId = NewType("BackupId", str)  # '20261123T044225Z-7f3a': start, UTC, to 1/65,536 s


class BackupType(StrEnum):
    FULL = "full"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, slots=True)
class Backup:
    """One complete backup. Restorable from `stop_lsn` on, as far as WAL reaches."""

    id: BackupId
    type: BackupType
    generation: Generation
    timeline: int
    start_lsn: Lsn  # redo begins here
    stop_lsn: Lsn  # consistent from here on
    started_at: datetime  # UTC
    stopped_at: datetime  # UTC, by the server's clock, when stop_lsn was written
    label: str = ""
    files: int = 0
    size: int = 0  # bytes of the cluster
    stored: int = 0  # bytes this backup added to the repository
    corrupt_pages: int = 0
    checksums: bool = False
    parent: BackupId | None = None  # what an incremental was compared with; it may be gone by now

    @property
    def first_segment(self) -> Segment:
        return Segment.containing(self.start_lsn, self.timeline, self.generation.segment_size)

    @property
    def last_segment(self) -> Segment:
        return Segment.ending(self.stop_lsn, self.timeline, self.generation.segment_size)


def in_order(backups: Iterable[Backup]) -> list[Backup]:
    """Sort by when they began, the oldest first.

    Two may begin within a second: what they were made from tells which came first.
    """
    return sorted(backups, key=lambda backup: (backup.started_at, backup.start_lsn, backup.id))
