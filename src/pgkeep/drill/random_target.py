"""Draws a moment of the coverage by lot. The same seed draws the same from the same coverage."""

import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pgkeep.coverage.record import read_record
from pgkeep.model.coverage import Reach, segment_on
from pgkeep.model.lsn import Lsn
from pgkeep.repository.repository import ClusterFolder
from pgkeep.restore.target.archived_wal import ArchivedWal
from pgkeep.restore.target.locate import SegmentUnusable
from pgkeep.restore.target.unreachable import NothingToRestore

_DRAWS: Final = 100  # of which one must be a record's: WAL is full of them


class Drawn(NamedTuple):
    """A moment that can be restored: just before the record that begins at `lsn`."""

    lsn: Lsn
    timeline: int


def draw_moment(cluster: ClusterFolder, seed: str, backup: str = "") -> Drawn:
    """Return a moment of the newest timeline that can be restored, of one backup if it is named.

    Every byte of WAL is as likely as any other. Raise NothingToRestore.
    """
    record = read_record(cluster)
    newest = record.newest
    line = newest.coverage.latest if newest else None
    if newest is None or line is None:
        raise NothingToRestore(cluster.name, "no backup of it can be made consistent")
    reaches = [reach for reach in line.reaches if reach.backup.startswith(backup)]
    if not reaches:
        why = f"no backup {backup} leads to a moment of timeline {line.timeline}"
        raise NothingToRestore(cluster.name, why)
    size = newest.generation.segment_size
    wal = ArchivedWal(cluster.wal(newest.generation.id), line, size)
    for lsn in draws(reaches, seed):
        segment = segment_on(line.history, lsn // size, size)
        try:
            found = wal.first_record(segment, lsn)
        except SegmentUnusable:
            # The moment cannot be restored, and that is what a drill is to find out.
            return Drawn(lsn, line.timeline)
        if found is not None:
            return Drawn(found, line.timeline)
    # Nothing but the empty ends of segments: the end of the oldest backup is a moment as well.
    return Drawn(reaches[0].start, line.timeline)


def draws(reaches: Sequence[Reach], seed: str) -> Iterator[Lsn]:
    """Yield positions of what can be restored, by lot. Pure."""
    chance = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    stretches = _joined(reaches)
    total = sum(end - start for start, end in stretches)
    for _ in range(_DRAWS if total else 0):
        place = chance.randrange(total)
        for start, end in stretches:
            if place < end - start:
                yield Lsn(start + place)
                break
            place -= end - start


def _joined(reaches: Sequence[Reach]) -> list[tuple[int, int]]:
    """Return the stretches that reaches cover together, none of them twice."""
    found: list[tuple[int, int]] = []
    for reach in sorted(reaches, key=lambda reach: reach.start):
        if found and reach.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], int(reach.end)))
        else:
            found.append((int(reach.start), int(reach.end)))
    return found
