"""Key slots: every secret that should open a repository does, and no other."""

import json
import os
import string
from datetime import UTC, datetime
from typing import Any

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.repository import keys
from pgkeep.repository.keys import BadSecret, KeyNeeded, LastKeySlot, UnknownKeySlot
from pgkeep.repository.marker import encode_document
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import CHUNK, Damaged, WrongKey
from pgkeep.repository.store.base import Store, StoreFailed
from pgkeep.repository.store.memory import MemoryStore

NOW = datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("test")


@pytest.fixture
def repository(store: MemoryStore) -> Repository:
    return Repository.create(store, "passphrase", "correct horse", now=NOW)


def opens(store: Store, secret: str) -> bool:
    try:
        return Repository.open(store, secret).key is not None
    except WrongKey:
        return False


def slot_name(store: Store) -> str:
    return next(store.list("keys/")).name


def edited(store: Store, name: str, **facts: Any) -> None:
    """Change a slot as a hostile writer would: with a check that fits."""
    content = json.loads(store.get(name))
    content = {k: v for k, v in content.items() if k not in ("format", "check")}
    store.put(name, [encode_document({**content, **facts})])


def test_the_passphrase_opens_and_others_do_not(repository: Repository) -> None:
    assert Repository.open(repository.store, "correct horse").key == repository.key
    with pytest.raises(WrongKey) as caught:
        Repository.open(repository.store, "wrong horse")
    assert str(caught.value) == (
        "cannot open memory:test: this passphrase fits none of its 1 passphrase slots"
    )


def test_no_secret_is_not_a_wrong_one(repository: Repository) -> None:
    with pytest.raises(KeyNeeded, match=r"^cannot open memory:test: it is encrypted, and no pass"):
        Repository.open(repository.store, None)


@pytest.mark.parametrize(
    "typed",
    [
        "caf\u00e9 \U0001f511",
        "cafe\u0301 \U0001f511",
        "caf\u00e9 \U0001f511\n",
        "caf\u00e9 \U0001f511\r\n",
    ],
    ids=["composed", "decomposed", "with a line end", "with CRLF"],
)
def test_scenario_114_one_secret_however_it_comes(typed: str) -> None:
    store = MemoryStore()
    Repository.create(store, "passphrase", "caf\u00e9 \U0001f511")
    assert opens(store, typed)


@pytest.mark.parametrize("near", ["x\n\n", " x", "x ", "x\r", "\nx", "X", "x\r\n\n"])
def test_scenario_114_only_one_line_end_is_dropped(near: str) -> None:
    store = MemoryStore()
    Repository.create(store, "passphrase", "x")
    assert not opens(store, near)


@pytest.mark.parametrize("secret", ["", "\n", "\r\n", "\udcff"])
def test_scenario_114_what_is_no_secret(repository: Repository, secret: str) -> None:
    for call in (
        lambda: Repository.open(repository.store, secret),
        lambda: keys.add_passphrase(repository, secret),
        lambda: Repository.create(MemoryStore(), "passphrase", secret),
    ):
        with pytest.raises(BadSecret):
            call()


def test_a_recovery_key_opens_however_it_is_typed(repository: Repository) -> None:
    printed = keys.add_recovery_key(repository, "in the safe")
    careless = printed.lower().replace("-", " ").replace("pgkeep ", "pgkeep-")
    for typed in (printed, printed + "\n", f"  {printed.lower()} ", careless,
                  printed.replace("0", "O").replace("1", "l")):  # fmt: skip
        assert opens(repository.store, typed)
    assert [len(group) for group in printed.split("-")] == [6] + [5] * 11


def test_every_mistyped_character_of_a_recovery_key_is_noticed() -> None:
    printed = keys.format_recovery_key(os.urandom(32))
    for at in range(len("PGKEEP-"), len(printed)):
        if printed[at] == "-":
            continue
        for typed in "Z9Q":
            if typed != printed[at]:
                with pytest.raises(BadSecret, match="mistyped"):
                    keys.parse_recovery_key(printed[:at] + typed + printed[at + 1 :])


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("PGKEEP-", "a recovery key has 55 letters and digits after PGKEEP, not 0"),
        ("PGKEEP-12345-67890", "a recovery key has 55 letters and digits after PGKEEP, not 10"),
        ("PGKEEP-" + "U" * 55, "it has a character that no recovery key has"),
        ("PGKEEP-" + "\u00e4" * 55, "it has a character that no recovery key has"),
    ],
)
def test_what_is_no_recovery_key(repository: Repository, typed: str, why: str) -> None:
    with pytest.raises(BadSecret) as caught:
        Repository.open(repository.store, typed)
    assert str(caught.value) == f"cannot use the passphrase: {why}"
    assert caught.value.hint == "compare it with the printed one, group by group"


