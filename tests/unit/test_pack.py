"""Packs: written in order, found again with and without their table of contents."""

import pytest

from pgkeep.repository import names, seal
from pgkeep.repository.pack import FOOTER_SIZE, PackWriter, Placed, read_contents, scan
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, SealedBlock, Sealer, WrongKey
from pgkeep.repository.store.base import BlobExists, BlobMissing
from support.manifests import KEY, SEALER, cluster_folder

ID = bytes(range(16))


def sealed(text: str, sealer: Sealer = SEALER) -> SealedBlock:
    return sealer.seal(seal.CHUNK, text.encode())


def one_pack(cluster: ClusterFolder, *texts: str) -> str:
    """Store one pack with these chunks; return its name in the store."""
    sealer = cluster.repository.sealer()
    writer = PackWriter(cluster, sealer, new_id=lambda _: ID)
    for text in texts:
        writer.add(sealed(text, sealer))
    assert [pack.id for pack in writer.finish()] == [ID]
    return names.pack("main", ID)


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "encrypted"])
def test_chunks_lie_back_to_back_and_the_contents_say_where(key: seal.Key | None) -> None:
    cluster = cluster_folder(key)
    sealer = cluster.repository.sealer()
    name = one_pack(cluster, "one", "three", "twelve")
    content = cluster.store.get(name)
    rows = read_contents(cluster, sealer, ID)
    found = [
        sealer.unseal(seal.CHUNK, content[row["offset"] :][: row["length"]], name) for row in rows
    ]
    assert found == [b"one", b"three", b"twelve"]
    assert [row["id"].tobytes() for row in rows] == [sealer.chunk_id(plain) for plain in found]
    assert rows["offset"][0] == 0


def test_a_pack_can_be_walked_without_its_contents() -> None:
    cluster = cluster_folder()
    content = cluster.store.get(one_pack(cluster, "one", "three", "twelve"))
    rows = read_contents(cluster, SEALER, ID)
    assert scan(content, "a pack").tolist() == rows.tolist()
    cut = int(rows["offset"][2]) + 10
    assert scan(content[:cut], "a pack").tolist() == rows[:2].tolist()
    assert len(scan(b"", "a pack")) == 0


def test_a_pack_is_stored_as_soon_as_it_is_full() -> None:
    cluster = cluster_folder()
    writer = PackWriter(cluster, SEALER, target=100)
    assert [writer.add(sealed("x" * n)).pack for n in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert len(list(cluster.store.list())) >= 1  # the second may still be on its way
    assert writer.add(sealed("last")) == Placed(SEALER.chunk_id(b"last"), 2, 0, 56)
    packs = writer.finish()
    assert len(packs) == 3
    sizes = {blob.name: blob.size for blob in cluster.store.list()}
    assert sizes == {names.pack("main", pack.id): pack.size for pack in packs}


def test_what_is_stored_already_can_be_found() -> None:
    writer = PackWriter(cluster_folder(), SEALER)
    placed = writer.add(sealed("empty database"))
    assert writer.find(SEALER.chunk_id(b"empty database")) == placed
    assert writer.find(SEALER.chunk_id(b"another")) is None


def test_nothing_written_is_no_pack() -> None:
    cluster = cluster_folder()
    assert PackWriter(cluster, SEALER).finish() == ()
    assert list(cluster.store.list()) == []


def test_a_pack_is_never_replaced() -> None:
    cluster = cluster_folder()
    before = cluster.store.get(one_pack(cluster, "old"))
    writer = PackWriter(cluster, SEALER, new_id=lambda _: ID)
    writer.add(sealed("new"))
    with pytest.raises(BlobExists):
        writer.finish()
    assert cluster.store.get(names.pack("main", ID)) == before


def test_what_the_store_raised_in_the_background_reaches_the_caller() -> None:
    cluster = cluster_folder()
    one_pack(cluster, "old")
    writer = PackWriter(cluster, SEALER, target=1, new_id=lambda _: ID)
    writer.add(sealed("first"))
    with pytest.raises(BlobExists):
        writer.add(sealed("second"))


def test_contents_that_need_a_second_request() -> None:
    cluster = cluster_folder()
    writer = PackWriter(cluster, SEALER, new_id=lambda _: ID)
    for number in range(4000):
        writer.add(sealed(f"{number}"))
    writer.finish()
    assert len(read_contents(cluster, SEALER, ID)) == 4000


def damage(cluster: ClusterFolder, content: bytes) -> None:
    cluster.store.put(names.pack("main", ID), [content])


@pytest.mark.parametrize("length", [0, 5, FOOTER_SIZE, 100, 200])
def test_a_pack_that_was_cut_off(length: int) -> None:
    cluster = cluster_folder()
    damage(cluster, cluster.store.get(one_pack(cluster, "one", "two"))[:length])
    with pytest.raises(Damaged):
        read_contents(cluster, SEALER, ID)


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        pytest.param(-16, b"PGKM", Damaged, id="magic"),
        pytest.param(-12, b"\x02", FormatTooNew, id="later version"),
        pytest.param(-12, b"\x00", Damaged, id="version 0"),
        pytest.param(-8, b"\xff", Damaged, id="offset"),
        pytest.param(-4, b"\xff\xff\xff\xff", Damaged, id="length"),
        pytest.param(-30, b"\xff", Damaged, id="contents"),
        pytest.param(-1, b"\x01", Damaged, id="high byte"),
    ],
)
def test_a_footer_that_cannot_be_right(place: int, value: bytes, error: type[Exception]) -> None:
    cluster = cluster_folder()
    content = bytearray(cluster.store.get(one_pack(cluster, "one", "two")))
    end = len(content) + place + len(value)
    content[len(content) + place : end] = value
    damage(cluster, bytes(content))
    with pytest.raises(error):
        read_contents(cluster, SEALER, ID)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(b"", id="none"),
        pytest.param(bytes(23), id="cut"),
        pytest.param(bytes(16) + b"\x00\0\0\0" + b"\x38\0\0\0", id="too short"),
        pytest.param(bytes(16) + b"\x01\0\0\0" + b"\x37\0\0\0", id="not from the first byte"),
    ],
)
def test_contents_that_do_not_describe_the_pack(rows: bytes) -> None:
    cluster = cluster_folder()
    content = cluster.store.get(one_pack(cluster, "one"))
    chunks = content[: read_contents(cluster, SEALER, ID)["length"].sum()]
    forged = SEALER.seal(seal.PACK_CONTENTS, rows).data
    footer = b"PGKP\x01\0\0\0" + len(chunks).to_bytes(4, "little")
    damage(cluster, chunks + forged + footer + len(forged).to_bytes(4, "little"))
    with pytest.raises(Damaged, match="its contents"):
        read_contents(cluster, SEALER, ID)


def test_a_missing_pack_and_a_wrong_key_are_told_apart() -> None:
    cluster = cluster_folder(KEY)
    with pytest.raises(BlobMissing):
        read_contents(cluster, SEALER, ID)
    one_pack(cluster, "one")
    with pytest.raises(WrongKey):
        read_contents(cluster, SEALER, ID)
