"""Stop a copy at every call to either store: what the target lists is whole, and it goes on."""

import contextlib
import itertools

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.replicate.copy import run
from pgkeep.repository import catalog, dumps
from pgkeep.repository.copies.make import make_copy
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import Store, StoreFailed, StoreFull
from pgkeep.repository.store.memory import MemoryStore
from support.copies import KEY, SECRET, Pair, common, demand_clean, full_source
from support.dying_store import DyingStore, Killed, forget_locks
from support.small_repository import Small


def copied(source: Small, store: Store, seen_as: Store) -> None:
    """Make a copy, and fill it; both stores as the command sees them."""
    origin = Repository(seen_as, source.folder.repository.id, source.key)
    made = make_copy(origin, store, SECRET if source.key else None)
    run(origin.cluster("main"), made.repository.cluster("main"))


@pytest.mark.parametrize("error", [Killed, StoreFailed])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_copy_that_stops_at_any_call_of_the_target_lists_only_what_is_whole(
    error: type[BaseException], after: bool
) -> None:
    source = full_source()
    known = {*catalog.backups(source.folder).ids(), *dumps.dumps(source.folder).ids()}
    listed: list[int] = []
    seen: list[set[str]] = []  # what was left so far: going on from it once proves enough
    for deadly in itertools.count(1):
        store = MemoryStore("target")
        dying = DyingStore(store, deadly, after, error)
        with contextlib.suppress(error):
            copied(source, dying, source.store)
        if dying.calls < deadly:
            break  # it needed fewer calls than that: all have been tried
        for left in (store, source.store):
            forget_locks(left)
        pair = Pair(source, store)
        if (left_there := {blob.name for blob in store.list()}) in seen:
            continue
        seen.append(left_there)
        before = pair.verify()
        demand_clean(before)
        listed.append(len(before.found))
        pair.copy()
        after_it = pair.verify()
        demand_clean(after_it)
        assert {found.id for found in after_it.found} == known, dying.seen[-1]
        assert common(store) == common(source.store), dying.seen[-1]
    assert deadly > 40
    assert sorted(set(listed)) == [0, 1, 2, 3], "each appears when it is whole"


@pytest.mark.parametrize("error", [Killed, StoreFailed])
def test_a_copy_that_stops_at_any_call_of_the_source_changes_nothing_there(
    error: type[BaseException],
) -> None:
    source = full_source()
    before = source.blobs()
    known: list[dict[str, bytes]] = []
    for deadly in itertools.count(1):
        store = MemoryStore("target")
        dying = DyingStore(source.store, deadly, False, error)
        with contextlib.suppress(error):
            copied(source, store, dying)
        if dying.calls < deadly:
            break
        for left in (store, source.store):
            forget_locks(left)
        assert source.blobs() == before, dying.seen[-1]
        pair = Pair(source, store)
        if common(store) in known:
            continue
        known.append(common(store))
        demand_clean(pair.verify())
        pair.copy()
        assert common(store) == common(source.store), dying.seen[-1]
    assert deadly > 40


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_encrypted_copy_that_is_killed_while_it_is_made_is_made_by_the_next_call(
    after: bool,
) -> None:
    origin = full_source(key=KEY).folder.repository
    for deadly in itertools.count(1):
        store = MemoryStore("target")
        dying = DyingStore(store, deadly, after, Killed)
        with contextlib.suppress(Killed):
            make_copy(origin, dying, SECRET)
        if dying.calls < deadly:
            break
        made = make_copy(origin, store, SECRET)
        assert made.repository.key == KEY
        assert Repository.open(store, SECRET).id == origin.id
        passphrases = [b for b in store.list("keys/") if b'"passphrase"' in store.get(b.name)]
        assert len(passphrases) == 1, "a slot that was left is used again"
    assert deadly > 5


def test_a_store_that_fails_for_good_is_told_and_not_taken_for_damage() -> None:
    source = full_source()
    dying = DyingStore(MemoryStore("target"), 40, False, StoreFull)
    with pytest.raises(PgkeepError) as told:
        copied(source, dying, source.store)
    assert isinstance(told.value, StoreFull)
