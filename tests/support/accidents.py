"""A cluster on which accidents happen while others work, each known by its transaction."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import Any

import psycopg

from pgkeep.census.take import record, take
from pgkeep.postgres.control import read_control
from pgkeep.progress import Silent
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import make_store
from pgkeep.server.connecting import CannotConnect
from pgkeep.server.scratch import ScratchCluster
from pgkeep.undo.event import Event
from pgkeep.undo.finding.find import FindRequest, run
from pgkeep.undo.finding.report import Found
from pgkeep.undo.meaning.choose import Wanted

# One segment after the other stays where find can read it.
KEEP_WAL: dict[str, str | int | None] = {
    "wal_level": "replica",
    "wal_keep_size": "1GB",
    "max_prepared_transactions": 5,
    "autovacuum": "off",
}

Told = tuple[str, int, str, int]  # kind, xid, relation, rows; -1: not told, or an estimate


@dataclass
class Site:
    """A cluster, its repository, and what must be found."""

    pg: ScratchCluster
    folder: ClusterFolder
    expected: list[Told] = field(default_factory=list)

    def sql(self, script: str, dbname: str = "postgres") -> None:
        """Run statements, each in a transaction of its own unless the script says otherwise."""
        with self.pg.connect(dbname=dbname) as connection:
            connection.execute(script.encode())

    def happen(
        self,
        kind: str,
        relation: str,
        script: str,
        rows: int = -1,
        *,
        dbname: str = "postgres",
        found: bool = True,
    ) -> int:
        """Run a script in one transaction, and note that it must be found. Return its xid."""
        with self.pg.connect(dbname=dbname) as connection, connection.transaction():
            answer = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
            connection.execute(script.encode())
        assert answer is not None
        xid = int(answer[0])
        if found:
            self.expected.append((kind, xid, relation, rows))
        return xid

    def prepared(self, name: str, script: str) -> int:
        """Run a script in a transaction that is prepared, and still open. Return its xid."""
        with self.pg.connect() as connection:
            connection.execute("BEGIN")
            answer = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
            connection.execute(script.encode())
            connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
            connection.execute("CHECKPOINT")  # its WAL may go
        assert answer is not None
        return int(answer[0])

    def outside(self, kind: str, relation: str, script: str, rows: int = -1) -> None:
        """Run a statement that no transaction block may hold; its xid is the next one."""
        xid = int(self.pg.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text"))
        self.pg.sql(script)
        self.expected.append((kind, xid, relation, rows))

    def census(self) -> None:
        """Have every table's rows estimated, and take a census."""
        for (name,) in self.pg.sql("SELECT datname FROM pg_database WHERE datallowconn"):
            if name != "template1":
                self.pg.sql("ANALYZE", dbname=name)
        record(self.pg.conninfo, self.folder)

    def find(self, *, ask_server: bool = True, jobs: int = 1, **wanted: Any) -> Found:
        """Look for everything, in pg_wal and the archive."""

        def refuse() -> Any:
            raise CannotConnect("nowhere", "nobody", "postgres", "nobody listens")

        request = FindRequest(
            wanted=Wanted(**wanted),
            jobs=jobs,
            data_directory=lambda: str(self.pg.data_directory),
            live_census=(lambda: take(self.pg.conninfo)) if ask_server else refuse,
        )
        return run(self.folder, request, Silent())

    def archive(self, leave_out: Callable[[str], bool] = lambda _: False) -> list[str]:
        """Archive every finished segment of pg_wal but some, and remove it there."""
        self.pg.sql("SELECT pg_switch_wal()")
        current = self.pg.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        archive, gone = self.folder.wal(self.folder_generation), []
        for path in sorted((self.pg.data_directory / "pg_wal").glob("0" * 7 + "?" * 17)):
            if path.name < current:
                if not leave_out(path.name):
                    archive.push(path.name, path.read_bytes())
                gone.append(path.name)
                path.unlink()
        return gone

    @property
    def folder_generation(self) -> str:
        return read_control(str(self.pg.data_directory)).generation.id


def make_site(pg: ScratchCluster, repository: str = "") -> Site:
    store = make_store(repository or f"memory:{os.urandom(6).hex()}")
    folder = Repository.create(store, "none", None).cluster("main")
    folder.add_generation(read_control(str(pg.data_directory)).generation)
    return Site(pg, folder)


def told(event: Event) -> Told:
    return str(event.kind), event.xid, event.relation, event.rows


