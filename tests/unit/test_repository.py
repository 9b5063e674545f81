"""Making and opening repositories, and what is in them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.model.cluster import Generation
from pgkeep.repository.keys import KeyNeeded
from pgkeep.repository.marker import AlreadyARepository, NotARepository, encode_document
from pgkeep.repository.names import BadName
from pgkeep.repository.repository import (
    GenerationDiffers,
    NotEncrypted,
    PlaceTaken,
    Repository,
)
from pgkeep.repository.seal import Damaged, FormatTooNew
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.memory import MemoryStore

NOW = datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC)
GENERATION = Generation(7710983248089545577, 18, 16 << 20)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("test")


def create(store: MemoryStore) -> Repository:
    return Repository.create(store, "none", None, now=NOW)


def test_what_was_made_can_be_opened(store: MemoryStore) -> None:
    made = create(store)
    opened = Repository.open(store, None)
    assert (opened.id, opened.key) == (made.id, None)
    assert opened.clusters() == []


def test_two_repositories_have_different_ids() -> None:
    assert create(MemoryStore()).id != create(MemoryStore()).id


def test_there_is_nothing(store: MemoryStore) -> None:
    with pytest.raises(NotARepository) as caught:
        Repository.open(store, None)
    assert str(caught.value) == (
        "there is no pgkeep repository in memory:test: pgkeep.json is not there"
    )
    assert caught.value.hint.endswith("a new one: pgkeep init")


def test_an_unmounted_place_is_a_failing_store(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="the repository's directory is not there"):
        Repository.open(LocalStore(str(tmp_path / "away")), None)
    with pytest.raises(NotARepository):
        Repository.open(LocalStore(str(tmp_path)), None)


def test_a_second_one_is_not_made(store: MemoryStore) -> None:
    made = create(store)
    before = store.get("pgkeep.json")
    made.cluster("main").add_generation(GENERATION)
    for encryption, secret in (("none", None), ("passphrase", "x")):
        with pytest.raises(AlreadyARepository) as caught:
            Repository.create(store, encryption, secret)  # type: ignore[arg-type]
        assert str(caught.value) == (
            "cannot make a repository in memory:test: there is one already, "
            "made 2026-11-23T04:42:25.000000+00:00 with encryption none"
        )
    assert store.get("pgkeep.json") == before
    assert list(store.list("keys/")) == []


def test_the_loser_of_two_inits_leaves_no_slot() -> None:
    class Slower(MemoryStore):
        overtaken = False

        def create(self, name: str, parts: Any) -> None:
            if name == "pgkeep.json" and not self.overtaken:
                self.overtaken = True
                Repository.create(self, "passphrase", "winner")
            super().create(name, parts)

    store = Slower()
    with pytest.raises(AlreadyARepository):
        Repository.create(store, "passphrase", "loser")
    assert len(list(store.list("keys/"))) == 1
    assert Repository.open(store, "winner").key is not None


@pytest.mark.parametrize("name", ["PG_VERSION", "base/1/1259", "clusters/main/packs/00/00"])
def test_a_place_with_something_else_is_left_alone(store: MemoryStore, name: str) -> None:
    store.put(name, [b"precious"])
    with pytest.raises(PlaceTaken, match="it is not empty") as caught:
        create(store)
    assert caught.value.example == name
    assert [blob.name for blob in store.list()] == [name]


def test_a_fresh_disk_is_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(mode=0o700)
    assert Repository.create(LocalStore(str(tmp_path)), "none", None).clusters() == []


def test_a_passphrase_for_an_open_repository_is_refused(store: MemoryStore) -> None:
    create(store)
    with pytest.raises(NotEncrypted) as caught:
        Repository.open(store, "secret")
    assert str(caught.value) == (
        "cannot use memory:test with a passphrase: the repository is not encrypted"
    )
    with pytest.raises(NotEncrypted):
        Repository.create(MemoryStore(), "none", "secret")
    with pytest.raises(KeyNeeded):
        Repository.create(MemoryStore(), "passphrase", None)


def edit(store: MemoryStore, **facts: Any) -> None:
    content = json.loads(store.get("pgkeep.json"))
    content = {k: v for k, v in content.items() if k != "check"}
    store.put("pgkeep.json", [encode_document({**content, **facts})])


def test_a_newer_repository_says_so_and_nothing_else(store: MemoryStore) -> None:
    store.put("pgkeep.json", [b'{"format": 2, "everything": "has changed"}'])
    with pytest.raises(FormatTooNew) as caught:
        Repository.open(store, None)
    assert str(caught.value) == (
        "cannot read pgkeep.json in memory:test: it has format version 2, "
        "and this pgkeep knows versions up to 1"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"{}", b'{"format": "1"}', b'{"format": true}', b'{"format": 1}',
     b"\xff\xfe", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}", b" " * 70_000],
)  # fmt: skip
def test_a_marker_that_is_none(store: MemoryStore, content: bytes) -> None:
    store.put("pgkeep.json", [content])
    with pytest.raises(Damaged):
        Repository.open(store, None)


def test_every_flipped_bit_of_the_marker_is_noticed(store: MemoryStore) -> None:
    create(store)
    content = store.get("pgkeep.json")
    for bit in range(8 * len(content)):
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        store.put("pgkeep.json", [bytes(broken)])
        try:
            Repository.open(store, None)
        except (Damaged, FormatTooNew):
            continue
        assert json.loads(broken) == json.loads(content)  # white space


@pytest.mark.parametrize(
    "facts",
    [{"encryption": "rot13"}, {"encryption": None}, {"created_at": "yesterday"},
     {"created_at": "2026-11-23T04:42:25"}, {"key_check": "zz"}, {"key_check": 7}],
)  # fmt: skip
def test_a_marker_with_impossible_facts(store: MemoryStore, facts: dict[str, Any]) -> None:
    create(store)
    edit(store, **facts)
    with pytest.raises(Damaged, match="a fact is missing or wrong"):
        Repository.open(store, None)


def test_generations_are_recorded_once(store: MemoryStore) -> None:
    cluster = create(store).cluster("main")
    older = Generation(GENERATION.system_identifier, 17, 1 << 20, 8192, 131072)
    for generation in (GENERATION, older, GENERATION):
        cluster.add_generation(generation)
    assert cluster.generations() == [older, GENERATION]
    assert cluster.generation_ids() == [older.id, GENERATION.id]
    assert cluster.repository.clusters() == ["main"]


def test_a_generation_that_changed_its_shape_is_refused(store: MemoryStore) -> None:
    cluster = create(store).cluster("main")
    cluster.add_generation(GENERATION)
    with pytest.raises(GenerationDiffers) as caught:
        cluster.add_generation(Generation(GENERATION.system_identifier, 18, 64 << 20))
    assert str(caught.value) == (
        "cannot store more of cluster generation 18-7710983248089545577: it was recorded with WAL "
        "segments of 16777216 bytes, blocks of 8192 bytes and 131072 blocks a file, and now has "
        "WAL segments of 67108864 bytes, blocks of 8192 bytes and 131072 blocks a file"
    )


def moved(store: MemoryStore) -> None:
    """Rename one generation's file to another's."""
    name = "clusters/main/generations/18-7710983248089545577.json"
    store.put("clusters/main/generations/18-1.json", [store.get(name)])


def gutted(store: MemoryStore) -> None:
    store.put("clusters/main/generations/18-1.json", [encode_document({"major": 18})])


@pytest.mark.parametrize("break_it", [moved, gutted])
def test_damaged_generations(store: MemoryStore, break_it: Callable[[MemoryStore], None]) -> None:
    cluster = create(store).cluster("main")
    cluster.add_generation(GENERATION)
    break_it(store)
    with pytest.raises(Damaged):
        cluster.generations()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".x", "a b", "x" * 64, "-x", "ä"])
def test_scenario_174_names_that_are_no_cluster(store: MemoryStore, name: str) -> None:
    with pytest.raises(BadName):
        create(store).cluster(name)


def test_scenario_7_clusters_whose_names_begin_alike(store: MemoryStore) -> None:
    repository = create(store)
    for name in ("main", "main2", "mai"):
        repository.cluster(name).add_generation(Generation(len(name), 18, 16 << 20))
    assert repository.clusters() == ["mai", "main", "main2"]
    assert [g.system_identifier for g in repository.cluster("main").generations()] == [4]


def test_every_error_of_the_repository_pickles(store: MemoryStore) -> None:
    with pytest.raises(PgkeepError) as caught:
        Repository.open(store, None)
    import pickle

    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (NotARepository, str(caught.value))
