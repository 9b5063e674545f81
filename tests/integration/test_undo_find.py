"""`pgkeep undo find` on real servers: each accident is found, with its transaction, and only those.

WAL is read from pg_wal, so that no backup and no archive are needed.
"""

from pathlib import Path

import pytest

from pgkeep.coverage.record import read_record
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_changes.scan import Stretch
from pgkeep.server.binaries import give_to_server_user
from pgkeep.undo.event import EventKind, NamedBy
from pgkeep.undo.finding.scanning import Setup, scanned
from pgkeep.undo.finding.wal import Line
from support.accidents import KEEP_WAL, Site, make_site, others_working, same
from support.clusters import NewCluster, only
from support.wait import wait_for

TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.users (id int PRIMARY KEY, name text, note text, extra text);
CREATE TABLE shop.orders (id serial PRIMARY KEY,
    customer int REFERENCES shop.users ON DELETE CASCADE);
CREATE TABLE shop."odd ""name"".x" (a int, b text);
CREATE TABLE shop.twice (a int, b text);
CREATE TABLE shop.reloaded (a int, b text);
CREATE TABLE shop.half (a int);
CREATE UNLOGGED TABLE shop.volatile (a int);
CREATE MATERIALIZED VIEW shop.summary AS SELECT count(*) FROM shop.orders;
CREATE SEQUENCE shop.numbers;
CREATE INDEX users_name ON shop.users (name);
CREATE TABLE shop.parts (id int, body text) PARTITION BY RANGE (id);
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE shop.parts_2 PARTITION OF shop.parts FOR VALUES FROM (1000) TO (2000);
CREATE SCHEMA old;
CREATE TABLE old.one (a int PRIMARY KEY, b text);
CREATE TABLE old.two (a int REFERENCES old.one);
INSERT INTO shop.users
    SELECT g, 'user ' || g, repeat(md5(g::text), 100), '' FROM generate_series(1, 3000) g;
