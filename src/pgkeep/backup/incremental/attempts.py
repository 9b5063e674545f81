"""Backups that never were completed, and what the next one can use of them.

A backup keeps an object of its own from before its first pack until after its manifest, and the ids
of its packs carry a tag made of its id. So the packs of one that died are found by their names, and
whatever they hold need not be stored again. On disk: docs/formats/repository.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

import numpy as np

from pgkeep.model.backup import BackupId
from pgkeep.repository import catalog, names
from pgkeep.repository.known import ChunkIndex
from pgkeep.repository.manifest.tables import Array
from pgkeep.repository.marker import encode_document, format_moment
from pgkeep.repository.pack import Placed, StoredPack, read_contents
from pgkeep.repository.pack_ids import TAG, tag_of
from pgkeep.repository.proofs import damaged_packs
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, Sealer, WrongKey
from pgkeep.repository.store.base import BlobMissing, ShortRead, StoreFailed

_MOST_CHUNKS: Final = 1_000_000  # found again: 28 MB in each worker, and a terabyte of cluster


def begin(cluster: ClusterFolder, backup_id: BackupId, now: datetime) -> None:
    """Say that a backup is being made: before its first pack."""
    document = encode_document({"backup": backup_id, "began_at": format_moment(now)})
    cluster.store.create(names.attempt(cluster.name, backup_id), [document])


def end(cluster: ClusterFolder, backup_ids: Iterable[str]) -> None:
    """Forget attempts: one whose manifest is written, and those it has made use of.

    What the store won't delete is left to the next backup: this one is complete all the same.
    """
    for backup_id in backup_ids:
        with suppress(StoreFailed):
            cluster.store.delete(names.attempt(cluster.name, backup_id))


def unfinished(cluster: ClusterFolder, complete: Iterable[str]) -> list[str]:
    """Return the attempts that ended without a manifest; whoever asks holds the lock."""
    prefix = names.attempts_prefix(cluster.name)
    listed = (blob.name.removeprefix(prefix) for blob in cluster.store.list(prefix))
    found = [name.removesuffix(".json") for name in listed if name.endswith(".json")]
    done = set(complete)
    end(cluster, (name for name in found if name in done))
    return [name for name in found if name not in done]


def list_packs(cluster: ClusterFolder) -> dict[bytes, int]:
    """Return the ids and sizes of all packs; other objects beside them are passed over."""
    found = {}
    for blob in cluster.store.list(names.packs_prefix(cluster.name)):
        name = blob.name.rpartition("/")[2]
        try:
            pack = bytes.fromhex(name)
        except ValueError:
            continue
        if names.pack(cluster.name, pack) == blob.name:
            found[pack] = blob.size
    return found


def packs_of(attempts: Iterable[str], packs: Mapping[bytes, int]) -> list[StoredPack]:
    """Return the packs that these attempts left behind."""
    tags = {tag_of(attempt) for attempt in attempts}
    return [StoredPack(pack, size) for pack, size in packs.items() if pack[TAG] in tags]


def discard(cluster: ClusterFolder, backup_id: str) -> None:
    """Remove what an attempt has stored: there is no room for it. What is listed stays."""
    # The store may complain after it has taken the manifest: then the packs are needed.
    if any(cluster.store.list(names.manifest(cluster.name, backup_id))):
        return
    for pack in packs_of([backup_id], list_packs(cluster)):
        cluster.store.delete(names.pack(cluster.name, pack.id))
    end(cluster, [backup_id])


@dataclass(frozen=True, slots=True)
class Past:
    """What is in the repository when a backup begins."""

    known: catalog.Catalog
    packs: Mapping[bytes, int]  # ids and sizes
    unfinished: Sequence[str]  # attempts without a manifest
    damaged: frozenset[bytes] = frozenset()  # packs in which a verify found damage

    @classmethod
    def read(cls, cluster: ClusterFolder) -> Self:
        known = catalog.backups(cluster)
        complete = [*(b.id for b in known.backups), *(b.id for b in known.unreadable)]
        damaged = frozenset(damaged_packs(cluster))
        return cls(known, list_packs(cluster), unfinished(cluster, complete), damaged)

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
