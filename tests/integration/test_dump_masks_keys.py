"""Unique columns, as pg_dump of each version writes them."""

from pathlib import Path

from pgkeep.logical.masks.keys import unique_columns
from pgkeep.postgres.archive.toc import read_toc
from pgkeep.server.scratch import ScratchCluster
from support.loads import dump_directory

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, a text UNIQUE, b text, c text, d text, e text, f text,
    "Odd ""one"" (x)" int UNIQUE, UNIQUE (b, c), UNIQUE (a) INCLUDE (b));
CREATE UNIQUE INDEX ON t (d DESC NULLS LAST);
CREATE UNIQUE INDEX ON t (e) WHERE e <> '';
CREATE UNIQUE INDEX ON t (lower(f));
CREATE UNIQUE INDEX ON t (f, id);
CREATE INDEX ON t (c);
CREATE TABLE parts (k int UNIQUE, v int) PARTITION BY LIST (k);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
CREATE TABLE n (a int UNIQUE NULLS NOT DISTINCT);
"""


def test_unique_columns(pg: ScratchCluster, tmp_path: Path) -> None:
    pg.sql("CREATE DATABASE shop")
    pg.sql(SCHEMA, dbname="shop")
    expected = {("t", "id"), ("t", "a"), ("t", "d"), ("t", 'Odd "one" (x)'), ("n", "a")}
    expected |= {("parts", "k"), ("parts_1", "k")}
    for number, options in enumerate([(), ("--no-owner",)]):
        dump = dump_directory(pg, "shop", tmp_path / f"dump{number}", *options)
        with (dump / "toc.dat").open("rb") as file:
            found = list(unique_columns(read_toc(file)[1]))
        assert {key[0] for key in found} == {"public"}
        assert {key[1:] for key in found} == expected
