"""Samples of a restored database: about the share that was asked for, every key with its row."""

from pathlib import Path
from typing import Any

import pytest

from pgkeep.logical.masks.keys import unique_columns
from pgkeep.logical.masks.preflight import plan_masks
from pgkeep.logical.masks.rules import parse_masks
from pgkeep.logical.sample.plan import CannotSample
from pgkeep.logical.sample.sample import SampleReport, SampleRequest, make_sample
from pgkeep.postgres.archive.entries import FOREIGN_KEY, foreign_key
from pgkeep.postgres.archive.sql import ForeignKey, Name
from pgkeep.postgres.archive.toc import read_toc
from pgkeep.progress import Silent
from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.loads import StoredDump, dump_directory, restore_section, store, to

SCHEMA = """
CREATE SCHEMA other;
CREATE TABLE lookup (id int PRIMARY KEY, v text);
INSERT INTO lookup SELECT k, 'v' FROM generate_series(1, 900) k;
CREATE TABLE customers (id int PRIMARY KEY, lookup int REFERENCES lookup, invited_by int);
ALTER TABLE customers ADD FOREIGN KEY (invited_by) REFERENCES customers;
INSERT INTO customers SELECT k, 1 + k % 900, nullif(k / 5, 0) FROM generate_series(1, 20000) k;
CREATE TABLE orders (shop int, number int, customer int REFERENCES customers, note text,
    PRIMARY KEY (shop, number));
INSERT INTO orders SELECT k % 7, k, 1 + k % 20000, repeat('x', 50) FROM generate_series(1, 60000) k;
CREATE TABLE other.lines (shop int, number int, line int, pgkeep_round text,
    FOREIGN KEY (shop, number) REFERENCES orders);
INSERT INTO other.lines SELECT k % 7, k, l, 'x' FROM generate_series(1, 60000) k,
    generate_series(1, 2) l;
INSERT INTO other.lines VALUES (NULL, 3, 1, 'no key'), (NULL, NULL, 2, 'none');
CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, c int);
CREATE TABLE c (id int PRIMARY KEY, a int);
INSERT INTO a SELECT k, k + 1 FROM generate_series(1, 5000) k;
INSERT INTO b SELECT k, k + 1 FROM generate_series(1, 5001) k;
INSERT INTO c SELECT k, CASE WHEN k % 50 > 0 AND k <= 5000 THEN k END
    FROM generate_series(1, 5002) k;
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c;
ALTER TABLE c ADD FOREIGN KEY (a) REFERENCES a;
CREATE TABLE parts (k int, day date, v text, PRIMARY KEY (k, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2024-07-01')
    PARTITION BY LIST (k);
CREATE TABLE parts_1d PARTITION OF parts_1 DEFAULT;
CREATE TABLE parts_2 (v text, gone int, day date NOT NULL, k int NOT NULL);
ALTER TABLE parts_2 DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
INSERT INTO parts SELECT k, '2024-01-01'::date + k % 366, md5(k::text)
    FROM generate_series(1, 9000) k;
CREATE TABLE facts (k int, day date, doubled int GENERATED ALWAYS AS (k * 2) STORED,
    id int GENERATED ALWAYS AS IDENTITY, FOREIGN KEY (k, day) REFERENCES parts)
    PARTITION BY HASH (k);
CREATE TABLE facts_1 PARTITION OF facts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE facts_2 PARTITION OF facts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO facts SELECT k, day FROM parts, generate_series(1, 3);
CREATE TABLE only_first (k int, day date, FOREIGN KEY (k, day) REFERENCES parts_1);
INSERT INTO only_first SELECT k, day FROM parts_1;
CREATE TABLE alone AS SELECT k, k AS t FROM generate_series(1, 30000) k;
CREATE TABLE base (v int); CREATE TABLE child (w int) INHERITS (base);
INSERT INTO base SELECT generate_series(1, 2000); INSERT INTO child SELECT k, k
    FROM generate_series(1, 3000) k;
CREATE TABLE nothing (); INSERT INTO nothing SELECT FROM generate_series(1, 1500);
CREATE TABLE void (a int);
"""


def loaded(pg: ScratchCluster, tmp_path: Path, schema: str) -> tuple[StoredDump, dict[Name, int]]:
    """Dump a database, and load it into `copy` as far as its rows."""
    pg.sql("CREATE DATABASE shop")
    pg.sql(schema, dbname="shop")
    directory = dump_directory(pg, "shop", tmp_path / "dump")
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, directory, "copy", "pre-data")
    dump = store(directory, tmp_path / "repository")
    rows = dump.load(to(pg, "copy")).rows
    return dump, {Name(t.schema, t.name): rows[t.dump_id] for t in dump.data}