def test_recovery_keys_round_trip() -> None:
    for secret in (bytes(32), b"\xff" * 32, os.urandom(32)):
        text = keys.format_recovery_key(secret)
        assert set(text) <= set(string.digits + string.ascii_uppercase + "-")
        assert keys.parse_recovery_key(text) == secret


def test_a_right_looking_recovery_key_of_another_repository(repository: Repository) -> None:
    stranger = keys.format_recovery_key(os.urandom(32))
    with pytest.raises(WrongKey, match=r"it has no recovery slot$"):
        Repository.open(repository.store, stranger)
    keys.add_recovery_key(repository)
    with pytest.raises(WrongKey, match=r"this recovery key fits none of its 1 recovery slots$"):
        Repository.open(repository.store, stranger)


def test_a_passphrase_may_not_look_like_a_recovery_key(repository: Repository) -> None:
    with pytest.raises(BadSecret, match="it begins with PGKEEP-, as recovery keys do"):
        keys.add_passphrase(repository, "pgkeep-is-great")


def test_scenario_115_rotation_leaves_data_and_always_a_way_in(repository: Repository) -> None:
    store = repository.store
    sealed = repository.sealer().seal(CHUNK, b"old data")
    (old,) = keys.list_slots(store)
    new = keys.add_passphrase(repository, "battery staple", "2027", now=NOW)
    # An interruption here leaves both.
    assert opens(store, "correct horse")
    assert opens(store, "battery staple")
    keys.remove_slot(store, old.id)
    assert not opens(store, "correct horse")
    again = Repository.open(store, "battery staple")
    assert again.sealer().unseal(CHUNK, sealed.data, "x") == b"old data"
    (slot,) = keys.list_slots(store)
    assert (slot.id, slot.kind, slot.label, slot.created_at) == (new, "passphrase", "2027", NOW)
    with pytest.raises(LastKeySlot) as caught:
        keys.remove_slot(store, new)
    assert str(caught.value) == (f"cannot remove key slot {new}: no other slot opens memory:test")
    assert opens(store, "battery staple")


def test_scenario_115_two_removals_at_once_leave_a_way_in(repository: Repository) -> None:
    class Meanwhile(MemoryStore):
        """Removes the other slot at the moment in which this one is removed."""

        other = ""

        def delete(self, name: str) -> None:
            super().delete(name)
            if self.other:
                super().delete(self.other)

    store = Meanwhile("test")
    repository = Repository.create(store, "passphrase", "one")
    (first,) = keys.list_slots(store)
    second = keys.add_passphrase(repository, "two")
    store.other = f"keys/{second}.json"
    with pytest.raises(LastKeySlot):
        keys.remove_slot(store, first.id)
    assert opens(store, "one")


def test_slots_that_are_not_there(repository: Repository) -> None:
    for slot in ("00000000", "", "../pgkeep", "x"):
        with pytest.raises(UnknownKeySlot):
            keys.remove_slot(repository.store, slot)


def test_an_open_repository_has_no_slots_and_gets_none() -> None:
    repository = Repository.create(MemoryStore("open"), "none", None)
    with pytest.raises(BadSecret, match="memory:open is not encrypted"):
        keys.add_passphrase(repository, "x")
    with pytest.raises(BadSecret, match="memory:open is not encrypted"):
        keys.add_recovery_key(repository)
    assert keys.list_slots(repository.store) == []


def test_scenario_114_every_flipped_bit_of_a_slot_is_damage_not_a_wrong_key(
    repository: Repository,
) -> None:
    name = slot_name(repository.store)
    content = repository.store.get(name)
    for at in range(len(content)):
        broken = bytearray(content)
        broken[at] ^= 1 << at % 8
        repository.store.put(name, [bytes(broken)])
        try:
            Repository.open(repository.store, "correct horse")
        except PgkeepError as error:
            assert error.code in ("damaged", "format-too-new")  # noqa: PT017
        else:
            assert json.loads(broken) == json.loads(content)  # white space


def test_a_damaged_slot_does_not_hide_a_good_one(repository: Repository) -> None:
    store = repository.store
    broken = slot_name(store)
    good = keys.add_passphrase(repository, "second")
    store.put(broken, [b"{}"])
    assert opens(store, "second")
    with pytest.raises(Damaged, match="keys/ in memory:test"):
        Repository.open(store, "correct horse")
    slots = {slot.id: slot.damage for slot in keys.list_slots(store)}
    assert slots.pop(good) == ""
    assert ["it does not say its format version" in why for why in slots.values()] == [True]
    with pytest.raises(LastKeySlot):
        keys.remove_slot(store, good)
    keys.remove_slot(store, broken.removeprefix("keys/").removesuffix(".json"))
    assert [slot.id for slot in keys.list_slots(store)] == [good]


