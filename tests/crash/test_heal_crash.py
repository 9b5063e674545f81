"""Stop a repair at every call to the store: nothing is worse, and the next one heals."""

import contextlib
import itertools

import pytest

from pgkeep.repository import catalog, names
from pgkeep.repository.proofs import Level
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.verify.heal import heal
from pgkeep.verify.inventory import VerifyOptions
from support.copies import Pair, common, demand_clean, full_source
from support.dying_store import DyingStore, Killed, forget_locks
from support.small_repository import GENERATION, Small


@pytest.mark.parametrize("error", [Killed, StoreFailed])
def test_a_repair_that_stops_at_any_call_makes_nothing_worse(error: type[BaseException]) -> None:
    pair = Pair(full_source())
    pair.copy()
    whole = common(pair.source.store)
    first = catalog.backups(pair.source.folder).backups[0]
    pack = names.pack("main", pair.source.manifest(first.id).tables.pack.name(0))
    segment = names.wal("main", GENERATION.id, first.first_segment.name)
    pair.source.store.put(pack, [whole[pack][:100] + b"X" + whole[pack][101:]])
    pair.source.store.delete(segment)
    harmed = common(pair.source.store)
    known: list[dict[str, bytes]] = []  # what was left so far: healing it once proves enough
    for deadly in itertools.count(1):
        store = MemoryStore("source")
        for name, content in harmed.items():
            store.put(name, [content])
        small = Small(store)
        dying = DyingStore(store, deadly, False, error)
        seen = Repository(dying, small.folder.repository.id, None).cluster("main")
        with contextlib.suppress(error):
            heal(seen, VerifyOptions(Level.BYTES), [pair.repository])
        if dying.calls < deadly:
            break
        forget_locks(store)
        left = common(store)
        assert all(left[name] in (whole[name], harmed[name]) for name in harmed), dying.seen[-1]
        assert left.keys() - harmed.keys() <= {segment}
        if left in known:
            continue
        known.append(left)
        report = heal(small.folder, VerifyOptions(Level.BYTES), [pair.repository])
        demand_clean(report.verified)
        assert common(store) == whole, dying.seen[-1]
    assert deadly > 40
    assert len(known) == 3, "nothing, the pack, and both"
