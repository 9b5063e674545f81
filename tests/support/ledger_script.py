"""What each transaction of the test's load does: a pure function of a seed and its identity.

So the judge can work out by itself what a cluster must hold, and an old version of a page, a
swapped block or half of a transaction cannot look right.
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

ACCOUNTS = 200
BALANCE = 1000  # of each account at the beginning
NOTES = 8  # rows that each client rewrites again and again
TABLES = 3  # private tables of each client
PREFIX = "ledger"  # of the logical messages that carry a transaction's identity in the WAL
QUIET = 90  # ten clients from here on are run by the test itself: they lock no account
UNKEPT = 1_000_000  # added to the sequence in rows that are rolled back


class Outcome(StrEnum):
    """How a transaction ends."""

    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "prepare, commit later"
    PREPARE_ROLLBACK = "prepare, roll back later"


class Savepoint(StrEnum):
    """What happens within a transaction."""

    NONE = "none"
    ROLLED_BACK = "rolled back"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One transaction of the load."""

    client: int
    seq: int

    def __str__(self) -> str:
        return f"{self.client}:{self.seq}"

    @property
    def quiet(self) -> bool:
        return QUIET <= self.client < QUIET + 10

    @classmethod
    def parse(cls, text: str) -> "Identity":
        client, seq = text.split(":")
        return cls(int(client), int(seq))


@dataclass(frozen=True, slots=True)
class Script:
    """What a transaction does."""

    who: Identity
    outcome: Outcome
    savepoint: Savepoint
    giver: int  # accounts; the lower number is locked first, so that nobody waits in a circle
    taker: int
    amount: int
    note: int | None  # the row that is rewritten
    private: bool  # whether it works on the client's own tables as well

    @property
    def prepares(self) -> bool:
        return self.outcome in (Outcome.PREPARE, Outcome.PREPARE_ROLLBACK)

    @property
    def transfers(self) -> tuple[tuple[int, int], ...]:
        """What is added to which account. Prepared ones hold no lock that others wait for."""
        if self.prepares or self.who.quiet:
            return ()
        return tuple(sorted([(self.giver, -self.amount), (self.taker, self.amount)]))


@dataclass(frozen=True, slots=True)
class Load:
    """What the transactions of a load depend on."""

    seed: int
    prepare: bool = False  # whether some are prepared first
    tablespace: str = "pg_default"  # where private tables are moved to, and back from


def script(load: Load, who: Identity) -> Script:
    """Return what a transaction does."""
    if who.quiet:
        return Script(who, Outcome.COMMIT, Savepoint.NONE, 0, 1, 1, None, private=False)
    chance = random.Random(f"{load.seed}:{who}")
    giver, taker = chance.sample(range(ACCOUNTS), 2)
    fate = chance.random()
    outcome = Outcome.ROLLBACK if fate < 0.12 else Outcome.COMMIT
    if load.prepare and fate > 0.85:
        outcome = Outcome.PREPARE if fate > 0.9 else Outcome.PREPARE_ROLLBACK
    prepared = outcome not in (Outcome.COMMIT, Outcome.ROLLBACK)
    return Script(
        who,
        outcome,
        chance.choices(list(Savepoint), [4, 1, 1])[0],
        giver,
        taker,
        chance.randrange(1, 50),
        chance.randrange(NOTES) if chance.random() < 0.4 and not prepared else None,
        chance.random() < 0.25 and not prepared,
    )


def payload(seed: int, who: Identity, use: str = "ledger") -> bytes:
    """Return a row's content: mostly short, some compressed and some stored out of line."""
    chance = random.Random(f"{seed}:{who}:{use}")
    kind = chance.random()
    if kind < 0.75:
        return chance.randbytes(chance.randrange(10, 200))
    if kind < 0.9:
        return chance.randbytes(50) * chance.randrange(100, 600)
    return chance.randbytes(chance.randrange(3000, 9000))


def digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Private:
    """One table that belongs to one client, as far as it matters for its content."""

    batches: tuple[tuple[int, int], ...] = ()  # the transactions that filled it, and their rows
    wide: bool = False  # its key is a bigint


@dataclass(frozen=True, slots=True)
class Step:
    """What a transaction does to a private table."""

    table: int
    statements: tuple[str, ...]
    after: Private | None  # None: there is no such table any more


def table_name(client: int, table: int) -> str:
    return f"own.c{client}_{table}"


def private_step(load: Load, who: Identity, tables: Mapping[int, Private]) -> Step:
    """Return what a transaction does to its client's tables as they are then."""
    seed, chance = load.seed, random.Random(f"{load.seed}:{who}:private")
    number = chance.randrange(TABLES)
    name, rows = table_name(who.client, number), chance.randrange(1, 60)
    fill = (
        f"INSERT INTO {name} SELECT {who.seq} * 1000 + i, "
        f"repeat(md5('{seed}:{who}:' || i), 1 + i % 40) FROM generate_series(1, {rows}) i"
    )
    before, batch = tables.get(number), (who.seq, rows)
    if before is None:
        create = f"CREATE TABLE {name} (id int CONSTRAINT c{who.client}_{number}_key PRIMARY KEY,"
        return Step(number, (f"{create} body text)", fill), Private((batch,)))
    filled = replace(before, batches=(*before.batches, batch))
    match chance.randrange(10):
        case 0:
            return Step(number, (f"DROP TABLE {name}",), None)
        case 1:
            return Step(number, (f"TRUNCATE {name}",), replace(before, batches=()))
        case 2:
            return Step(number, (f"TRUNCATE {name}", fill), replace(before, batches=(batch,)))
        case 3:
            kind = "int" if before.wide else "bigint"
            alter = f"ALTER TABLE {name} ALTER COLUMN id TYPE {kind}"
            return Step(number, (alter, fill), replace(filled, wide=not before.wide))
        # No CLUSTER here: on 15.18 one after an INSERT in its transaction was seen to double rows
        # on the source itself (the full-page images in its WAL show it). bank.mirror is clustered.
        case 4 | 5:
            return Step(number, (f"REINDEX TABLE {name}", fill), filled)
        case 6 if before.batches:
            (seq, count), *kept = before.batches
            delete = f"DELETE FROM {name} WHERE id BETWEEN {seq * 1000} AND {seq * 1000 + count}"
            return Step(number, (delete,), replace(before, batches=tuple(kept)))
        case 7:
            space = chance.choice(["pg_default", load.tablespace])
            # Filled first: rows of a moved table leave index entries to nowhere when the move is
            # rolled back (18.6: "could not read blocks" on the source itself).
            return Step(number, (fill, f"ALTER TABLE {name} SET TABLESPACE {space}"), filled)
    return Step(number, (fill,), filled)


def private_rows(seed: int, client: int, table: Private) -> dict[int, str]:
    """Return the rows of a private table: each key with what its text is."""
    return {
        seq * 1000 + i: digest(_body(f"{seed}:{client}:{seq}:{i}", 1 + i % 40))
        for seq, count in table.batches
        for i in range(1, count + 1)
    }


def _body(text: str, times: int) -> bytes:
    return hashlib.md5(text.encode()).hexdigest().encode() * times
