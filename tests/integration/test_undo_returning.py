"""Tables brought back from a copy of the cluster as it was: exactly, or not at all."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.progress import Silent
from pgkeep.server.scratch import ScratchCluster
from pgkeep.undo.errors import CannotUndo
from pgkeep.undo.returning.names import TableName
from pgkeep.undo.returning.plan import NoWayBack
from support.clusters import NewCluster, only
from support.small_disk import small_disk
from support.undoing import DATABASE, Pair, make_pair
from support.wait import wait_for

USERS = r"""
CREATE ROLE app_owner; CREATE ROLE reader;
CREATE EXTENSION citext;
CREATE SCHEMA sales;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE sales.pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE free_seq;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN NEW.note := 'touched'; RETURN NEW; END $$;
CREATE TABLE countries (code text PRIMARY KEY);
INSERT INTO countries VALUES ('de'), ('fr');
CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, nr serial, email citext UNIQUE,
    country text COLLATE "C" REFERENCES countries, mood mood DEFAULT 'ok', pairs sales.pair[],
    age positive, note text, long text, free int DEFAULT nextval('free_seq'),
    doubled int GENERATED ALWAYS AS (age * 2) STORED, boss int REFERENCES users,
    CONSTRAINT old_enough CHECK (age > 3)
) TABLESPACE elsewhere;
INSERT INTO users (email, country, mood, pairs, age, note, long, boss)
    SELECT 'u' || g || '@x', CASE WHEN g % 2 = 0 THEN 'de' ELSE 'fr' END, 'sad',
           ARRAY[ROW(g, E'x,"y\\')::sales.pair, NULL], g + 10, E'tab\t\\N\n' || g,
           repeat(md5(g::text), 300), NULLIF(g / 2, 0)
    FROM generate_series(1, 1000) g;
CREATE INDEX users_note ON users (lower(note)) TABLESPACE elsewhere;
CREATE TABLE orders (id int PRIMARY KEY, usr int REFERENCES users ON DELETE CASCADE);
INSERT INTO orders SELECT g, g FROM generate_series(1, 500) g;
CREATE VIEW sad_users AS SELECT * FROM users WHERE mood = 'sad';
CREATE MATERIALIZED VIEW per_country AS SELECT country, count(*) FROM users GROUP BY 1;
CREATE UNIQUE INDEX ON per_country (country);
CREATE TRIGGER touching BEFORE INSERT OR UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE users OWNER TO app_owner;
GRANT SELECT ON users TO reader;
GRANT SELECT (note) ON users TO PUBLIC;
GRANT SELECT ON sad_users TO reader;
COMMENT ON TABLE users IS 'all of them';
COMMENT ON COLUMN users.age IS 'years';
COMMENT ON INDEX users_note IS 'an index';
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON users USING (note <> current_user::text);
CREATE POLICY other ON orders USING (EXISTS (SELECT FROM users u WHERE u.id = usr));
CREATE STATISTICS users_stat ON country, mood FROM users;
CREATE PUBLICATION pub FOR TABLE users;
CREATE TABLE nokey (a int);
INSERT INTO nokey VALUES (1), (1);
CREATE VIEW a_view AS SELECT 1 AS a;
"""
ODD = TableName(DATABASE, 'Odd "sch.ema', "new\nline %s tab")
ODDITIES = (
    r"""
