"""Which censuses stay, and what expire does with the others."""

from datetime import UTC, timedelta

import pytest

from pgkeep.cli.render import retention as render
from pgkeep.cli.text import Look
from pgkeep.repository import names
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.retention.delete import delete
from pgkeep.retention.expire import Wish, expire, preview
from pgkeep.retention.policy import KeepPolicy
from support.shelves import NOW, Shelf

HOUR = 1 / 24
WEEK = KeepPolicy(window=timedelta(days=5), monthly=2, minimum=1)


def shelf_of(*days: float) -> Shelf:
    """An island 40 days old; WAL goes on from 6 days ago; and a backup of yesterday."""
    shelf = Shelf()
    shelf.wal(0, 19, 0)
    shelf.backup("i", 40, 1.5)
    shelf.backup("a", 6, 4)
    shelf.backup("b", 1, 7)
    for day in days:
        shelf.census(day)
    shelf.at(0)
    return shelf


def left(shelf: Shelf, policy: KeepPolicy = WEEK) -> list[float]:
    expire(shelf.cluster, Wish(policy, UTC, NOW))
    return shelf.censuses()


@pytest.mark.parametrize(
    ("taken", "stay"),
    [
        pytest.param([], [], id="none"),
        pytest.param([100], [100], id="the newest, however old"),
        pytest.param([41, 40.01, 39.9, 30], [30, 40.01], id="of an island, the newest before it"),
        pytest.param([20, 10, 7, 6.5, 1.5], [1.5, 6.5], id="the newest before WAL goes on"),
        pytest.param([5.9, 5.8, 5.6, 4.9, 4.6], [4.6, 5.6], id="the last of each older day"),
        pytest.param([0.99, 0.98, 0.97, 0.5], [0.5, 0.97], id="the last of each recent hour"),
        pytest.param([1.01, 0.999], [0.999, 1.01], id="the one of a backup, beside its hour's"),
    ],
)
def test_which_stay(taken: list[float], stay: list[float]) -> None:
    shelf = shelf_of(*taken)
    assert left(shelf) == [round(day, 2) for day in stay]
    assert left(shelf) == [round(day, 2) for day in stay], "a second run finds nothing to do"


def test_without_rules_or_a_usable_backup_all_stay() -> None:
    assert left(shelf_of(100, 99, 0.1), KeepPolicy()) == [0.1, 99, 100]
    shelf = Shelf()
    for day in (100, 99, 0.1):
        shelf.census(day)
    assert left(shelf) == [0.1, 99, 100]


def test_a_dry_run_says_what_goes_and_changes_nothing() -> None:
    shelf = shelf_of(20, 10, 7, 6.5, 1.5)
    before = shelf.everything()
    found = preview(shelf.cluster, Wish(WEEK, UTC, NOW))
    assert shelf.everything() == before
    assert "3 of 5 censuses go: others tell the names" in render.decision(found, Look())
    facts = render.decision_facts(found, None, dry_run=True)
    assert [(one["keep"], one["why"]) for one in facts["censuses"]] == [
        (True, "tells the names of backup a"),
        (True, "the newest"),
        (False, "older than the WAL that stays"),
        (False, "older than the WAL that stays"),
        (False, "older than the WAL that stays"),
    ]
    outcome = expire(shelf.cluster, Wish(WEEK, UTC, NOW)).outcome
    assert outcome is not None
    assert outcome.censuses.objects == 3
    assert "3 censuses" in render.outcome(outcome)
    gone = {name.rpartition("/")[2] for name in before - shelf.everything()}
    assert set(found.censuses.drop) <= gone


def test_censuses_go_after_the_wal() -> None:
    shelf = shelf_of(20, 10, 1.5)
    deleted: list[str] = []

    class Watching(MemoryStore):
        def delete(self, name: str) -> None:
            deleted.append(name.split("/")[2])
            super().delete(name)

    store = Watching(clock=shelf.clock)
    store._blobs = shelf.store._blobs
    expire(shelf.seen_through(store), Wish(KeepPolicy(daily=1, minimum=1), UTC, NOW))
    assert list(dict.fromkeys(deleted)) == ["backups", "packs", "wal", "census", "locks"]


def test_the_census_of_a_backup_that_the_store_keeps_stays() -> None:
    shelf = shelf_of(41, 6.5, 0.5)
    policy = KeepPolicy(window=timedelta(days=5), minimum=1)

    class Refusing(MemoryStore):
        def delete(self, name: str) -> None:
            if name == names.manifest("main", "i"):
                raise StoreFailed("memory", f"delete {name}", "it is locked")
            super().delete(name)

    store = Refusing(clock=shelf.clock)
    store._blobs = shelf.store._blobs
    expired = expire(shelf.seen_through(store), Wish(policy, UTC, NOW))
    assert expired.outcome is not None
    assert expired.outcome.problem is not None
    assert shelf.censuses() == [0.5, 6.5, 41]
    assert left(shelf, policy) == [0.5, 6.5]


def test_delete_leaves_them_to_expire() -> None:
    shelf = shelf_of(6.5, 0.5)
    delete(shelf.cluster, "a", now=NOW)
    assert shelf.censuses() == [0.5, 6.5]
