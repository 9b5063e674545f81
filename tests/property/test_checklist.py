"""Worse facts never make a better row; nothing is ok without proof of it."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.checklist.facts import Archive, Channel, CopyRule, Done, Facts, Kit, Rotation, Server
from pgkeep.checklist.judge import judge
from pgkeep.checklist.row import State

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)

ages = st.timedeltas(timedelta(0), timedelta(days=400))
moments = ages.map(lambda age: NOW - age)
wrongs = st.sampled_from(["", "", "", "it is no good"])
dones = st.builds(Done, moments, st.just("a proof"), wrongs)
maybe = st.none() | dones
rules = st.builds(
    CopyRule,
    st.sampled_from(["3 copies", "2 media"]),
    st.booleans(),
    st.just("so"),
    st.just("do so"),
)
rotations = st.builds(
    Rotation, st.just("local"), st.sampled_from(["", "window 14 d"]), st.none() | dones
)
kits = st.builds(Kit, st.just("local"), st.booleans(), st.integers(0, 2), maybe)
servers = st.builds(
    Server,
    asked_at=st.just(NOW),
    checksums=st.booleans(),
    archives=st.booleans(),
    standby=st.booleans(),
    archived=maybe,
    failing_since=st.none() | moments,
    failing=st.just("00000001"),
    waiting=st.none() | st.integers(0, 9),
)
archives = st.builds(Archive, st.none() | moments, st.integers(0, 2))
facts = st.builds(
    Facts,
    cluster=st.just("main"),
    dump=maybe,
    backup=maybe,
    archive=st.none() | archives,
    server=st.none() | servers,
    server_trouble=st.just("it does not answer"),
    checked=st.none() | st.builds(Done, moments, st.just("a proof")),
    sizes=maybe,
    rotations=st.lists(rotations, max_size=2).map(tuple),
    drill=maybe,
    drill_passed=st.none() | st.builds(Done, moments, st.just("a proof")),
    repositories=st.integers(1, 3),
    rules=st.lists(rules, max_size=2).map(tuple),
    rules_trouble=st.just("no"),
    locked=st.none() | rules,
    point=maybe,
    kits=st.lists(kits, max_size=2).map(tuple),
    channels=st.lists(st.builds(Channel, st.just("mail"), maybe), max_size=2).map(tuple),
    runbook=maybe,
    runbook_stale=st.sampled_from(["", "the config has changed"]),
)

DONE = [field.name for field in fields(Facts) if field.type in (Done | None, "Done | None")]


def changed(known: Facts, **values: Any) -> Facts:
    return replace(known, **values)


def older(done: Done, age: timedelta) -> Done:
    return replace(done, at=done.at - age)


def aged(name: str) -> Callable[[Facts, timedelta], Facts]:
    def worsen(known: Facts, age: timedelta) -> Facts:
        done = getattr(known, name)
        return known if done is None else changed(known, **{name: older(done, age)})

    return worsen


def spoilt(name: str) -> Callable[[Facts, timedelta], Facts]:
    def worsen(known: Facts, age: timedelta) -> Facts:
        done = getattr(known, name)
        return known if done is None else changed(known, **{name: replace(done, wrong="torn")})

    return worsen


def lost(name: str) -> Callable[[Facts, timedelta], Facts]:
    """What succeeded is not on record any more."""

    def worsen(known: Facts, age: timedelta) -> Facts:
        done = getattr(known, name)
        return known if done is None or done.wrong else changed(known, **{name: None})

    return worsen


def of_server(**worse: Any) -> Callable[[Facts, timedelta], Facts]:
    def worsen(known: Facts, age: timedelta) -> Facts:
        server = known.server
        if server is None or server.standby or not server.archives:
            return known
        return replace(known, server=replace(server, **worse))

    return worsen


def archived_elsewhere(known: Facts, age: timedelta) -> Facts:
    server = known.server
    if server is None or server.archived is None:
        return known
    archived = replace(older(server.archived, age), wrong="it is not there")
    return replace(known, server=replace(server, archived=archived))


def hole(known: Facts, age: timedelta) -> Facts:
    found = known.archive
    return known if found is None else replace(known, archive=replace(found, holes=9))


def rule_broken(known: Facts, age: timedelta) -> Facts:
    return replace(known, rules=tuple(replace(rule, holds=False) for rule in known.rules))


def unlocked(known: Facts, age: timedelta) -> Facts:
    return replace(known, locked=known.locked and replace(known.locked, holds=False))


def kits_older(known: Facts, age: timedelta) -> Facts:
    kits = (kit if kit.test is None else replace(kit, test=older(kit.test, age))
            for kit in known.kits)  # fmt: skip
    return replace(known, kits=tuple(kits))


def rotations_older(known: Facts, age: timedelta) -> Facts:
    found = (one if one.done is None else replace(one, done=older(one.done, age))
             for one in known.rotations)  # fmt: skip
    return replace(known, rotations=tuple(found))


def channels_untested(known: Facts, age: timedelta) -> Facts:
    found = (one if one.test is None or one.test.wrong else replace(one, test=None)
             for one in known.channels)  # fmt: skip
    return replace(known, channels=tuple(found))


def stale(known: Facts, age: timedelta) -> Facts:
    done = known.runbook
    return known if done is None or done.wrong else replace(known, runbook_stale="changed")


WORSE = (
    *map(aged, DONE),
    *map(spoilt, DONE),
    *map(lost, DONE),
    of_server(failing_since=NOW),
    of_server(archives=False),
    of_server(waiting=99),
    archived_elsewhere,
    of_server(checksums=False),
    hole,
    rule_broken,
    unlocked,
    kits_older,
    rotations_older,
    channels_untested,
    stale,
)


@given(facts, st.sampled_from(WORSE), ages)
def test_worse_facts_never_make_a_better_row(
    known: Facts, worsen: Callable[[Facts, timedelta], Facts], age: timedelta
) -> None:
    before = {row.key: row.state for row in judge(known, NOW).rows}
    after = judge(worsen(known, age), NOW).rows
    better = [row.key for row in after if row.state.rank < before[row.key].rank]
    assert better == []


@given(facts, ages)
def test_time_alone_makes_nothing_better(known: Facts, later: timedelta) -> None:
    before = {row.key: row.state for row in judge(known, NOW).rows}
    after = judge(known, NOW + later).rows
    assert [row.key for row in after if row.state.rank < before[row.key].rank] == []


@given(facts)
def test_nothing_is_ok_without_proof_and_whatever_is_not_says_what_to_do(known: Facts) -> None:
    found = judge(known, NOW)
    assert len({row.key for row in found.rows}) == len(found.rows) == 14
    for row in found.rows:
        assert row.proof
        if row.state is State.OK:
            assert row.last_done is not None
            assert row.todo == ""
        elif row.state is not State.UNKNOWN:
            assert row.todo


def test_of_what_nobody_knows_nothing_is_ok() -> None:
    states = {row.state for row in judge(Facts(cluster="main", repositories=2), NOW).rows}
    assert State.OK not in states


@given(facts, st.timedeltas(timedelta(days=2), timedelta(days=4000)))
def test_what_is_dated_ahead_of_the_clock_proves_nothing(found: Facts, ahead: timedelta) -> None:
    wrong = Done(NOW + ahead, "a proof")
    lying = replace(found, dump=wrong, backup=wrong, sizes=wrong, drill=wrong, drill_passed=wrong)
    rows = {row.key: row.state for row in judge(lying, NOW).rows}
    keys = ("logical-backup", "physical-backup", "storage-size", "test-restore")
    assert {rows[key] for key in keys} == {State.DUE}
