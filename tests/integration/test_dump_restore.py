"""pgkeep dump restore on real servers: everything comes back, or nothing is left."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgkeep.server.binaries import find_binaries
from pgkeep.server.processes import wait_until
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP
from support.compare import assert_same_database
from support.dumps import DumpScene
from support.rental import OWNER, ROLES, load_rental

LOGICAL: dict[str, str | int | None] = {"wal_level": "logical", "max_prepared_transactions": 0}


@pytest.fixture
def rental(new_cluster: NewCluster, tmp_path: Path) -> DumpScene:
    cluster = new_cluster(settings=LOGICAL)
    load_rental(cluster)
    return DumpScene.make(cluster, tmp_path)


@pytest.fixture
def shop(pg: ScratchCluster, tmp_path: Path) -> DumpScene:
    pg.sql("CREATE DATABASE shop")
    pg.sql(
        "CREATE TABLE customers (id int PRIMARY KEY, email text UNIQUE, phone text, note text);"
        "INSERT INTO customers SELECT g, 'user' || g || '@example.com', '+49 ' || g, 'secret ' || g"
        " FROM generate_series(1, 5000) g;"
        "CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers);"
        "INSERT INTO orders (customer) SELECT 1 + g % 5000 FROM generate_series(1, 20000) g;"
        "CREATE VIEW big AS SELECT * FROM orders WHERE id > 100",
        dbname="shop",
    )
    return DumpScene.make(pg, tmp_path)


def databases(cluster: ScratchCluster) -> set[str]:
    rows = cluster.sql("SELECT datname FROM pg_database WHERE datname !~ '^template|^postgres$'")
    return {row[0] for row in rows}


def restore(scene: DumpScene, *words: str, into: str = "") -> Any:
    where = ["--into", into] if into else []
    return scene.run("dump", "restore", "latest", "--json", *where, *words).ok().json


def test_every_kind_of_object_comes_back(rental: DumpScene) -> None:
    rental.create()
    made = restore(rental, "--database", "rental", "-d", "copy")
    assert made["compared"] > 600
    assert made["large_objects"] == 20
    cluster = rental.cluster
    assert_same_database((cluster, "rental"), (cluster, "copy"))
    enabled = cluster.sql("SELECT count(*) FROM pg_subscription WHERE subenabled")
    assert enabled[0][0] == 0
    assert databases(cluster) == {"rental", "copy"}


@only(18)
@pytest.mark.parametrize("tools", [15, 18])
def test_from_15_to_18(new_cluster: NewCluster, tmp_path: Path, tools: int) -> None:
    """pg_dump 15 leaves to 18 what was the default then; pg_dump 18 writes it out."""
    target = new_cluster("target", settings=LOGICAL)
    with ScratchCluster(find_binaries(15), tmp_path / "old", settings=LOGICAL) as source:
        load_rental(source)
        scene = DumpScene.make(source, tmp_path)
        chosen = f'pg_bin = "{find_binaries(tools).directory}"\nconninfo ='
        scene.config.write_text(scene.config.read_text().replace("conninfo =", chosen))
        scene.create()
        scene.config.write_text(scene.config.read_text().replace("pg_bin", "# pg_bin"))
        made = restore(scene, "--database", "rental", "--create-roles", into=target.conninfo)
        assert set(made["roles_created"]) >= {OWNER}
        assert made["server"].startswith("18")
        compared = {"schema": tools == 18}
        assert_same_database((source, "rental"), (target, "rental"), **compared)


@only(17)
def test_a_dump_that_was_exported_and_imported_is_restored_alike(
    rental: DumpScene, tmp_path: Path
) -> None:
    rental.create("-d", "rental")
    for form in ("custom", "tar", "directory"):
        file = tmp_path / f"rental.{form}"
        rental.run("dump", "export", "latest", "--format", form, "-o", str(file)).ok()
        rental.run("dump", "import", str(file), "--label", form).ok()
        found = next(dump for dump in rental.dumps() if dump["label"] == form)
        rental.run("dump", "restore", found["id"], "-d", form).ok()
        assert_same_database((rental.cluster, "rental"), (rental.cluster, form))


def test_all_that_is_missing_on_the_target_is_listed_at_once(
    rental: DumpScene, new_cluster: NewCluster
) -> None:
    rental.create()
    target = new_cluster("empty", settings=LOGICAL)
    result = rental.run(
        "dump", "restore", "latest", "--json", "--database", "rental", "--into", target.conninfo
    )
    assert result.exit == 207
    (problem,) = result.json["error"]["facts"]["problems"]
    assert all(role in problem for role in ROLES)
    assert databases(target) == set()
    assert target.sql("SELECT count(*) FROM pg_roles WHERE rolname ~ 'rental'")[0][0] == 0
    made = restore(rental, "--database", "rental", "--create-roles", into=target.conninfo)
    assert set(made["roles_created"]) == set(ROLES)
    assert_same_database((rental.cluster, "rental"), (target, "rental"))


def test_things_go_to_other_roles_or_to_whoever_restores(
    shop: DumpScene, new_cluster: NewCluster
) -> None:
    shop.cluster.sql(
        "CREATE ROLE anna; CREATE ROLE bert; ALTER TABLE orders OWNER TO anna;"
        "GRANT SELECT ON customers TO bert",
        dbname="shop",
    )
    shop.create("-d", "shop")
    target = new_cluster("other")
    target.sql("CREATE ROLE boss")
    words = ["--role-map", "anna=boss", "--role-map", "bert=boss"]
    restore(shop, "-d", "mapped", *words, into=target.conninfo)
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'orders'"
    assert target.sql(owner, dbname="mapped") == [("boss",)]
    allowed = "SELECT has_table_privilege('boss', 'customers', 'SELECT')"
    assert target.sql(allowed, dbname="mapped") == [(True,)]
    restore(shop, "-d", "bare", "--no-owner", "--no-privileges", into=target.conninfo)
    assert target.sql(owner, dbname="bare") == [("postgres",)]


def test_what_is_there_is_never_touched_but_swapped_when_asked(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    shop.cluster.sql("DELETE FROM orders", dbname="shop")
    result = shop.run("dump", "restore", "latest")
    assert result.exit == 206
    assert shop.cluster.sql("SELECT count(*) FROM orders", dbname="shop")[0][0] == 0
    with shop.cluster.connect(dbname="shop", application_name="webshop"):
        result = shop.run("dump", "restore", "latest", "--replace")
        assert result.exit == 206
        assert "(webshop)" in result.stderr
    made = restore(shop, "--replace")
    old = made["old_database"]
    assert databases(shop.cluster) == {"shop", old}
    assert shop.cluster.sql("SELECT count(*) FROM orders", dbname="shop")[0][0] == 20000
    assert shop.cluster.sql("SELECT count(*) FROM orders", dbname=old)[0][0] == 0
    with shop.cluster.connect(dbname="shop"):
        made = restore(shop, "--replace", "--force", "--drop-old")
    assert made["old_dropped"]
    assert databases(shop.cluster) == {"shop", old}


def test_chosen_tables_bring_what_they_need_and_say_what_is_missing(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    made = restore(shop, "-d", "part", "-t", "orders")
    assert made["rows"] == 20000
    assert made["left_out"] == [
        "foreign key orders orders_customer_fkey: table public.customers is not chosen"
    ]
    assert shop.cluster.sql("SELECT nextval('orders_id_seq')", dbname="part")[0][0] == 20001
    result = shop.run("dump", "restore", "latest", "-d", "none", "-t", "nothing")
    assert result.exit == 205
    restore(shop, "-d", "view", "-t", "big")
    assert shop.cluster.sql("SELECT count(*) FROM big", dbname="view")[0][0] == 0


def test_a_dry_run_changes_nothing(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    made = restore(shop, "-d", "copy", "--dry-run")
    assert made["rows"] == 25000
    assert databases(shop.cluster) == {"shop"}


def test_a_failure_leaves_nothing(shop: DumpScene) -> None:
    shop.cluster.sql(
        "ALTER TABLE customers ADD CHECK (id < 6000) NOT VALID;"
        "CREATE FUNCTION broken(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
        "CREATE INDEX ON customers (broken(id));"
        "CREATE OR REPLACE FUNCTION broken(int) RETURNS int IMMUTABLE LANGUAGE sql AS "
        "'SELECT $1 / ($1 - 77)'",
        dbname="shop",
    )
    shop.create("-d", "shop")
    result = shop.run("dump", "restore", "latest", "-d", "copy")
    assert result.exit == 244
    assert "division by zero" in result.stderr
    assert databases(shop.cluster) == {"shop"}
    assert wait_until(shop.is_clean, 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@only(17)
def test_a_restore_that_is_ended(shop: DumpScene, number: signal.Signals) -> None:
    shop.cluster.sql(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
        "CREATE INDEX ON customers (slow(id));"
        "CREATE OR REPLACE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(60); RETURN $1; END'",
        dbname="shop",
    )
    shop.create("-d", "shop")
    command = [str(PGKEEP), "--config", str(shop.config), "dump", "restore", "latest", "-d", "copy"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        building = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'CREATE INDEX.*slow'"
        assert wait_until(lambda: shop.cluster.sql(building)[0][0] > 1, 60)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert "copy" not in databases(shop.cluster)
    left = databases(shop.cluster) - {"shop"}
    if number is signal.SIGTERM:
        assert left == set()
        return
    (name,) = left  # nobody was there to drop it: the next one tells
    shop.cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ~ 'pgkeep_restore'"
    )
    result = shop.run("dump", "restore", "latest", "-d", "copy", "--schema-only", "--dry-run").ok()
    assert f'DROP DATABASE "{name}"' in result.stdout
    assert os.path.exists(shop.config)


@only(15, 18)
def test_a_database_in_a_tablespace_of_its_own(
    pg: ScratchCluster, new_cluster: NewCluster, tmp_path: Path
) -> None:
    target = new_cluster("target")
    for cluster, name in ((pg, "fast"), (target, "slow")):
        place = tmp_path / name
        place.mkdir()
        cluster.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    pg.sql("CREATE DATABASE shop TABLESPACE fast")
    pg.sql("CREATE TABLE t AS SELECT 1 AS a", dbname="shop")
    scene = DumpScene.make(pg, tmp_path)
    scene.create("-d", "shop")
    result = scene.run("dump", "restore", "latest", "--into", target.conninfo)
    assert result.exit == 207
    assert "tablespaces are missing: fast" in result.stderr
    assert databases(target) == set()
    where = (
        "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace "
        "WHERE datname = '{}'"
    )
    for name, words, space in (
        ("mapped", ["--tablespace-map", "fast=slow"], "slow"),
        ("plain", ["--no-tablespaces"], "pg_default"),
    ):
        restore(scene, "-d", name, *words, into=target.conninfo)
        assert target.sql(where.format(name)) == [(space,)]
        assert target.sql("SELECT a FROM t", dbname=name) == [(1,)]
    restore(scene, "-d", "again")
    assert pg.sql(where.format("again")) == [("fast",)]


@only(15, 18)
def test_a_swap_that_is_killed_half_way_leaves_the_old_database_its_name(shop: DumpScene) -> None:
    shop.cluster.sql(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
        "CREATE INDEX ON customers (slow(id));"
        "CREATE OR REPLACE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(0.0005); RETURN $1; END'",
        dbname="shop",
    )
    shop.create("-d", "shop")
    shop.cluster.sql("DELETE FROM orders", dbname="shop")
    command = [str(PGKEEP), "--config", str(shop.config), "dump", "restore", "latest", "--replace"]
    making = "SELECT datname FROM pg_database WHERE datname ~ '^pgkeep_restore_'"
    building = (
        "SELECT 1 FROM pg_stat_activity WHERE query ~ 'CREATE INDEX.*slow' AND datname = '{}'"
    )
    swapping = "SELECT 1 FROM pg_stat_activity WHERE query ~ '^ALTER DATABASE.* TO \"shop\"$'"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert wait_until(lambda: bool(shop.cluster.sql(making)), 60)
        ((name,),) = shop.cluster.sql(making)
        assert wait_until(lambda: bool(shop.cluster.sql(building.format(name))), 60)
        # Who is connected to it holds up the second renaming for five seconds (procarray.c:
        # CountOtherDBBackends).
        with shop.cluster.connect(dbname=name):
            assert wait_until(lambda: bool(shop.cluster.sql(swapping)), 60)
            process.kill()
            process.communicate(timeout=60)
            assert wait_until(lambda: not shop.cluster.sql(swapping), 60)
    assert databases(shop.cluster) == {"shop", name}
    assert shop.cluster.sql("SELECT count(*) FROM orders", dbname="shop")[0][0] == 0


def test_masked_columns_leave_no_trace_of_what_they_were(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    rules = '[dump.masks]\n"customers.email" = "hash"\n"customers.phone" = "null"\n'
    shop.config.write_text(shop.config.read_text() + rules + '"customers.note" = "redacted"\n')
    made = restore(shop, "-d", "test", "--masked")
    assert {one["column"] for one in made["masked"]} == {"email", "phone", "note"}
    row = shop.cluster.sql(
        "SELECT count(*), count(DISTINCT email), count(phone), count(*) FILTER "
        "(WHERE note = 'redacted'), bool_or(email ~ '@') FROM customers",
        dbname="test",
    )[0]
    assert row == (5000, 5000, 0, 5000, False)


def test_a_mask_that_means_nothing_is_an_error(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    rules = '[dump.masks]\n"customers.emial" = "hash"\n'
    shop.config.write_text(shop.config.read_text() + rules)
    result = shop.run("dump", "restore", "latest", "-d", "test", "--masked")
    assert result.exit not in (0, 1, 2)
    assert "emial" in result.stderr
    assert databases(shop.cluster) == {"shop"}


def test_a_sample_keeps_foreign_keys_whole(shop: DumpScene) -> None:
    shop.create("-d", "shop")
    made = restore(shop, "-d", "small", "--sample", "10%")
    assert 1500 < made["sample"]["kept"] < 6000
    orphans = shop.cluster.sql(
        "SELECT count(*) FROM orders LEFT JOIN customers c ON c.id = customer WHERE c.id IS NULL",
        dbname="small",
    )
    assert orphans[0][0] == 0
    valid = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert shop.cluster.sql(valid, dbname="small")[0][0] == 1


@only(18)
def test_every_database_of_a_dump_with_hostile_names(
    pg: ScratchCluster, new_cluster: NewCluster, tmp_path: Path
) -> None:
    for name in ("-d", "dbname=x", 'a"b', "Grün"):
        quoted = name.replace('"', '""')
        pg.sql(f'CREATE DATABASE "{quoted}"')
        pg.sql('CREATE TABLE "-t" (a int); INSERT INTO "-t" VALUES (7)', dbname=name)
    scene = DumpScene.make(pg, tmp_path)
    scene.create("--exclude-database", "postgres", "--exclude-database", "template1")
    target = new_cluster("target")
    restored = restore(scene, "--all", into=target.conninfo)["restored"]
    assert {one["name"] for one in restored} == {"-d", "dbname=x", 'a"b', "Grün"}
    for name in ("-d", "dbname=x", 'a"b', "Grün"):
        assert target.sql('SELECT a FROM "-t"', dbname=name) == [(7,)]


@pytest.fixture
def parts(shop: DumpScene) -> DumpScene:
    """The shop with what belongs to no table, and what ties tables to other things."""
    shop.cluster.sql(
        "CREATE EXTENSION pg_trgm; CREATE INDEX ON customers USING gin (note gin_trgm_ops);"
        "ALTER TABLE customers ADD number int GENERATED ALWAYS AS IDENTITY;"
        "CREATE TABLE log (at date, what text) PARTITION BY RANGE (at);"
        "CREATE TABLE spring PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');"
        "CREATE TABLE autumn PARTITION OF log FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');"
        "INSERT INTO log SELECT date '2026-01-01' + g % 365, g FROM generate_series(1, 730) g;"
        "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1';"
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();"
        "CREATE PUBLICATION news FOR TABLE orders; SELECT lo_from_bytea(0, 'hello')",
        dbname="shop",
    )
    return shop


@only(15, 18)
def test_what_is_left_out_takes_nothing_else_with_it(parts: DumpScene) -> None:
    parts.create("-d", "shop")
    cluster = parts.cluster
    made = restore(parts, "-d", "bare", "-T", "customers")
    assert (made["tables"], made["rows"], made["large_objects"]) == (4, 20730, 1)
    assert made["needed"] == []
    why = "foreign key orders orders_customer_fkey: table public.customers is not chosen"
    assert made["left_out"] == [why]
    assert cluster.sql("SELECT twice(4)", dbname="bare") == [(8,)]
    assert cluster.sql("SELECT pubname FROM pg_publication", dbname="bare") == [("news",)]
    made = restore(parts, "-d", "empty", "--exclude-table-data", "customers")
    assert (made["tables"], made["rows"], made["large_objects"]) == (5, 20730, 1)
    why = "foreign key orders orders_customer_fkey: the rows of table public.customers do not come"
    assert made["left_out"] == [why]
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'customers'"
    assert cluster.sql(indexes, dbname="empty") == [(3,)]


@only(15, 18)
def test_a_partitioned_table_comes_with_the_rows_of_its_partitions(parts: DumpScene) -> None:
    parts.create("-d", "shop")
    made = restore(parts, "-d", "all", "-t", "log")
    assert (made["tables"], made["rows"]) == (3, 730)
    made = restore(parts, "-d", "half", "-t", "log", "-T", "autumn")
    assert (made["tables"], made["rows"]) == (2, 362)
    made = restore(parts, "-d", "empty", "-t", "log", "--exclude-table-data", "autumn")
    assert (made["tables"], made["rows"]) == (3, 362)


@only(15, 18)
def test_dumps_of_a_part_are_restored_as_far_as_they_go(parts: DumpScene) -> None:
    parts.create("-d", "shop", "--exclude-table-data", "customers")
    made = restore(parts, "-d", "rowless")
    why = "this dump is not of everything: it holds exclude table data customers"
    assert made["notes"] == [why]
    why = "foreign key orders orders_customer_fkey: the rows of table public.customers do not come"
    assert made["left_out"] == [why]
    parts.cluster.sql("ALTER TABLE orders DISABLE TRIGGER touch", dbname="shop")
    parts.create("-d", "shop", "-t", "orders")
    result = parts.run("dump", "restore", "latest", "-d", "alone")
    assert result.exit == 244
    assert "error: nothing was restored of D" in result.stderr
    assert "function public.touch() does not exist" in result.stderr
    assert "hint: the dump holds only tables orders: types, functions and tables" in result.stderr
    parts.cluster.sql("DROP TRIGGER touch ON orders", dbname="shop")
    parts.create("-d", "shop", "-t", "orders")
    made = restore(parts, "-d", "alone")
    why = "foreign key orders orders_customer_fkey: table public.customers is not in the dump"
    assert (made["rows"], made["left_out"]) == (20000, [why])
    for words in (["--data-only"], ["--section", "post-data"]):
        parts.create("-d", "shop", *words)
        result = parts.run("dump", "restore", "latest", "-d", "loose")
        assert result.exit == 207
        assert "it has rows or indexes without the tables they belong to" in result.stderr
    assert databases(parts.cluster) == {"shop", "rowless", "alone"}


@only(18)
def test_all_of_a_server_goes_to_a_new_one(shop: DumpScene, new_cluster: NewCluster) -> None:
    """The servers' own databases are there, and not in the way."""
    shop.cluster.sql("CREATE DATABASE blog")
    shop.create()
    target = new_cluster("target")
    made = restore(shop, "--all", into=target.conninfo)
    assert {one["name"] for one in made["restored"]} == {"blog", "shop"}
    assert made["left_alone"] == ["postgres", "template1"]
    target.sql("DROP DATABASE blog")
    where = ["--all", "--into", target.conninfo]
    result = shop.run("dump", "restore", "latest", *where)
    assert result.exit == 206  # before the one that is free was made
    assert "nothing was restored: the server has these databases already: shop" in result.stderr
    assert databases(target) == {"shop"}
    made = restore(shop, "--all", "--exclude-database", "sh*", into=target.conninfo)
    assert [one["name"] for one in made["restored"]] == ["blog"]
    shop.cluster.sql("CREATE TABLE mine (a int)")
    shop.create("-d", "postgres", "-d", "template1")
    result = shop.run("dump", "restore", "latest", *where)
    assert "has these databases already: postgres\n" in result.stderr
    assert "hint: leave them out with --exclude-database" in result.stderr


