"""Reading chunks back: few requests, and never a byte that was not backed up."""

from collections.abc import Sequence

import numpy as np
import pytest

from pgkeep.repository import names, seal
from pgkeep.repository.manifest.tables import ChunkTable, PackTable
from pgkeep.repository.pack import PackWriter, StoredPack
from pgkeep.repository.packs.chunks import ChunkRead, ChunkReader, PackMissing, plan_reads
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged
from support.manifests import KEY, cluster_folder


def table(rows: Sequence[tuple[int, int, int]]) -> ChunkTable:
    """Rows are (pack, offset, sealed length)."""
    pack, offset, sealed = np.array(rows, np.uint32).reshape(-1, 3).T
    return ChunkTable(np.zeros(len(rows), "V16"), pack, offset, sealed, np.ones_like(pack))


@pytest.mark.parametrize(
    ("rows", "reads"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(0, 0, 10), (0, 10, 10)], [(0, 0, 20, [0, 1])], id="neighbours"),
        pytest.param([(0, 10, 10), (0, 0, 10)], [(0, 0, 20, [1, 0])], id="sorted"),
        pytest.param([(0, 0, 10), (0, 15, 10)], [(0, 0, 25, [0, 1])], id="small gap"),
        pytest.param(
            [(0, 0, 10), (0, 16, 10)], [(0, 0, 10, [0]), (0, 16, 10, [1])], id="large gap"
        ),
        pytest.param([(1, 0, 10), (0, 10, 10)], [(0, 10, 10, [1]), (1, 0, 10, [0])], id="packs"),
        pytest.param([(0, 0, 10), (0, 0, 10)], [(0, 0, 10, [0, 1])], id="equal chunks"),
        pytest.param(
            [(0, n * 40, 40) for n in range(4)],
            [(0, 0, 80, [0, 1]), (0, 80, 80, [2, 3])],
            id="window",
        ),
        pytest.param([(0, 0, 500)], [(0, 0, 500, [0])], id="larger than the window"),
    ],
)
def test_plan_reads(
    rows: list[tuple[int, int, int]], reads: list[tuple[int, int, int, list[int]]]
) -> None:
    assert list(plan_reads(table(rows), window=100, gap=5)) == [ChunkRead(*read) for read in reads]


def stored(cluster: ClusterFolder, texts: Sequence[bytes]) -> tuple[ChunkTable, PackTable]:
    sealer = cluster.repository.sealer()
    writer = PackWriter(cluster, sealer, target=200)
    placed = [writer.add(sealer.seal(seal.CHUNK, text)) for text in texts]
    return chunk_table(placed, texts), pack_table(writer.finish())


def chunk_table(
    placed: Sequence[tuple[bytes, int, int, int]], texts: Sequence[bytes]
) -> ChunkTable:
    ids, packs, offsets, lengths = zip(*placed, strict=True)
    return ChunkTable(
        id=np.frombuffer(b"".join(ids), "V16"),
        pack=np.array(packs, np.uint32),
        offset=np.array(offsets, np.uint32),
        sealed=np.array(lengths, np.uint32),
        plain=np.array([len(text) for text in texts], np.uint32),
    )


def pack_table(packs: Sequence[StoredPack]) -> PackTable:
    ids = b"".join(pack.id for pack in packs)
    return PackTable(np.frombuffer(ids, "V16"), np.array([p.size for p in packs], np.uint32))


TEXTS = [b"one", b"two" * 50, b"three", b"four" * 60, b"five"]


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "encrypted"])
def test_every_row_comes_back_once(key: seal.Key | None) -> None:
    cluster = cluster_folder(key)
    chunks, packs = stored(cluster, TEXTS)
    assert len(packs) > 1
    reader = ChunkReader(cluster, cluster.repository.sealer(), packs, backup="b")
    rows = np.array([4, 0, 2, 0, 1, 3])
    found = list(reader.read(chunks.take(rows)))
    assert sorted(found) == [(at, TEXTS[row]) for at, row in enumerate(rows.tolist())]


def test_a_missing_pack_names_backup_and_file() -> None:
    cluster = cluster_folder()
    chunks, packs = stored(cluster, TEXTS)
    cluster.store.delete(names.pack("main", packs.name(1)))
    reader = ChunkReader(cluster, cluster.repository.sealer(), packs, backup="b")
    with pytest.raises(PackMissing) as caught:
        list(reader.read(chunks, lambda row: f"base/1/{row}"))
    row = chunks.pack.tolist().index(1)
    assert str(caught.value) == (
        f"backup b cannot be restored whole: {names.pack('main', packs.name(1))} "
        f"(needed for base/1/{row}) is missing from memory:"
    )
    assert "another copy of the repository" in caught.value.hint


def changed(cluster: ClusterFolder, name: str, place: int) -> None:
    content = bytearray(cluster.store.get(name))
    content[place] ^= 1
    cluster.store.put(name, [bytes(content)])


@pytest.mark.parametrize("place", [0, 9, 25, 53], ids=["magic", "length", "id", "body"])
def test_a_flipped_bit_names_file_pack_and_offset(place: int) -> None:
    cluster = cluster_folder()
    chunks, packs = stored(cluster, TEXTS)
    pack = names.pack("main", packs.name(0))
    changed(cluster, pack, place)
    reader = ChunkReader(cluster, cluster.repository.sealer(), packs, backup="b")
    with pytest.raises(Damaged) as caught:
        list(reader.read(chunks, lambda row: f"base/1/{row}"))
    assert caught.value.where == f"base/1/0 of backup b ({pack} at byte 0)"


def test_a_pack_that_was_cut_off() -> None:
    cluster = cluster_folder()
    chunks, packs = stored(cluster, TEXTS)
    pack = names.pack("main", packs.name(0))
    cluster.store.put(pack, [cluster.store.get(pack)[:60]])
    reader = ChunkReader(cluster, cluster.repository.sealer(), packs, backup="b")
    with pytest.raises(Damaged, match="was cut off at byte 60"):
        list(reader.read(chunks))


def test_an_intact_chunk_in_the_wrong_place_is_refused() -> None:
    cluster = cluster_folder()
    chunks, packs = stored(cluster, [b"one", b"two"])
    swapped = ChunkTable(chunks.id[::-1], chunks.pack, chunks.offset, chunks.sealed, chunks.plain)
    reader = ChunkReader(cluster, cluster.repository.sealer(), packs, backup="b")
    with pytest.raises(Damaged, match="another chunk is there"):
        list(reader.read(swapped))


def test_a_wrong_length_in_the_manifest_is_refused() -> None:
    cluster = cluster_folder()
    chunks, packs = stored(cluster, [b"one"])
    wrong = ChunkTable(chunks.id, chunks.pack, chunks.offset, chunks.sealed, chunks.plain + 1)
    reader = ChunkReader(cluster, cluster.repository.sealer(), packs, backup="b")
    with pytest.raises(Damaged, match="length"):
        list(reader.read(wrong))
