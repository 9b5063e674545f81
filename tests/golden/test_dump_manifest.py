"""The manifest of docs/formats/dump.md is read; what is on the page about it is true.

It is not written again byte for byte: another version of zstd may compress it otherwise.
"""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pgkeep.model.dump import DumpId, Selection
from pgkeep.repository import dumps, names
from pgkeep.repository.manifest.builder import ChunkLog, ManifestBuilder
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.manifest.codec import (
    OF_BACKUP,
    OF_DUMP,
    DumpManifest,
    decode,
    encode,
    read_manifest_header,
)
from pgkeep.repository.manifest.dump_facts import DumpedDatabase, DumpFacts, Globals
from pgkeep.repository.manifest.facts import Extension
from pgkeep.repository.pack import Placed, StoredPack
from support.dump_shelf import DUMP, FILE, FOLDER, build, some_dump_facts
from support.manifests import SEALER, all_columns, cluster_folder
from support.pages import FORMATS, hex_example

PAGE = (FORMATS / "dump.md").read_text()
TITLE = "Worked example"
SIZES = {"1/3421.dat": 1_100_000, "1/inventory": 900, "1/toc.dat": 21_000, "globals.sql": 700}


def wanted() -> DumpManifest:
    """A database of one large table, cut at a row's end, and roles; all in one pack."""
    builder, log, offset = ManifestBuilder(), ChunkLog(), 0
    builder.add_directory("1", FOLDER)
    for number, (path, size) in enumerate(SIZES.items()):
        builder.add_file(number, path, FILE)
        cuts = [0, 700_003, size] if size > 1 << 20 else [0, size]
        for start, end in pairwise(cuts):
            chunk_id = (offset // 1000 + 1).to_bytes(16, "big")
            log.add(number, start, Placed(chunk_id, 0, offset, 1000), end - start)
            offset += 1000
    builder.add_chunks(log.finish([StoredPack(bytes(range(16)), offset + 200)]))
    shop = DumpedDatabase(
        number=1,
        name="shop",
        owner="ann",
        encoding="UTF8",
        collate="C.UTF-8",
        ctype="C.UTF-8",
        locale_provider="libc",
        tablespace="pg_default",
        settings=("TimeZone=UTC",),
        extensions=(Extension("shop", "plpgsql", "1.0"),),
        snapshot="00000005-0000001B-1",
        snapshot_at=datetime(2026, 11, 27, 16, 5, 1, tzinfo=UTC),
        lsn="0/4A000028",
        archive_version="1.16",
        dump_version="18.6",
        objects=12,
        schemas=1,
        tables=1,
        rows=40_000,
        data_bytes=1_100_000,
        sequences=1,
    )
    facts = some_dump_facts(
        databases=(shop,),
        globals=Globals(roles=("ann",), passwords=True, dump_version="18.6"),
        consistency="one snapshot",
        system_identifier="7710983248089545577",
        jobs=2,
        source="host=db1 user=ann",
        source_host="backup1",
        pgkeep_version="0.1.0",
        stored=5200,
        duration_s=1.5,
    )
    return build(builder, facts)


def test_the_worked_example_is_read() -> None:
    found = decode(hex_example("dump.md", TITLE), SEALER, "it", OF_DUMP)
    assert found.facts == wanted().facts
    assert all_columns(found.tables) == all_columns(wanted().tables)


def test_the_writer_still_writes_such_a_manifest() -> None:
    example, written = hex_example("dump.md", TITLE), b"".join(encode(wanted(), SEALER))
    assert written[:8] == example[:8]
    assert written[24:32] == example[24:32]  # the tables' plain length
    header = read_manifest_header(example, len(example), "it")
    told = f"facts of {header.facts_length:x} (hex) sealed bytes, one block of tables of "
    assert f"{told}{header.tables_length:x}" in " ".join(PAGE.split())


def test_the_worked_example_is_a_dump_of_its_cluster_and_no_backup() -> None:
    example, cluster = hex_example("dump.md", TITLE), cluster_folder()
    cluster.store.put(names.dump("main", DUMP), [example])
    (dump,) = dumps.dumps(cluster).dumps
    assert (dump.id, dump.databases, dump.rows) == (DumpId(DUMP), ("shop",), 40_000)
    with pytest.raises(BadManifest, match="it holds no facts: it is the manifest of something"):
        decode(example, SEALER, "it", OF_BACKUP)


@pytest.mark.parametrize("struct", [DumpFacts, DumpedDatabase, Globals])
def test_the_page_lists_every_fact(struct: type[DumpFacts | DumpedDatabase | Globals]) -> None:
    assert [name for name in struct.__struct_fields__ if f"`{name}`" not in PAGE] == []


def test_the_page_lists_what_can_be_selected() -> None:
    fields = Selection.__dataclass_fields__
    assert [name for name in fields if f"`{name}`" not in PAGE] == []
