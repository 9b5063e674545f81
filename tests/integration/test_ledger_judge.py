"""The judge of the ledger tests bites: whatever is wrong with a restored cluster, it says so."""

from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.model.target import RecoveryTarget, parse_target
from pgkeep.server.binaries import Binaries
from support.ledger_judge import State, compare, expected
from support.ledger_script import Identity, Load, Outcome, Savepoint, script, table_name
from support.ledger_wal import Branch, Event, History, Kind, Witness, parse_event

LOAD = Load(7)
COMMITTED = {
    who: 700 + 10 * who.seq + who.client
    for client in (1, 2)
    for who in (Identity(client, seq) for seq in range(1, 60))
    if script(LOAD, who).outcome is Outcome.COMMIT
}
LAST = max(COMMITTED)
Content = dict[str, dict[Hashable, Hashable]]


def content(state: State) -> Content:
    return {name: dict(table) for name, table in state.items()}


def test_the_load_does_everything_that_the_judge_looks_at() -> None:
    state = expected(LOAD, COMMITTED)
    assert all(state[name] for name in ("ledger", "notes", "kept", table_name(1, 0)))
    scripts = [script(Load(7, prepare=True), Identity(1, seq)) for seq in range(1, 100)]
    assert {each.outcome for each in scripts} == set(Outcome)
    assert {each.savepoint for each in scripts} == set(Savepoint)


def test_an_equal_cluster_is_not_blamed() -> None:
    assert compare(expected(LOAD, COMMITTED), content(expected(LOAD, COMMITTED))) == []


@pytest.mark.parametrize("last", sorted(COMMITTED)[-5:], ids=str)
def test_one_transaction_less_is_lost_in_three_tables(last: Identity) -> None:
    fewer = {who: xid for who, xid in COMMITTED.items() if who != last}
    told = compare(expected(LOAD, COMMITTED), expected(LOAD, fewer))
    assert f"ledger: 1 lost: {(last.client, last.seq)}" in told
    assert any(words.startswith("accounts: 2 wrong") for words in told)
    assert any(words.startswith("mirror: 2 wrong") for words in told)


def test_one_transaction_more_is_told() -> None:
    more = {**COMMITTED, Identity(3, 1): 9999}
    told = compare(expected(LOAD, COMMITTED), expected(LOAD, more))
    assert "ledger: 1 too many: (3, 1)" in told


MUTATIONS: dict[str, tuple[Callable[[Content], object], str]] = {
    "a row is lost": (
        lambda found: found["ledger"].pop((1, 1)),
        "ledger: 1 lost: (1, 1)",
    ),
    "a row is in the heap, not in the index": (
        lambda found: found["ledger's index"].pop((1, 1)),
        "ledger's index: 1 lost: (1, 1)",
    ),
    "a row of a savepoint that was rolled back": (
        lambda found: found["ledger"].update({(1, 1_000_002): ("00", 7)}),
        "ledger: 1 too many: (1, 1000002)",
    ),
    "an old page: a balance as it was": (
        lambda found: found["mirror"].update({0: 77}),
        "mirror: 1 wrong: 0 is 77, not ",
    ),
    "the right row by another transaction": (
        lambda found: found["ledger"].update({(1, 1): (found["ledger"][1, 1], 3)}),
        "ledger: 1 wrong: (1, 1) is ",
    ),
    "a table is not there": (
        lambda found: found.pop(table_name(1, 0)),
        f"{table_name(1, 0)} is missing",
    ),
    "a table that was dropped": (
        lambda found: found.update({table_name(1, 9): {}}),
        f"{table_name(1, 9)} should not be there",
    ),
    "a table before it was rewritten": (
        lambda found: found[table_name(1, 0)].update({"key": "text"}),
        f"{table_name(1, 0)}: 1 wrong: key is 'text', not ",
    ),
    "an unlogged table with its rows": (
        lambda found: found["scratch"].update({1: "x"}),
        "scratch: 1 too many: 1",
    ),
    "a transaction is still prepared": (
        lambda found: found["prepared"].update({"1:5": 1}),
        "prepared: 1 too many: 1:5",
    ),
    "a sequence that goes back": (
        lambda found: found["tickets"].update({"behind": True}),
        "tickets: 1 wrong: behind is True, not False",
    ),
}


