"""Packs and chunks: what goes in comes out, and damage raises only pgkeep's errors."""

from contextlib import suppress

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from pgkeep.errors import PgkeepError
from pgkeep.repository import names, seal
from pgkeep.repository.manifest.tables import ChunkTable, PackTable
from pgkeep.repository.pack import PackWriter, Placed, StoredPack, read_contents, scan
from pgkeep.repository.packs.chunks import ChunkReader, plan_reads
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Key
from support.manifests import KEY, SEALER, cluster_folder

KEYS = st.sampled_from([None, KEY])
TEXTS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=12)


def store(
    cluster: ClusterFolder, texts: list[bytes], target: int
) -> tuple[list[Placed], tuple[StoredPack, ...]]:
    sealer = cluster.repository.sealer()
    writer = PackWriter(cluster, sealer, target)
    placed = []
    for text in texts:
        known = writer.find(sealer.chunk_id(text))
        placed.append(known or writer.add(sealer.seal(seal.CHUNK, text)))
    return placed, writer.finish()


def tables(
    placed: list[Placed], packs: tuple[StoredPack, ...], texts: list[bytes]
) -> tuple[ChunkTable, PackTable]:
    pack, offset, sealed = np.array([place[1:] for place in placed], np.uint32).T
    ids = np.frombuffer(b"".join(place.id for place in placed), "V16")
    plain = np.array([len(text) for text in texts], np.uint32)
    return (
        ChunkTable(ids, pack, offset, sealed, plain),
        PackTable(
            np.frombuffer(b"".join(pack.id for pack in packs), "V16"),
            np.array([pack.size for pack in packs], np.uint32),
        ),
    )


@given(TEXTS, st.integers(1, 1000), KEYS)
def test_what_goes_in_comes_out(texts: list[bytes], target: int, key: Key | None) -> None:
    cluster = cluster_folder(key)
    sealer = cluster.repository.sealer()
    placed, packs = store(cluster, texts, target)
    reader = ChunkReader(cluster, sealer, tables(placed, packs, texts)[1], backup="b")
    assert dict(reader.read(tables(placed, packs, texts)[0])) == dict(enumerate(texts))
    for pack in packs:
        content = cluster.store.get(names.pack("main", pack.id))
        assert len(content) == pack.size
        assert scan(content, "a pack").tolist() == read_contents(cluster, sealer, pack.id).tolist()


@given(TEXTS, st.data(), KEYS)
def test_damage_raises_only_our_errors(
    texts: list[bytes], data: st.DataObject, key: Key | None
) -> None:
    cluster = cluster_folder(key)
    sealer = cluster.repository.sealer()
    placed, packs = store(cluster, texts, 1 << 20)
    name = names.pack("main", packs[0].id)
    content = bytearray(cluster.store.get(name))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.none() | st.integers(0, len(content)))
    cluster.store.put(name, [bytes(content[:end])])
    with suppress(PgkeepError):
        rows = read_contents(cluster, sealer, packs[0].id)
        assert rows["id"].tobytes() == b"".join(dict.fromkeys(place.id for place in placed))
    with suppress(PgkeepError):
        scan(cluster.store.get(name), "a pack")
    chunks, pack_table = tables(placed, packs, texts)
    reader = ChunkReader(cluster, sealer, pack_table, backup="b")
    with suppress(PgkeepError):
        assert all(plain == texts[row] for row, plain in reader.read(chunks))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 500), st.integers(1, 60)), max_size=40),
    st.integers(1, 200),
    st.integers(0, 50),
)
def test_requests_cover_every_chunk_and_stay_small(
    rows: list[tuple[int, int, int]], window: int, gap: int
) -> None:
    pack, offset, sealed = np.array(rows, np.uint32).reshape(-1, 3).T
    chunks = ChunkTable(np.zeros(len(rows), "V16"), pack, offset, sealed, sealed)
    reads = list(plan_reads(chunks, window, gap))
    assert sorted(row for read in reads for row in read.rows) == list(range(len(rows)))
    for read in reads:
        assert read.length <= max(window, int(sealed.max()))
        for row in read.rows:
            assert pack[row] == read.pack
            assert read.offset <= offset[row]
            assert offset[row] + sealed[row] <= read.offset + read.length


def test_scan_stops_at_another_kind_of_block() -> None:
    chunk = SEALER.seal(seal.CHUNK, b"one").data
    assert len(scan(chunk + SEALER.seal(seal.WAL, b"two").data, "a pack")) == 1