@pytest.mark.parametrize(
    "kdf",
    [
        {"name": "scrypt", "n": 1 << 40, "r": 8, "p": 1},
        {"name": "scrypt", "n": 1 << 15, "r": 1 << 20, "p": 1},
        {"name": "scrypt", "n": 1 << 15, "r": 8, "p": 1 << 20},
        {"name": "scrypt", "n": 30000, "r": 8, "p": 1},
        {"name": "scrypt", "n": 0, "r": 8, "p": 1},
        {"name": "scrypt", "n": "many", "r": 8, "p": 1},
        {"name": "scrypt", "n": True, "r": 8, "p": 1},
        {"name": "rot13", "n": 2, "r": 8, "p": 1},
        {},
        "scrypt",
        None,
    ],
)
def test_a_hostile_slot_cannot_eat_memory_or_time(repository: Repository, kdf: Any) -> None:
    edited(repository.store, slot_name(repository.store), kdf=kdf)
    with pytest.raises(Damaged, match="it holds what pgkeep never writes"):
        Repository.open(repository.store, "correct horse")


@pytest.mark.parametrize(
    "facts", [{"wrapped": ""}, {"wrapped": "00" * 47}, {"wrapped": 7}, {"salt": "zz"}]
)
def test_slots_that_nobody_writes(repository: Repository, facts: dict[str, Any]) -> None:
    edited(repository.store, slot_name(repository.store), **facts)
    with pytest.raises(Damaged):
        Repository.open(repository.store, "correct horse")


@pytest.mark.parametrize("fact", ["label", "created_at", "key_id", "salt"])
def test_everything_in_a_slot_is_authenticated(repository: Repository, fact: str) -> None:
    name = slot_name(repository.store)
    value = {"created_at": "2020-01-01T00:00:00+00:00"}.get(fact, "00" * 16)
    edited(repository.store, name, **{fact: value})
    with pytest.raises((WrongKey, Damaged)):
        Repository.open(repository.store, "correct horse")


def test_a_slot_of_an_interrupted_init_is_passed_over() -> None:
    class Dying(MemoryStore):
        def create(self, name: str, parts: Any) -> None:
            if name == "pgkeep.json":
                raise StoreFailed(self.url, f"create {name}", "power cut")
            super().create(name, parts)

    dying = Dying()
    with pytest.raises(StoreFailed):
        Repository.create(dying, "passphrase", "same")
    (stray,) = (blob.name for blob in dying.list())
    store = MemoryStore("again")
    store.put(stray, [dying.get(stray)])
    repository = Repository.create(store, "passphrase", "same")
    assert Repository.open(store, "same").key == repository.key
    (ours,) = {blob.name for blob in store.list("keys/")} - {stray}
    with pytest.raises(LastKeySlot):  # the stray opens nothing
        keys.remove_slot(store, ours.removeprefix("keys/").removesuffix(".json"))
    keys.remove_slot(store, stray.removeprefix("keys/").removesuffix(".json"))
    assert opens(store, "same")


def test_a_marker_that_fits_no_slot_is_damage(repository: Repository) -> None:
    other = MemoryStore()
    Repository.create(other, "passphrase", "correct horse")
    repository.store.put("pgkeep.json", [other.get("pgkeep.json")])
    with pytest.raises(Damaged, match="it does not fit the key that slot"):
        Repository.open(repository.store, "correct horse")


def test_a_repository_without_slots_is_damaged(repository: Repository) -> None:
    repository.store.delete(slot_name(repository.store))
    with pytest.raises(Damaged, match="no key slot is left"):
        Repository.open(repository.store, "correct horse")


def test_a_marker_whose_check_was_forged_is_damage(repository: Repository) -> None:
    check = json.loads(repository.store.get("pgkeep.json"))["key_check"]
    edited(repository.store, "pgkeep.json", key_check=check[:8] + "00" * 28)
    with pytest.raises(Damaged, match="it does not fit the key that slot"):
        Repository.open(repository.store, "correct horse")


def test_scenario_172_secrets_stay_secret(repository: Repository) -> None:
    new = keys.NewSlot("hush", "label")
    assert "hush" not in f"{new} {new!r}"
    printed = keys.add_recovery_key(repository)
    assert repository.key is not None
    for blob in repository.store.list():
        content = repository.store.get(blob.name)
        assert b"correct horse" not in content
        assert printed.encode() not in content
        assert repository.key.master.hex().encode() not in content
    try:
        Repository.open(repository.store, "hush hush")
    except WrongKey as error:
        assert "hush" not in f"{error} {error.hint} {error.facts()}"  # noqa: PT017
