"""pgkeep dump create on real servers: what is in a dump, and everything that must stop one."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgkeep.logical import inventory
from pgkeep.repository import dumps
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.server.binaries import find_binaries
from pgkeep.server.processes import Process, all_pids, wait_until
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP, run_pgkeep
from support.compare import assert_same_database
from support.dumps import DumpScene
from support.many import encoded_database, many_tables


@pytest.fixture
def scene(pg: ScratchCluster, tmp_path: Path) -> DumpScene:
    return DumpScene.make(pg, tmp_path)


def shop(cluster: ScratchCluster, rows: int = 1000, database: str = "postgres") -> None:
    cluster.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);"
        f"INSERT INTO orders SELECT g, md5(g::text) FROM generate_series(1, {rows}) g;"
        "CREATE TABLE customers (id serial PRIMARY KEY, name text)",
        dbname=database,
    )


def lock(holder: psycopg.Connection[tuple[Any, ...]]) -> None:
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")


def test_a_dump_holds_what_pg_dump_writes_of_the_same_snapshot(scene: DumpScene) -> None:
    shop(scene.cluster)
    scene.cluster.sql("SELECT lo_from_bytea(4242, 'large'), setval('customers_id_seq', 7)")
    made = scene.create("-d", "postgres", "--label", "first")
    assert made["id"].startswith("D")
    (database,) = made["databases"]
    assert (database["tables"], database["rows"], database["large_objects"]) == (2, 1000, 1)
    assert made["globals"]
    manifest = dumps.read_manifest(scene.folder, made["id"])
    streams = FileStreams(scene.folder, manifest.tables, of=made["id"])
    items = {item.key: item for item in inventory.decode(streams.read("1/inventory"), made["id"])}
    orders = items["TABLE DATA", "public", "orders"]
    assert orders.rows == 1000
    content = b"".join(streams.read(f"1/{orders.file}"))
    assert content.startswith(b"1\tc4ca4238a0b923820dcc509a6f75849b\n2\t")
    assert content.endswith(b"\n\\.\n\n\n")
    assert items["SEQUENCE SET", "public", "customers_id_seq"].value == "7,true"
    assert b"CREATE ROLE" in b"".join(streams.read("globals.sql"))
    shown = scene.run("dump", "show", made["id"]).ok().stdout
    assert "\npostgres  public.orders     1,000" in shown
    assert scene.is_clean()


def test_the_second_dump_of_the_same_costs_next_to_nothing(scene: DumpScene) -> None:
    shop(scene.cluster, 200_000)
    first = scene.create()
    second = scene.create()
    assert second["parent"] == first["id"]
    assert second["stored"] < first["stored"] / 20
    assert [dump["id"] for dump in scene.dumps()] == [first["id"], second["id"]]


def test_scenario_154_databases_that_cannot_be_dumped(scene: DumpScene) -> None:
    for name in ("good", "closed"):
        scene.cluster.sql(f"CREATE DATABASE {name}")
    shop(scene.cluster, database="good")
    scene.cluster.sql("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    scene.cluster.sql("CREATE DATABASE broken")
    scene.cluster.sql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'")
    result = scene.run("dump", "create", "--json")
    assert result.exit == 249
    assert {one["database"] for one in result.json["missing"]} == {"closed", "broken"}
    names = {database["name"] for database in result.json["databases"]}
    assert names == {"good", "postgres", "template1"}
    (listed,) = scene.dumps()
    assert any("closed" in why for why in listed["suspicions"])
    left_out = ["--exclude-database", "closed", "--exclude-database", "broken"]
    assert scene.create(*left_out)["missing"] == []


def test_scenario_155_a_table_that_stays_locked_is_named_with_its_holder(scene: DumpScene) -> None:
    shop(scene.cluster)
    with scene.cluster.connect(application_name="migration") as holder:
        lock(holder)
        result = scene.run("dump", "create", "--lock-wait", "1s", "-d", "postgres", "--json")
    assert result.exit == 247
    error = result.json["error"]
    assert "public.orders" in error["facts"]["tables"]
    assert "(migration, idle in transaction)" in error["message"]
    assert scene.dumps() == []
    assert wait_until(scene.is_clean, 30)


def test_what_the_role_may_not_read_is_named_before_anything_is_read(
    pg: ScratchCluster, tmp_path: Path
) -> None:
    shop(pg)
    pg.sql("CREATE SCHEMA secret; CREATE TABLE secret.plans (a int); CREATE ROLE reader LOGIN")
    pg.sql("GRANT SELECT ON customers TO reader; SELECT lo_from_bytea(1, 'x')")
    pg.sql("CREATE TABLE hidden (a int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
    pg.sql("GRANT SELECT ON hidden TO reader")
    scene = DumpScene.make(pg, tmp_path, pg.conninfo.replace("user=postgres", "user=reader"))
    result = scene.run("dump", "create", "-d", "postgres", "--json")
    assert result.exit == 204
    facts = result.json["error"]["facts"]
    assert facts["unreadable"] == ["public.customers_id_seq", "public.orders", "secret.plans"]
    assert facts["hidden"] == ["public.hidden"]
    assert facts["large_objects"] == 1
    assert "pg_read_all_data" in result.json["error"]["hint"]
    pg.sql("GRANT SELECT ON customers_id_seq TO reader")
    chosen = scene.create("-d", "postgres", "-t", "customers")
    assert chosen["databases"][0]["tables"] == 1
    assert not chosen["role_passwords"]


@only(18)
def test_a_pg_dump_that_is_too_old_is_refused_with_the_fix(scene: DumpScene) -> None:
    old = find_binaries(15).directory
    text = scene.config.read_text().replace("conninfo =", f'pg_bin = "{old}"\nconninfo =')
    scene.config.write_text(text)
    result = scene.run("dump", "create")
    assert result.exit == 239
    assert "it is PostgreSQL 18" in result.stderr
    assert "postgresql-client-18" in result.stderr


def test_a_newer_pg_dump_takes_the_place_of_a_missing_one(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = new_cluster()
    if pg.binaries.major == 18:
        pytest.skip("there is no newer one")
    scene = DumpScene.make(pg, tmp_path)
    shop(pg)
    newer = find_binaries(18).directory
    text = scene.config.read_text().replace("conninfo =", f'pg_bin = "{newer}"\nconninfo =')
    scene.config.write_text(text)
    made = scene.create("-d", "postgres")
    assert made["databases"][0]["dump_version"].startswith("18")


def test_a_dump_that_shrank_is_kept_and_flagged(scene: DumpScene) -> None:
    shop(scene.cluster)
    scene.create("-d", "postgres")
    scene.cluster.sql("TRUNCATE orders")
    result = scene.run("dump", "create", "-d", "postgres", "--json")
    assert result.exit == 250
    said = " ".join(result.json["suspicions"])
    assert "public.orders (1,000 rows)" in said
    assert "postgres has 0 rows" in said
    assert len(scene.dumps()) == 2


@only(15, 18)
def test_databases_that_are_left_out_by_name_are_not_missed(scene: DumpScene) -> None:
    scene.create()
    words = ["--exclude-database", "template*"]
    made = scene.create(*words)
    assert made["suspicions"] == []
    assert made["selection"] == "exclude databases template*"
    shown = scene.run("dump", "list").ok().stdout
    assert "all databases (exclude databases template*)" in shown
    scene.cluster.sql("CREATE DATABASE shop")
    scene.create(*words)
    scene.cluster.sql("DROP DATABASE shop")
    result = scene.run("dump", "create", *words)
    assert result.exit == 250
    assert "database shop is gone" in result.stderr


@contextmanager
def running(scene: DumpScene, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a dump of a table that is locked, so that it waits."""
    command = [str(PGKEEP), "--config", str(scene.config), "dump", "create", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def is_waiting(cluster: ScratchCluster) -> bool:
    rows = cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return bool(rows[0][0])


def test_the_server_ends_the_connection_in_the_middle(scene: DumpScene) -> None:
    shop(scene.cluster)
    with scene.cluster.connect() as holder:
        lock(holder)
        with running(scene, "-d", "postgres") as process:
            assert wait_until(lambda: is_waiting(scene.cluster), 30)
            scene.cluster.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock'"
            )
            _, said = process.communicate(timeout=60)
    assert process.returncode == 248, said
    assert "no dump was made: the connection was lost while database postgres" in said
    assert scene.dumps() == []


