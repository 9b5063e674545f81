"""What hides the way to a distant store, and how little is asked of one."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.copying.work import Copied, Reading, Work
from pgkeep.backup.copying.workers import ProcessWorkers
from pgkeep.repository.packs.attempts import list_packs
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import BlobExists, StoreFailed, StoreFull
from pgkeep.repository.store.distance.at_once import Calls, at_once
from pgkeep.repository.store.distance.write_behind import WriteBehind
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.units import MIB
from support.backups import FakeReader, copier_setup, inline, new_folder, page
from support.distant_store import DistantStore, WaitingSetup
from support.dying_store import DyingStore, Killed
from support.page_model import ModelSource, PageModel
from support.wait import wait_for

PACKS = 4  # so many may be on their way from one worker, should it be the only one that is up


def test_a_near_store_is_asked_by_its_callers_own_thread_in_order() -> None:
    asked: list[tuple[int, threading.Thread]] = []

    def ask(number: int) -> None:
        asked.append((number, threading.current_thread()))

    at_once(MemoryStore(), (partial(ask, number) for number in range(5)))
    assert asked == [(number, threading.current_thread()) for number in range(5)]


def test_calls_to_a_distant_store_are_under_way_together() -> None:
    gate = threading.Barrier(4)

    def ask(number: int) -> int:
        gate.wait(30)
        return number

    assert at_once(DistantStore(), [partial(ask, n) for n in range(4)]) == [0, 1, 2, 3]


@pytest.mark.parametrize("store", [MemoryStore(), DistantStore()], ids=["near", "distant"])
def test_what_one_of_the_calls_raised_is_raised(store: MemoryStore) -> None:
    def fail() -> None:
        raise StoreFailed("there", "ask", "it is tired")

    with pytest.raises(StoreFailed):
        at_once(store, [lambda: None, fail])
    with pytest.raises(StoreFailed), Calls(store) as calls:
        calls.begin(fail)  # and nobody asks what became of it


def test_an_error_of_the_block_goes_before_those_of_its_calls() -> None:
    def fail() -> None:
        raise StoreFailed("there", "ask", "it is tired")

    def both() -> None:
        with Calls(DistantStore()) as calls:
            calls.begin(fail)
            raise RuntimeError("of the block")

    with pytest.raises(RuntimeError, match="of the block"):
        both()


def test_small_blobs_travel_together() -> None:
    gate = threading.Barrier(4)
    store = DistantStore(on_create=lambda: gate.wait(30))
    behind = WriteBehind(store)
    for number in range(4):
        behind.create(f"pack{number}", [b"small"])
    behind.settle()
    assert len(list(store.list())) == 4


def test_no_more_is_on_its_way_than_a_full_pack() -> None:
    store = DistantStore()
    behind = WriteBehind(store)
    for number in range(12):
        behind.create(f"pack{number}", [bytes((5 + 3 * (number % 4)) * MIB)])
    behind.create("large", [bytes(40 * MIB)])
    behind.settle()
    assert len(list(store.list())) == 13
    assert store.most_held == 40 * MIB  # the one that is larger travelled alone
    store.most_held = 0
    for number in range(12):
        behind.create(f"more{number}", [bytes((5 + 3 * (number % 4)) * MIB)])
    behind.settle()
    assert store.most_held <= 34 * MIB


def test_settling_waits_for_all_and_raises_the_first_failure() -> None:
    gate = threading.Barrier(3)  # all are on their way before the first is there
    store = DistantStore(on_create=lambda: gate.wait(30))
    store.put("taken", [b"x"])
    behind = WriteBehind(store)
    for name in ("taken", "free", "taken"):
        behind.create(name, [b"y"])
    with pytest.raises(BlobExists):
        behind.settle()
    behind.settle()  # said once
    assert (store.get("taken"), store.get("free")) == (b"x", b"y")


@pytest.fixture
def waiting(tmp_path: Path) -> tuple[WaitingSetup, ClusterFolder, Path]:
    cluster = new_folder(tmp_path / "repository")
    reader = FakeReader({str(number): page(number) for number in range(PACKS)})
    setup = WaitingSetup(*copier_setup(cluster, reader)._replace(store=cluster.store.address))
    return setup, cluster, tmp_path / "go"


def works() -> Iterator[Work]:
    for number in range(PACKS):
        yield Work([Reading(number, str(number), None)], 1)


def test_workers_go_on_while_packs_travel_and_end_when_all_have_arrived(
    waiting: tuple[WaitingSetup, ClusterFolder, Path],
) -> None:
    setup, cluster, go = waiting
    results: list[Copied] = []
    ended = threading.Event()

    def copy() -> None:
        with ProcessWorkers(setup, 2) as workers:
            for copied in workers.copy(works(), lambda _: None):
                results.append(copied)
            ended.set()

    thread = threading.Thread(target=copy)
    thread.start()
    wait_for(lambda: len(results) == PACKS)
    assert not ended.is_set()
    assert list_packs(cluster) == {}
    go.write_text("room")
    thread.join(60)
    assert ended.is_set()
    named = {pack.id for copied in results for pack in copied.stored.packs}
    assert list_packs(cluster).keys() == named


def test_a_pack_that_does_not_arrive_after_the_last_task_is_an_error(
    waiting: tuple[WaitingSetup, ClusterFolder, Path],
) -> None:
    setup, cluster, go = waiting
    with ProcessWorkers(setup, 2) as workers:
        results = workers.copy(works(), lambda _: None)
        for _ in range(PACKS):
            next(results)
        go.write_text("full")
        with pytest.raises(StoreFull):
            next(results)
    assert list_packs(cluster) == {}


def test_what_a_full_backup_asks_of_its_store() -> None:
    """Each line is a journey, or a part of one: a new one should have a reason."""
    model, store = PageModel(), MemoryStore()
    model.create("base/5/1", 3)
    model.replace("PG_VERSION", b"18\n")
    repository = Repository.create(store, "none", None)
    for asked in (store, DyingStore(store, 1 << 20, after=False, error=Killed)):
        cluster = Repository(asked, repository.id, None).cluster("main")
        source = ModelSource({}, model=model)
        run(source, cluster, BackupOptions(Kind.FULL, jobs=1), make_workers=inline(cluster))
    assert isinstance(asked, DyingStore)
    assert [_short(call) for call in asked.seen] == [
        "create locks",
        "list locks",
        "beginning generations",
        "list backups",
        "beginning backups",
        "list proofs",
        "list packs",
        "list attempts",
        "create attempts",
        "create packs",
        "create packs",
        "beginning wal",
        "secure wal",
        "stat locks",
        "create backups",
        "delete attempts",
        "delete locks",
    ]


def _short(call: str) -> str:
    method, name = call.split()
    return f"{method} {name.removeprefix('clusters/main/').partition('/')[0]}"