@pytest.mark.parametrize(("mutate", "told"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_difference_is_told(mutate: Callable[[Content], object], told: str) -> None:
    found = content(expected(LOAD, COMMITTED))
    mutate(found)
    (words,) = compare(expected(LOAD, COMMITTED), found)
    assert words.startswith(told)


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Records(Witness):
    """A WAL in which a record starts at every 16th byte."""

    def records(self, timeline: int, lsn: Lsn, count: int) -> list[Lsn]:
        return [Lsn(-(-lsn // 16) * 16 + 16 * number) for number in range(count)]


def history(sketch: str) -> History:
    """'c1@5 a2@6 p3 c3@4 n' is two commits, an abort, a prepared one and a restore point.

    A record is 16 bytes; after @ stands the second at which it ended.
    """
    events = []
    for number, word in enumerate(sketch.split()):
        head, _, second = word.partition("@")
        kind = {"c": Kind.COMMIT, "a": Kind.ABORT, "p": Kind.PREPARE, "n": Kind.POINT}[head[0]]
        xid = int(head[1:] or 0) if kind is not Kind.POINT else 0
        name = head if kind is Kind.POINT else f"1:{xid}" if kind is Kind.PREPARE else ""
        time = NOON + timedelta(seconds=int(second)) if second else None
        events.append(Event(Lsn(16 * number), kind, xid, time, name))
    identities = {event.xid: Identity(1, event.xid) for event in events if event.xid}
    return History(tuple(events), identities, Records(Path(), Binaries(Path(), "18")), (BRANCH,))


BRANCH = Branch(1)
SKETCH = "c1@1 c2@2 n c3@9 c4@4 a5@5 p6 c7@9 c6@11"


@pytest.mark.parametrize(
    ("to", "inclusive", "applied"),
    [
        pytest.param("latest", True, 9, id="all"),
        pytest.param("immediate", True, 2, id="what lies before the backup's end"),
        pytest.param("lsn:0/30", True, 4, id="the record that starts at the position"),
        pytest.param("lsn:0/30", False, 3, id="not the record that starts there"),
        pytest.param("lsn:0/31", True, 5, id="the first record after the position too"),
        pytest.param("lsn:0/31", False, 4, id="up to the record before it"),
        pytest.param("xid:3", True, 4, id="with the commit"),
        pytest.param("xid:3", False, 3, id="without the commit"),
        pytest.param("xid:5", True, 6, id="with an abort"),
        pytest.param("xid:6", True, 9, id="a prepared one ends when it is committed"),
        pytest.param("xid:99", True, None, id="no such transaction"),
        pytest.param("name:n", True, 3, id="after a restore point"),
        pytest.param("name:m", True, None, id="no such restore point"),
        pytest.param("2026-11-22 12:00:09+00", True, 8, id="no commit that is later"),
        pytest.param("2026-11-22 12:00:09+00", False, 3, id="nor one at that time"),
        pytest.param("2026-11-22 12:00:04+00", True, 3, id="the first later one, not the last"),
        pytest.param("2026-11-22 12:00:11+00", True, None, id="no later one on record"),
        pytest.param("2026-11-22 12:00:01+00", True, None, id="before the backup's end"),
    ],
)
def test_the_rules_by_which_recovery_stops(to: str, inclusive: bool, applied: int | None) -> None:
    recovery = RecoveryTarget(parse_target(to, UTC), inclusive)
    events = history(SKETCH).replayed(recovery, Lsn(0), Lsn(32))
    assert events == (None if applied is None else history(SKETCH).events[:applied])


def test_a_prepared_transaction_is_one_until_it_ends() -> None:
    known = history(SKETCH)
    assert known.prepared(known.events[:8]) == {"1:6"}
    assert known.prepared(known.events) == set()
    assert Identity(1, 6) not in known.committed(known.events[:8])
    assert Identity(1, 6) in known.committed(known.events)


@pytest.mark.parametrize(
    ("rmgr", "text", "event"),
    [
        pytest.param(
            "Transaction",
            "COMMIT 2026-11-22 13:25:32.606624 UTC; rels: base/5/16463; subxacts: 815 816",
            Event(Lsn(8), Kind.COMMIT, 742, datetime(2026, 11, 22, 13, 25, 32, 606624, tzinfo=UTC)),
            id="commit",
        ),
        pytest.param(
            "Transaction",
            "ABORT_PREPARED 731: 2026-11-22 13:25:32.000000 UTC",
            Event(Lsn(8), Kind.ABORT, 731, datetime(2026, 11, 22, 13, 25, 32, tzinfo=UTC)),
            id="abort of a prepared one",
        ),
        pytest.param(
            "Transaction",
            "PREPARE gid 1:6: 2026-11-22 13:25:32.606624 UTC",
            Event(Lsn(8), Kind.PREPARE, 742, name="1:6"),
            id="prepare",
        ),
        pytest.param(
            "XLOG", "RESTORE_POINT p1_7", Event(Lsn(8), Kind.POINT, name="p1_7"), id="restore point"
        ),
        pytest.param("XLOG", "CHECKPOINT_SHUTDOWN redo 0/28", None, id="something else"),
        pytest.param("Transaction", "INVALIDATION ; inval msgs: catcache 7", None, id="no end"),
    ],
)
def test_lines_of_pg_waldump(rmgr: str, text: str, event: Event | None) -> None:
    assert parse_event(rmgr, 742, Lsn(8), text) == event
