"""Stop expire and delete at every call to the store: what is listed is whole, the rest can go."""

import contextlib
import itertools
from collections.abc import Callable
from datetime import UTC

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.census.shelf import listed
from pgkeep.repository.dumps import UnknownDump
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import Store, StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.retention.delete import delete
from pgkeep.retention.expire import Wish, expire
from pgkeep.retention.policy import KeepPolicy
from support.dump_shelf import dump_ids, put_dump
from support.dying_store import DyingStore, Killed, forget_locks
from support.shelves import NOW, SIZE, Shelf

Command = Callable[[ClusterFolder], object]


def run_expire(cluster: ClusterFolder) -> object:
    return expire(cluster, Wish(KeepPolicy(daily=1, monthly=2, minimum=1), UTC, NOW))


def run_delete(cluster: ClusterFolder) -> object:
    return delete(cluster, "b", now=NOW)


def run_delete_dump(cluster: ClusterFolder) -> object:
    return delete(cluster, "Da", now=NOW)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """An island of January, two that go, the one that stays; and what an interrupted run left.

    Beside them two dumps that go, and two that stay: one of another series.
    """
    shelf = Shelf()
    shelf.wal(0, 9, 0)
    shelf.backup("i", 40, 1.5, 2.5, packs="iw")
    shelf.backup("a", 9, 4, packs="awx")
    shelf.backup("b", 8, 5, packs="bxy")
    shelf.backup("c", 7, 7, packs="cy")
    put_dump(shelf, "Da", 6, packs="dxe")
    put_dump(shelf, "Db", 5, packs="ef")
    put_dump(shelf, "Dc", 4, packs="fgw")
    put_dump(shelf, "Dd", 3, "blog", packs="ge")
    shelf.pack("o", 3)
    for day in (41, 40.1, 20, 8.5, 8.4, 7.1, 0.291, 0.29):
        shelf.census(day)
    shelf.at(0)
    return shelf


def copy_of(shelf: Shelf) -> MemoryStore:
    store = MemoryStore(clock=shelf.clock)
    store._blobs = dict(shelf.store._blobs)
    return store


def all_names(store: Store) -> set[str]:
    return {blob.name for blob in store.list()}


@pytest.mark.parametrize("command", [run_expire, run_delete, run_delete_dump])
@pytest.mark.parametrize("error", [Killed, StoreFailed])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_scenario_83_whatever_call_a_deletion_dies_at(
    shelf: Shelf, command: Command, error: type[BaseException], *, after: bool
) -> None:
    reference = copy_of(shelf)
    command(shelf.seen_through(reference))
    run_expire(shelf.seen_through(reference))
    assert all_names(reference) < all_names(shelf.store)
    wanted_censuses = {one.id for one in listed(shelf.seen_through(reference))}
    assert len(wanted_censuses) == 3
    for deadly in itertools.count(1):
        store = copy_of(shelf)
        dying = DyingStore(store, deadly, after, error)
        with contextlib.suppress(error, PgkeepError):
            command(shelf.seen_through(dying))
        if dying.calls < deadly:
            break  # it needed fewer calls than that: all have been tried
        forget_locks(store)
        check(shelf.seen_through(store), dying.seen[-1])
        # Those that tell the names of what stays, and the newest.
        assert wanted_censuses <= {one.id for one in listed(shelf.seen_through(store))}
        assert {"Dc", "Dd"} <= set(dump_ids(shelf.seen_through(store)).split())
        assert {"i", "c"} <= {b.id for b in catalog.backups(shelf.seen_through(store)).backups}
        with contextlib.suppress(catalog.UnknownBackup, UnknownDump):  # it is gone already
            command(shelf.seen_through(store))
        run_expire(shelf.seen_through(store))
        assert all_names(store) == all_names(reference), dying.seen[-1]
    assert deadly > 30


def check(cluster: ClusterFolder, where: str) -> None:
    """Everything that is listed has its packs, and the WAL that makes it consistent."""
    found, listed = catalog.backups(cluster), dumps.dumps(cluster)
    assert (found.unreadable, listed.unreadable) == ((), ()), where
    for dump in listed.dumps:
        for pack in dumps.read_packs(cluster, dump.id).id.tolist():
            assert list(cluster.store.list(names.pack("main", pack))), (where, dump.id)
    for backup in found.backups:
        for pack in catalog.read_packs(cluster, backup.id).id.tolist():
            assert list(cluster.store.list(names.pack("main", pack))), (where, backup.id)
        archived = cluster.wal(backup.generation.id).list(SIZE).segments[1]
        wanted = range(backup.first_segment.number, backup.last_segment.number + 1)
        assert set(wanted) <= set(archived), (where, backup.id)
        if backup.id == "c":  # the newest: every moment after it
            assert set(range(7, 10)) <= set(archived), where
