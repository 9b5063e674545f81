"""Looking at what a repository holds: each object is listed once, however many there are."""

from datetime import UTC, datetime

from pgkeep.costs.survey import Priced, look_at_costs
from pgkeep.repository.metering.prices import FREE, Tariff
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from support.dying_store import DyingStore
from support.small_repository import Small


def test_everything_is_listed_once() -> None:
    store = MemoryStore("costs")
    made = Repository.create(store, "none", None)
    small = Small(store).begin()
    backup = small.backup({"base/5/1": b"one" * 5000})
    watched = DyingStore(store, 1 << 60, after=False, error=StoreFailed)
    place = Priced(Repository(watched, made.id, made.key), Tariff(FREE, listed=False))
    (found,) = look_at_costs([place], datetime.now(UTC))
    assert found.objects == len(list(store.list()))
    assert found.backup is not None
    assert found.backup.id == backup
    listed = [call for call in watched.seen if call.startswith("list ")]
    assert listed == ["list ", "list clusters/main/backups/"]