def same(found: tuple[Event, ...], expected: list[Told]) -> None:
    """Fail unless exactly these were found, in this order; rows that are not told may be any."""
    got = [told(event) for event in found]
    difference = "\n".join(unified_diff(_lines(expected), _lines(got), lineterm="", n=0))
    assert not difference, f"what should be found (-) and was (+):\n{difference}"
    for (_, _, relation, rows), (*_, wanted) in zip(got, expected, strict=True):
        assert wanted in (-1, rows), relation


def _lines(those: list[Told]) -> list[str]:
    return [f"{kind} {relation} by {xid}" for kind, xid, relation, _ in those]


_WORK = """
INSERT INTO work.small SELECT g, g % 7, repeat('x', 3000) FROM generate_series(1, 15) g;
UPDATE work.small SET kind = kind + 1 WHERE id <= 5;
SELECT nextval('work.numbers');
ALTER SEQUENCE work.numbers RESTART;
DELETE FROM work.small;
BEGIN; INSERT INTO work.log VALUES (1); SAVEPOINT a; DELETE FROM work.log; ROLLBACK TO a; COMMIT;
BEGIN; DELETE FROM work.big; DROP TABLE work.log; TRUNCATE work.big; ROLLBACK;
CREATE TEMP TABLE passing AS SELECT g FROM generate_series(1, 3000) g;
DELETE FROM passing;
DROP TABLE passing;
BEGIN; CREATE TABLE work.gone (a int, b text); INSERT INTO work.gone SELECT g, '' FROM
    generate_series(1, 2000) g; DELETE FROM work.gone; DROP TABLE work.gone; COMMIT;
UPDATE work.moving SET part = part + 1 WHERE id <= 15;
UPDATE work.moving SET part = part - 1 WHERE id <= 15
"""
_CARE = (
    "VACUUM FULL work.indexed",
    "CLUSTER work.indexed USING indexed_pkey",
    "REINDEX TABLE work.indexed",
    "REINDEX INDEX CONCURRENTLY work.indexed_word",
    "VACUUM work.small",
    "ANALYZE work.indexed",
    "REFRESH MATERIALIZED VIEW work.seen",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY work.seen",
    "ALTER TABLE work.indexed ALTER number TYPE bigint",
    "ALTER TABLE work.indexed ALTER number TYPE int",
    "ALTER TABLE work.indexed ADD more int DEFAULT 7",
    "ALTER TABLE work.indexed ALTER word SET NOT NULL",
    "ALTER TABLE work.indexed RENAME more TO moved",
    "ALTER TABLE work.indexed SET UNLOGGED",
    "ALTER TABLE work.indexed SET LOGGED",
    "CREATE VIEW work.looked AS SELECT 1",
    "DROP VIEW work.looked",
    "CHECKPOINT",
)
# A column for each round of care would be one too many to find again.
_WORK_TABLES = """
CREATE SCHEMA work;
CREATE TABLE work.small (id int, kind int, body text);
CREATE SEQUENCE work.numbers;
CREATE TABLE work.log (n int);
CREATE TABLE work.big AS SELECT g AS id FROM generate_series(1, 3000) g;
CREATE TABLE work.indexed (id int PRIMARY KEY, word text, number int);
CREATE INDEX indexed_word ON work.indexed (word);
INSERT INTO work.indexed SELECT g, 'word ' || g, g FROM generate_series(1, 2000) g;
CREATE MATERIALIZED VIEW work.seen AS SELECT id, clock_timestamp() AS at FROM work.indexed;
CREATE UNIQUE INDEX ON work.seen (id);
CREATE TABLE work.moving (id int, part int) PARTITION BY RANGE (part);
CREATE TABLE work.moving_1 PARTITION OF work.moving FOR VALUES FROM (1) TO (2);
CREATE TABLE work.moving_2 PARTITION OF work.moving FOR VALUES FROM (2) TO (9);
INSERT INTO work.moving SELECT g, 1 FROM generate_series(1, 30) g
"""


@contextmanager
def others_working(site: Site, rounds: int = 2) -> Iterator[None]:
    """Have others work meanwhile, on tables of their own: nothing of it may be blamed.

    They work `rounds` times at least, the first time before anything else happens.
    """
    site.sql(_WORK_TABLES)
    stop, once = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        done = 0
        try:
            with psycopg.connect(site.pg.conninfo, autocommit=True) as connection:
                while done < rounds or not stop.is_set():
                    for statement in _WORK.split(";\n"):
                        connection.execute(statement.encode())
                    for statement in _CARE if not done else ():
                        connection.execute(statement.encode())
                    done += 1
                    once.set()
        except BaseException as error:
            failed.append(error)
            once.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        once.wait()
        yield
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
