"""Tables of a dump loaded by our own workers: what arrives, and what is said when it cannot."""

from pathlib import Path

import pytest

from pgkeep.logical.load.load import load_tables
from pgkeep.logical.load.workers import warm_up
from pgkeep.progress import Silent
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.compare import assert_same_database
from support.loads import (
    StoredDump,
    dump_directory,
    restore_objects,
    restore_section,
    store,
    to,
)
from support.rental import load_rental

SCHEMA = """
CREATE SCHEMA "Odd ""one"".x";
CREATE DOMAIN short AS varchar(3);
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'hap py');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE plain (id int PRIMARY KEY, t text, n numeric, b bytea, d timestamptz, i interval,
    j jsonb, a text[], r int4range, m mood, p pair, f float8, u uuid, s short, g point);
INSERT INTO plain SELECT k, CASE k % 7 WHEN 0 THEN NULL WHEN 1 THEN ''
    WHEN 2 THEN E'a\\tb\\n\\\\c\\r' WHEN 3 THEN '\\.' WHEN 4 THEN '\\N'
    ELSE repeat(chr(8364), k % 50) END, k / 7.0,
    decode(md5(k::text), 'hex'), '2024-01-01Z'::timestamptz + k * interval '1 h',
    CASE WHEN k % 2 = 0 THEN interval '-1 day +02:00' ELSE interval '1 mon -3 days' END,
    jsonb_build_object('k', k), ARRAY['a,b', NULL, '"', k::text], int4range(k, k + 5),
    'it''s ok', ROW(k, E'x\\ty'::text)::pair, CASE WHEN k % 5 = 0 THEN 'NaN' ELSE k / 3.0 END,
    md5(k::text)::uuid, 'abc', point(k, 1) FROM generate_series(1, 3000) k;
CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY, v int, w int GENERATED ALWAYS AS (v * 2)
    STORED, "c, d" text);
INSERT INTO always (v, "c, d") SELECT k, k::text FROM generate_series(1, 100) k;
ALTER TABLE always DROP COLUMN v CASCADE, ADD COLUMN "v 2" int DEFAULT 5;
CREATE TABLE "Odd ""one"".x"."t (""a"") FROM stdin;" ("o""x" int, "b.c" text);
INSERT INTO "Odd ""one"".x"."t (""a"") FROM stdin;" VALUES (1, 'x'), (NULL, NULL);
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE void (a int);
CREATE TABLE parts (k int, v text) PARTITION BY LIST (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2, 3);
INSERT INTO parts SELECT 1 + k % 3, md5(k::text) FROM generate_series(1, 300) k;
CREATE TABLE base (a int); CREATE TABLE child (b int) INHERITS (base);
INSERT INTO base VALUES (1); INSERT INTO child VALUES (2, 3);
CREATE UNLOGGED TABLE fleeting (v text); INSERT INTO fleeting VALUES ('x');
CREATE TABLE guarded (owner text); INSERT INTO guarded VALUES ('me');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE wide (v text); INSERT INTO wide SELECT repeat(md5(k::text), 100000)
    FROM generate_series(1, 3) k;
"""
# What a database may be set to: nothing of it may matter.
HINDRANCES = (
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "statement_timeout = '1ms'",
    "IntervalStyle = 'sql_standard'",
    "DateStyle = 'SQL, DMY'",
    "standard_conforming_strings = off",
    "search_path = rental, public",
    "xmloption = document",
    "array_nulls = off",
    "client_encoding = 'LATIN1'",
)
TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relkind = 'r' AND n.nspname !~ '^pg_|^information' ORDER BY 1
"""


class Seen(Silent):
    """Progress as somebody sees it."""

    def __init__(self) -> None:
        self.phases = list[tuple[str, int | None]]()
        self.steps = list[int]()
        self.details = list[str]()

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        self.phases.append((title, total))

    def advance(self, done: int) -> None:
        self.steps.append(done)

    def detail(self, text: str) -> None:
        self.details.append(text)


def contents(pg: ScratchCluster, database: str) -> dict[str, tuple[object, ...]]:
    """Return rows and their hash for each table."""
    found = {}
    for (name,) in pg.sql(TABLES, dbname=database):
        rows = f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM ONLY {name} t"
        found[name] = pg.sql(rows, dbname=database)[0]
    return found


def make(pg: ScratchCluster, database: str, script: str, *options: str) -> None:
    words = " ".join(options)
    pg.sql(f'CREATE DATABASE "{database}" TEMPLATE template0 {words}')
    pg.sql(script, dbname=database)


def dumped(pg: ScratchCluster, tmp_path: Path, database: str = "shop") -> StoredDump:
    """Dump a database, store the dump, and make an empty database `copy` with its tables."""
    dump = dump_directory(pg, database, tmp_path / "dump")
    found = store(dump, tmp_path / "repository")
    pg.sql(f"CREATE DATABASE copy TEMPLATE template0 {options_of(pg, database)}")
    restore_section(pg, dump, "copy", "pre-data")
    return found


def options_of(pg: ScratchCluster, database: str) -> str:
    query = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = %s"
    encoding, locale = pg.sql(query, database)[0]
    return f"ENCODING '{encoding}' LOCALE '{locale}'"


def test_every_kind_of_table_and_value(pg: ScratchCluster, tmp_path: Path) -> None:
    make(pg, "shop", SCHEMA)
    dump = dumped(pg, tmp_path)
    told = dict[str, int]()
    seen = Seen()
    request = dump.request(to(pg, "copy"))
    result = load_tables(request, seen, told=lambda table, rows: told.update({table.name: rows}))
    assert contents(pg, "copy") == contents(pg, "shop")
    rows = {table.name: result.rows[table.dump_id] for table in dump.data}
    assert rows["plain"] == 3000
    assert rows["void"] == 0
    assert rows["nothing"] == 2
    assert rows['t ("a") FROM stdin;'] == 2
    assert result.bytes == sum(table.size for table in dump.data)
    assert told == rows
    assert seen.phases == [("loading data", result.bytes)]
    assert seen.steps == sorted(seen.steps)
    assert seen.steps[-1] == result.bytes


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("LATIN1", b"caf\xe9"),
        ("SQL_ASCII", b"\xff\x80 whatever"),
        ("EUC_JP", b"\xc5\xec\xb5\xfe"),
        ("EUC_JIS_2004", b"\xc5\xec\xb5\xfe"),
        ("MULE_INTERNAL", b"\x81\xe9"),
    ],
)
def test_other_encodings(pg: ScratchCluster, tmp_path: Path, encoding: str, word: bytes) -> None:
    pg.sql(f"CREATE DATABASE shop TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    setting = f"SET client_encoding = '{encoding}'; ".encode()

    def run(database: str, statement: bytes) -> bytes | None:
        with pg.connect(dbname=database) as connection:
            result = connection.pgconn.exec_(setting + statement.replace(b"NAME", word))
            assert not result.error_message
            return result.get_value(0, 0) if result.ntuples else None

    run("shop", b'CREATE TABLE "NAME" ("c NAME" text)')
    run("shop", b"""INSERT INTO "NAME" SELECT 'NAME' || k FROM generate_series(1, 10) k""")
    dump = dumped(pg, tmp_path)
    assert set(dump.load(to(pg, "copy"), encoding).rows.values()) == {10}
    rows = b"""SELECT string_agg("c NAME", ' ') FROM "NAME" x"""
    assert run("copy", rows) == run("shop", rows)


def test_a_database_with_everything_in_it(pg: ScratchCluster, tmp_path: Path) -> None:
    load_rental(pg, "shop")
    dump = dump_directory(pg, "shop", tmp_path / "dump")
    found = store(dump, tmp_path / "repository", limit=2000)
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, dump, "copy", "pre-data")
    restore_objects(pg, dump, "copy")
    for setting in HINDRANCES:
        pg.sql(f"ALTER DATABASE copy SET {setting}")
    found.load(to(pg, "copy"), large_objects=found.blobs)
    pg.sql("ALTER DATABASE copy RESET ALL")
    restore_section(pg, dump, "copy", "post-data")
    assert_same_database((pg, "shop"), (pg, "copy"), properties=False)


@only(17)
def test_a_large_table_is_loaded_in_parts(new_cluster: NewCluster, tmp_path: Path) -> None:
    pg = new_cluster(settings={"shared_buffers": "64MB"}, wal_segsize=None)
    make(pg, "shop", "CREATE TABLE big (id int, v text); CREATE TABLE small (id int);")
    rows = "INSERT INTO big SELECT k, repeat(md5(k::text), 20) FROM generate_series(1, 450000) k"
    pg.sql(f"{rows}; INSERT INTO small SELECT generate_series(1, 5000)", dbname="shop")
    dump = dumped(pg, tmp_path)
    assert dump.file("big").size > 290_000_000
    warm_up()
    seen = Seen()
    result = dump.load(to(pg, "copy"), progress=seen)
    assert len(seen.steps) > 5
    assert seen.steps[-1] == result.bytes == seen.phases[0][1]
    assert set(seen.details) <= {"", "public.big", "public.small", "public.big, public.small"}
    assert "public.big" in seen.details
    assert result.rows[dump.file("big").dump_id] == 450_000
    assert contents(pg, "copy") == contents(pg, "shop")


@pytest.mark.parametrize(
    "options",
    [
        ("--inserts",),
        ("--column-inserts", "--rows-per-insert=7"),
        ("--inserts", "--on-conflict-do-nothing"),
    ],
)
def test_rows_kept_as_statements(
    pg: ScratchCluster, tmp_path: Path, options: tuple[str, ...]
) -> None:
    make(pg, "shop", SCHEMA)
    texts = "SELECT k, repeat($$a';\"\\$$, k) || E'\\n' || repeat($$';;$$, k % 3) AS v"
    pg.sql(f"""CREATE TABLE "it's" AS {texts} FROM generate_series(1, 500) k""", dbname="shop")
    dump = dump_directory(pg, "shop", tmp_path / "dump", *options)
    found = store(dump, tmp_path / "repository", limit=5000)
    pg.sql("CREATE DATABASE copy TEMPLATE template0")
    restore_section(pg, dump, "copy", "pre-data")
    result = found.load(to(pg, "copy"))
    rows = {table.name: result.rows[table.dump_id] for table in found.data}
    assert rows["it's"] == 500
    assert rows["void"] == 0
    assert contents(pg, "copy") == contents(pg, "shop")
