"""Accidents on a cluster that is worked on, taken back by the commands that a user types."""

import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster, only
from support.command import PGKEEP, Result, archive_settings, run_pgkeep, write_config
from support.wait import wait_for

SHOP = """
CREATE TABLE countries (code text PRIMARY KEY);
INSERT INTO countries VALUES ('de'), ('fr');
CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE NOT NULL,
    country text REFERENCES countries, note text,
    length int GENERATED ALWAYS AS (length(note)) STORED
);
INSERT INTO users (email, country, note)
    SELECT 'user' || g, 'de', repeat('x', g % 100) FROM generate_series(1, 3000) g;
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES users);
INSERT INTO orders SELECT g, g FROM generate_series(1, 500) g;
CREATE VIEW germans AS SELECT * FROM users WHERE country = 'de';
CREATE TABLE work (id bigserial, at timestamptz DEFAULT clock_timestamp());
"""
Row = tuple[Any, ...]


class Shop:
    """A cluster with a database that people work in, backed up once, archiving since."""

    def __init__(self, pg: ScratchCluster, folder: Path) -> None:
        self.pg = pg
        self.config = folder / "pgkeep.toml"
        self.scratch = folder / "scratch"
        self.environment = {"XDG_STATE_HOME": str(folder / "state")}

    def run(self, *arguments: str | Path) -> Result:
        return run_pgkeep(*arguments, config=self.config, env=self.environment)

    def undo(self, *arguments: str | Path) -> Any:
        """Return the report of an undo that must succeed."""
        words = ("undo", *arguments, "--scratch", self.scratch, "--yes", "--json")
        return self.run(*words).ok().json

    def sql(self, query: str, *values: object) -> list[Row]:
        return self.pg.sql(query, *values, dbname="app")

    def accident(self, *statements: str, watched: str) -> tuple[str, list[Row]]:
        """Run statements in a transaction; return its xid, and a table's rows just before.

        While it runs another one commits, which is not to be lost.
        """
        with self.pg.connect(dbname="app") as connection, connection.transaction():
            connection.execute(f"LOCK TABLE {watched} IN ACCESS EXCLUSIVE MODE".encode())
            rows = connection.execute(f"SELECT * FROM {watched} ORDER BY 1".encode()).fetchall()
            for statement in statements:
                connection.execute(statement.encode())
            xid = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
            self.sql("INSERT INTO work DEFAULT VALUES")
        assert xid is not None
        return f"xid:{xid[0]}", rows


@contextmanager
def worked_in(pg: ScratchCluster) -> Iterator[None]:
    """Insert all the while; what an accident or its undo is in the way of is left out."""
    stop, number = threading.Event(), 0

    def work() -> None:
        nonlocal number
        with pg.connect(dbname="app") as connection:
            while not stop.wait(0.02):
                number += 1
                try:
                    connection.execute("INSERT INTO work DEFAULT VALUES")
                    connection.execute(
                        "INSERT INTO users (email, country) VALUES (%s, 'fr')", [f"new{number}"]
                    )
                except psycopg.DatabaseError:
                    continue

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: number > 5, what="some work")
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def shop(new_cluster: NewCluster, tmp_path: Path) -> Iterator[Shop]:
    config = tmp_path / "pgkeep.toml"
    pg = new_cluster(settings=archive_settings(config))
    shop = Shop(pg, tmp_path)
    write_config(config, tmp_path / "repository", {"main": pg.conninfo})
    shop.run("init").ok()
    pg.sql("CREATE DATABASE app")
    shop.sql(SHOP)
    pg.sql("CREATE DATABASE old")
    pg.sql("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g", dbname="old")
    shop.run("backup").ok()
    with worked_in(pg):
        yield shop