INSERT INTO shop.orders (customer) SELECT g FROM generate_series(1, 3000) g;
INSERT INTO shop."odd ""name"".x" SELECT g, '' FROM generate_series(1, 1500) g;
INSERT INTO shop.twice SELECT g, repeat('y', 5000) FROM generate_series(1, 10) g;
INSERT INTO shop.reloaded SELECT g, '' FROM generate_series(1, 500) g;
INSERT INTO shop.half SELECT g FROM generate_series(1, 100) g;
INSERT INTO shop.parts SELECT g, '' FROM generate_series(0, 1999) g;
INSERT INTO old.one SELECT g, '' FROM generate_series(1, 100) g;
ALTER TABLE shop.users ALTER note SET STORAGE EXTERNAL
"""


@pytest.fixture
def site(new_cluster: NewCluster) -> Site:
    return make_site(new_cluster(settings=KEEP_WAL))


def test_every_kind_of_accident_is_found_and_nothing_else(site: Site, tmp_path: Path) -> None:
    site.sql(TABLES)
    site.sql("CREATE DATABASE lost")
    site.sql("CREATE TABLE things AS SELECT g FROM generate_series(1, 10) g", dbname="lost")
    place = tmp_path / "tablespace"
    place.mkdir()
    give_to_server_user(place)
    site.pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    with others_working(site):
        site.census()
        cause_accidents(site)
    before_drop = site.pg.value("SELECT pg_current_wal_insert_lsn()::text")
    site.outside("drop-database", "lost", "DROP DATABASE lost")
    site.outside("drop-tablespace", "", "DROP TABLESPACE far")

    found = site.find()

    shown = tuple(e for e in found.events if e.kind is not EventKind.DROP_TABLESPACE)
    same(shown, [one for one in site.expected if one[0] != "drop-tablespace"])
    assert [e.kind for e in found.events].count(EventKind.DROP_TABLESPACE) == 1
    assert found.blind == ()
    assert [e.relation for e in shown if not (e.whole and e.sure)] == []
    for event in shown:
        stop_is_commit = event.stop_lsn == event.commit_lsn
        assert stop_is_commit is (event.kind is not EventKind.DROP_DATABASE)
        assert {hit.named_by for hit in event.hits} == {NamedBy.CENSUS}, event
    dropped = next(e for e in shown if e.kind is EventKind.DROP_DATABASE)
    assert dropped.stop_lsn < dropped.first_lsn < dropped.commit_lsn  # before it was marked
    assert dropped.stop_lsn >= Lsn.parse(before_drop)
    assert [hit.name for hit in dropped.hits] == ["things"]
    assert dict(found.not_shown)[EventKind.REWRITE] >= 6
    columns = [e.columns for e in shown if e.kind is EventKind.DROP_COLUMN]
    assert columns == [(4,), (2,)]


def cause_accidents(site: Site) -> None:
    """Destroy things in every way there is, and note what must be found."""
    site.happen(
        "delete",
        "postgres.shop.users and 1 more",
        "DELETE FROM shop.users WHERE id <= 1500",
        rows=3000,
    )
    site.happen("update", "postgres.shop.users", "UPDATE shop.users SET name = 'x'", rows=1500)
    site.happen("delete", "postgres.shop.half", "DELETE FROM shop.half WHERE a > 40", rows=60)
    odd = 'postgres.shop.odd "name".x'
    parts = """
        DELETE FROM shop."odd ""name"".x" WHERE a <= 500;
        SAVEPOINT a; DELETE FROM shop."odd ""name"".x" WHERE a > 500 AND a <= 1000;
        SAVEPOINT b; DELETE FROM shop."odd ""name"".x" WHERE a > 1000; ROLLBACK TO b;
        RELEASE a
    """
    site.happen("delete", odd, parts, rows=1000)
    xid = site.prepared("later", "DELETE FROM shop.parts WHERE id < 1500")
    site.happen("drop-table", "postgres.shop.volatile", "DROP TABLE shop.volatile")
    site.pg.sql("COMMIT PREPARED 'later'")
    site.expected.append(("delete", xid, "postgres.shop.parts (2 partitions)", 1500))
    site.happen("truncate", "postgres.shop.parts (2 partitions)", "TRUNCATE shop.parts", rows=2000)
    site.happen("truncate", "postgres.shop.twice", "TRUNCATE shop.twice", rows=10)
    site.happen("drop-table", "postgres.shop.twice", "DROP TABLE shop.twice", rows=10)
    site.happen(
        "truncate",
        "postgres.shop.reloaded",
        "TRUNCATE shop.reloaded; INSERT INTO shop.reloaded VALUES (1, ''), (2, '')",
        rows=500,
    )
    site.happen(
        "truncate", "postgres.shop.users and 1 more", "TRUNCATE shop.users CASCADE", rows=6000
    )
    site.happen("drop-index", "postgres.shop.users_name", "DROP INDEX shop.users_name")
    site.sql("CHECKPOINT")  # the first change of a page writes it whole: both ways of reading it
    site.happen("drop-column", "postgres.shop.users", "ALTER TABLE shop.users DROP extra")
    site.happen("drop-column", "postgres.shop.users", "ALTER TABLE shop.users DROP name")
    site.happen("drop-matview", "postgres.shop.summary", "DROP MATERIALIZED VIEW shop.summary")
    site.happen("drop-sequence", "postgres.shop.numbers", "DROP SEQUENCE shop.numbers")
    site.happen(
        "drop-table", "postgres.shop.parts (2 partitions)", "DROP TABLE shop.parts", rows=2000
    )
    site.happen("drop-schema", "postgres.old", "DROP SCHEMA old CASCADE")


def test_what_no_census_knows_is_named_by_later_ones_or_the_server_or_by_its_number(
    site: Site,
) -> None:
    site.census()
    made = "id int PRIMARY KEY, body text); ALTER TABLE {0} ALTER body SET STORAGE EXTERNAL;"
    made += "INSERT INTO {0} SELECT g, repeat('z', 3000) FROM generate_series(1, 1500) g"
    for table in ("kept", "rewritten", "gone"):
        site.sql(f"CREATE TABLE {table} (" + made.format(table))
    site.sql("VACUUM FULL rewritten")
    site.sql("CREATE SEQUENCE numbers")
    site.sql("ALTER SEQUENCE numbers RESTART")  # into a new file, too
    numbers = {
        name: site.pg.sql(f"SELECT '{name}'::regclass::oid, pg_relation_filenode('{name}')")[0]
        for name in ("kept", "rewritten", "gone")
    }
    site.happen("delete", "postgres.public.kept", "DELETE FROM kept", rows=1500)
    site.happen("delete", "postgres.public.rewritten", "DELETE FROM rewritten", rows=1500)
    site.happen("delete", f"postgres, OID {numbers['gone'][0]}", "DELETE FROM gone", rows=1500)
    site.happen("truncate", f"postgres, OID {numbers['gone'][0]}", "TRUNCATE gone")
    site.happen("drop", f"postgres, OID {numbers['gone'][0]}", "DROP TABLE gone")

    found = site.find()
    same(found.events, site.expected)
    by = [event.hits[0].named_by for event in found.events]
    assert by == [NamedBy.LIVE, NamedBy.LIVE, NamedBy.NOBODY, NamedBy.NOBODY, NamedBy.NOBODY]
    assert [event.sure for event in found.events] == [True, True, False, False, True]
    assert all("made after the last census" in event.notes[0] for event in found.events[2:])
    assert [hit.filenode for event in found.events[:3] for hit in event.hits] == [
        numbers[name][1] for name in ("kept", "rewritten", "gone")
    ]

    alone = site.find(ask_server=False)
    assert [e.hits[0].named_by for e in alone.events] == [NamedBy.NOBODY] * 5
    assert [e.hits[0].oid for e in alone.events[:3]] == [n[0] for n in numbers.values()]
    assert any("could not be asked of the server" in note for note in alone.notes)

    site.census()
    later = site.find(ask_server=False)
    same(later.events, site.expected)
    assert [e.hits[0].named_by for e in later.events[:2]] == [NamedBy.LATER] * 2


@only(17)
def test_a_hole_in_wal_is_told_and_what_lies_around_it_is_found(site: Site) -> None:
    site.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 5000) g")
    site.sql("CREATE TABLE u AS SELECT g FROM generate_series(1, 5000) g")
    site.census()
    site.happen("delete", "postgres.public.t", "DELETE FROM t WHERE g <= 2000", rows=2000)
    site.archive()
    # Begins before the hole and ends behind it, so not all that it did can be seen.
    site.prepared("over", "DELETE FROM t WHERE g <= 3500")
    site.happen("update", "postgres.public.u", "UPDATE u SET g = g + 1", rows=5000, found=False)
    lost = site.archive(leave_out=lambda _: True)
    site.happen("delete", "postgres.public.u", "DELETE FROM u", rows=5000)
    site.pg.sql("COMMIT PREPARED 'over'")

    found = site.find()
    same(found.events, site.expected)
    assert [(blind.first, blind.last, blind.why) for blind in found.blind] == [
        (lost[0], lost[-1], "it is not archived")
    ]
    assert found.blind[0].after is not None
    assert found.blind[0].before is not None
    assert found.blind[0].after < found.blind[0].before
    assert [event.whole for event in found.events] == [True, False]
    assert found.live_segments >= 1


@only(15)
def test_archived_wal_and_the_servers_own_give_one_answer(site: Site, tmp_path: Path) -> None:
    """A transaction's records cross from the archive into pg_wal, and from segment to segment."""
    site.sql("CREATE TABLE t AS SELECT g, repeat('x', 100) AS v FROM generate_series(1, 40000) g")
    site.census()
    with site.pg.connect() as connection, connection.transaction():
        answer = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert answer is not None
        connection.execute("UPDATE t SET v = v || '.' WHERE g <= 20000")
        site.archive()
        connection.execute("UPDATE t SET v = v || '.' WHERE g > 20000")
    site.expected.append(("update", int(answer[0]), "postgres.public.t", 40000))

    found = site.find()
    same(found.events, site.expected)
    assert 0 < found.live_segments < found.segments
    site.archive()
    again = site.find()
    same(again.events, site.expected)
    assert again.events[0].stop_lsn == found.events[0].stop_lsn


