"""Carries chunks out of mostly dead packs: sealed bytes as they are, after a look at each."""

from typing import NamedTuple

import numpy as np

from pgkeep.backup.copying.work import Copied, Moves
from pgkeep.repository import names
from pgkeep.repository.chunks import ChunkRead, plan_reads
from pgkeep.repository.manifest.builder import ChunkLog
from pgkeep.repository.pack import PackWriter, Placed
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import CHUNK, Damaged, SealedBlock, Sealer, read_header
from pgkeep.repository.store.base import BlobMissing, ShortRead


class Mover(NamedTuple):
    """Moves chunks into the packs of one task."""

    cluster: ClusterFolder
    sealer: Sealer

    def move(self, moves: Moves, packs: PackWriter) -> Copied:
        """Return what was moved. A chunk that is damaged stays where it is, and is told of.

        The packs are durable only when the caller has settled its store.
        """
        log, moved, notes = ChunkLog(), list[int](), list[str]()
        for request in plan_reads(moves.chunks):
            try:
                self._carry(request, moves, packs, log, moved)
            except (Damaged, BlobMissing, ShortRead) as error:
                # Where it is it harms no more than before, and verify tells whom it harms.
                notes.append(f"left chunks where they are: {error}")
        return Copied(log.finish(packs.finish()), moved=np.array(moved, np.int64), notes=notes)

    def _carry(
        self, request: ChunkRead, moves: Moves, packs: PackWriter, log: ChunkLog, moved: list[int]
    ) -> None:
        name = names.pack(self.cluster.name, moves.packs.name(request.pack))
        content = memoryview(self.cluster.store.get(name, request.offset, request.length))
        chunks = moves.chunks
        placed: Placed | None = None
        last = -1
        for row in request.rows:
            offset, length = int(chunks.offset[row]), int(chunks.sealed[row])
            if offset != last or placed is None:  # equal chunks are stored once
                sealed = content[offset - request.offset :][:length]
                chunk_id = chunks.id[row].tobytes()
                self.sealer.unseal(CHUNK, sealed, name)
                if read_header(sealed, name).id != chunk_id:
                    raise Damaged(name, f"at byte {offset} is another chunk than recorded")
                placed, last = packs.add(SealedBlock(chunk_id, bytes(sealed))), offset
            log.add(0, 0, placed, int(chunks.plain[row]))
            moved.append(int(moves.rows[row]))