def answered(shop: Shop, words: list[str | Path], answer: str) -> str:
    """Run a command on a terminal, answer its question, and return all that was shown."""
    ours, theirs = pty.openpty()
    command = [str(PGKEEP), "--config", str(shop.config), *map(str, words)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = ""
        while True:
            try:
                shown += os.read(ours, 4096).decode(errors="replace")
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if answer and "[y/N]" in shown:
                os.write(ours, answer.encode())
                answer = ""
        os.close(ours)
    assert process.returncode == 0, shown
    return shown


@only(15, 17, 18)
def test_what_was_destroyed_comes_back_while_work_goes_on(shop: Shop) -> None:
    xid, before = shop.accident("DROP TABLE users CASCADE", watched="users")
    # The last transactions are not archived yet: undo sees to that.
    done = shop.undo("table", "app.public.users", "--before", xid, "--into-place")
    assert done["rows"] == len(before) >= 3000
    assert (done["failed"], done["not_valid"]) == ([], [])
    last = before[-1][0]
    back = "SELECT * FROM users WHERE id <= %s ORDER BY 1"
    assert shop.sql(back, last) == before
    assert shop.sql("SELECT count(*) FROM germans") == [(3000,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shop.sql("DELETE FROM users WHERE id = 3")
    wait_for(lambda: shop.sql("SELECT max(id) FROM users")[0][0] > last, what="more users")
    point = done["restore_point"]["name"]

    xid, before = shop.accident("DELETE FROM users WHERE id > 500", watched="users")
    later = "UPDATE users SET note = 'later' WHERE id < 10"
    shop.sql(later)
    one = shop.undo("rows", "app.public.users", "--before", xid, "--where", "id IN (9, 600)")
    assert (one["rows"], one["difference"]["changed"]) == (1, 1)
    assert one["difference"]["changed_sample"][0]["changes"] == [
        {"column": "note", "then": "x" * 9, "now": "later"}
    ]
    assert shop.sql("SELECT length FROM users WHERE id IN (9, 600) ORDER BY id") == [(5,), (0,)]
    merged = shop.undo("table", "app.public.users", "--before", xid, "--merge", "missing")
    assert merged["rows"] == sum(row[0] > 500 for row in before) - 1
    last = before[-1][0]
    assert shop.sql(back, last)[9:] == before[9:]
    assert shop.sql("SELECT count(*) FROM users WHERE note = 'later'") == [(9,)]

    # Undo is undone: the moment before it can be looked at, and the table was not there.
    gone = shop.run("undo", "table", "app.public.users", "--at", f"name:{point}", "--dry-run")
    assert gone.exit == 10
    assert "there was no such table at restore point" in gone.stderr


@only(17)
def test_a_dropped_database_and_a_look_around(shop: Shop) -> None:
    lsn = shop.pg.value("SELECT pg_current_wal_insert_lsn()::text")
    shop.pg.sql("DROP DATABASE old")
    shop.pg.switch_wal()
    taken = shop.run("undo", "database", "app", "--before", f"lsn:{lsn}")
    assert "there is a database app already" in taken.stderr
    # Its files are gone before its transaction ends: the moment is looked for.
    done = shop.undo("database", "old")
    assert done["tables"] == [{"schema": "public", "name": "t", "rows": 100}]
    assert shop.pg.sql("SELECT sum(id) FROM t", dbname="old") == [(5050,)]

    found = shop.run("undo", "find", "--kind", "drop-database", "--json").ok().json["events"]
    assert [event["relation"] for event in found] == ["old"]
    words = ("undo", "sandbox", "--event", "1", "--scratch", shop.scratch)
    up = shop.run(*words, "--for", "5min", "--json").ok().json
    with psycopg.connect(up["conninfo"], dbname="old") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (100,)
    assert "psql" in up["psql"]
    stopped = shop.run("undo", "sandbox", "--stop", "--scratch", shop.scratch, "--json").ok()
    assert stopped.json["removed"] == [up["directory"]]
    assert list(shop.scratch.iterdir()) == []


@only(18)
def test_nothing_is_changed_that_nobody_agreed_to(shop: Shop, tmp_path: Path) -> None:
    xid, before = shop.accident("TRUNCATE users CASCADE", watched="users")
    words = ("undo", "table", "app.public.users", "--before", xid, "--scratch", shop.scratch)
    shown = shop.run(*words, "--merge", "missing")
    assert shown.exit == 3, shown.stderr
    assert f"app.public.users right before transaction {xid[4:]} ended: {len(before):,}" in (
        shown.stdout
    )
    again = f"undo table app.public.users --before {xid} --scratch {shop.scratch} --merge missing"
    assert shown.stdout.endswith(
        f"nothing was changed; to do it: pgkeep --config {shop.config} {again} --yes\n"
    )
    # A database younger than the backup is in WAL alone: that takes the whole cluster.
    shop.pg.sql("CREATE DATABASE young")
    shop.pg.sql("CREATE TABLE t AS SELECT 7 AS id", dbname="young")
    lsn = shop.pg.value("SELECT pg_current_wal_insert_lsn()::text")
    shop.pg.sql("DROP TABLE t", dbname="young")
    back = shop.undo("table", "young.public.t", "--before", f"lsn:{lsn}", "--into-place")
    assert (back["moment"], back["rows"]) == (f"right before WAL position {lsn}", 1)
    assert shop.pg.sql("TABLE t", dbname="young") == [(7,)]
    bad = shop.run("undo", "table", "users", "--before", xid)
    assert (bad.exit, bad.stdout) == (10, "")
    assert "cannot read 'users' as a table: it has 1 part, not three" in bad.stderr
    none = shop.run("undo", "table", "app.public.users", "--into-place")
    assert none.exit == 16
    assert "say to which moment" in none.stderr
    file = tmp_path / "users.dump"
    asked = answered(shop, [*words, "--dump", file], "y\n")
    assert f"write {file}? [y/N] " in asked
    assert f"dumped app.public.users into {file}" in asked.replace("\r\n", " ")
    listed = shop.pg.tool("pg_restore", "--list", str(file)).stdout
    assert "TABLE DATA public users" in listed
    assert shop.sql("SELECT count(*) FROM users WHERE id <= %s", before[-1][0])[0][0] < 3000
