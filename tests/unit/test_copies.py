"""Copies of a repository: how one is made, and objects on their way from one to another."""

from collections.abc import Sequence

import pytest

from pgkeep.model.segment import Segment
from pgkeep.repository import keys, names
from pgkeep.repository.copies.held import KEPT, PIECE, Held
from pgkeep.repository.copies.identity import AnotherRepository, CopyRefused, demand_two_places
from pgkeep.repository.copies.intact import NOT_INTACT, check
from pgkeep.repository.copies.make import demand_place, make_copy
from pgkeep.repository.copies.object_names import parse_name
from pgkeep.repository.keys import KeyNeeded
from pgkeep.repository.marker import NOT_ENCRYPTED, Marker, create_marker, read_marker
from pgkeep.repository.repository import NotEncrypted, PlaceTaken, Repository
from pgkeep.repository.seal import Damaged, Key, WrongKey
from pgkeep.repository.store.base import BlobMissing, Store, StoreFailed
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.memory import MemoryStore
from support.copies import KEY, SECRET, full_source
from support.small_repository import GENERATION, SIZE, Small

OPEN = Repository(MemoryStore("a"), "01" * 16, None)
SEALED = Repository(MemoryStore("b"), "01" * 16, KEY)


def test_a_copy_has_the_id_and_the_key_of_its_source_and_slots_of_its_own() -> None:
    store = MemoryStore("target")
    made = make_copy(SEALED, store, SECRET)
    assert made.created
    assert (made.repository.id, made.repository.key) == (SEALED.id, KEY)
    assert read_marker(store).key_check == KEY.check.hex()
    assert Repository.open(store, SECRET).key == KEY
    assert made.recovery_key is not None
    assert Repository.open(store, made.recovery_key).key == KEY
    assert sorted(slot.kind for slot in keys.list_slots(store)) == [keys.PASSPHRASE, keys.RECOVERY]
    assert made.recovery_key not in repr(made)
    assert SECRET not in repr(made)


def test_a_copy_of_an_open_repository_is_open() -> None:
    store = MemoryStore("target")
    made = make_copy(OPEN, store, None)
    assert (made.created, made.recovery_key) == (True, None)
    assert Repository.open(store, None).id == OPEN.id
    assert [blob.name for blob in store.list()] == [names.MARKER]


def test_a_copy_is_adopted_and_not_made_again() -> None:
    store = MemoryStore("target")
    make_copy(SEALED, store, SECRET)
    before = {blob.name: store.get(blob.name) for blob in store.list()}
    again = make_copy(SEALED, store, SECRET)
    assert (again.created, again.recovery_key, again.repository.key) == (False, None, KEY)
    assert {blob.name: store.get(blob.name) for blob in store.list()} == before
    assert demand_place(SEALED, store)


def test_a_copy_is_not_opened_by_another_secret() -> None:
    store = MemoryStore("target")
    make_copy(SEALED, store, SECRET)
    with pytest.raises(WrongKey):
        make_copy(SEALED, store, "something else")


@pytest.mark.parametrize(
    ("source", "secret", "error"),
    [(SEALED, None, KeyNeeded), (OPEN, SECRET, NotEncrypted)],
    ids=["sealed", "open"],
)
def test_the_encryption_of_a_copy_is_that_of_its_source(
    source: Repository, secret: str | None, error: type[Exception]
) -> None:
    store = MemoryStore("target")
    with pytest.raises(error):
        make_copy(source, store, secret)
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("id", "key"),
    [("02" * 16, KEY), ("01" * 16, None), ("01" * 16, Key(bytes(32)))],
    ids=["another", "in the clear", "another key"],
)
def test_another_repository_is_refused_before_any_secret_is_tried(id: str, key: Key | None) -> None:
    store = MemoryStore("target")
    make_copy(Repository(MemoryStore("c"), id, key), store, "its own" if key else None)
    before = {blob.name: store.get(blob.name) for blob in store.list()}
    for secret in (SECRET, None):
        with pytest.raises(AnotherRepository):
            make_copy(SEALED, store, secret)
    with pytest.raises(AnotherRepository):
        demand_place(SEALED, store)
    assert {blob.name: store.get(blob.name) for blob in store.list()} == before


def test_a_place_with_anything_else_in_it_is_refused() -> None:
    store = MemoryStore("target")
    store.put("holiday/photo.jpg", [b"sea"])
    for look in (lambda: demand_place(OPEN, store), lambda: make_copy(OPEN, store, None)):
        with pytest.raises(PlaceTaken) as told:
            look()
    assert told.value.example == "holiday/photo.jpg"
    assert [blob.name for blob in store.list()] == ["holiday/photo.jpg"]


class Overtaken(MemoryStore):
    """A store in which another one makes a repository just before the marker is created."""

    def __init__(self, faster: Repository, secret: str | None) -> None:
        super().__init__("target")
        self._faster: tuple[Repository, str | None] | None = (faster, secret)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        if name == names.MARKER and self._faster is not None:
            faster, self._faster = self._faster, None
            make_copy(faster[0], self, faster[1])
        super().create(name, parts)


def test_of_two_that_make_the_same_copy_at_once_one_adopts_what_the_other_made() -> None:
    store = Overtaken(SEALED, "the other's")
    made = make_copy(SEALED, store, SECRET)
    assert (made.created, made.repository.key) == (False, KEY)
    for secret in (SECRET, "the other's"):
        assert Repository.open(store, secret).key == KEY