def test_pg_dump_is_killed(scene: DumpScene) -> None:
    shop(scene.cluster)
    with scene.cluster.connect() as holder:
        lock(holder)
        with running(scene, "-d", "postgres") as process:
            assert wait_until(lambda: is_waiting(scene.cluster), 30)
            (pid,) = _pg_dumps(process.pid)
            os.kill(pid, signal.SIGKILL)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 244, said
    assert "pg_dump ended with signal 9" in said
    assert scene.dumps() == []
    assert wait_until(scene.is_clean, 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_pgkeep_is_ended(scene: DumpScene, number: signal.Signals) -> None:
    shop(scene.cluster)
    with scene.cluster.connect() as holder:
        lock(holder)
        with running(scene, "-d", "postgres") as process:
            assert wait_until(lambda: is_waiting(scene.cluster), 30)
            pids = _pg_dumps(process.pid)
            process.send_signal(number)
            process.communicate(timeout=60)
            gone = lambda: not any(map(Process.find, pids))  # noqa: E731
            assert wait_until(gone, 30), "pg_dump lives on"
    assert scene.dumps() == []
    assert scene.create("-d", "postgres")["databases"][0]["rows"] == 1000


def _pg_dumps(parent: int) -> list[int]:
    """Return the pg_dump processes below one."""
    found = []
    for pid in all_pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if command[0].endswith(b"/pg_dump") and int(fields[1]) == parent:
            found.append(pid)
    return found


@only(18)
def test_scenario_150_a_parallel_dump_under_load_is_one_snapshot(scene: DumpScene) -> None:
    cluster = scene.cluster
    for table in ("a", "b"):
        cluster.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, amount int)")
        cluster.sql(f"INSERT INTO {table} SELECT g, 100 FROM generate_series(1, 50) g")
    cluster.sql("CREATE TABLE filler AS SELECT g, md5(g::text) FROM generate_series(1, 200000) g")
    stop = threading.Event()

    def transfer(client: int) -> None:
        with cluster.connect() as connection:
            number = 0
            while not stop.is_set():
                number += 1
                connection.execute("BEGIN")
                connection.execute(
                    "UPDATE a SET amount = amount - 1 WHERE id = %s", [number % 50 + 1]
                )
                connection.execute(
                    "UPDATE b SET amount = amount + 1 WHERE id = %s", [(number + client) % 50 + 1]
                )
                connection.execute("COMMIT")

    writers = [threading.Thread(target=transfer, args=(client,)) for client in range(4)]
    for writer in writers:
        writer.start()
    try:
        made = scene.create("-d", "postgres", "--jobs", "2")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    manifest = dumps.read_manifest(scene.folder, made["id"])
    streams = FileStreams(scene.folder, manifest.tables, of=made["id"])
    total = 0
    for item in inventory.decode(streams.read("1/inventory"), made["id"]):
        if item.type == "TABLE DATA" and item.name in ("a", "b"):
            rows = b"".join(streams.read(f"1/{item.file}")).split(b"\n\\.\n")[0].split(b"\n")
            total += sum(int(row.split(b"\t")[1]) for row in rows)
    assert total == 2 * 50 * 100