@only(18)
def test_workers_find_what_one_process_finds(
    new_cluster: NewCluster, repository_directory: Path
) -> None:
    site = make_site(new_cluster(settings=KEEP_WAL), str(repository_directory))
    site.sql("CREATE TABLE t AS SELECT g, repeat('x', 100) AS v FROM generate_series(1, 60000) g")
    site.sql("UPDATE t SET v = v || '.'")
    site.sql("DELETE FROM t")
    site.archive()
    record = read_record(site.folder).newest
    assert record is not None
    line = Line.of(record, None)
    setup = Setup.of(site.folder, record.generation.id, line)
    numbers = line.numbers()
    assert len(numbers) > 16
    inline = [read.segment for read in scanned(numbers, setup, 1)]
    apart = list(scanned(numbers, setup, 2, worth=0))
    assert [read.segment for read in apart] == inline
    deleted = sum(int(r.piece.rows.deleted.sum()) for r in apart if isinstance(r, Stretch))
    assert deleted > 59000  # but for those whose records cross from segment to segment


@only(18)
def test_the_newest_timeline_is_followed_through_its_ancestor(site: Site) -> None:
    site.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 5000) g")
    site.census()
    site.happen("delete", "postgres.public.t", "DELETE FROM t WHERE g <= 2000", rows=2000)
    site.pg.stop()
    (site.pg.data_directory / "recovery.signal").touch()
    give_to_server_user(site.pg.data_directory / "recovery.signal")
    site.pg.configure(restore_command="false")
    site.pg.start()
    wait_for(lambda: not site.pg.value("SELECT pg_is_in_recovery()"), what="promotion")
    site.happen("update", "postgres.public.t", "UPDATE t SET g = g + 1", rows=3000)

    found = site.find()
    same(found.events, site.expected)
    assert [event.timeline for event in found.events] == [1, 2]
    assert (found.timeline, found.blind) == (2, ())


@only(17)
def test_one_name_dropped_twice_is_two_tables(site: Site) -> None:
    oids = []
    for rows in (2000, 3000):
        site.sql(f"CREATE TABLE t AS SELECT g FROM generate_series(1, {rows}) g")
        oids.append(site.pg.value("SELECT 't'::regclass::oid"))
        site.census()
        site.happen("drop-table", "postgres.public.t", "DROP TABLE t", rows=rows)

    found = site.find(ask_server=False)
    same(found.events, site.expected)
    assert [event.hits[0].oid for event in found.events] == oids
    (second,) = site.find(since=found.events[1].commit_time).events
    assert (second.number, second.xid) == (1, found.events[1].xid)
