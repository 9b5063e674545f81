"""Health never looks better for being worse, whatever else is the matter."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.config.sections import ClusterConfig
from pgkeep.health.health import State
from pgkeep.health.seen import Seen, Trouble
from pgkeep.model.lsn import Lsn
from pgkeep.repository.drills.report import Status
from pgkeep.repository.drills.storing import Drills
from support.drill_reports import a_report
from support.healths import LAST, archiver, config, judged, seen, server
from support.shelves import SIZE, Shelf

RANK: Final = [State.PROTECTED, State.AT_RISK, State.IN_DANGER, State.UNKNOWN]
Worsen = Callable[[Seen, int], Seen]


@st.composite
def shelves(draw: st.DrawFn) -> Shelf:
    """Up to four backups on a shelf, and WAL with or without holes."""
    shelf = Shelf()
    starts = sorted(draw(st.sets(st.integers(1, LAST - 1), max_size=4)))
    for number, start in enumerate(starts):
        shelf.backup("abcd"[number], LAST - start + 0.4, start)
    missing = draw(st.sets(st.integers(1, LAST), max_size=3))
    for number in sorted(set(range(1, LAST + 1)) - missing):
        shelf.wal(number, number, LAST - number)
    return shelf


@st.composite
def looks(draw: st.DrawFn) -> Seen:
    behind = draw(st.sampled_from([0, 0.1, 1, 3, 40]))
    archived = draw(st.sampled_from([None, 5.0, 70.0, 4000.0]))
    failed = draw(st.sampled_from([None, 1.0, 100.0]))
    timeout = draw(st.sampled_from([0, 60, 3600]))
    asked = server(behind, archiver=archiver(archived, failed), archive_timeout=timeout)
    return seen(draw(shelves()), server=asked)


goals = st.sampled_from([config(), config(rpo=60), config(rpo=3600, rto=1), config(rto=3600)])


def lag(what: Seen, much: int) -> Seen:
    assert what.server is not None
    return replace(what, server=replace(what.server, lsn=Lsn(what.server.lsn + much * SIZE // 4)))


def fail(what: Seen, much: int) -> Seen:
    assert what.server is not None
    stats = what.server.archiver
    archived = stats.last_archived_time or what.now
    failed = max(archived, what.now) + timedelta(seconds=1)
    return replace(
        what, server=replace(what.server, archiver=stats._replace(last_failed_time=failed))
    )


def turn_off(what: Seen, much: int) -> Seen:
    assert what.server is not None
    return replace(what, server=replace(what.server, archiving=False))


def fail_drill(what: Seen, much: int) -> Seen:
    assert what.listing is not None
    found = (a_report(status=Status.FAILED), *what.listing.drills.found)
    return replace(what, listing=replace(what.listing, drills=Drills(found)))


def fill(what: Seen, much: int) -> Seen:
    (place,) = what.places
    return replace(what, places=(replace(place, room=replace(place.room, free=1000 // much)),))


def lose_copy(what: Seen, much: int) -> Seen:
    return replace(what, troubles=(*what.troubles, Trouble("cellar", "not there", "")))


def lose_repository(what: Seen, much: int) -> Seen:
    gone = (Trouble("repository", "not there", ""),)
    return replace(what, listing=None, dumps=(), places=(), troubles=gone)


@pytest.mark.parametrize(
    "worsen", [lag, fail, turn_off, fail_drill, fill, lose_copy, lose_repository]
)
@settings(max_examples=40)  # of each way to be worse
@given(looks(), goals, st.integers(1, 200))
def test_worse_is_never_better(
    worsen: Worsen, what: Seen, objectives: ClusterConfig, much: int
) -> None:
    before, after = judged(what, objectives), judged(worsen(what, much), objectives)
    assert RANK.index(after.state) >= RANK.index(before.state)
    if after.protected_to is not None:
        assert before.protected_to is not None
        assert after.protected_to <= before.protected_to


@given(looks(), goals, st.integers(1, 48))
def test_what_is_wrong_stays_wrong_while_nobody_does_anything(
    what: Seen, objectives: ClusterConfig, hours: int
) -> None:
    before = judged(what, objectives)
    after = judged(replace(what, now=what.now + timedelta(hours=hours)), objectives)
    assert RANK.index(after.state) >= RANK.index(before.state)
    assert {one.key for one in after.conditions} >= {one.key for one in before.conditions}


@given(looks(), goals)
def test_nothing_is_said_to_be_restorable_that_no_backup_leads_to(
    what: Seen, objectives: ClusterConfig
) -> None:
    health = judged(what, objectives)
    assert what.listing is not None
    record = what.listing.record.newest
    if record is None or record.coverage.latest is None:
        assert health.protected_to is None
        assert health.state is State.IN_DANGER
    if health.protected_to is not None and health.protected_to > (what.listing.newest or what.now):
        # Beyond the newest commit on record: only as far as the server has nothing more.
        assert health.rpo_s is not None
        assert health.protected_to == what.now - timedelta(seconds=health.rpo_s)
