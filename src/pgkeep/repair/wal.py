"""Follow the WAL from the backups to where the cluster was stopped: the archive's and pg_wal's."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pgkeep.coverage.record import Record
from pgkeep.model.coverage import segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.timeline import BadHistory, History, history_name
from pgkeep.postgres.control import ControlFile, State
from pgkeep.postgres.wal_blocks.scan import Block, BlockScanner, BrokenWal, PageLog
from pgkeep.progress import Progress
from pgkeep.repair.plan import WalProof
from pgkeep.repair.refused import CannotRepair
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import ShortRead
from pgkeep.repository.wal_archive import WalMissing


def stop_of(control: ControlFile) -> tuple[int, Lsn]:
    """Return the timeline on which the cluster was stopped, and up to where its pages may be."""
    if control.state is State.SHUT_DOWN_IN_RECOVERY:
        timeline = max(control.timeline, control.min_recovery_timeline)
        return timeline, Lsn(max(control.min_recovery_point, control.checkpoint))
    return control.timeline, control.checkpoint


def history_of(root: str, timeline: int, record: Record) -> History:
    """Return how the cluster's timeline came about. Raise CannotRepair."""
    if timeline == 1:
        return History(1)
    try:
        with open(os.path.join(root, "pg_wal", history_name(timeline)), encoding="utf-8") as file:
            return History.parse(timeline, file.read())
    except (OSError, ValueError, BadHistory):
        line = record.coverage.timeline(timeline)
        if line is not None and line.history_known:
            return line.history
    why = f"it is on timeline {timeline}, whose history file is neither in pg_wal nor archived"
    raise CannotRepair(root, why, f"put {history_name(timeline)} into its pg_wal")


@dataclass
class LocalWal:
    """The WAL of one cluster, on its disk and in the archive."""

    root: str
    cluster: ClusterFolder
    record: Record
    history: History
    stop: Lsn  # what changed the cluster's pages ends here

    def follow(
        self, wanted: Sequence[Block], start: Lsn, progress: Progress
    ) -> tuple[dict[Block, PageLog], WalProof]:
        """Return what WAL from `start` on says of the blocks, and how far back that is proven."""
        size = self.record.generation.segment_size
        last, first = (int(self.stop) - 1) // size, int(start) // size
        gap = ""
        for number in range(last, first - 1, -1):
            if not self._has(number):
                gap = f"{self._segment(number)} is neither in pg_wal nor archived"
                first = number + 1
                break
        progress.phase("searching WAL for changes", (last + 1 - first) * size)
        while True:
            scanner = BlockScanner(wanted, start, self.stop)
            broken = self._feed(scanner, first, last, progress)
            if broken is None:
                break
            gap = f"{broken.segment}: {broken.why}"
            # A fresh start at the same segment: it may be that only the one before was damaged.
            first = broken.segment.number + (broken.segment.number == first)
            if first > last:
                break
        if scanner.end is None or scanner.end < self.stop:
            gap = gap or f"it ends before {self.stop}, where the cluster was stopped"
            return {block: PageLog() for block in wanted}, WalProof(None, gap)
        return scanner.logs, WalProof(scanner.first, gap)

    def _feed(
        self, scanner: BlockScanner, first: int, last: int, progress: Progress
    ) -> BrokenWal | None:
        size = self.record.generation.segment_size
        for done, number in enumerate(range(first, last + 1)):
            try:
                content, proven = self._read(self._segment(number))
                scanner.feed(self._segment(number), content, proven=proven)
            except BrokenWal as broken:
                return broken
            progress.advance((done + 1) * size)
            if scanner.end is not None and scanner.end >= self.stop:
                break
        return None

    def _segment(self, number: int) -> Segment:
        return segment_on(self.history, number, self.record.generation.segment_size)

    def _has(self, number: int) -> bool:
        segment = self._segment(number)
        return self._archived(segment) or os.path.exists(self._path(segment))

    def _archived(self, segment: Segment) -> bool:
        return segment.name in self.record.listing.stats

    def _path(self, segment: Segment) -> str:
        return os.path.join(self.root, "pg_wal", segment.name)

    def _read(self, segment: Segment) -> tuple[bytes, bool]:
        """Return a segment, and whether its bytes are proven: the archive's are, by their hash."""
        why = "it is neither in pg_wal nor archived"
        if self._archived(segment):
            archive = self.cluster.wal(self.record.generation.id)
            try:
                return b"".join(archive.fetch(segment.name)), True
            except (Damaged, FormatTooNew, ShortRead, WalMissing, WrongKey) as error:
                why = str(error)
        try:
            with open(self._path(segment), "rb") as file:
                content = file.read()
        except OSError as error:
            raise BrokenWal(segment, why) from error
        if len(content) != segment.size:
            raise BrokenWal(segment, f"it has {len(content)} bytes in pg_wal")
        return content, False
