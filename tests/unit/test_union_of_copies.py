"""Copies of a repository read as one: who is asked, what is said, and when "missing" is true."""

from dataclasses import dataclass, field

import pytest

from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobMissing, Store, StoreFailed
from pgkeep.repository.store.copies import Copies
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.store.open import open_store
from support.dying_store import DyingStore


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Three:
    """The stores a, b and c as one; any of them can be made to fail."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.inner = [MemoryStore(name) for name in "abc"]
        self.stores = [
            DyingStore(store, 1 << 60, after=False, error=StoreFailed) for store in self.inner
        ]
        self.union = Copies(self.stores, clock=self.clock)

    def fails(self, number: int, *, fail: bool = True) -> None:
        self.stores[number].deadly = self.stores[number].calls + 1 if fail else 1 << 60


@pytest.fixture
def three() -> Three:
    return Three()


def test_a_listing_tells_of_the_copy_that_was_not_cut_off(three: Three) -> None:
    three.inner[0].put("x", [b"cut"])
    three.inner[1].put("x", [b"whole"])
    three.inner[2].put("x", [b"of c!"])
    assert [(blob.name, blob.size) for blob in three.union.list()] == [("x", 5)]


def test_the_first_that_has_it_is_read(three: Three) -> None:
    three.inner[1].put("x", [b"of b"])
    three.inner[2].put("x", [b"of c"])
    assert three.union.get("x") == b"of b"
    (note,) = three.union.drain_notes()
    assert note == "x is not in memory:a: read from memory:b instead"
    assert three.union.drain_notes() == ()


def test_missing_is_said_when_all_have_answered(three: Three) -> None:
    with pytest.raises(BlobMissing):
        three.union.get("x")
    three.fails(2)
    with pytest.raises(StoreFailed, match="injected"):
        three.union.get("x")
    # It is left alone for a while, and that is no answer either.
    calls = three.stores[2].calls
    with pytest.raises(StoreFailed, match="injected"):
        three.union.stat("x")
    assert three.stores[2].calls == calls
    three.clock.now = 60
    three.fails(2, fail=False)
    with pytest.raises(BlobMissing):
        three.union.get("x")


def test_what_is_damaged_is_read_elsewhere(three: Three) -> None:
    for store, content in zip(three.inner, (b"bad", b"bad", b"good"), strict=True):
        store.put("x", [content])

    def read(store: Store) -> bytes:
        content = store.get("x")
        if content == b"bad":
            raise Damaged(f"x in {store.url}", "it is bad")
        return content

    assert three.union.intact(read) == b"good"
    (note,) = three.union.drain_notes()
    assert "x in memory:a" in note
    assert note.endswith("read from memory:c instead")
    three.inner[2].put("x", [b"bad"])
    three.fails(1)
    # That the first is damaged is more than that another one is away.
    with pytest.raises(Damaged, match="memory:a"):
        three.union.intact(read)


def test_one_who_is_away_is_named_once(three: Three) -> None:
    three.inner[1].put("x", [b"1"])
    three.inner[1].put("y", [b"2"])
    three.fails(0)
    assert three.union.get("x") + three.union.get("y") == b"12"
    (note,) = three.union.drain_notes()
    assert note == "cannot get in memory:a: injected: reading from the other copies"
    assert len(three.union.away) == 1


def test_a_listing_is_of_all_that_can_be_asked(three: Three) -> None:
    for number, names in enumerate((["a/1", "a/3"], ["a/2", "a/3"], ["a/4", "b/1"])):
        for name in names:
            three.inner[number].put(name, [bytes(number)])
    assert [blob.name for blob in three.union.list("a/")] == ["a/1", "a/2", "a/3", "a/4"]
    three.fails(1)
    assert [blob.name for blob in three.union.list("a/")] == ["a/1", "a/3", "a/4"]
    assert [str(error) for error in three.union.away]
    for number in (0, 2):
        three.fails(number)
    with pytest.raises(StoreFailed):
        list(three.union.list("a/"))


def test_what_is_written_goes_to_all_that_take_it(three: Three) -> None:
    three.fails(1)
    three.union.create("lock", [b"mine"])
    assert [list(store.list()) != [] for store in three.inner] == [True, False, True]
    for number in range(3):
        three.fails(number)
    with pytest.raises(StoreFailed):
        three.union.put("lock", [b"mine"])


def test_a_store_that_was_never_opened_is_never_asked_and_never_forgotten() -> None:
    gone = DyingStore(MemoryStore("gone"), 1, after=False, error=StoreFailed)
    union = Copies([MemoryStore("a")], [(gone, StoreFailed("gone", "get", "injected"))])
    with pytest.raises(StoreFailed, match="injected"):
        union.get("x")
    assert gone.calls == 0


def test_another_process_opens_the_same_union() -> None:
    union = Copies([open_store("memory:union,one"), open_store("memory:union two")])
    union.put("x", [b"1"])
    again = open_store(union.address)
    assert again.url == union.url == "memory:union,one and its copy memory:union two"
    assert again.get("x") == b"1"