@only(15, 18)
def test_rows_of_foreign_tables_are_never_written_to_their_server(
    pg: ScratchCluster, tmp_path: Path
) -> None:
    pg.sql("CREATE TABLE there AS SELECT generate_series(1, 10) AS a")
    pg.sql("CREATE DATABASE shop")
    pg.sql(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw "
        f"OPTIONS (host '{pg.socket_directory}', port '{pg.port}', dbname 'postgres');"
        "CREATE USER MAPPING FOR postgres SERVER far;"
        "CREATE FOREIGN TABLE here (a int) SERVER far OPTIONS (table_name 'there');"
        "CREATE TABLE own AS SELECT 1 AS a",
        dbname="shop",
    )
    scene = DumpScene.make(pg, tmp_path)
    made = scene.create("-d", "shop", "--include-foreign-data", "far", "--jobs", "2")
    assert made["databases"][0]["rows"] == 11
    made = restore(scene, "-d", "copy")
    assert (made["tables"], made["rows"]) == (2, 1)
    why = "rows of foreign table public.here: they would be written to its server"
    assert made["left_out"] == [why]
    assert pg.sql("SELECT count(*) FROM there") == [(10,)]


@only(15, 18)
def test_a_part_of_a_database_in_another_encoding(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE DATABASE shop TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pg.connect(dbname="shop", client_encoding="UTF8") as connection:
        connection.execute("CREATE TABLE größe AS SELECT 'Grün' AS a; CREATE TABLE b (a int)")
    scene = DumpScene.make(pg, tmp_path)
    scene.create("-d", "shop")
    restore(scene, "-d", "part", "-t", "größe")
    script = tmp_path / "shop.sql"
    pg.tool("pg_dump", "--file", str(script), "shop")
    scene.run("dump", "import", script).ok()
    restore(scene, "-d", "script")
    for name in ("part", "script"):
        with pg.connect(dbname=name, client_encoding="UTF8") as connection:
            found = connection.execute(
                'SELECT a, pg_encoding_to_char(encoding) FROM "größe", '
                "pg_database WHERE datname = current_database()"
            ).fetchall()
            assert found == [("Grün", "LATIN1")]