def test_of_two_that_make_different_copies_at_once_one_leaves_nothing_behind() -> None:
    other = Repository(MemoryStore("c"), "02" * 16, Key(bytes(32)))
    store = Overtaken(other, "the other's")
    with pytest.raises(AnotherRepository):
        make_copy(SEALED, store, SECRET)
    assert {slot.key_id for slot in keys.list_slots(store)} == {f"{Key(bytes(32)).id:08x}"}


def test_key_slots_that_an_init_left_behind_do_not_disturb() -> None:
    store = MemoryStore("target")
    keys.write_passphrase_slot(store, Key(bytes(32)), keys.NewSlot(SECRET))
    assert make_copy(SEALED, store, SECRET).repository.key == KEY
    assert Repository.open(store, SECRET).key == KEY


def test_two_addresses_of_one_folder_are_one_place(tmp_path: object) -> None:
    link = f"{tmp_path}/link"
    real = f"{tmp_path}/real"
    import os

    os.mkdir(real)
    os.symlink(real, link)
    with pytest.raises(CopyRefused, match="one and the same place"):
        demand_two_places(LocalStore(real), LocalStore(link))
    demand_two_places(LocalStore(real), LocalStore(f"{tmp_path}/not-there"))


# objects on their way


def intact(store: Store, name: str, key: Key | None = None) -> None:
    wanted = parse_name(name)
    assert wanted is not None
    check(Held(store, name), Repository(store, "00" * 16, key), wanted)


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
def test_every_object_of_a_repository_is_found_intact_and_no_damage_passes(
    key: Key | None,
) -> None:
    small = full_source(key=key)
    checked = [name for name in small.blobs() if parse_name(name) is not None]
    assert {parse_name(name).kind.value for name in checked} >= {  # type: ignore[union-attr]
        "generation", "pack", "wal", "manifest",
    }  # fmt: skip
    for name in checked:
        intact(small.store, name, key)
        content = small.store.get(name)
        for at in {0, len(content) // 2, len(content) - 2}:
            damaged = bytearray(content)
            damaged[at] ^= 1
            small.store.put(name, [bytes(damaged)])
            with pytest.raises(NOT_INTACT):
                intact(small.store, name, key)
        small.store.put(name, [content[:-3]])
        with pytest.raises(NOT_INTACT):
            intact(small.store, name, key)
        small.store.put(name, [content])


def test_wal_under_another_name_is_not_intact() -> None:
    small = Small(MemoryStore("source")).begin()
    first, second = small.archive(2)
    one, other = (names.wal("main", GENERATION.id, file) for file in (first, second))
    small.store.put(one, [small.store.get(other)])
    with pytest.raises(Damaged, match="somebody renamed it"):
        intact(small.store, one)


class Pieces(MemoryStore):
    """A store that counts what is read of it."""

    reads: int = 0

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        return super().get(name, start, length)


def test_what_is_held_in_memory_is_read_once() -> None:
    store = Pieces("source")
    store.put("x", [b"0123456789"])
    held = Held(store, "x")
    assert b"".join(held.parts) == b"0123456789"
    assert held.get("x", 2, 3) == b"234"
    assert store.reads == 1
    with pytest.raises(StoreFailed, match="only read from here"):
        held.put("x", [b""])


def test_a_large_object_is_read_in_pieces_and_must_stay_what_it_was() -> None:
    store = Pieces("source")
    content = bytes(KEPT) + b"the end"
    store.put("x", [content])
    held = Held(store, "x")
    ends = [held.get("x", start, min(1 << 20, len(content) - start))
            for start in range(0, len(content), 1 << 20)]  # fmt: skip
    assert b"".join(ends) == content
    assert store.reads == KEPT // PIECE + 1, "each piece once"
    assert b"".join(held.parts) == content
    store.put("x", [bytes(KEPT) + b"The end"])
    with pytest.raises(Damaged, match="reads otherwise than a moment ago"):
        b"".join(held.parts)


def test_an_object_is_compared_with_that_of_another_store() -> None:
    store, other = MemoryStore("source"), MemoryStore("target")
    store.put("x", [b"0123456789"])
    held = Held(store, "x")
    assert not held.is_in(other)
    for content, same in ((b"0123456789", True), (b"012345678", False), (b"0123456780", False)):
        other.put("x", [content])
        assert held.is_in(other) == same
    with pytest.raises(BlobMissing):
        Held(store, "y")


def test_large_wal_goes_through_in_pieces() -> None:
    """A segment of 80 MiB that does not compress is more than is held in memory."""
    import random

    small = Small(MemoryStore("source")).begin()
    file = Segment(1, 9, SIZE).name
    small.folder.wal(GENERATION.id).push(file, random.Random(5).randbytes(KEPT + 5 * SIZE))
    intact(small.store, names.wal("main", GENERATION.id, file))


def test_a_marker_that_was_replaced_by_one_in_the_clear_is_refused() -> None:
    store = MemoryStore("target")
    create_marker(store, Marker(SEALED.id, "2026-11-23T04:42:25.000000+00:00", NOT_ENCRYPTED, None))
    with pytest.raises(AnotherRepository, match="encryption none"):
        make_copy(SEALED, store, SECRET)
