"""What every store promises, whichever it is."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgkeep.repository.metering.metered import Metered
from pgkeep.repository.store.base import BlobExists, BlobMissing, ShortRead, Store, UnsafeName
from pgkeep.repository.store.copies import Copies
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.store.open import open_store
from support.sshd import Sshd


@pytest.fixture(params=["local", "memory", "metered", "copies", "sftp", "s3", "gs", "az"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(str(tmp_path))
    if request.param == "memory":
        return MemoryStore()
    if request.param == "metered":
        return Metered(MemoryStore())
    if request.param == "copies":
        return Copies([MemoryStore("one"), MemoryStore("two")])
    if request.param == "sftp":
        server: Sshd = request.getfixturevalue("sshd")
        return open_store(server.address(server.folder()))
    place: Callable[[str], str] = request.getfixturevalue("bucket_address")
    return open_store(place(request.param))


def names(store: Store, prefix: str = "") -> list[str]:
    return [blob.name for blob in store.list(prefix)]


def test_what_was_put_is_got(store: Store) -> None:
    store.put("a/b/c", [b"one ", memoryview(b"two"), b""])
    assert store.get("a/b/c") == b"one two"
    assert store.stat("a/b/c").size == 7
    assert store.stat("a/b/c") == next(store.list())


def test_put_replaces_and_create_does_not(store: Store) -> None:
    store.put("x", [b"old"])
    with pytest.raises(BlobExists, match=r"^x exists already in "):
        store.create("x", [b"new"])
    assert store.get("x") == b"old"
    store.put("x", [b"newer"])
    assert store.get("x") == b"newer"


def test_create_makes_what_is_not_there(store: Store) -> None:
    store.create("deep/er/x", [b"1"])
    assert store.get("deep/er/x") == b"1"


def test_an_empty_blob_is_a_blob(store: Store) -> None:
    store.put("empty", [])
    assert store.get("empty") == b""
    assert store.stat("empty").size == 0


def test_many_and_large_parts_arrive_whole(store: Store) -> None:
    parts = [bytes([n % 256]) * (n % 7) for n in range(3000)] + [bytes(3 << 20), b"end"]
    store.put("many", parts)
    assert store.get("many") == b"".join(parts)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"abc"),
        (2, 2, b"cd"),
        (4, None, b"ef"),
        (6, None, b""),
        (6, 0, b""),
        (0, None, b"abcdef"),
    ],
)
def test_ranges(store: Store, start: int, length: int | None, expected: bytes) -> None:
    store.put("r", [b"abcdef"])
    assert store.get("r", start, length) == expected


@pytest.mark.parametrize(("start", "length"), [(0, 7), (5, 2), (7, None), (7, 0), (1 << 62, 5)])
def test_a_range_that_is_not_all_there(store: Store, start: int, length: int | None) -> None:
    store.put("r", [b"abcdef"])
    with pytest.raises(ShortRead) as caught:
        store.get("r", start, length)
    assert (caught.value.name, caught.value.size) == ("r", 6)


@pytest.mark.parametrize(("most", "expected"), [(1, b"a"), (6, b"abcdef"), (7000, b"abcdef")])
def test_a_beginning_comes_with_the_size_of_the_whole(
    store: Store, most: int, expected: bytes
) -> None:
    store.put("r", [b"abcdef"])
    assert store.beginning("r", most) == (expected, 6)


def test_the_beginning_of_an_empty_blob(store: Store) -> None:
    store.put("empty", [])
    assert store.beginning("empty", 100) == (b"", 0)


def test_what_is_not_there(store: Store) -> None:
    store.put("a/b", [b""])
    for name in ("nothing", "a/c", "c/d/e"):
        with pytest.raises(BlobMissing):
            store.get(name)
        with pytest.raises(BlobMissing):
            store.beginning(name, 10)
        with pytest.raises(BlobMissing):
            store.stat(name)
        store.delete(name)
    assert names(store, "nothing/") == []


@pytest.mark.parametrize("prefix", ["", "a/", "a/b/", "nothing/", "nothing/at/all/"])
def test_securing_changes_nothing(store: Store, prefix: str) -> None:
    store.create("a/b/x", [b"1"])
    store.secure(prefix)
    assert store.get("a/b/x") == b"1"
    assert names(store) == ["a/b/x"]


def test_delete_and_again(store: Store) -> None:
    store.put("x", [b"1"])
    store.delete("x")
    store.delete("x")
    assert names(store) == []
    store.create("x", [b"2"])
    assert store.get("x") == b"2"


def test_listing_is_in_name_order_and_by_prefix(store: Store) -> None:
    made = ["a/b", "a.b", "a-b", "a/b2/x", "a/b/c0", "a0", "A", "b/1", "b/10", "b/2"]
    made.remove("a/b")  # a folder in this test
    for name in reversed(made):
        store.put(name, [name.encode()])
    assert names(store) == sorted(made)
    assert names(store, "b/1") == ["b/1", "b/10"]
    assert names(store, "a/") == ["a/b/c0", "a/b2/x"]
    assert names(store, "a/b") == ["a/b/c0", "a/b2/x"]
    assert names(store, "a") == [name for name in sorted(made) if name.startswith("a")]


@pytest.mark.parametrize(
    "name",
    ["", "/", "/x", "x/", "a//b", ".", "..", "../x", "a/../b", ".tmp/x", "a/.hidden", "a b", "a\0b",
     "ä", "a\n", "x" * 201, "/".join("x" * 100 for _ in range(10)), "a\\b", "*", "~x", "a:b"],
)  # fmt: skip
def test_scenario_174_unsafe_names_are_refused_by_every_call(store: Store, name: str) -> None:
    for call in (
        lambda: store.put(name, [b""]),
        lambda: store.create(name, [b""]),
        lambda: store.get(name),
        lambda: store.beginning(name, 1),
        lambda: store.stat(name),
        lambda: store.delete(name),
    ):
        with pytest.raises(UnsafeName):
            call()
    assert names(store) == []


@pytest.mark.parametrize("prefix", ["..", "../", "a/../", "/", "a//", ".tmp", "a b"])
def test_unsafe_prefixes_are_refused(store: Store, prefix: str) -> None:
    with pytest.raises(UnsafeName):
        names(store, prefix)


def test_deleting_while_listing(store: Store) -> None:
    for n in range(20):
        store.put(f"d{n % 3}/{n:02}", [b""])
    for blob in store.list():
        store.delete(blob.name)
    assert names(store) == []


def test_of_racing_creators_one_wins_and_is_what_is_read(store: Store) -> None:
    gate, won, lost = threading.Barrier(8), [], []

    def create(number: int) -> None:
        gate.wait()
        try:
            store.create("race/x", [b"%d" % number * 5000])
        except BlobExists:
            lost.append(number)
        else:
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert store.get("race/x") == b"%d" % won[0] * 5000


def test_parts_may_be_made_as_they_are_asked_for(store: Store) -> None:
    class Lazily(list[bytes]):
        """Like the archive's large segments: nothing is made before its turn."""

    store.put("lazy", Lazily([b"a", b"b"]))
    assert store.get("lazy") == b"ab"


def test_a_part_that_cannot_be_made_leaves_the_old_blob(store: Store) -> None:
    class Broken(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("gone")

    store.put("x", [b"old"])
    with pytest.raises(RuntimeError):
        store.put("x", Broken([b"", b""]))
    with pytest.raises(RuntimeError):
        store.create("y", Broken([b"", b""]))
    assert [(blob.name, store.get(blob.name)) for blob in store.list()] == [("x", b"old")]