CREATE ROLE gone;
CREATE SCHEMA s;
CREATE EXTENSION citext SCHEMA s;
CREATE TYPE s.mood AS ENUM ('sad', 'ok');
CREATE TYPE s.pair AS (a int, m s.mood[]);
CREATE DOMAIN s.positive AS int CHECK (VALUE > 0);
CREATE FUNCTION s.twice(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i * 2';
CREATE SEQUENCE s.free;
SELECT nextval('s.free') FROM generate_series(1, 50);
CREATE TABLE s.t (
    id bigint PRIMARY KEY DEFAULT nextval('s.free'), e s.citext, m s.mood, p s.pair,
    pos s.positive, d int GENERATED ALWAYS AS (s.twice(pos)) STORED
);
INSERT INTO s.t (e, m, p, pos)
    SELECT 'X' || g, 'ok', ROW(g, ARRAY['sad', 'ok']::s.mood[])::s.pair, g
    FROM generate_series(1, 20) g;
ALTER TABLE s.t OWNER TO gone;
CREATE TABLE parts (at date NOT NULL, id int, v text, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_b (v text, junk int, id int NOT NULL, at date NOT NULL);
ALTER TABLE parts_b DROP COLUMN junk;
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE parts_c PARTITION OF parts DEFAULT PARTITION BY LIST (id);
CREATE TABLE parts_c1 PARTITION OF parts_c DEFAULT;
CREATE INDEX parts_v ON parts (v);
INSERT INTO parts SELECT '2026-01-01'::date + g, g, 'v' || g FROM generate_series(0, 99) g;
CREATE TABLE refs (id int, at date, CONSTRAINT to_parts FOREIGN KEY (id, at) REFERENCES parts);
INSERT INTO refs VALUES (3, '2026-01-04'), (4, '2026-01-05');
CREATE TABLE heirs (id int PRIMARY KEY, a text);
CREATE TABLE heir1 (b int) INHERITS (heirs);
INSERT INTO heirs VALUES (1, 'x');
INSERT INTO heir1 VALUES (2, 'y', 3);
CREATE SCHEMA "Odd ""sch.ema";
CREATE TABLE """
    + ODD.sql
    + r""" ("a %s b" int PRIMARY KEY, "q""uote" text, "c%%d" int UNIQUE);
INSERT INTO """
    + ODD.sql
    + " SELECT g, 'x', g FROM generate_series(1, 10) g; CREATE TABLE wide (id int PRIMARY KEY, "
    + ", ".join(f"c{n} int" for n in range(1, 1600))
    + "); INSERT INTO wide (id, c7, c1599) SELECT g, g, g FROM generate_series(1, 50) g"
)

MakePair = Callable[[str], Pair]


@pytest.fixture
def pair_of(new_cluster: NewCluster, tmp_path: Path) -> Iterator[MakePair]:
    made: list[Pair] = []

    def make(script: str) -> Pair:
        made.append(make_pair(new_cluster(settings={"wal_level": "logical"}), tmp_path, script))
        return made[-1]

    yield make
    for pair in made:
        pair.recovered.destroy()


def odd(pair: Pair, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement on the live server in which {} is the oddly named table."""
    with pair.live.connect(dbname=DATABASE) as connection:
        cursor = connection.execute(statement.format(ODD.sql).encode())
        return cursor.fetchall() if cursor.description else []


@only(15, 17, 18)
def test_a_dropped_table_is_what_it_was_and_rows_come_back_one_by_one(pair_of: MakePair) -> None:
    pair = pair_of(USERS)
    # Default privileges of today are no grants of then.
    pair.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    pair.sql("DROP TABLE users CASCADE")
    done = pair.bring_back("public.users", "into-place")
    assert done.done is not None
    assert done.done.failed == []
    assert done.done.not_valid == []
    pair.assert_same_definitions("ALTER DEFAULT PRIVILEGES")
    pair.assert_same("SELECT * FROM users ORDER BY id")
    pair.assert_same("SELECT * FROM per_country ORDER BY 1")
    pair.assert_same("SELECT relname, relacl::text FROM pg_class WHERE relname = 'users'")
    assert pair.sql("INSERT INTO users (age) VALUES (5) RETURNING id, nr, note") == [
        (1001, 1001, "touched")
    ]

    pair.sql("ALTER TABLE users ENABLE ALWAYS TRIGGER touching")
    pair.sql("DELETE FROM users WHERE id BETWEEN 600 AND 700")
    pair.sql("UPDATE users SET long = 'later' WHERE id < 10")
    pair.sql("INSERT INTO users (email, age) VALUES ('u650@x', 9)")
    with pair.returning("public.users", "merge") as found:
        difference = found.seen.difference
    assert difference is not None
    assert (difference.missing, difference.changed, difference.new) == (101, 9, 2)
    assert difference.missing_sample[0] == ("600",)
    changed = difference.changed_sample[0]
    assert (changed.key, changed.changes[-1].now) == (("1",), "later")
    assert difference.left_out == ("doubled",)
    merged = pair.bring_back("public.users", "merge")
    assert merged.done is not None
    # One e-mail address is somebody else's by now.
    assert (merged.done.inserted, merged.done.in_the_way) == (100, 1)
    pair.assert_same("SELECT * FROM users WHERE id BETWEEN 10 AND 1000 AND id <> 650 ORDER BY id")
    assert pair.sql("SELECT count(*) FROM users WHERE long = 'later'") == [(9,)]
    assert pair.sql("SELECT tgenabled FROM pg_trigger WHERE tgname = 'touching'") == [("A",)]
    assert pair.bring_back("public.users", "merge", where="id = 601").restore_point is None

    beside = pair.bring_back("public.users", "as", where="id < 4 -- the first")
    assert beside.plan.into == TableName(DATABASE, "public", "users_recovered")
    assert pair.sql("SELECT has_table_privilege('reader', 'users_recovered', 'SELECT')") == [
        (False,)
    ]
    assert pair.sql("TABLE users_recovered") == pair.then("SELECT * FROM users WHERE id < 4")


@only(15, 18)
def test_oddities_come_back_with_what_they_need(pair_of: MakePair, tmp_path: Path) -> None:
    pair = pair_of(ODDITIES)
    pair.sql("DROP SCHEMA s CASCADE; DROP ROLE gone; DROP TABLE heirs CASCADE")
    pair.sql("DROP TABLE parts CASCADE; DELETE FROM refs WHERE id = 4")
    pair.sql("INSERT INTO refs VALUES (777, '2026-01-04')")
    pair.sql('DROP SCHEMA "Odd ""sch.ema" CASCADE')
    with pytest.raises(NoWayBack, match="beside its place: schema s is gone too"):
        pair.bring_back("s.t")
    done = pair.bring_back("s.t", "into-place")
    assert done.plan.notes == ("table s.t belongs to whoever runs this: role gone is gone",)
    pair.assert_same("SELECT id, e::text, m::text, p::text, pos, d FROM s.t ORDER BY 1")
    assert pair.sql("SELECT nextval('s.free')") == [(71,)]
    parts = pair.bring_back("public.parts", "into-place")
    assert parts.done is not None
    key = "foreign key constraint public.refs to_parts to public.parts"
    assert [name.replace("refs refs", "refs") for name, _ in parts.done.not_valid] == [key]
    assert parts.done.not_valid[0][1] == 1
    assert pair.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'to_parts'")[0] == (
        False,
    )
    pair.assert_same("SELECT tableoid::regclass::text, * FROM parts ORDER BY id")
    pair.bring_back("public.heirs", "into-place")
    pair.assert_same("SELECT tableoid::regclass::text, * FROM heirs ORDER BY id")
    pair.bring_back(ODD, "into-place")
    pair.assert_same_definitions("OWNER TO", "FOREIGN KEY")

    odd(pair, 'DELETE FROM {} WHERE "a %s b" IN (3, 4, 5)')
    odd(pair, 'UPDATE {} SET "c%%d" = 5 WHERE "a %s b" = 7')
    merged = pair.bring_back(ODD, "merge")
    assert merged.done is not None
    assert (merged.done.inserted, merged.done.in_the_way) == (2, 1)
    pair.sql("DELETE FROM wide WHERE id > 40; UPDATE wide SET c1599 = 0 WHERE id < 3")
    assert pair.bring_back("public.wide", "merge").to_dict()["rows"] == 10
    pair.assert_same("SELECT * FROM wide WHERE id > 2 ORDER BY id")
    pair.sql("DELETE FROM parts WHERE id IN (5, 50, 99)")
    assert pair.bring_back("public.parts", "merge", where="id < 60").to_dict()["rows"] == 2
    pair.sql("DROP TABLE parts_a CASCADE")
    one = pair.bring_back("public.parts_a", "into-place")
    assert one.done is not None
    # The rows that refer to it are those that did: one of them to what never was.
    assert [count for _, count in one.done.not_valid] == [1]
    pair.assert_same("SELECT tableoid::regclass::text, * FROM parts WHERE id < 5 ORDER BY id")
    file = tmp_path / "odd.dump"
    assert pair.bring_back(ODD, "dump", file=str(file)).file_size == file.stat().st_size
    with pytest.raises(CannotUndo, match="it is there already"):
        pair.bring_back(ODD, "dump", file=str(file))


class Bad(NamedTuple):
    """What is asked for, and what is said."""

    table: str
    more: dict[str, str]
    why: str
    hint: str = ""


BAD = (
    Bad("user", {}, "there was no such table at that moment", "public.users"),
    Bad("a_view", {}, "it is a view, which holds no rows of its own"),
    Bad("nokey", {"way": "merge"}, "it has no key", "nokey_recovered"),
    Bad("users", {"way": "into-place"}, "it is there", "--merge missing"),
    Bad("users", {"name": "orders"}, "of this name already", "--as"),
    Bad("users", {"where": "id = 1; DROP TABLE users"}, "syntax error"),
    Bad("users", {"where": "idd = 1"}, 'column "idd" does not exist'),
)


@only(17)
def test_what_cannot_be_said_so(pair_of: MakePair) -> None:
    pair = pair_of(USERS)
    for bad in BAD:
        with pytest.raises(CannotUndo) as caught:
            pair.bring_back(f"public.{bad.table}", **bad.more)
        assert bad.why in str(caught.value)
        assert bad.hint in caught.value.hint
    assert pair.sql("SELECT count(*) FROM users") == [(1000,)]
    pair.sql("DROP TABLE users CASCADE")
    with pytest.raises(NoWayBack) as gone:
        pair.bring_back("public.users", "merge")
    assert "undo table app.public.users --into-place" in gone.value.hint
    pair.sql("CREATE VIEW users AS SELECT 1 AS a")
    with pytest.raises(CannotUndo, match="on the live server it is a view"):
        pair.bring_back("public.users")
    pair.sql("DROP VIEW users; DROP TABLE countries")
    # What a foreign key needs may be gone too: the table comes without it, and that is said.
    done = pair.bring_back("public.users", "into-place")
    assert any("users_country_fkey" in note for note in done.plan.notes), done.plan.notes
    pair.live.sql("DROP DATABASE app")
    with pytest.raises(CannotUndo) as lost:
        pair.bring_back("public.users")
    assert lost.value.hint == "pgkeep undo database app brings all of it back"


class Striking(Silent):
    """Progress that does something once, when rows of a phase are on their way."""

    def __init__(self, strike: Callable[[], object], phase: str = "rows of") -> None:
        self._strike: Callable[[], object] | None = strike
        self._phase, self._on = phase, False

    def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
        self._on = title.startswith(self._phase)

    def advance(self, done: int) -> None:
        if self._on and self._strike is not None:
            self._strike()
            self._strike = None


def end_sessions(cluster: ScratchCluster) -> None:
    ended = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s"
    cluster.sql(ended, DATABASE)


def room(place: Path) -> int:
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_frsize


@contextmanager
def nothing_changes(pair: Pair, error: type[PgkeepError], why: str) -> Iterator[None]:
    look = "SELECT relname FROM pg_class WHERE oid >= 16384 ORDER BY 1"
    before = pair.sql(look)
    with pytest.raises(error) as caught:
        yield
    assert why in f"{caught.value}; {caught.value.hint}"
    assert pair.sql(look) == before


@only(17)
def test_whatever_stops_it_in_the_middle_nothing_is_half_done(
    pair_of: MakePair, tmp_path: Path
) -> None:
    pair = pair_of(USERS)
    pair.sql("DELETE FROM users WHERE id > 500")
    with (
        pair.live.connect(dbname=DATABASE) as other,
        other.transaction(),
        nothing_changes(pair, CannotUndo, "--lock-timeout"),
    ):
        other.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        pair.bring_back("public.users", "merge", lock_timeout=0.2)
    assert pair.sql("SELECT count(*) FROM users") == [(500,)]
    pair.sql("DROP TABLE users CASCADE")
    # A foreign key may be missing in the end, but not because somebody held its other side.
    with (
        pair.live.connect(dbname=DATABASE) as other,
        other.transaction(),
        nothing_changes(pair, CannotUndo, "--lock-timeout"),
    ):
        other.execute("LOCK TABLE countries IN ROW EXCLUSIVE MODE")
        pair.bring_back("public.users", "into-place", lock_timeout=0.2)
    with nothing_changes(pair, CannotUndo, "the connection to the live server was lost"):
        strike = Striking(lambda: end_sessions(pair.live))
        pair.bring_back("public.users", "into-place", progress=strike)
    with nothing_changes(pair, CannotUndo, "the connection to the recovered copy was lost"):
        strike = Striking(lambda: end_sessions(pair.recovered))
        pair.bring_back("public.users", "into-place", progress=strike)
    pair.live.sql("ALTER DATABASE app SET default_transaction_read_only = on")
    with nothing_changes(pair, CannotUndo, "default_transaction_read_only"):
        pair.bring_back("public.users", "into-place")
    pair.live.sql("ALTER DATABASE app RESET default_transaction_read_only")
    with small_disk(tmp_path / "small", "16m", pair.live) as place:
        pair.live.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
        pair.live.sql("ALTER DATABASE app SET TABLESPACE small")
        pair.live.sql("DROP TABLESPACE elsewhere")
        pair.sql("CREATE TABLE filling (x text)")
        while room(place) > 300 << 10:
            pair.sql(
                "INSERT INTO filling SELECT repeat('x', 1000) FROM generate_series(1, %s)",
                max(1, (room(place) - (300 << 10)) // 2000),
            )
        with nothing_changes(pair, CannotUndo, "make room on the disk"):
            pair.bring_back("public.users", "into-place")
        pair.sql("DROP TABLE filling")
        done = pair.bring_back("public.users", "into-place")
        assert done.plan.notes[0].endswith("is in the default tablespace: elsewhere is gone")
        pair.assert_same("SELECT * FROM users ORDER BY id")
        pair.live.sql("ALTER DATABASE app SET TABLESPACE pg_default")
        pair.live.sql("DROP TABLESPACE small")


@only(18)
def test_a_connection_that_breaks_while_it_commits(pair_of: MakePair) -> None:
    pair = pair_of(USERS)
    pair.sql("DROP TABLE users CASCADE")
    # A commit that waits for a standby is durable already, and its session can be ended.
    pair.live.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    pair.live.sql("SELECT pg_reload_conf()")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    def strike() -> None:
        wait_for(lambda: pair.live.sql(waiting), what="a commit that waits")
        end_sessions(pair.live)

    striking = threading.Thread(target=strike)
    striking.start()
    done = pair.bring_back("public.users", "into-place")
    striking.join()
    assert done.to_dict()["rows"] == 1000
    pair.assert_same("SELECT * FROM users ORDER BY id")
