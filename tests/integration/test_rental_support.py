"""The film-rental database and the comparison of databases, on which other tests rely."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import REQUIRED, only, require_binaries
from support.compare import assert_same_database, contents_of, differences, globals_of
from support.many import (
    TransferLoad,
    assert_consistent,
    encoded_database,
    many_large_objects,
    many_tables,
)
from support.rental import load_rental

HOSTILE = 'odd "name" %s'


class Change(NamedTuple):
    statement: str
    told: str  # how a line of the difference begins


CHANGES = {
    "a value": Change(
        "UPDATE rental.texts SET body = NULL WHERE id = 2", '+table "rental"."texts": 18 rows'
    ),
    "a row as another": Change(
        "INSERT INTO rental.no_columns DEFAULT VALUES", '+table "rental"."no_columns": 4 rows'
    ),
    "values that change places": Change(
        "UPDATE rental.scratch SET body = 'unlogged ' || (21 - id)",
        '+table "rental"."scratch": 20 rows',
    ),
    "a sequence": Change(
        "SELECT nextval('rental.\"never Called\"')",
        '+sequence "rental"."never Called": at 4611686018427387904, called true',
    ),
    "a view that is filled": Change(
        "REFRESH MATERIALIZED VIEW rental.never_filled",
        '-matview "rental"."never_filled": not populated',
    ),
    "a byte of a large object": Change(
        "SELECT lo_put(770200, 2999999, 'x')", "+large object 770200: 3145728 bytes"
    ),
    "a comment": Change("COMMENT ON LARGE OBJECT 770001 IS 'x'", "+large object 770001: "),
    "a grant": Change("GRANT SELECT ON LARGE OBJECT 770000 TO PUBLIC", "+large object 770000: "),
    "an index": Change("DROP INDEX rental.film_brin", '-CREATE INDEX "film_brin"'),
    "an owner": Change(
        "ALTER TABLE rental.wide OWNER TO rental_clerk",
        '+ALTER TABLE "rental"."wide" OWNER TO "rental_clerk"',
    ),
    "a table's grant": Change(
        "GRANT INSERT ON rental.texts TO PUBLIC",
        '+GRANT INSERT ON TABLE "rental"."texts" TO PUBLIC',
    ),
    "a trigger": Change(
        "ALTER TABLE rental.texts ENABLE TRIGGER off_1",
        '-ALTER TABLE "rental"."texts" DISABLE TRIGGER "off_1"',
    ),
    "an access method": Change(
        "ALTER TABLE rental.other_heap SET ACCESS METHOD heap",
        "--- Name: other_heap; Type: TABLE; Schema: rental; Owner: rental_owner; Using: heap_too",
    ),
}


def dump(pg: ScratchCluster, database: str, to: Path, *options: str) -> None:
    pg.tool("pg_dump", "--format=custom", f"--file={to}", *options, database)


@pytest.fixture
def other(postgres_version: int, tmp_path: Path) -> Iterator[ScratchCluster]:
    """A server of another version, to which one may go over."""
    to = {15: 18, 17: 18, 18: 17}[postgres_version]
    with ScratchCluster(require_binaries(to), tmp_path / "other") as cluster:
        yield cluster


@only(*REQUIRED)
def test_a_round_trip_by_postgresqls_own_programs_is_the_same(
    pg: ScratchCluster, tmp_path: Path
) -> None:
    load_rental(pg, tablespace=tmp_path / "space", build_extras=True)
    dump(pg, "rental", tmp_path / "dump")
    pg.sql("CREATE DATABASE again TEMPLATE template0")
    done = pg.tool("pg_restore", "--dbname=again", "--exit-on-error", str(tmp_path / "dump"))
    assert done.stderr == ""
    assert_same_database((pg, "rental"), (pg, "again"), properties=False)


@only(*REQUIRED)
def test_what_is_said_of_the_database_comes_with_create(pg: ScratchCluster, tmp_path: Path) -> None:
    load_rental(pg, HOSTILE)
    pg.sql("CREATE DATABASE again TEMPLATE template0")
    with pytest.raises(AssertionError, match="-setting work_mem of rental_clerk"):
        assert_same_database((pg, HOSTILE), (pg, "again"), schema=False, contents=False)
    dump(pg, HOSTILE, tmp_path / "dump")
    pg.sql('ALTER DATABASE "odd ""name"" %s" RENAME TO before')
    pg.tool("pg_restore", "--create", "--dbname=postgres", str(tmp_path / "dump"))
    assert_same_database((pg, "before"), (pg, HOSTILE))


@only(*REQUIRED)
def test_changes_are_seen(pg: ScratchCluster) -> None:
    load_rental(pg)
    pg.sql("CREATE DATABASE changed TEMPLATE rental")
    # A template's subscriptions are not copied.
    shown: dict[str, Any] = {"properties": False, "options": ["--no-subscriptions"]}
    assert differences((pg, "rental"), (pg, "changed"), **shown) == []
    for change in CHANGES.values():
        pg.sql(change.statement, dbname="changed")
    lines = differences((pg, "rental"), (pg, "changed"), **shown)
    for what, change in CHANGES.items():
        assert any(line.startswith(change.told) for line in lines), (what, lines)
    with pytest.raises(AssertionError, match=r"\.\.\. \d+ lines more$"):
        assert_same_database((pg, "rental"), (pg, "changed"), **shown)


@only(15, 17)
def test_a_newer_version_holds_the_same(
    pg: ScratchCluster, other: ScratchCluster, tmp_path: Path
) -> None:
    load_rental(pg)
    source, archive = f"{pg.conninfo} dbname=rental", str(tmp_path / "dump")
    roles = str(tmp_path / "roles.sql")
    other.tool("pg_dumpall", "--globals-only", f"--file={roles}", f"--dbname={pg.conninfo}")
    other.tool("psql", "--no-psqlrc", f"--file={roles}")
    told = globals_of(pg, other.binaries, across=True)
    assert told == globals_of(other, across=True)
    assert "SCRAM-SHA-256" in told
    other.tool("pg_dump", "--format=custom", f"--file={archive}", f"--dbname={source}")
    done = other.tool("pg_restore", "--create", "--dbname=postgres", archive)
    assert done.stderr == ""
    assert_same_database((pg, "rental"), (other, "rental"))
    other.sql("DROP INDEX rental.film_brin", dbname="rental")
    with pytest.raises(AssertionError, match='-CREATE INDEX "film_brin"'):
        assert_same_database((pg, "rental"), (other, "rental"))


def test_transfers_are_consistent_wherever_they_are_cut(pg: ScratchCluster, tmp_path: Path) -> None:
    with TransferLoad(pg) as load:
        load.wait_for(5)
        before = list(load.committed)
        folder = str(tmp_path / "dump")
        pg.tool("pg_dump", "--format=directory", "--jobs=2", f"--file={folder}", "postgres")
        after = list(load.committed)
        live = assert_consistent(pg, at_least=after)
        load.wait_for(1)
    pg.sql("CREATE DATABASE again")
    pg.tool("pg_restore", "--jobs=2", "--dbname=again", folder)
    counts = assert_consistent(pg, "again", at_least=before, at_most=after)
    assert sum(counts) <= sum(live) < sum(assert_consistent(pg))
    pg.sql("DELETE FROM transfers.client_3 WHERE seq = 2", dbname="again")
    with pytest.raises(AssertionError, match="gap in 3"):
        assert_consistent(pg, "again")
    pg.sql("DELETE FROM transfers.client_3", dbname="again")
    with pytest.raises(AssertionError):
        assert_consistent(pg, "again")


def test_there_are_many(pg: ScratchCluster) -> None:
    many_tables(pg, 1200, schemas=3)
    many_large_objects(pg, 6000)
    found = contents_of(pg, "postgres")
    assert len(found) == 7200
    assert 'table "many_3"."t001199"' in found
    assert found["large object 1005999"].startswith("17 bytes")


def test_encoded_databases_are_compared(pg: ScratchCluster, tmp_path: Path) -> None:
    for encoding in ("LATIN1", "EUC_JP", "WIN1251", "SQL_ASCII"):
        name, again = f"in {encoding}", f"again {encoding}"
        encoded_database(pg, name, encoding)
        archive = tmp_path / encoding
        dump(pg, name, archive)
        if encoding == "SQL_ASCII":
            encoded_database(pg, again, encoding)
            assert_same_database((pg, name), (pg, again))
        else:
            pg.sql(f'CREATE DATABASE "{again}" TEMPLATE template0')
            pg.tool("pg_restore", f"--dbname={again}", str(archive))
            assert_same_database((pg, name), (pg, again), schema=False, properties=False)
