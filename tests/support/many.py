"""Databases that are troublesome by number, by encoding, or because they do not stand still."""

import random
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import sql

from pgkeep.server.scratch import ScratchCluster
from support.compare import Server, conninfo_of
from support.wait import wait_for

_BATCH: Final = 500  # objects in a transaction: each takes a lock

_TABLES: Final = """
DO $$
BEGIN
    FOR s IN 1..{schemas} LOOP
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS many_%s', s);
    END LOOP;
    FOR i IN 1..{count} LOOP
        EXECUTE format('CREATE TABLE many_%s.t%s AS SELECT %s AS id, %s AS twice',
            1 + i % {schemas}, to_char(i, 'FM000000'), i, 2 * i);
        IF i % {batch} = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END
$$
"""
_LARGE_OBJECTS: Final = """
DO $$
BEGIN
    FOR i IN 1..{count} LOOP
        PERFORM lo_from_bytea(({first} + i - 1)::oid, convert_to('large object ' || i, 'UTF8'));
        IF i % {batch} = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END
$$
"""


def many_tables(
    server: Server, count: int, schemas: int = 1, *, database: str = "postgres"
) -> None:
    """Create tables of one row, t000001 and so on, in turn in the schemas many_1, many_2 ...

    They have no column that may be out of line: a table for that takes most of the time.
    """
    _run(server, database, _TABLES.format(count=count, schemas=schemas, batch=_BATCH))


def many_large_objects(
    server: Server, count: int, *, first: int = 1_000_000, database: str = "postgres"
) -> None:
    """Create small large objects, from the OID `first` on."""
    _run(server, database, _LARGE_OBJECTS.format(count=count, first=first, batch=_BATCH * 10))


def _run(server: Server, database: str, statement: str) -> None:
    with psycopg.connect(conninfo_of(server), autocommit=True, dbname=database) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(statement.encode())


# Names and values that each encoding can hold, beside ASCII.
_WORDS: Final = {
    "LATIN1": ["café", "Größe", "niño ÿ"],
    "EUC_JP": ["日本語", "表", "かな"],
    "WIN1251": ["привет", "Ёж", "№ 5"],
}


def encoded_database(cluster: ScratchCluster, database: str, encoding: str) -> None:
    """Create a database in LATIN1, EUC_JP, WIN1251 or SQL_ASCII, with names and values to match.

    SQL_ASCII holds what is valid in no other: one table's names and rows are of several encodings.
    """
    with cluster.connect() as connection:
        words: LiteralString = (
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        connection.execute(sql.SQL(words).format(sql.Identifier(database), encoding))
    if encoding == "SQL_ASCII":
        named = [word.encode(code) for code, words in _CODECS for word in words]
        _fill_encoded(cluster, database, named, "SQL_ASCII")
    else:
        named = [word.encode("utf-8") for word in _WORDS[encoding]]
        _fill_encoded(cluster, database, named, "UTF8")


_CODECS: Final = [
    ("latin-1", _WORDS["LATIN1"]),
    ("euc_jp", _WORDS["EUC_JP"]),
    ("utf-8", ["ünïcödé"]),
]


def _fill_encoded(
    cluster: ScratchCluster, database: str, words: Sequence[bytes], client_encoding: str
) -> None:
    with cluster.connect(dbname=database) as connection:
        connection.execute(f"SET client_encoding = '{client_encoding}'".encode())
        for number, word in enumerate(words):
            values = b", ".join(b"(%d, '%s')" % (at, each) for at, each in enumerate(words))
            for statement in (
                b'CREATE SCHEMA "s %s"' % word,
                b'CREATE TABLE "s %s"."%s" (id int PRIMARY KEY, "%s" text DEFAULT \'%s\')'
                % (word, word, word, word),
                b'INSERT INTO "s %s"."%s" VALUES %s' % (word, word, values),
                b'COMMENT ON TABLE "s %s"."%s" IS \'%s\'' % (word, word, word),
                b'CREATE INDEX "i%d %s" ON "s %s"."%s" ("%s")' % (number, word, word, word, word),
            ):
                connection.execute(statement)


ACCOUNTS: Final = 20  # in each table
BALANCE: Final = 1000  # of each account in the beginning
_TICKETS: Final = "transfers.tickets"


class TransferLoad:
    """Clients that move amounts between accounts in several tables, until the block is left.

    Each transaction takes from one table, gives to another, and writes down what it did in a table
    of its client's own. So whoever reads all tables at one moment sees a sum that never changes,
    from each client a series of transactions without a gap, and balances that these explain.
    `assert_consistent` checks a restored copy. A client that fails fails the block.
    """

    def __init__(
        self, server: Server, database: str = "postgres", *, clients: int = 8, tables: int = 4
    ) -> None:
        self._conninfo = conninfo_of(server)
        self._database = database
        self._clients, self._tables = clients, tables
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self.committed = [0] * clients  # what each client was told of; counts only up

    def __enter__(self) -> Self:
        with self._connect() as connection:
            _prepare(connection, self._clients, self._tables)
        for client in range(self._clients):
            thread = threading.Thread(target=self._work, args=(client,), name=f"transfers {client}")
            self._threads.append(thread)
            thread.start()
        try:
            self.wait_for(1)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if error is None and self._errors:
            raise self._errors[0]

    def wait_for(self, more: int) -> None:
        """Wait until each client has committed so many transactions more."""
        wanted = [count + more for count in self.committed]

        def reached() -> bool:
            if self._errors:
                raise self._errors[0]
            return all(now >= then for now, then in zip(self.committed, wanted, strict=True))

        wait_for(reached, 60, f"{more} transfers of each client")

    def _end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._conninfo, autocommit=True, dbname=self._database)

    def _work(self, client: int) -> None:
        try:
            with self._connect() as connection:
                while not self._stop.is_set():
                    _transfer(connection, client, self.committed[client] + 1, self._tables)
                    self.committed[client] += 1
        except BaseException as error:  # told to the test by its own thread
            self._errors.append(error)


