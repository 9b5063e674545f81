"""Carries chunks of the parent out of mostly dead packs, as a task of a worker."""

from typing import NamedTuple

import numpy as np

from pgkeep.backup.copying.work import Copied, Moves
from pgkeep.repository.manifest.builder import ChunkLog
from pgkeep.repository.pack import PackWriter
from pgkeep.repository.packs import moving
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Sealer


class Mover(NamedTuple):
    """Moves chunks into the packs of one task."""

    cluster: ClusterFolder
    sealer: Sealer

    def move(self, moves: Moves, packs: PackWriter) -> Copied:
        """Return what was moved. The packs are durable when the caller has settled its store."""
        found = moving.Mover(self.cluster, self.sealer).move(moves.chunks, moves.packs, packs)
        log = ChunkLog()
        for row, placed in zip(found.rows, found.placed, strict=True):
            log.add(0, 0, placed, int(moves.chunks.plain[row]))
        rows = moves.rows[np.array(found.rows, np.int64)]
        return Copied(log.finish(packs.finish()), moved=rows, notes=found.notes)
