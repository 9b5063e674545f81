"""One database of a cluster restored, the others left as shells that only DROP DATABASE wants."""

from pathlib import Path

import psycopg
import pytest

from pgkeep.restore.databases import UnknownDatabase
from support.clusters import NewCluster, only
from support.restores import make_scene

# A table that VACUUM has been over, one that it has not, and mapped catalogs.
BEFORE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (fillfactor = 60)",
    "INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 3000) g",
    "CREATE INDEX ON t (v)",
    "VACUUM t",
    "CREATE TABLE quiet AS SELECT g id, md5(g::text) v FROM generate_series(1, 3000) g",
    "SELECT count(*) FROM quiet",
)
AFTER = (
    "VACUUM quiet",  # sets bits in pages without an image of them, unless there are checksums
    "UPDATE quiet SET v = 'z' WHERE id % 100 = 0",
    "UPDATE t SET v = v || 'x' WHERE id % 7 = 0",
    "DELETE FROM t WHERE id % 5 = 0",
    "VACUUM t",
    "CHECKPOINT",
    "UPDATE t SET v = v || 'y' WHERE id % 3 = 0",
    "VACUUM (FREEZE) t",
    "INSERT INTO t SELECT g, 'new' FROM generate_series(10001, 11000) g",
    "CREATE TABLE more AS TABLE t",
    "TRUNCATE more",
    "VACUUM FULL t",
    "REINDEX TABLE t",
    "VACUUM FULL pg_class",
)
CONTENT = "SELECT count(*), sum(hashtext(v)) FROM (SELECT v FROM t UNION ALL SELECT v FROM quiet) a"


def test_one_database_of_several(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path, postgres_version: int
) -> None:
    checksums = postgres_version == 18
    settings = {"autovacuum": "off"}
    scene = make_scene(new_cluster, repository_directory, tmp_path, settings, checksums=checksums)
    space = tmp_path / "space"
    space.mkdir(mode=0o700)
    scene.pg.sql(f"CREATE TABLESPACE space LOCATION '{space}'")
    scene.pg.sql("CREATE DATABASE wanted TABLESPACE space")
    scene.pg.sql('CREATE DATABASE "the ""other"""')
    scene.pg.sql("CREATE DATABASE quiet_one TABLESPACE space")
    both = ("wanted", 'the "other"')
    for name in both:
        for statement in BEFORE:
            scene.pg.sql(statement, dbname=name)
    scene.backup()
    for name in both:
        for statement in AFTER:
            scene.pg.sql(statement, dbname=name)
    scene.pg.sql("CREATE DATABASE young TEMPLATE template0")
    scene.archive()
    with pytest.raises(UnknownDatabase) as caught:
        scene.restore(databases=("wnated",))
    assert "there: wanted" in caught.value.hint.replace("in it", "there")
    moves = (f"{space}={tmp_path}/new",)
    whole = scene.restore("latest", "whole", tablespaces=moves).size
    moves = (f"{space}={tmp_path}/newer",)
    report = scene.restore(databases=("wanted",), tablespaces=moves)
    assert report.size < whole * 2 / 3
    assert [shell.name for shell in report.plan.shells] == ['the "other"', "quiet_one"]
    assert any('DROP DATABASE "the ""other"""; DROP' in note for note in report.notes)
    ignores = any(name == "ignore_invalid_pages" for name, _ in report.plan.settings)
    assert ignores == (not checksums)
    with scene.started(report) as (restored, _):
        assert restored.sql(CONTENT, dbname="wanted") == scene.pg.sql(CONTENT, dbname="wanted")
        assert restored.value("SELECT 1", dbname="young") == 1
        for name in ('the "other"', "quiet_one"):
            # refused, and the server lives on
            with pytest.raises(psycopg.OperationalError, match="FATAL"):
                restored.sql("SELECT 1", dbname=name)
        restored.sql('DROP DATABASE "the ""other"""')
        restored.sql("DROP DATABASE quiet_one")
        restored.sql("CHECKPOINT")


@only(17)
def test_delta_restore_of_one_database(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    """Over the whole cluster: files of the others are emptied, and stay so."""
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.pg.sql("CREATE DATABASE other")
    scene.pg.sql("CREATE TABLE t AS SELECT 1 AS id", dbname="other")
    oid = scene.pg.value("SELECT oid FROM pg_database WHERE datname = 'other'")
    scene.enter("a")
    scene.backup()
    scene.archive()
    scene.pg.stop()
    directory = scene.pg.data_directory
    options = {"delta": True, "databases": ("postgres",)}
    before = {path: path.stat().st_size for path in (directory / f"base/{oid}").iterdir()}
    report = scene.restore("latest", str(directory), **options)
    assert [shell.name for shell in report.plan.shells] == ["other"]
    for path in (directory / f"base/{oid}").iterdir():
        assert path.stat().st_size == before[path]
        assert path.name == "PG_VERSION" or not any(path.read_bytes())
    again = scene.restore("latest", str(directory), **options)
    assert again.delta is not None
    assert report.delta is not None
    assert again.delta.rewritten_files < report.delta.rewritten_files / 10
    with scene.started(again) as (restored, _):
        assert restored.value("SELECT entry FROM ledger") == "a"