@only(15, 18)
def test_scenario_151_hostile_names(scene: DumpScene) -> None:
    databases = ["-d", "dbname=x", 'a"b', "a'b", "a b", "100%", "back\\slash", "Grün", "x" * 63]
    for name in databases:
        with scene.cluster.connect() as connection:
            connection.execute(
                psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name))
            )
        with scene.cluster.connect(dbname=name) as connection:
            connection.execute('CREATE TABLE "-t" ("select" int); INSERT INTO "-t" VALUES (1), (2)')
            connection.execute('CREATE TABLE "A.b""c\nd" (a int)')
    made = scene.create()
    assert {one["name"] for one in made["databases"]} == {*databases, "postgres", "template1"}
    assert all(one["rows"] == 2 for one in made["databases"] if one["name"] in databases)
    one = scene.create("-d", "-d", "-t", '"-t"')
    assert (one["databases"][0]["name"], one["databases"][0]["tables"]) == ("-d", 1)
    other = scene.create("-d", 'a"b', "-t", '"A.b""c\nd"')
    assert other["databases"][0]["tables"] == 1


@only(18)
def test_more_tables_than_locks_are_dumped_schema_by_schema(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = new_cluster(settings={"max_locks_per_transaction": 10, "max_connections": 20})
    scene = DumpScene.make(pg, tmp_path)
    for schema in ("s1", "s2", "s3"):
        pg.sql(f"CREATE SCHEMA {schema}")
        for first in range(0, 90, 30):
            pg.sql(
                ";".join(f"CREATE TABLE {schema}.t{n} (a int)" for n in range(first, first + 30))
            )
    pg.sql("INSERT INTO s2.t5 VALUES (1), (2)")
    pg.sql("CREATE VIEW s1.v AS SELECT * FROM s2.t5 JOIN s3.t1 USING (a)")
    (database,) = scene.create("-d", "postgres")["databases"]
    assert database["runs"] > 1
    assert (database["tables"], database["rows"]) == (270, 2)


@only(18)
def test_a_schema_with_more_tables_than_the_server_can_lock(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = new_cluster(settings={"max_locks_per_transaction": 10, "max_connections": 20})
    scene = DumpScene.make(pg, tmp_path)
    many_tables(pg, 6000)
    result = scene.run("dump", "create", "-d", "postgres")
    assert result.exit == 254, result.stderr
    assert "max_locks_per_transaction" in result.stderr
    assert scene.dumps() == []


@only(17)
def test_the_password_is_in_no_command_line(scene: DumpScene, tmp_path: Path) -> None:
    shop(scene.cluster)
    text = scene.config.read_text().replace("user=postgres", "user=postgres password=hush77")
    scene.config.write_text(text)
    with scene.cluster.connect() as holder:
        lock(holder)
        with running(scene, "-d", "postgres") as process:
            assert wait_until(lambda: is_waiting(scene.cluster), 30)
            lines = b"".join(
                Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _pg_dumps(process.pid)
            )
    assert b"pg_dump" in lines
    assert b"hush77" not in lines


def test_nothing_is_dumped_without_a_repository(tmp_path: Path, pg: ScratchCluster) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(
        f'[repository]\nurl = "{tmp_path}/none"\n[clusters.main]\nconninfo = "{pg.conninfo}"\n'
    )
    result = run_pgkeep("dump", "create", config=config)
    assert result.exit not in (0, 1, 2)
    assert "pgkeep init" in result.stderr


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Path]:
    """A directory with room for 40 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "pgkeep-test", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@only(17)
def test_the_repository_is_full(pg: ScratchCluster, small_place: Path, tmp_path: Path) -> None:
    scene = DumpScene.make(pg, small_place)
    pg.sql("CREATE EXTENSION pgcrypto")
    pg.sql("CREATE TABLE noise AS SELECT gen_random_bytes(1000) FROM generate_series(1, 90000)")
    result = scene.run("dump", "create", "-d", "postgres")
    assert result.exit == 25, result.stderr
    assert "free space in" in result.stderr
    assert scene.dumps() == []
    packs = [
        path for path in (scene.repository / "clusters/main/packs").rglob("*") if path.is_file()
    ]
    assert packs == []
    assert wait_until(scene.is_clean, 30)
    file = tmp_path / "noise.dump"  # on another disk
    pg.tool("pg_dump", "-Fc", "-Z0", f"--file={file}", "postgres")
    result = scene.run("dump", "import", file)
    assert result.exit == 25, result.stderr
    assert not any(path.is_file() for path in (scene.repository / "clusters/main").rglob("*"))


@only(17)
def test_there_is_no_room_for_scratch(scene: DumpScene, small_place: Path) -> None:
    shop(scene.cluster)
    (small_place / "ballast").write_bytes(bytes(35 << 20))
    result = scene.run("dump", "create", "-d", "postgres", "--scratch", str(small_place))
    assert result.exit == 234
    assert "--scratch" in result.stderr
    assert scene.dumps() == []


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "SQL_ASCII"])
@only(15, 18)
def test_other_encodings_come_back_byte_for_byte(scene: DumpScene, encoding: str) -> None:
    encoded_database(scene.cluster, "other", encoding)
    scene.create("-d", "other")
    scene.run("dump", "restore", "latest", "-d", "copy").ok()
    # Everybody's right to connect is written out in the copy, and means the same.
    assert_same_database((scene.cluster, "other"), (scene.cluster, "copy"), properties=False)


@only(18)
def test_a_dump_of_chosen_parts(scene: DumpScene) -> None:
    shop(scene.cluster)
    scene.cluster.sql("CREATE SCHEMA s; CREATE TABLE s.big AS SELECT generate_series(1, 500) g")
    filters = scene.config.parent / "filter.txt"
    filters.write_text("exclude table_data s.big  # too large\nexclude table customers\n")
    made = scene.create("-d", "postgres", "--filter", str(filters))
    assert (made["databases"][0]["tables"], made["databases"][0]["rows"]) == (2, 1000)
    assert made["selection"] != "everything"
    listed = scene.run("dump", "create", "-d", "postgres", "--schema-only").ok().stdout
    assert "this is not a full backup" in listed


@only(15, 18)
def test_a_partitioned_table_that_is_chosen_without_its_partitions(scene: DumpScene) -> None:
    scene.cluster.sql(
        "CREATE TABLE log (at int) PARTITION BY RANGE (at);"
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (10);"
        "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (10) TO (20);"
        "INSERT INTO log SELECT generate_series(1, 19)"
    )
    for pattern, rows, notes in (
        ("log", 0, ["rows of partitions that no -t chooses are not in it: of public.log"]),
        ("log*", 19, []),
    ):
        made = scene.create("-d", "postgres", "-t", pattern)
        assert (made["databases"][0]["rows"], made["notes"]) == (rows, notes)
