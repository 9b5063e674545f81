"""Stop a verify at every call to the store: nothing changes, and nothing is guessed."""

import contextlib
import itertools

import pytest

from pgkeep.repository import names
from pgkeep.repository.proofs import Level, read_proofs
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.verify import run
from support.dump_shelf import store_dump
from support.dying_store import DyingStore, Killed, forget_locks
from support.small_repository import Small


@pytest.mark.parametrize("error", [Killed, StoreFailed])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("damaged", [False, True], ids=["good", "damaged"])
def test_scenario_77_an_interrupted_verify_changes_no_status(
    error: type[BaseException], after: bool, damaged: bool
) -> None:
    """What was recorded before stands, until a verify has come to its end."""
    small = Small().begin()
    first = small.backup({"base/5/16384": b"one" * 9000}, packs=2)
    small.backup({"base/5/16385": b"two" * 9000})
    store_dump(small)
    run(small.folder, VerifyOptions(Level.BYTES))
    if damaged:
        pack = names.pack("main", small.manifest(first).tables.pack.name(0))
        content = bytearray(small.store.get(pack))
        content[100] ^= 1
        small.store.put(pack, [bytes(content)])
    before = small.blobs()
    for deadly in itertools.count(1):
        store = MemoryStore()
        for name, blob in before.items():
            store.put(name, [blob])
        dying = DyingStore(store, deadly, after, error)
        with contextlib.suppress(error):
            folder = Repository(dying, small.folder.repository.id, None).cluster("main")
            run(folder, VerifyOptions(Level.BYTES))
        if dying.calls < deadly:
            break  # it needed fewer calls than that: all have been tried
        forget_locks(store)
        left = {blob.name: store.get(blob.name) for blob in store.list()}
        new = {name for name in left if name not in before}
        assert {name: left[name] for name in before} == before, dying.seen[-1]
        assert len(new) <= 1, dying.seen[-1]
        assert all(name.startswith(names.proofs_prefix("main")) for name in new)
        proofs = read_proofs(Small(store).folder)
        # With a new proof it is one of a verify that saw everything; without, all is as it was.
        known = {first} if new and damaged else set()
        assert set(proofs.damaged_backups()) == known, dying.seen[-1]
    assert deadly > 20
