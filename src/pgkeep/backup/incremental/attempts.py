"""What the next backup can use of those that never were completed: repository/packs/attempts.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

import numpy as np

from pgkeep.repository import catalog, names
from pgkeep.repository.manifest.tables import Array
from pgkeep.repository.pack import Placed, StoredPack, read_contents
from pgkeep.repository.packs.attempts import (
    list_attempts,
    list_packs,
    packs_of,
    unfinished,
)
from pgkeep.repository.packs.known import ChunkIndex
from pgkeep.repository.proofs import damaged_packs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, Sealer, WrongKey
from pgkeep.repository.store.base import BlobMissing, ShortRead
from pgkeep.repository.store.distance.at_once import Calls

_MOST_CHUNKS: Final = 1_000_000  # found again: 28 MB in each worker, and a terabyte of cluster


@dataclass(frozen=True, slots=True)
class Past:
    """What is in the repository when a backup begins."""

    known: catalog.Catalog
    packs: Mapping[bytes, int]  # ids and sizes
    unfinished: Sequence[str]  # attempts without a manifest
    damaged: frozenset[bytes] = frozenset()  # packs in which a verify found damage

    @classmethod
    def read(cls, cluster: ClusterFolder) -> Self:
        ids = catalog.ids(cluster)
        with Calls(cluster.store) as calls:
            known = calls.begin(partial(catalog.backups, cluster, ids))
            damaged = calls.begin(partial(damaged_packs, cluster))
            # After the manifests' names: what a listed one needs was there before it.
            packs = calls.begin(partial(list_packs, cluster))
            attempts = calls.begin(partial(list_attempts, cluster))
        complete = known.result().ids()
        left = unfinished(cluster, attempts.result(), complete)
        return cls(known.result(), packs.result(), left, frozenset(damaged.result()))

    def adopt(self, cluster: ClusterFolder) -> "Adopted":
        packs = [p for p in packs_of(self.unfinished, self.packs) if p.id not in self.damaged]
        if packs:  # whoever stored them may have died before his last fsync
            cluster.store.secure(names.packs_prefix(cluster.name))
        return adopt(cluster, cluster.repository.sealer(), packs)


_NO_ROWS: Final = np.zeros(0, np.uint32)


@dataclass(frozen=True, slots=True)
class Adopted:
    """The chunks of unfinished attempts, by id. 28 bytes a chunk, and sent to every worker."""

    packs: Sequence[StoredPack] = ()
    index: ChunkIndex = field(default_factory=ChunkIndex)
    pack: Array = field(default_factory=lambda: _NO_ROWS)
    offset: Array = field(default_factory=lambda: _NO_ROWS)
    length: Array = field(default_factory=lambda: _NO_ROWS)

    def __len__(self) -> int:
        return len(self.index)

    def find(self, chunk_id: bytes) -> tuple[StoredPack, Placed] | None:
        """Return where a chunk with this content is; `Placed.pack` means nothing here."""
        place = self.index.find(chunk_id)
        if place is None:
            return None
        placed = Placed(chunk_id, 0, int(self.offset[place]), int(self.length[place]))
        return self.packs[int(self.pack[place])], placed


def adopt(cluster: ClusterFolder, sealer: Sealer, packs: Sequence[StoredPack]) -> Adopted:
    """Read what is in these packs; one that is not whole is passed over: it is used by nobody."""
    good: list[StoredPack] = []
    contents: list[Array] = []
    count = 0
    for pack in packs:
        try:
            rows = read_contents(cluster, sealer, pack.id)
        except (BlobMissing, Damaged, FormatTooNew, ShortRead, WrongKey):
            continue
        count += len(rows)
        if count > _MOST_CHUNKS:
            break
        good.append(pack)
        contents.append(rows)
    if not good:
        return Adopted()
    rows = np.concatenate(contents)
    number = np.repeat(np.arange(len(good), dtype=np.uint32), [len(part) for part in contents])
    index, places = ChunkIndex.of(rows["id"])
    offset, length = rows["offset"][places], rows["length"][places]
    return Adopted(tuple(good), index, number[places], offset, length)
