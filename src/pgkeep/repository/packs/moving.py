"""Carries chunks out of mostly dead packs: sealed bytes as they are, after a look at each."""

from dataclasses import dataclass, field

from pgkeep.repository import names
from pgkeep.repository.manifest.tables import ChunkTable, PackTable
from pgkeep.repository.pack import PackWriter, Placed
from pgkeep.repository.packs.chunks import ChunkRead, plan_reads
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import CHUNK, Damaged, SealedBlock, Sealer, read_header
from pgkeep.repository.store.base import BlobMissing, ShortRead


@dataclass
class Moved:
    """Where chunks lie now."""

    rows: list[int] = field(default_factory=list)  # of the table that was given
    placed: list[Placed] = field(default_factory=list)  # one for each of them
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves chunks of one cluster."""

    cluster: ClusterFolder
    sealer: Sealer

    def move(self, chunks: ChunkTable, packs: PackTable, into: PackWriter) -> Moved:
        """Copy chunks into new packs, which are durable only when `into` has been finished.

        A chunk that is damaged stays where it is, and is told of.
        """
        moved = Moved()
        for request in plan_reads(chunks):
            try:
                self._carry(request, chunks, packs, into, moved)
            except (Damaged, BlobMissing, ShortRead) as error:
                # Where it is it harms no more than before, and verify tells whom it harms.
                moved.notes.append(f"left chunks where they are: {error}")
        return moved

    def _carry(
        self,
        request: ChunkRead,
        chunks: ChunkTable,
        packs: PackTable,
        into: PackWriter,
        moved: Moved,
    ) -> None:
        name = names.pack(self.cluster.name, packs.name(request.pack))
        content = memoryview(self.cluster.store.get(name, request.offset, request.length))
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
                placed, last = into.add(SealedBlock(chunk_id, bytes(sealed))), offset
            moved.rows.append(row)
            moved.placed.append(placed)
