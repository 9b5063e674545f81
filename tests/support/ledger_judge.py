"""Compares what a restored cluster holds with what must have been committed then, exactly.

A cluster is a set of named tables of keys and values. What must be there is worked out from the
transactions alone; what is there is read in several ways. A lost transaction shows in the ledger,
in the balances and in the tables of its client: a fault of the judge would have to hide thrice.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import psycopg

from support.ledger_script import (
    ACCOUNTS,
    BALANCE,
    Identity,
    Load,
    Private,
    Savepoint,
    digest,
    payload,
    private_rows,
    private_step,
    script,
    table_name,
)

Table = Mapping[Hashable, Hashable]
State = Mapping[str, Table]
Connection = psycopg.Connection[tuple[Any, ...]]

_SHOWN = 4  # differences of one kind that are told one by one


def expected(load: Load, committed: Mapping[Identity, int], prepared: Iterable[str] = ()) -> State:
    """Return what a cluster holds in which exactly these transactions are committed."""
    seed, ordered = load.seed, sorted(committed)
    balances: dict[Hashable, Hashable] = {}
    moved: Counter[int] = Counter()
    notes: dict[Hashable, Hashable] = {}
    kept: dict[Hashable, Hashable] = {}
    private: dict[int, dict[int, Private]] = {}
    for who in ordered:
        does = script(load, who)
        for account, amount in does.transfers:
            moved[account] += amount
        if does.note is not None:
            notes[who.client, does.note] = (who.seq, digest(payload(seed, who, "note")))
        if does.savepoint is Savepoint.RELEASED:
            kept[who.client, who.seq] = 1
        if does.private:
            follow(load, who, private.setdefault(who.client, {}))
    for account in range(ACCOUNTS):
        balances[account] = BALANCE + moved[account]
    return {
        "ledger": {
            (who.client, who.seq): (digest(payload(seed, who)), committed[who]) for who in ordered
        },
        "ledger's index": {(who.client, who.seq): 1 for who in ordered},
        "accounts": balances,
        "mirror": balances,
        "notes": notes,
        "kept": kept,
        "prepared": dict.fromkeys(prepared, 1),
        "scratch": {},
        "tickets": {"handed out twice": 0, "behind": False},
        **{
            table_name(client, number): private_table(seed, client, table)
            for client, tables in private.items()
            for number, table in tables.items()
        },
    }


def private_table(seed: int, client: int, table: Private) -> Table:
    """Return a private table as it must be: the type of its key, and its rows."""
    wanted: dict[Hashable, Hashable] = {"key": "bigint" if table.wide else "integer"}
    for key, body in private_rows(seed, client, table).items():
        wanted[key] = body
    return wanted


def follow(load: Load, who: Identity, tables: dict[int, Private]) -> None:
    """Do to a client's tables, as the model has them, what one of its transactions did."""
    step = private_step(load, who, tables)
    tables.pop(step.table, None)
    if step.after is not None:
        tables[step.table] = step.after


def observed(connection: Connection) -> State:
    """Read what a cluster holds. It need not be writable."""
    ask = connection.execute
    for way in ("indexscan", "indexonlyscan", "bitmapscan"):
        ask(f"SET enable_{way} = off".encode())
    rows = ask("SELECT client, seq, payload, xid::text::bigint FROM bank.ledger").fetchall()
    state: dict[str, Table] = {
        "ledger": _table(((c, s), (digest(body), xid)) for c, s, body, xid in rows),
        "accounts": _table(ask("SELECT id, balance FROM bank.accounts")),
        "mirror": _table(ask("SELECT id, balance FROM bank.mirror")),
        "notes": _table(
            ((client, slot), (seq, digest(body)))
            for client, slot, seq, body in ask("SELECT client, slot, seq, body FROM bank.notes")
        ),
        "kept": _table(((c, s), 1) for c, s in ask("SELECT client, seq FROM bank.kept")),
        "prepared": _table((gid, 1) for (gid,) in ask("SELECT gid FROM pg_prepared_xacts")),
        "scratch": _scratch(connection),
        "tickets": _tickets(connection),
        **dict(_private(connection)),
    }
    ask("RESET ALL")
    for way in ("seqscan", "bitmapscan", "sort"):
        ask(f"SET enable_{way} = off".encode())
    by_index = ask("SELECT client, seq FROM bank.ledger ORDER BY client, seq")
    state["ledger's index"] = _table(((c, s), 1) for c, s in by_index)
    ask("RESET ALL")
    return state


def _private(connection: Connection) -> Iterable[tuple[str, Table]]:
    """Yield the private tables that are there, with the type of their key and their rows."""
    known = connection.execute(
        "SELECT format('%I.%I', n.nspname, c.relname), format_type(a.atttypid, NULL)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " JOIN pg_attribute a ON attrelid = c.oid AND attname = 'id'"
        " WHERE nspname = 'own' AND relkind = 'r'"
    ).fetchall()
    for name, key in known:
        rows = connection.execute(f"SELECT id, body FROM {name}".encode())
        yield name, {"key": key, **_table((id, digest(body.encode())) for id, body in rows)}


def _scratch(connection: Connection) -> Table:
    """Read the unlogged table: a restored one is empty. In recovery it cannot be read at all."""
    if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        return {}
    return _table(connection.execute("SELECT id, body FROM bank.scratch"))


def _tickets(connection: Connection) -> Table:
    """A sequence runs ahead of what was committed: it may skip numbers, never repeat them."""
    row = connection.execute(
        "SELECT count(ticket) - count(DISTINCT ticket), coalesce(max(ticket) >"
        " (SELECT last_value FROM bank.tickets), false) FROM bank.ledger"
    ).fetchone()
    assert row is not None
    return {"handed out twice": row[0], "behind": row[1]}


def _table(rows: Iterable[Any]) -> Table:
    """Return rows by key; a key that comes twice gets a value that no model has."""
    found: dict[Hashable, Hashable] = {}
    for key, value in rows:
        found[key] = (value, "and", found[key]) if key in found else value
    return found


def compare(wanted: State, found: State) -> list[str]:
    """Say every difference, by table and kind; nothing to say means that they are equal."""
    differences = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    differences += [f"{name} should not be there" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        want, have = wanted[name], found[name]
        differences += _tell(name, "lost", map(str, want.keys() - have.keys()))
        differences += _tell(name, "too many", map(str, have.keys() - want.keys()))
        wrong = (key for key in want.keys() & have.keys() if want[key] != have[key])
        told = (f"{key} is {have[key]!r}, not {want[key]!r}" for key in wrong)
        differences += _tell(name, "wrong", told)
    return differences


def _tell(table: str, kind: str, keys: Iterable[str]) -> Iterable[str]:
    each = sorted(keys)
    if each:
        yield f"{table}: {len(each)} {kind}: {'; '.join(each[:_SHOWN])}"
