"""A metered store counts what is asked of it, in this process and in its workers."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pgkeep.repository.metering.metered import Metered, traffic
from pgkeep.repository.metering.opening import open_metered, traffic_at
from pgkeep.repository.metering.traffic import Traffic
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.units import MIB
from pgkeep.workers.pool import make_pool
from support.counted import nothing, put_and_get


def fill(store: Store) -> None:
    store.create("a/1", [b"12", memoryview(b"345")])
    store.put("a/2", [b"678"])
    store.get("a/1", 1, 2)
    store.stat("a/2")
    store.delete("a/1")
    assert [blob.name for blob in store.list()] == ["a/2"]


def test_every_kind_of_request_is_counted_and_every_byte() -> None:
    store = Metered(MemoryStore("counted"))
    fill(store)
    assert traffic(store.url) == Traffic(2, 1, 1, 1, 1, sent=8, received=2)


def test_a_listing_costs_a_request_per_thousand_and_a_large_blob_one_per_part() -> None:
    plain = MemoryStore("large")
    for number in range(1001):
        plain.put(f"{number:04}", [b""])
    store = Metered(plain)
    assert len(list(store.list())) == 1001
    store.put("large", [bytes(MIB)] * 65)
    assert traffic(store.url) == Traffic(lists=2, puts=4 + 5, sent=65 * MIB)


def test_of_copies_each_is_counted_by_itself() -> None:
    store = open_metered("copies:memory%3Anear,memory%3Afar")
    store.put("a", [b"1234"])
    store.get("a")
    assert traffic("memory:near") == Traffic(puts=1, gets=1, sent=4, received=4)
    assert traffic("memory:far") == Traffic(puts=1, sent=4)


def test_a_store_that_nobody_opened_is_not_opened_to_count() -> None:
    assert traffic_at("memory:opened-nowhere") == ("", Traffic())
    open_metered("memory:opened").put("a", [b"1"])
    assert traffic_at("memory:opened") == ("memory:opened", Traffic(puts=1, sent=1))


def test_what_workers_ask_is_their_owners_count(tmp_path: Path) -> None:
    store = open_metered(str(tmp_path))
    with make_pool(2, nothing) as pool:
        for name in ("b", "c", "d"):
            pool.submit(put_and_get, store.address, name).result()
        assert traffic(store.url) == Traffic(puts=3, gets=3, sent=12, received=12)
        store.stat("b")
    # and what they counted stays when they are gone
    assert traffic(store.url) == Traffic(puts=3, gets=3, stats=1, sent=12, received=12)


def test_two_pools_at_once_are_added_up(tmp_path: Path) -> None:
    store = open_metered(str(tmp_path))
    pools: list[ProcessPoolExecutor] = [make_pool(1, nothing), make_pool(1, nothing)]
    for number, pool in enumerate(pools):
        with pool:
            pool.submit(put_and_get, store.address, f"of-{number}").result()
    assert traffic(store.url) == Traffic(puts=2, gets=2, sent=8, received=8)