def keys(tmp_path: Path) -> list[ForeignKey]:
    with (tmp_path / "dump" / "toc.dat").open("rb") as file:
        return [foreign_key(entry) for entry in read_toc(file)[1] if entry.desc == FOREIGN_KEY]


def sampled(
    pg: ScratchCluster, tmp_path: Path, rows: dict[Name, int], share: float, **more: Any
) -> SampleReport:
    request: dict[str, Any] = {
        "conninfo": to(pg, "copy"), "encoding": "UTF8", "share": share, "rows": rows,
        "foreign_keys": keys(tmp_path), "jobs": 2,
    }  # fmt: skip
    return make_sample(SampleRequest(**request | more), Silent())


def test_all_keys_hold(pg: ScratchCluster, tmp_path: Path) -> None:
    _, rows = loaded(pg, tmp_path, SCHEMA)
    before = pg.value("SELECT pg_database_size('copy')")
    report = sampled(pg, tmp_path, rows, 0.1)
    # The proof: PostgreSQL checks every key while it makes them.
    restore_section(pg, tmp_path / "dump", "copy", "post-data")
    found = {table.table: table for table in report.tables}
    for table in report.tables:
        count = f"SELECT count(*) FROM ONLY {table.table}"
        assert pg.value(count, dbname="copy") == table.kept, table
    assert found["public.lookup"][1:] == (900, 900, 0, "it has fewer than 1000 rows")
    for name in ("public.alone", "other.lines", "public.base", "public.child"):
        assert found[name].referenced == 0
        assert 0.08 < found[name].kept / found[name].before < 0.12
    assert 0.25 < found["public.orders"].kept / 60_000 < 0.30  # 1 - 0.9 ** 3
    assert found["public.a"].kept > 2500  # chains of fifty rows, each of which may be taken
    parts = found["public.parts_1d"].kept + found["public.parts_2"].kept
    assert found["public.parts_1d"].referenced > 0
    assert 0.30 < parts / 9000 < 0.45
    assert "public.void" not in found
    assert report.before == sum(rows.values())
    assert report.kept == sum(table.kept for table in report.tables)
    # Rows that are not in the sample are gone from the files as well.
    assert pg.value("SELECT pg_database_size('copy')") < before * 0.6
    schemas = "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'pgkeep'"
    assert pg.value(schemas, dbname="copy") == 0
    # They are rows of the source, with all that they held.
    check = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} t WHERE {}"
    ids = pg.value("SELECT array_agg(id) FROM facts", dbname="copy")
    of_these = check.format("facts", f"id = ANY ('{{{','.join(map(str, ids))}}}')")
    assert pg.sql(of_these, dbname="copy") == pg.sql(of_these, dbname="shop")


@only(15, 18)
def test_the_same_seed_gives_the_same_sample(pg: ScratchCluster, tmp_path: Path) -> None:
    schema = """
        CREATE TABLE p (id int PRIMARY KEY, x text);
        CREATE TABLE q (id int, p int REFERENCES p);
        INSERT INTO p SELECT k, md5(k::text) FROM generate_series(1, 5000) k;
        INSERT INTO q SELECT k, k % 5000 + 1 FROM generate_series(1, 5000) k;
    """
    dump, rows = loaded(pg, tmp_path, schema)
    found = []
    for seed in (7, 7, 8):
        sampled(pg, tmp_path, rows, 0.2, seed=seed)
        content = "SELECT array_agg(id ORDER BY id) FROM {}"
        found.append([pg.value(content.format(t), dbname="copy") for t in "pq"])
        pg.sql("TRUNCATE p, q", dbname="copy")
        dump.load(to(pg, "copy"))
    assert found[0] == found[1] != found[2]


@only(17)
def test_a_long_chain(pg: ScratchCluster, tmp_path: Path) -> None:
    """Each round finds one row more."""
    schema = """
        CREATE TABLE chain (id int PRIMARY KEY, before int REFERENCES chain);
        INSERT INTO chain SELECT k, nullif(k - 1, 0) FROM generate_series(1, 3000) k;
    """
    _, rows = loaded(pg, tmp_path, schema)
    report = sampled(pg, tmp_path, rows, 0.01)
    restore_section(pg, tmp_path / "dump", "copy", "post-data")
    kept, last = pg.sql("SELECT count(*), max(id) FROM chain", dbname="copy")[0]
    assert kept == last == report.tables[0].kept


