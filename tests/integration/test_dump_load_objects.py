"""Large objects of a dump: a few giants, crowds of tiny ones, and what they look like as files."""

from pathlib import Path

import pytest

from pgkeep.logical.load.tables import CannotLoad
from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.loads import StoredDump, dump_directory, restore_objects, restore_section, store, to

# Sizes about those of pages, pieces and chunks; every object has its own bytes.
OBJECTS = """
SELECT lo_from_bytea(k, decode(repeat(md5(k::text), s / 16 + 1), 'hex'))
FROM (VALUES (1, 0), (2, 1), (3, 2047), (4, 2048), (5, 2049), (6, 1048576), (7, 1048577),
      (8, 3000000), (9, 131072)) AS t(k, s) WHERE s > 0;
SELECT lo_create(1);
SELECT lo_truncate(lo_open(k, 131072), 5 + k) FROM generate_series(2, 9) k;
SELECT lo_from_bytea(1000 + k, md5(k::text)::bytea) FROM generate_series(1, 2500) k;
SELECT lo_from_bytea(4294967295, 'last');
SELECT lo_put(lo_create(20000), 9000000, 'behind a hole');
"""
CONTENT = """
SELECT m.oid, count(pageno), sum(length(data)), md5(string_agg(data, '' ORDER BY pageno))
FROM pg_largeobject_metadata m LEFT JOIN pg_largeobject o ON o.loid = m.oid GROUP BY 1 ORDER BY 1
"""
WHOLE = "SELECT m.oid, length(lo_get(m.oid)), md5(lo_get(m.oid)) FROM pg_largeobject_metadata m"


def dumped(pg: ScratchCluster, tmp_path: Path, objects: str = OBJECTS) -> StoredDump:
    pg.sql("CREATE DATABASE shop")
    with pg.connect(dbname="shop") as connection, connection.transaction():
        for statement in filter(str.strip, objects.split(";")):
            connection.execute(statement.encode())
    dump = dump_directory(pg, "shop", tmp_path / "dump")
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, dump, "copy", "pre-data")
    restore_objects(pg, dump, "copy")
    return store(dump, tmp_path / "repository")


@pytest.mark.parametrize("jobs", [1, 2])
def test_objects_come_back(pg: ScratchCluster, tmp_path: Path, jobs: int) -> None:
    dump = dumped(pg, tmp_path)
    assert pg.value("SELECT count(*) FROM pg_largeobject", dbname="copy") == 0
    result = dump.load(to(pg, "copy"), jobs=jobs, large_objects=dump.blobs)
    assert result.large_objects == 2511
    assert result.bytes == pg.value(f"SELECT sum(length) FROM ({WHOLE}) x", dbname="shop")
    whole = f"{WHOLE} ORDER BY 1"
    assert pg.sql(whole, dbname="copy") == pg.sql(whole, dbname="shop")
    dead = "SELECT n_dead_tup FROM pg_stat_sys_tables WHERE relname = 'pg_largeobject'"
    assert pg.value(dead, dbname="copy") == 0


@only(15, 18)
def test_objects_that_are_not_there(pg: ScratchCluster, tmp_path: Path) -> None:
    dump = dumped(pg, tmp_path)
    pg.sql("SELECT lo_unlink(1077)", dbname="copy")
    with pytest.raises(CannotLoad) as caught:
        dump.load(to(pg, "copy"), large_objects=dump.blobs)
    assert str(caught.value) == (
        "cannot load large objects: the server says: large object 1077 does not exist"
    )


@only(17)
def test_a_table_of_contents_that_does_not_fit(pg: ScratchCluster, tmp_path: Path) -> None:
    dump = dumped(pg, tmp_path, "SELECT lo_from_bytea(5, 'x')")
    contents = tmp_path / "dump" / Path(dump.blobs[0]).name
    for text, why in [
        (b"5 blob_6.dat\n", r"large object 5: the dump has no file 1/blob_6\.dat"),
        (b"5 ../blob_5.dat\n", "holds no file's name"),
        (b"5\n", "holds no file's name: b'5'"),
        (b"99999999999 blob_5.dat", "holds no file's name"),
    ]:
        contents.write_bytes(text)
        broken = store(tmp_path / "dump", tmp_path / "other")
        with pytest.raises(CannotLoad, match=why):
            broken.load(to(pg, "copy"), large_objects=broken.blobs)
    with pytest.raises(CannotLoad, match=r"the dump has no file 1/blobs_9\.toc"):
        dump.load(to(pg, "copy"), large_objects=["1/blobs_9.toc"])
