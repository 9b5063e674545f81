"""Random changes to the schema beside the ledger, in tables whose rows prove themselves.

Each row's text follows from its number and version, so a stale half of a row shows. What must be
there is not known beforehand; but whatever road leads to a moment, it is the same.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import psycopg

from pgkeep.server.scratch import ScratchCluster
from support.ledger_judge import Connection
from support.load_writers import RunningLoad

TABLES = 6
_BODY = "repeat(md5({id} || ':' || {version}), 1 + {id} % 40)"
SCHEMA = ("CREATE SCHEMA shed",)
# Of two who change at once one is refused, in many ways; these are faults of the server or of ours.
_FAULTS = ("XX001", "XX002", "58", "42601", "53")


class Changer:
    """One connection that changes things all the time, by a plan from the seed."""

    def __init__(self, seed: str, major: int) -> None:
        self._chance = random.Random(seed)
        self._major = major

    def run(self, load: RunningLoad) -> None:
        with load.pg.connect() as connection:
            connection.execute("SET lock_timeout = '500ms'; SET deadlock_timeout = '100ms'")
            while load.pause(self._chance.choice([0.02, 0.05, 0.2])):
                try:
                    for statement in self._choose(connection):
                        connection.execute(statement.encode())
                except psycopg.Error as error:
                    if connection.closed or (error.sqlstate or "").startswith(_FAULTS):
                        raise
                    connection.execute("ROLLBACK")

    def _choose(self, connection: Connection) -> Sequence[str]:
        """Return statements that fit what is there now."""
        chance = self._chance
        if chance.random() < 0.15:
            return self._elsewhere(connection)
        name = f"shed.t{chance.randrange(TABLES)}"
        (found,) = connection.execute("SELECT to_regclass(%s)", [name]).fetchone() or (None,)
        if found is None:
            unlogged = "UNLOGGED " if chance.random() < 0.15 else ""
            table = f"CREATE {unlogged}TABLE {name} (id int PRIMARY KEY, version int, body text)"
            return (table, self._fill(name, 0, chance.choice([10, 300, 1500])))
        row = connection.execute(f"SELECT coalesce(max(id), 0) FROM {name}".encode()).fetchone()
        return self._change(name, row[0] if row else 0)

    def _fill(self, name: str, last: int, rows: int) -> str:
        body = _BODY.format(id="i", version="0")
        numbers = f"generate_series({last + 1}, {last + rows}) i"
        return f"INSERT INTO {name} SELECT i, 0, {body} FROM {numbers}"

    def _change(self, name: str, last: int) -> Sequence[str]:
        chance = self._chance
        low = chance.randrange(1, last + 2)
        high = low + chance.choice([0, 5, 200])
        body = _BODY.format(id="id", version="(version + 1)")
        update = f"UPDATE {name} SET version = version + 1, body = {body}"
        some = f"{update} WHERE id BETWEEN {low} AND {high}"
        index = f"shed.{name[5:]}_{chance.randrange(3)}"
        kind = chance.choice(["btree (body)", "hash (id)", "brin (id)", "btree (version, id)"])
        space = chance.choice(["pg_default", "side"])
        return chance.choices(
            [
                (some,),
                (self._fill(name, last, chance.choice([1, 100, 600])),),
                # What is at the end goes, and the file shrinks; later it grows again.
                (f"DELETE FROM {name} WHERE id > {low}", f"VACUUM (TRUNCATE) {name}"),
                (f"VACUUM FULL {name}",),
                (f"TRUNCATE {name}", self._fill(name, 0, 50)),
                ("BEGIN", f"TRUNCATE {name}", self._fill(name, 0, 300), "ROLLBACK"),
                (f"DROP TABLE {name}",),
                (f"DROP INDEX IF EXISTS {index}",),
                (f"CREATE INDEX IF NOT EXISTS {index[5:]} ON {name} USING {kind}",),
                (f"ALTER TABLE {name} SET TABLESPACE {space}",),
                (f"ALTER TABLE {name} SET {chance.choice(['LOGGED', 'UNLOGGED'])}",),
                (f"CLUSTER {name} USING {name[5:]}_pkey",),
                (f"REINDEX TABLE {name}",),
                # A locker and a writer of the same row: a multixact.
                (
                    "BEGIN",
                    f"SELECT count(*) FROM (SELECT 1 FROM {name} WHERE id BETWEEN {low} AND {high}"
                    " FOR KEY SHARE) locked",
                    "SAVEPOINT s",
                    some,
                    chance.choice(["RELEASE s", "ROLLBACK TO s"]),
                    "COMMIT",
                ),
                (f"VACUUM (FREEZE) {name}",),
            ],
            [20, 14, 8, 3, 4, 3, 2, 2, 4, 3, 2, 2, 2, 6, 3],
        )[0]

    def _elsewhere(self, connection: Connection) -> Sequence[str]:
        """Change what is no table: large objects, databases, tablespaces, a whole catalog."""
        chance = self._chance
        large = chance.randrange(70000, 70020)
        copy = " STRATEGY file_copy" if self._major >= 15 and chance.random() < 0.5 else ""
        (other,) = connection.execute(
            "SELECT count(*) FROM pg_database WHERE datname = 'other'"
        ).fetchone() or (0,)
        if not other:
            return (f"CREATE DATABASE other TEMPLATE template0{copy}",)
        return chance.choice(
            [
                ("CHECKPOINT",),
                ("SELECT pg_switch_wal()",),
                ("DROP DATABASE other (FORCE)",),
                (f"ALTER DATABASE other SET TABLESPACE {chance.choice(['side', 'pg_default'])}",),
                (f"SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = {large}",),
                (
                    f"SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = {large}",
                    f"SELECT lo_from_bytea({large}, convert_to(repeat('{large}', 3000), 'UTF8'))",
                ),
                ("DROP TABLESPACE IF EXISTS inner_space",),
                ("CREATE TABLESPACE inner_space LOCATION ''",),
                ("VACUUM (FREEZE) pg_attribute", "VACUUM FULL pg_largeobject"),
                ("ANALYZE",),
            ]
        )


def fingerprint(pg: ScratchCluster) -> tuple[str, list[str]]:
    """Return a digest of all that the ledger's judge does not look at, and what is wrong in it."""
    wrong: list[str] = []
    facts: list[Any] = []
    with pg.connect(options="-c statement_timeout=60s") as connection:

        def ask(query: str) -> list[Any]:
            return connection.execute(query.encode()).fetchall()

        tables = ask(
            "SELECT relname, relpersistence FROM pg_class JOIN pg_namespace n ON n.oid ="
            " relnamespace WHERE nspname = 'shed' AND relkind = 'r' ORDER BY relname"
        )
        for name, persistence in tables:
            body = _BODY.format(id="id", version="version")
            rows, distinct, bad, content = ask(
                f"SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE body <> {body}"
                f" OR body IS NULL), md5(string_agg(id || ':' || version, ' ' ORDER BY id))"
                f" FROM shed.{name}"
            )[0]
            if rows != distinct or bad:
                wrong.append(f"shed.{name}: {rows} rows, {distinct} numbers, {bad} bad")
            if persistence == "u" and rows:
                wrong.append(f"shed.{name} is unlogged, and holds {rows} rows")
            facts.append((name, persistence, rows, content))
        facts += ask(
            "SELECT count(*), md5(string_agg(id || body, ' ' ORDER BY id)) FROM bank.noise"
        )
        facts += ask(
            "SELECT nspname, relname, relkind, relpersistence, spcname FROM pg_class"
            " JOIN pg_namespace n ON n.oid = relnamespace"
            " LEFT JOIN pg_tablespace s ON s.oid = reltablespace"
            " WHERE nspname !~ '^pg_(temp|toast)' ORDER BY 1, 2"
        )
        facts += ask("SELECT datname, dattablespace FROM pg_database ORDER BY 1")
        facts += ask("SELECT spcname FROM pg_tablespace ORDER BY 1")
        facts += ask(
            "SELECT loid, md5(string_agg(data, '' ORDER BY pageno)) FROM pg_largeobject"
            " GROUP BY 1 ORDER BY 1"
        )
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest(), wrong
