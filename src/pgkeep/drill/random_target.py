"""Draws a moment of the coverage by lot. The same seed draws the same from the same coverage."""

import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pgkeep.coverage.record import read_record
from pgkeep.model.coverage import Reach, segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.repository.catalog import LATEST
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.target.archived_wal import ArchivedWal
from pgkeep.restore.target.locate import SegmentUnusable
from pgkeep.restore.target.unreachable import NothingToRestore

_DRAWS: Final = 32  # segments that are read at most: an idle server's hold no transaction


class Drawn(NamedTuple):
    """A moment that can be restored: just before the record that begins at `lsn`."""

    lsn: Lsn
    timeline: int
    words: str


class Ticket(NamedTuple):
    """A segment by its number, and which of its transactions: the same share of however many."""

    segment: int
    share: float


def draw_moment(cluster: ClusterFolder, seed: str, backup: str = "") -> Drawn:
    """Return a moment of the newest timeline that can be restored, of one backup if it is named.

    First a segment of archived WAL is drawn, then a transaction that ended in it. Raise
    NothingToRestore.
    """
    record = read_record(cluster)
    newest = record.newest
    line = newest.coverage.latest if newest else None
    if newest is None or line is None:
        raise NothingToRestore(cluster.name, "no backup of it can be made consistent")
    wanted = line.reaches[-1].backup if backup == LATEST else backup
    reaches = [reach for reach in line.reaches if reach.backup.startswith(wanted)]
    if not reaches:
        why = f"no backup {backup} leads to a moment of timeline {line.timeline}"
        raise NothingToRestore(cluster.name, why)
    size = newest.generation.segment_size
    wal = ArchivedWal(cluster.wal(newest.generation.id), line, size)
    for number, share in tickets(reaches, seed, size):
        segment = segment_on(line.history, number, size)
        try:
            changes = [
                change
                for change in wal.changes(segment)
                if any(reach.holds(change.lsn) for reach in reaches)
            ]
        except SegmentUnusable as unusable:
            # What lies in it cannot be restored, and that is what a drill is to find out.
            start = Lsn(max(segment.start, reaches[0].start))
            return Drawn(start, line.timeline, f"in {segment}: {unusable}")
        if changes:
            chosen = changes[int(share * len(changes))]
            return Drawn(chosen.lsn, line.timeline, f"just before {chosen}")
    words = f"no transaction in the WAL that was looked at: the end of backup {reaches[0].backup}"
    return Drawn(reaches[0].start, line.timeline, words)


def tickets(reaches: Sequence[Reach], seed: str, size: int) -> Iterator[Ticket]:
    """Yield segments of what can be restored, by lot, each as likely as any other. Pure."""
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    stretches = _joined(reaches, size)
    total = sum(map(len, stretches))
    for _ in range(_DRAWS if total else 0):
        place = chance.randrange(total)
        for stretch in stretches:
            if place < len(stretch):
                yield Ticket(stretch[place], chance.random())
                break
            place -= len(stretch)


def _joined(reaches: Sequence[Reach], size: int) -> list[range]:
    """Return the segments that reaches cover together, none of them twice."""
    found: list[range] = []
    for reach in sorted(reaches, key=lambda reach: reach.start):
        first, beyond = reach.start // size, reach.end // size
        if found and first <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, beyond))
        else:
            found.append(range(first, beyond))
    return found
