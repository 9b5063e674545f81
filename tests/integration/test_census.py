"""Censuses of real servers: every name, whatever is in it, and what cannot be read is named."""

from pathlib import Path

import pytest

from pgkeep.census.take import record, take
from pgkeep.model.census import Census, Database, Relation
from pgkeep.model.lsn import Lsn
from pgkeep.repository import names
from pgkeep.repository.census.shelf import listed, read_census
from pgkeep.repository.repository import ClusterFolder, UnknownGeneration
from pgkeep.server.connecting import CannotConnect
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from support.backups import back_up, new_folder
from support.clusters import NewCluster, only
from support.manifests import cluster_folder
from support.wait import wait_for

OBJECTS = r"""
CREATE SCHEMA "the ""odd"" one";
CREATE TABLE "the ""odd"" one"."line
break" ("first ' key" integer, payload text, "second key" integer,
        PRIMARY KEY ("second key", "first ' key") INCLUDE (payload));
CREATE TABLE parted (at integer, note text, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE mother (id integer); CREATE TABLE child () INHERITS (mother);
CREATE UNLOGGED TABLE quick (id bigserial);
CREATE VIEW seen AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one;
CREATE TYPE pair AS (a integer, b integer);
CREATE TABLE fresh AS SELECT generate_series(1, 500) AS id;
CREATE TABLE known AS SELECT generate_series(1, 5000) AS id;
ANALYZE known;
INSERT INTO parted SELECT generate_series(0, 9);
ANALYZE parted;
CREATE TABLE elsewhere (id integer) TABLESPACE space;
"""


def database_of(census: Census, name: str) -> Database:
    return next(database for database in census.databases if database.name == name)


def relation_of(database: Database, name: str, schema: str = "public") -> Relation:
    (found,) = (r for r in database.relations if (r.schema, r.name) == (schema, name))
    return found


def folder_of(pg: ScratchCluster) -> ClusterFolder:
    cluster = cluster_folder()
    with Session.connect(pg.conninfo) as session:
        cluster.add_generation(session.facts().generation)
    return cluster


