"""Chunks carried out of mostly dead packs: as they are, after a look at each."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from pgkeep.backup.copying.moving import Mover
from pgkeep.backup.copying.work import Copied, Moves
from pgkeep.repository import names
from pgkeep.repository.manifest.tables import ChunkTable, PackTable
from pgkeep.repository.pack import PackWriter, Placed
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import CHUNK, Key
from pgkeep.repository.store.memory import MemoryStore


@dataclass
class Stored:
    """Chunks in packs, and what a move of some of them makes."""

    cluster: ClusterFolder
    chunks: list[bytes]
    placed: list[Placed]
    packs: PackTable

    @classmethod
    def new(
        cls, chunks: list[bytes], *, per_pack: int = 10**9, encrypted: bool = False
    ) -> "Stored":
        key = Key(bytes(range(32))) if encrypted else None
        cluster = Repository(MemoryStore(), "00" * 16, key).cluster("main")
        sealer = cluster.repository.sealer()
        writer = PackWriter(cluster, sealer, per_pack)
        placed = [writer.add(sealer.seal(CHUNK, chunk)) for chunk in chunks]
        packs = writer.finish()
        ids = np.frombuffer(b"".join(pack.id for pack in packs), "V16")
        return cls(cluster, chunks, placed, PackTable(ids, np.array([p.size for p in packs])))

    def name(self, pack: int) -> str:
        return names.pack("main", self.packs.name(pack))

    def move(self, *rows: int) -> Copied:
        taken = [self.placed[row] for row in rows]
        table = ChunkTable(
            np.frombuffer(b"".join(each.id for each in taken), "V16"),
            np.array([each.pack for each in taken], np.uint32),
            np.array([each.offset for each in taken], np.uint32),
            np.array([each.length for each in taken], np.uint32),
            np.array([len(self.chunks[row]) for row in rows], np.uint32),
        )
        moves = Moves(np.array(rows) + 100, table, self.packs)
        mover = Mover(self.cluster, self.cluster.repository.sealer())
        writer = PackWriter(self.cluster, self.cluster.repository.sealer())
        return mover.move(moves, writer)

    def read(self, copied: Copied) -> dict[int, bytes]:
        """Return what was moved, by the number of the row."""
        assert copied.moved is not None
        stored, sealer, found = copied.stored, self.cluster.repository.sealer(), {}
        columns = (stored.column(c).tolist() for c in ("pack", "offset", "sealed", "plain"))
        for row, (pack, offset, length, plain) in zip(
            copied.moved.tolist(), zip(*columns, strict=True), strict=True
        ):
            name = names.pack("main", stored.packs[pack].id)
            sealed = self.cluster.store.get(name, offset, length)
            found[row - 100] = sealer.unseal(CHUNK, sealed, name)
            assert len(found[row - 100]) == plain
        return found

    def spoil(self, row: int) -> None:
        """Turn a bit of a chunk around, in its content."""
        placed = self.placed[row]
        content = bytearray(self.cluster.store.get(self.name(placed.pack)))
        content[placed.offset + placed.length - 1] ^= 1
        self.cluster.store.put(self.name(placed.pack), [bytes(content)])


CHUNKS = [b"%d" % number * 300 for number in range(6)]
new = partial(Stored.new, CHUNKS)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("per_pack", [1, 150, 10**9])
def test_moved_chunks_are_the_same_in_new_packs(encrypted: bool, per_pack: int) -> None:
    stored = new(per_pack=per_pack, encrypted=encrypted)
    copied = stored.move(0, 2, 3, 5)
    assert stored.read(copied) == {row: CHUNKS[row] for row in (0, 2, 3, 5)}
    assert len(copied.stored.packs) == 1
    assert copied.notes == []
    assert copied.read == copied.known == copied.resumed == 0


def test_sealed_bytes_stay_as_they_are() -> None:
    stored = new(encrypted=True)
    copied = stored.move(1)
    new_name = names.pack("main", copied.stored.packs[0].id)
    (offset,), (length,) = (copied.stored.column(c).tolist() for c in ("offset", "sealed"))
    placed = stored.placed[1]
    assert stored.cluster.store.get(new_name, offset, length) == stored.cluster.store.get(
        stored.name(0), placed.offset, placed.length
    )


def test_equal_chunks_are_carried_once() -> None:
    stored = new()
    once, thrice = stored.move(2), stored.move(2, 2, 2)
    assert once.stored.packs[0].size == thrice.stored.packs[0].size
    assert thrice.moved is not None
    assert thrice.moved.tolist() == [102] * 3
    assert stored.read(thrice) == {2: CHUNKS[2]}


def test_a_damaged_chunk_stays_where_it_is_and_is_told_of() -> None:
    stored = new(per_pack=1)
    stored.spoil(2)
    copied = stored.move(0, 2, 3)
    assert stored.read(copied) == {0: CHUNKS[0], 3: CHUNKS[3]}
    (note,) = copied.notes
    assert note.startswith("left chunks where they are: ")
    assert stored.name(2) in note


def test_what_was_carried_before_the_damage_counts() -> None:
    stored = new()
    stored.spoil(2)
    copied = stored.move(0, 1, 2, 3)
    assert stored.read(copied).items() >= {0: CHUNKS[0], 1: CHUNKS[1]}.items()
    assert 2 not in stored.read(copied)


def test_another_chunk_in_its_place_is_not_carried() -> None:
    stored = new(per_pack=1)
    content = stored.cluster.store.get(stored.name(4))
    stored.cluster.store.put(stored.name(2), [content])
    copied = stored.move(2, 3)
    assert stored.read(copied) == {3: CHUNKS[3]}
    assert "another chunk than recorded" in copied.notes[0]


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "cut off"])
def test_packs_that_are_gone_or_cut_off_stay_so(gone: bool) -> None:
    stored = new(per_pack=1)
    if gone:
        stored.cluster.store.delete(stored.name(2))
    else:
        stored.cluster.store.put(stored.name(2), [stored.cluster.store.get(stored.name(2))[:20]])
    copied = stored.move(2, 3)
    assert stored.read(copied) == {3: CHUNKS[3]}
    assert len(copied.notes) == 1


def test_nothing_that_can_be_moved() -> None:
    stored = new(per_pack=1)
    stored.cluster.store.delete(stored.name(2))
    copied = stored.move(2)
    assert stored.read(copied) == {}
    assert copied.stored.packs == ()
