"""The load: clients that run scripted transactions on a server, and others that disturb them."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import LiteralString

import psycopg

from pgkeep.server.scratch import ScratchCluster
from support.ledger_judge import Connection, follow
from support.ledger_script import (
    ACCOUNTS,
    BALANCE,
    PREFIX,
    UNKEPT,
    Identity,
    Load,
    Outcome,
    Private,
    Savepoint,
    Script,
    payload,
    private_step,
    script,
)
from support.wait import wait_for

# What the server may answer to a client that waits for a lock too long, or in a circle; the last
# is its "tuple concurrently updated", when a catalog is rewritten meanwhile.
_REFUSALS = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.InternalError_,
)
_PATIENCE = "SET lock_timeout = '3s'; SET deadlock_timeout = '100ms'"

_TABLES = f"""
CREATE SCHEMA bank;
CREATE SCHEMA own;
CREATE SEQUENCE bank.tickets;
CREATE TABLE bank.ledger (
    client int, seq int, ticket bigint DEFAULT nextval('bank.tickets'),
    xid xid DEFAULT pg_current_xact_id()::xid, payload bytea NOT NULL, PRIMARY KEY (client, seq));
CREATE TABLE bank.accounts (id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE bank.mirror (id int CONSTRAINT mirror_key PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO bank.accounts SELECT i, {BALANCE} FROM generate_series(0, {ACCOUNTS - 1}) i;
INSERT INTO bank.mirror SELECT * FROM bank.accounts;
CREATE TABLE bank.notes (client int, slot int, seq int, body bytea, PRIMARY KEY (client, slot));
CREATE TABLE bank.kept (client int, seq int);
CREATE UNLOGGED TABLE bank.scratch (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text);
CREATE TABLE bank.noise (id int PRIMARY KEY, body text) WITH (fillfactor = 70);
INSERT INTO bank.noise SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 8000) i;
"""

_CREATE_BY_COPY = "CREATE DATABASE passing TEMPLATE template0 STRATEGY file_copy"  # since 15
_DISTURBANCES: tuple[tuple[LiteralString, ...], ...] = (
    ("CHECKPOINT",),
    ("CHECKPOINT",),
    ("VACUUM bank.noise",),
    ("VACUUM FULL bank.notes",),
    ("CLUSTER bank.mirror USING mirror_key",),
    ("REINDEX TABLE bank.ledger",),
    ("REINDEX TABLE bank.scratch",),
    ("VACUUM FULL pg_class",),
    ("VACUUM FULL pg_database", "REINDEX TABLE pg_attribute"),
    ("VACUUM (FREEZE) bank.ledger",),
    ("CREATE TEMP TABLE t AS SELECT * FROM bank.noise LIMIT 500", "DROP TABLE t"),
    ("DROP DATABASE IF EXISTS passing", "CREATE DATABASE passing TEMPLATE template0"),
    ("DROP DATABASE IF EXISTS passing", _CREATE_BY_COPY),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A target that was noted while the load ran, as `--to` takes it."""

    to: str
    lsn: str  # where WAL was right before it was noted


@dataclass
class Diary:
    """What the clients know, and the moments that were noted."""

    acknowledged: list[Identity] = field(default_factory=list)  # committed, and told so
    refused: list[Identity] = field(default_factory=list)  # rolled back, by themselves or not
    moments: list[Moment] = field(default_factory=list)
    unknown: dict[int, Identity] = field(default_factory=dict)  # by client: begun, never answered


class RunningLoad:
    """A load that runs in threads of this process, until the end of `running`."""

    def __init__(
        self,
        pg: ScratchCluster,
        load: Load,
        clients: Sequence[int],
        more: Sequence[Callable[["RunningLoad"], None]] = (),
    ) -> None:
        self.pg = pg
        self.pace = 1.0  # of every pause; more leaves the machine to others
        self._more = more  # what else is to run beside the clients
        self.load = load
        self.diary = Diary()
        self.clients = clients
        self._stop = threading.Event()
        self._crashed = False
        self._futures: list[Future[None]] = []

    @contextmanager
    def running(self) -> Iterator["RunningLoad"]:
        """Run it; at the end raise what any of its threads raised."""
        work: list[Callable[[], None]] = [self._note_moments, self._disturb]
        work += [_Writer(self, client).run for client in self.clients]
        work += [partial(each, self) for each in self._more]
        with ThreadPoolExecutor(len(work)) as pool:
            self._futures = [pool.submit(self._until_crash, each) for each in work]
            try:
                yield self
            finally:
                self._stop.set()
        for future in self._futures:
            future.result()

    def crash(self) -> None:
        """Kill the server with all its processes; every client ends, however far it was."""
        self._crashed = True
        self.pg.kill9()

    def _until_crash(self, work: Callable[[], None]) -> None:
        try:
            work()
        except psycopg.OperationalError:
            if not self._crashed:
                raise

    def wait_for(self, more: int) -> None:
        """Wait until so many more transactions are committed."""
        goal = len(self.diary.acknowledged) + more

        def reached() -> bool:
            for future in self._futures:
                if future.done():
                    future.result()
            return len(self.diary.acknowledged) >= goal

        wait_for(reached, 120, f"{more} more transactions")

    def pause(self, seconds: float) -> bool:
        """Let others have the machine; tell whether the load goes on."""
        return not self._stop.wait(seconds * self.pace)

    def _note_moments(self) -> None:
        """Note targets while everything else goes on: nothing stands still for them."""
        now = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')"
        kinds: dict[str, LiteralString] = {
            "lsn:": "SELECT pg_current_wal_insert_lsn()::text",
            "": f"SELECT {now}",
            "xid:": "SELECT pg_current_xact_id()::text",
            "name:": "",
        }
        with self.pg.connect() as connection:
            for number in itertools.count():
                for kind, query in kinds.items():
                    lsn = _ask(connection, "SELECT pg_current_wal_insert_lsn()::text")
                    if query:
                        answer = _ask(connection, query)
                    else:
                        answer = f"p{self.clients[0]}_{number}"
                        connection.execute("SELECT pg_create_restore_point(%s)", [answer])
                    self.diary.moments.append(Moment(f"{kind}{answer}", lsn))
                if not self.pause(0.02):
                    return

    def _disturb(self) -> None:
        """Do what a busy server does beside its transactions."""
        chance = random.Random(f"{self.load.seed}:disturb")
        choice = [
            each
            for each in _DISTURBANCES
            if self.pg.binaries.major >= 15 or each[-1] != _CREATE_BY_COPY
        ]
        with self.pg.connect() as connection:
            connection.execute(_PATIENCE.replace("3s", "200ms").encode())
            while self.pause(0.04):
                for number in chance.sample(range(1, 8001), 20):
                    connection.execute(
                        "UPDATE bank.noise SET body = md5(body) || body WHERE id = %s"
                        if chance.random() < 0.3
                        else "UPDATE bank.noise SET body = left(body, 300) WHERE id = %s",
                        [number],
                    )
                connection.execute(
                    "INSERT INTO bank.scratch (body) SELECT repeat('x', 500)"
                    " FROM generate_series(1, 20)"
                )
                if chance.random() < 0.12:
                    for statement in chance.choice(choice):
                        try:
                            connection.execute(statement)
                        except (*_REFUSALS, psycopg.errors.ObjectInUse):
                            break


class _Writer:
    """One client."""

    def __init__(self, running: RunningLoad, client: int) -> None:
        self._running = running
        self._client = client
        self._tables: dict[int, Private] = {}
        self._open: list[Script] = []  # prepared, and to be finished

    def run(self) -> None:
        diary, load = self._running.diary, self._running.load
        with self._running.pg.connect() as connection:
            connection.execute(_PATIENCE.encode())
            for seq in itertools.count(1):
                does = script(load, Identity(self._client, seq))
                diary.unknown[self._client] = does.who
                try:
                    committed = self._play(connection, does)
                except _REFUSALS:
                    connection.execute("ROLLBACK")
                    committed = False
                if not does.prepares:
                    (diary.acknowledged if committed else diary.refused).append(does.who)
                del diary.unknown[self._client]
                self._finish(connection, leave=2)
                if not self._running.pause(0.005):
                    break

    def _play(self, connection: Connection, does: Script) -> bool:
        """Run one transaction; tell whether it committed."""
        ask, who, seed = connection.execute, does.who, self._running.load.seed
        ask("BEGIN")
        begin_as(connection, self._running.load, who)
        for account, amount in does.transfers:
            ask("UPDATE bank.accounts SET balance = balance + %s WHERE id = %s", [amount, account])
        for account, amount in does.transfers:
            ask("UPDATE bank.mirror SET balance = balance + %s WHERE id = %s", [amount, account])
        if does.note is not None:
            ask(
                "INSERT INTO bank.notes VALUES (%s, %s, %s, %s) ON CONFLICT (client, slot)"
                " DO UPDATE SET seq = excluded.seq, body = excluded.body",
                [who.client, does.note, who.seq, payload(seed, who, "note")],
            )
        if does.savepoint is not Savepoint.NONE:
            self._within(connection, does)
        step = private_step(self._running.load, who, self._tables) if does.private else None
        for statement in step.statements if step else ():
            ask(statement.encode())
        return self._end(connection, does)

    def _within(self, connection: Connection, does: Script) -> None:
        """Write something in a savepoint; what is rolled back must never be seen again."""
        who, ask = does.who, connection.execute
        ask("SAVEPOINT within")
        ask("INSERT INTO bank.kept VALUES (%s, %s)", [who.client, who.seq])
        if does.savepoint is Savepoint.RELEASED:
            ask("RELEASE within")
            return
        _insert(connection, Identity(who.client, who.seq + UNKEPT), b"never")
        ask("ROLLBACK TO within")

    def _end(self, connection: Connection, does: Script) -> bool:
        if does.prepares:
            connection.execute(f"PREPARE TRANSACTION '{does.who}'".encode())
            self._open.append(does)
            return False
        if does.outcome is Outcome.ROLLBACK:
            connection.execute("ROLLBACK")
            return False
        connection.execute("COMMIT")
        if does.private:
            follow(self._running.load, does.who, self._tables)
        return True

    def _finish(self, connection: Connection, leave: int) -> None:
        """End the transactions that were prepared a while ago."""
        diary = self._running.diary
        while len(self._open) > leave:
            does = self._open.pop(0)
            commits = does.outcome is Outcome.PREPARE
            how = "COMMIT" if commits else "ROLLBACK"
            connection.execute(f"{how} PREPARED '{does.who}'".encode())
            (diary.acknowledged if commits else diary.refused).append(does.who)


class HeldOpen:
    """A transaction that stays open for as long as the test wants it to."""

    def __init__(self, pg: ScratchCluster, load: Load, who: Identity) -> None:
        self._connection = pg.connect()
        self._name = str(who)
        self._connection.execute("BEGIN")
        begin_as(self._connection, load, who)

    def prepare(self) -> None:
        self._connection.execute(f"PREPARE TRANSACTION '{self._name}'".encode())

    def end(self, how: LiteralString) -> None:
        """End it by COMMIT, ROLLBACK or, when it was prepared, COMMIT PREPARED."""
        name = f" '{self._name}'" if how.endswith("PREPARED") else ""
        self._connection.execute(f"{how}{name}".encode())
        self._connection.close()


def begin_as(connection: Connection, load: Load, who: Identity) -> None:
    """Write the transaction's identity into the WAL, and its row into the ledger."""
    connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", [PREFIX, str(who)])
    _insert(connection, who, payload(load.seed, who))


def prepare_tables(pg: ScratchCluster, more: Sequence[str] = ()) -> None:
    """Create what the load works on."""
    for statement in (_TABLES, *more):
        pg.sql(statement)


def _insert(connection: Connection, who: Identity, content: bytes) -> None:
    connection.execute(
        "INSERT INTO bank.ledger (client, seq, payload) VALUES (%s, %s, %s)",
        [who.client, who.seq, content],
    )


def _ask(connection: Connection, query: LiteralString) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])