def test_every_kind_of_relation_is_found_with_its_file(pg: ScratchCluster, tmp_path: Path) -> None:
    place = tmp_path / "space"
    place.mkdir()
    pg.sql(f"CREATE TABLESPACE space LOCATION '{place}'")
    pg.sql("CREATE DATABASE shop TABLESPACE space")
    pg.sql("CREATE DATABASE closed")
    pg.sql("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    for statement in OBJECTS.split(";\n"):
        pg.sql(statement, dbname="postgres")
    pg.sql("CREATE TABLE orders (id integer)", dbname="shop")
    cluster = folder_of(pg)
    before = Lsn.parse(pg.value("SELECT pg_current_wal_insert_lsn()::text"))
    facts = record(pg.conninfo, cluster)
    census = read_census(cluster, facts.id)
    assert (census.timeline, census.generation) == (1, cluster.generation_ids()[0])
    assert before <= census.lsn
    assert census.unread == (("closed", "it allows no connections"),)
    assert [one.name for one in census.databases] == ["template1", "postgres", "shop"]

    here = database_of(census, "postgres")
    odd = relation_of(here, "line\nbreak", 'the "odd" one')
    assert odd.key == ("second key", "first ' key")
    assert relation_of(here, "line\nbreak_pkey", 'the "odd" one').parent == odd.oid
    toast = here.by_oid[odd.toast]
    assert (toast.kind, toast.schema, toast.parent) == ("t", "pg_toast", odd.oid)
    assert relation_of(here, f"{toast.name}_index", "pg_toast").parent == toast.oid
    parted, part = relation_of(here, "parted"), relation_of(here, "parted_1")
    assert (parted.kind, parted.filenode, parted.key) == ("p", 0, ("at",))
    assert (parted.size, parted.rows) == (0, 10.0)
    assert (part.parent, part.key) == (parted.oid, ("at",))
    assert relation_of(here, "parted_1_pkey").parent == part.oid
    assert relation_of(here, "parted_pkey").kind == "I"
    assert relation_of(here, "child").parent == 0
    assert relation_of(here, "quick").is_unlogged
    assert (relation_of(here, "seen").kind, relation_of(here, "kept").kind) == ("v", "m")
    assert relation_of(here, "quick_id_seq").kind == "S"
    assert "pair" not in {relation.name for relation in here.relations}
    known = relation_of(here, "known")
    assert (known.rows, known.size) == (5000.0, pg.value("SELECT pg_relation_size('known')"))
    assert relation_of(here, "mother").rows == -1

    space = pg.value("SELECT oid FROM pg_tablespace WHERE spcname = 'space'")
    assert relation_of(here, "elsewhere").tablespace == space
    assert known.tablespace == 1663
    shop = database_of(census, "shop")
    assert relation_of(shop, "orders").tablespace == space
    # What WAL says of a relation leads to it: shared and mapped catalogs too.
    for name in ("pg_class", "pg_database"):
        filenode = pg.value(f"SELECT pg_relation_filenode('{name}')")
        spot = 1664 if name == "pg_database" else 1663
        assert here.by_file[spot, filenode].name == name
    everything = pg.value(
        "SELECT count(*) FROM pg_class WHERE relkind <> 'c' AND relpersistence <> 't'"
    )
    assert len(here.relations) == everything


def test_what_the_role_may_not_see_is_named_and_the_rest_is_read(pg: ScratchCluster) -> None:
    pg.sql("CREATE ROLE keeper LOGIN")
    for database in ("shop", "hidden"):
        pg.sql(f"CREATE DATABASE {database}")
    pg.sql("CREATE TABLE orders (id integer PRIMARY KEY)", dbname="shop")
    pg.sql("REVOKE CONNECT ON DATABASE hidden FROM PUBLIC")
    census = take(pg.conninfo.replace("user=postgres", "user=keeper"))
    assert census.unread == (("hidden", 'permission denied for database "hidden"'),)
    assert relation_of(database_of(census, "shop"), "orders").key == ("id",)


@only(15, 18)
def test_rows_are_counted_before_anybody_analyzed(pg: ScratchCluster) -> None:
    # Nor does autovacuum.
    pg.sql("CREATE TABLE fresh (id integer) WITH (autovacuum_enabled = false)")
    pg.sql("INSERT INTO fresh SELECT generate_series(1, 500)")
    pg.sql("TRUNCATE fresh")
    pg.sql("INSERT INTO fresh SELECT generate_series(1, 700)")

    def fresh() -> Relation:
        return relation_of(database_of(take(pg.conninfo), "postgres"), "fresh")

    # Sessions tell of what they did at their end, which nobody waits for.
    wait_for(lambda: fresh().rows == 700, what="the count of fresh")
    assert fresh().size == 0


@only(18)
def test_names_in_bytes_of_no_encoding_come_back(new_cluster: NewCluster) -> None:
    pg = new_cluster(initdb_args=("--encoding=SQL_ASCII", "--locale=C"))
    with Session.connect(pg.conninfo) as session:
        session.query("SET client_encoding = 'LATIN1'")
        session.query('CREATE TABLE public."caf\xe9" ("num\xe9ro" integer PRIMARY KEY)')
    cluster = folder_of(pg)
    census = read_census(cluster, record(pg.conninfo, cluster).id)
    relation = relation_of(database_of(census, "postgres"), "caf\udce9")
    assert relation.key == ("num\udce9ro",)


@only(18)
def test_a_catalog_that_is_locked_is_not_waited_for(pg: ScratchCluster) -> None:
    pg.sql("CREATE DATABASE shop")
    with Session.connect(pg.conninfo) as session:
        session.query("BEGIN")
        session.query("LOCK TABLE pg_inherits IN ACCESS EXCLUSIVE MODE")
        census = take(pg.conninfo)
        session.query("ROLLBACK")
    assert census.unread == (("postgres", "canceling statement due to lock timeout"),)
    assert {one.name for one in census.databases} == {"template1", "shop"}


@only(17)
def test_tables_under_an_exclusive_lock_do_not_hold_it_up(pg: ScratchCluster) -> None:
    pg.sql("CREATE TABLE busy (id integer)")
    with Session.connect(pg.conninfo) as session:
        session.query("BEGIN")
        session.query("LOCK TABLE public.busy IN ACCESS EXCLUSIVE MODE")
        census = take(pg.conninfo)
        session.query("ROLLBACK")
    assert relation_of(database_of(census, "postgres"), "busy").filenode > 0


@only(18)
def test_a_server_that_the_folder_does_not_know_leaves_nothing(pg: ScratchCluster) -> None:
    cluster = cluster_folder()
    with pytest.raises(UnknownGeneration, match="record what cluster main holds"):
        record(pg.conninfo, cluster)
    pg.stop()
    with pytest.raises(CannotConnect):
        record(pg.conninfo, cluster)
    assert listed(cluster) == []


@only(15, 18)
def test_a_backup_leaves_a_census_from_before_its_end(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE TABLE orders (id integer PRIMARY KEY)")
    (tmp_path / "repository").mkdir()
    cluster = new_folder(tmp_path / "repository")
    report = back_up(pg, cluster, census=True)
    (found,) = listed(cluster)
    assert report.census == found.id
    assert report.to_dict()["census"] == found.id
    census = read_census(cluster, found.id)
    backup = report.backup
    assert backup.start_lsn <= census.lsn <= backup.stop_lsn
    assert backup.started_at <= census.taken_at <= backup.stopped_at
    assert relation_of(database_of(census, "postgres"), "orders").key == ("id",)
    assert cluster.store.stat(names.census("main", found.id)).size < 32 << 10


@only(17)
def test_a_standby_tells_how_far_it_has_replayed(new_cluster: NewCluster, tmp_path: Path) -> None:
    primary = new_cluster()
    primary.sql("CREATE TABLE orders (id integer PRIMARY KEY)")
    copy = tmp_path / "standby"
    primary.server_tool(
        "pg_basebackup", "-d", primary.conninfo, "-D", str(copy), "--write-recovery-conf"
    )
    with ScratchCluster.over(primary.binaries, copy) as standby:
        cluster = folder_of(standby)
        replaying = read_census(cluster, record(standby.conninfo, cluster).id)
        standby.value("SELECT pg_promote()")
        promoted = take(standby.conninfo)
    assert relation_of(database_of(replaying, "postgres"), "orders").key == ("id",)
    assert (replaying.timeline, promoted.timeline) == (1, 2)
    assert Lsn(0) < replaying.lsn <= promoted.lsn
    assert replaying.generation == promoted.generation == folder_of(primary).generation_ids()[0]