def assert_consistent(
    server: Server,
    database: str = "postgres",
    *,
    at_least: Sequence[int] = (),
    at_most: Sequence[int] = (),
) -> list[int]:
    """Check that a database is what TransferLoad left at one moment; return the clients' counts.

    `at_least` and `at_most` are what its `committed` said before and after that moment; one
    transaction more may be there for each client, of which it was not told yet.
    """
    with psycopg.connect(conninfo_of(server), dbname=database) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        tables, clients = _count(connection, "accounts"), _count(connection, "client")
        assert min(tables, clients) > 0, "the tables of the transfers are not there"
        wanted = {
            (table, account): BALANCE for table in range(tables) for account in range(ACCOUNTS)
        }
        counts, highest = [], 0
        for client in range(clients):
            rows = _read(connection, f"SELECT * FROM transfers.client_{client} ORDER BY seq")
            assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), f"gap in {client}"
            for seq, ticket, taken, given, amount, filler in rows:
                assert _choose(client, seq, tables) == (tuple(taken), tuple(given), amount)
                assert filler == _filler(client, seq)
                wanted[taken[0], taken[1]] -= amount
                wanted[given[0], given[1]] += amount
                highest = max(highest, ticket)
            counts.append(len(rows))
        found = {
            (table, account): balance
            for table in range(tables)
            for account, balance in _read(connection, f"TABLE transfers.accounts_{table}")
        }
        assert sum(found.values()) == BALANCE * ACCOUNTS * tables
        assert found == wanted
        ((at, _, _),) = _read(connection, f"TABLE {_TICKETS}")
        # A sequence knows no transactions: it may be ahead, never behind.
        assert at >= highest
    for client, least in enumerate(at_least):
        assert counts[client] >= least, f"client {client} was told of {least}"
    for client, most in enumerate(at_most):
        assert counts[client] <= most + 1, f"client {client} was told of {most}"
    return counts


Account = tuple[int, int]  # number of its table, and in it


def _choose(client: int, seq: int, tables: int) -> tuple[Account, Account, int]:
    chance = random.Random(f"{client}:{seq}")
    one, other = chance.sample(range(tables), 2)
    taken, given = (one, chance.randrange(ACCOUNTS)), (other, chance.randrange(ACCOUNTS))
    return taken, given, chance.randrange(1, 100)


def _filler(client: int, seq: int) -> str:
    return f"{client}/{seq} " * 20


def _transfer(connection: psycopg.Connection[Any], client: int, seq: int, tables: int) -> None:
    taken, given, amount = _choose(client, seq, tables)
    # In one order, so that clients do not wait for each other in a circle.
    moves = sorted([(taken, -amount), (given, amount)])
    with connection.transaction():
        for (table, account), change in moves:
            words = f"UPDATE transfers.accounts_{table} SET balance = balance + %s WHERE id = %s"
            connection.execute(words.encode(), [change, account])
        words = f"""INSERT INTO transfers.client_{client} (seq, taken, given, amount, filler)
            VALUES (%s, %s, %s, %s, %s)"""
        row = [seq, list(taken), list(given), amount, _filler(client, seq)]
        connection.execute(words.encode(), row)


def _prepare(connection: psycopg.Connection[Any], clients: int, tables: int) -> None:
    statements = ["CREATE SCHEMA transfers", f"CREATE SEQUENCE {_TICKETS}"]
    for table in range(tables):
        name = f"transfers.accounts_{table}"
        statements += [
            f"CREATE TABLE {name} (id int PRIMARY KEY, balance bigint) WITH (fillfactor = 50)",
            f"INSERT INTO {name} SELECT i, {BALANCE} FROM generate_series(0, {ACCOUNTS - 1}) i",
        ]
    statements += [
        f"""CREATE TABLE transfers.client_{client} (
            seq int PRIMARY KEY, ticket bigint NOT NULL DEFAULT nextval('{_TICKETS}'),
            taken int[], given int[], amount int, filler text)"""
        for client in range(clients)
    ]
    connection.execute("; ".join(statements).encode())


def _count(connection: psycopg.Connection[Any], kind: str) -> int:
    query = """SELECT count(*) FROM pg_tables
        WHERE schemaname = 'transfers' AND tablename LIKE %s || '\\_%%'"""
    row = connection.execute(query, [kind]).fetchone()
    assert row is not None
    return int(row[0])


def _read(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()
