"""The pack of docs/formats/pack.md is read, and written again byte for byte."""

from pgkeep.repository import names, seal
from pgkeep.repository.pack import PackWriter, read_contents, scan
from support.manifests import SEALER, cluster_folder
from support.pages import hex_example

ID = bytes(range(16))


def test_the_worked_example_is_read() -> None:
    content = hex_example("pack.md", "Worked example")
    cluster = cluster_folder()
    cluster.store.put(names.pack("main", ID), [content])
    rows = read_contents(cluster, SEALER, ID)
    assert [(row["offset"], row["length"]) for row in rows] == [(0, 55), (55, 56)]
    chunks = [content[row["offset"] :][: row["length"]] for row in rows]
    assert [SEALER.unseal(seal.CHUNK, chunk, "it") for chunk in chunks] == [b"one", b"zero"]
    assert scan(content, "it").tolist() == rows.tolist()


def test_the_worked_example_is_what_is_written() -> None:
    cluster = cluster_folder()
    writer = PackWriter(cluster, SEALER, new_id=lambda _: ID)
    for text in (b"one", b"zero"):
        writer.add(SEALER.seal(seal.CHUNK, text))
    writer.finish()
    assert cluster.store.get(names.pack("main", ID)) == hex_example("pack.md", "Worked example")


def test_the_example_name_is_the_one_on_the_page() -> None:
    assert names.pack("main", ID) == "clusters/main/packs/00/000102030405060708090a0b0c0d0e0f"