@only(17, 18)
def test_types_with_operators_of_their_own(pg: ScratchCluster, tmp_path: Path) -> None:
    temporal = """
        CREATE TABLE rooms (room int, during int4range,
            PRIMARY KEY (room, during WITHOUT OVERLAPS));
        CREATE TABLE stays (room int, during int4range,
            FOREIGN KEY (room, PERIOD during) REFERENCES rooms (room, PERIOD during));
        INSERT INTO rooms SELECT k % 5, int4range(k, k + 5) FROM generate_series(0, 1999) k;
        INSERT INTO stays SELECT k % 5, int4range(k + 3, k + 8) FROM generate_series(0, 1990) k;
    """
    schema = """
        CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION btree_gist;
        CREATE DOMAIN word AS ext.citext;
        CREATE TABLE names (name ext.citext PRIMARY KEY, "select" int UNIQUE);
        INSERT INTO names SELECT 'Name' || k, k FROM generate_series(1, 2000) k;
        CREATE TABLE users (name word REFERENCES names, s int8 REFERENCES names ("select"));
        INSERT INTO users SELECT 'nAME' || k, 2001 - k FROM generate_series(1, 2000) k;
    """
    _, rows = loaded(pg, tmp_path, schema + (temporal if pg.binaries.major >= 18 else ""))
    report = sampled(pg, tmp_path, rows, 0.1)
    restore_section(pg, tmp_path / "dump", "copy", "post-data")
    found = {table.table: table for table in report.tables}
    assert found["public.names"].referenced > 200
    if pg.binaries.major >= 18:
        assert found["public.rooms"].referenced > 100


@only(15, 18)
def test_masked_keys_hold_in_a_sample(pg: ScratchCluster, tmp_path: Path) -> None:
    schema = """
        CREATE TABLE users (id int PRIMARY KEY, email varchar(80) UNIQUE, token uuid UNIQUE);
        CREATE TABLE orders (user_id int8 REFERENCES users, email varchar(80) REFERENCES users
            (email), token uuid REFERENCES users (token), n int);
        INSERT INTO users SELECT k, 'secret' || k, md5(k::text)::uuid
            FROM generate_series(1, 5000) k;
        INSERT INTO orders SELECT id, email, token, n FROM users, generate_series(1, 3) n;
    """
    dump, _ = loaded(pg, tmp_path, schema)
    pg.sql("TRUNCATE users, orders", dbname="copy")
    columns = ("users.id", "users.email", "users.token", "orders.user_id", "orders.email")
    rules = parse_masks(dict.fromkeys([*columns, "orders.token"], "hash"))
    with (tmp_path / "dump" / "toc.dat").open("rb") as file:
        unique = list(unique_columns(read_toc(file)[1]))
    masks = plan_masks(
        rules, to(pg, "copy"), "UTF8", tables=dump.data, foreign_keys=keys(tmp_path), unique=unique
    )
    result = dump.load(to(pg, "copy"), masks=masks)
    rows = {Name(t.schema, t.name): result.rows[t.dump_id] for t in dump.data}
    report = sampled(pg, tmp_path, rows, 0.05)
    restore_section(pg, tmp_path / "dump", "copy", "post-data")
    found = {table.table: table.kept for table in report.tables}
    assert 600 < found["public.orders"] < 900
    assert found["public.users"] > found["public.orders"] * 0.8
    secrets = "SELECT count(*) FROM users WHERE email ~ 'secret'"
    assert pg.value(secrets, dbname="copy") == 0


@only(17)
def test_what_stops_a_sample(pg: ScratchCluster, tmp_path: Path) -> None:
    _, rows = loaded(pg, tmp_path, "CREATE TABLE t AS SELECT k FROM generate_series(1, 2000) k")
    pg.sql("CREATE VIEW v AS SELECT * FROM t; CREATE ROLE clerk LOGIN", dbname="copy")
    clerk = to(pg, "copy").replace("user=postgres", "user=clerk")
    with pytest.raises(CannotSample) as caught:
        sampled(pg, tmp_path, rows, 0.1, conninfo=clerk)
    assert str(caught.value) == (
        "cannot make a sample: the server says: permission denied for database copy"
    )
    pg.sql("GRANT CREATE ON DATABASE copy TO clerk", dbname="copy")
    with pytest.raises(CannotSample, match=r"sample of public\.t: the server says: permission"):
        sampled(pg, tmp_path, rows, 0.1, conninfo=clerk)
