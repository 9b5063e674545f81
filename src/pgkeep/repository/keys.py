"""Key slots: the master key, wrapped once for every secret that opens the repository.

On disk: docs/formats/keys.md. Slots come and go without any data being written again: rotation is
adding one, then removing another, so that a valid one exists at every moment.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blake3 import blake3

from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.repository.marker import (
    Marker,
    encode_document,
    format_moment,
    parse_moment,
    read_document,
    read_marker,
)
from pgkeep.repository.plain_json import canonical
from pgkeep.repository.seal import Damaged, FormatTooNew, Key, WrongKey, decrypt, encrypt
from pgkeep.repository.store.base import BlobMissing, Store, UnsafeName

if TYPE_CHECKING:
    from pgkeep.repository.repository import Repository

PASSPHRASE: Final = "passphrase"  # noqa: S105 - a kind of slot
RECOVERY: Final = "recovery"

Random = Callable[[int], bytes]

# 32 MiB and 0.1 s: a WAL command pays this for each segment (a recovery key costs it nothing).
_SCRYPT: Final = {"name": "scrypt", "n": 1 << 15, "r": 8, "p": 1}
_SCRYPT_MEMORY: Final = 256 << 20  # bytes; what a slot may ask of whoever reads it
_SCRYPT_PASSES: Final = 16
_BLAKE3: Final = {"name": "blake3"}
_WRAPPED_LENGTH: Final = 32 + 16

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_LOOK_ALIKE: Final = str.maketrans("OIL", "011", "- \t")
_PREFIX: Final = "PGKEEP"
_DIGITS: Final = 55  # of 5 bits: 256 for the secret, 19 to find slips of the pen
_SUM_BITS: Final = 19


class KeyNeeded(PgkeepError):
    """The repository is encrypted, and no secret was given."""

    code = "key-needed"
    exit_status = 36

    store: str

    def __str__(self) -> str:
        return f"cannot open {self.store}: it is encrypted, and no passphrase was given"

    @property
    def hint(self) -> str:
        return (
            "set PGKEEP_PASSPHRASE, or passphrase_file or passphrase_command in [repository]; "
            "a recovery key (PGKEEP-...) is taken in the same places"
        )


class BadSecret(PgkeepError):
    """Something that cannot be a passphrase or recovery key."""

    code = "bad-secret"
    exit_status = 37

    why: str
    advice: str = (
        "check where it comes from: PGKEEP_PASSPHRASE, passphrase_file, passphrase_command"
    )

    def __str__(self) -> str:
        return f"cannot use the passphrase: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class LastKeySlot(PgkeepError):
    """Without this slot nobody could ever open the repository again."""

    code = "last-key-slot"
    exit_status = 38

    store: str
    slot: str

    def __str__(self) -> str:
        return f"cannot remove key slot {self.slot}: no other slot opens {self.store}"

    @property
    def hint(self) -> str:
        return "add another one first: pgkeep key add"


class UnknownKeySlot(PgkeepError):
    """There is no key slot of this name."""

    code = "unknown-key-slot"
    exit_status = 42

    store: str
    slot: str

    def __str__(self) -> str:
        return f"there is no key slot {self.slot!r} in {self.store}"

    @property
    def hint(self) -> str:
        return "see which there are: pgkeep key list"


class KeySlot(NamedTuple):
    """One way to open the repository, as a list shows it."""

    id: str
    kind: str
    label: str
    created_at: datetime  # UTC
    key_id: str  # of the master key in it, 8 hexadecimal digits
    damage: str = ""  # why it opens nothing any more


class NewSlot(NamedTuple):
    """A passphrase that is to open the repository, and what there is to say of it."""

    secret: str
    label: str = ""
    now: datetime | None = None
    random: Random = os.urandom

    def __repr__(self) -> str:
        return f"NewSlot(label={self.label!r})"


def list_slots(store: Store) -> list[KeySlot]:
    """Return all slots, oldest first; a damaged one says so instead of hiding the others."""
    return sorted((slot for slot, _ in _slots(store)), key=lambda slot: (slot.created_at, slot.id))


def add_passphrase(
    repository: "Repository", new: str, label: str = "", *, now: datetime | None = None
) -> str:
    """Let `new` open the repository as well; return the slot's id."""
    slot = NewSlot(new, label, now)
    return write_passphrase_slot(repository.store, _master(repository), slot)


def add_recovery_key(
    repository: "Repository", label: str = "", *, now: datetime | None = None
) -> str:
    """Return a new printable key that opens the repository. It is stored nowhere: show it once."""
    secret = os.urandom(32)
    slot = NewSlot("", label, now)
    _write_slot(repository.store, _master(repository), RECOVERY, secret, slot)
    return format_recovery_key(secret)


def remove_slot(store: Store, slot_id: str) -> None:
    """Make one secret useless. Raise UnknownKeySlot, or LastKeySlot and leave it alone."""
    key_id = read_marker(store).key_id
    if slot_id not in [slot.id for slot in list_slots(store)]:
        raise UnknownKeySlot(store.url, slot_id)
    if _slots_of(store, key_id) in ([], [slot_id]):
        raise LastKeySlot(store.url, slot_id)
    name = f"{names.KEYS}{slot_id}.json"
    content = store.get(name)
    store.delete(name)
    # Two who remove different slots at once may each have counted on the other's. Whoever finds
    # nothing left puts back what it took; at worst both slots stay.
    if not _slots_of(store, key_id):
        store.create(name, [content])
        raise LastKeySlot(store.url, slot_id)


def write_passphrase_slot(store: Store, key: Key, new: NewSlot) -> str:
    """Wrap the master key for one passphrase; return the slot's id."""
    if looks_like_recovery_key(new.secret):
        why = f"it begins with {_PREFIX}-, as recovery keys do"
        raise BadSecret(why, "choose another one")
    return _write_slot(store, key, PASSPHRASE, normalise(new.secret), new)


def unlock(store: Store, secret: str, marker: Marker) -> Key:
    """Return the master key. Raise WrongKey, BadSecret or Damaged: never one for the other."""
    return find_slot(store, secret, marker)[0]


def find_slot(store: Store, secret: str, marker: Marker) -> tuple[Key, KeySlot]:
    """Return the master key, and the slot that holds it for this secret. Raises as unlock()."""
    kind, raw = PASSPHRASE, normalise(secret)
    if looks_like_recovery_key(secret):
        kind, raw = RECOVERY, parse_recovery_key(secret)
    slots = list(_slots(store))
    # Slots of another key are what is left of an init that never came to its end.
    fitting = [(slot, facts) for slot, facts in slots if slot.key_id == marker.key_id]
    for slot, facts in fitting:
        key = _unwrap(slot, facts, raw) if slot.kind == kind else None
        if key is not None and key.check.hex() == marker.key_check:
            return key, slot
        if key is not None:
            raise _marker_does_not_fit(store, slot.id)
    damage = next((slot.damage for slot, _ in slots if slot.damage), "")
    if damage or not slots:
        raise Damaged(f"{names.KEYS} in {store.url}", damage or "no key slot is left")
    if not fitting:
        raise _marker_does_not_fit(store, slots[0][0].id)
    tried = sum(slot.kind == kind for slot, _ in fitting)
    if tried == 0:
        raise WrongKey(store.url, f"it has no {kind} slot", "see which there are: pgkeep key list")
    name = "recovery key" if kind == RECOVERY else "passphrase"
    raise WrongKey(store.url, f"this {name} fits none of its {tried} {kind} slots")


def _marker_does_not_fit(store: Store, slot_id: str) -> Damaged:
    why = f"it does not fit the key that slot {slot_id} holds"
    return Damaged(f"{names.MARKER} in {store.url}", why)


def normalise(secret: str) -> bytes:
    """Return the bytes of a passphrase, the same ones whichever way it came. Raise BadSecret.

    One line end is dropped, because files and commands have one; the same letters typed on
    different keyboards become the same bytes (NFC).
    """
    secret = secret[: -len("\r\n")] if secret.endswith("\r\n") else secret.removesuffix("\n")
    if not secret:
        raise BadSecret("it is empty")
    if not secret.isascii():
        import unicodedata

        secret = unicodedata.normalize("NFC", secret)
    try:
        return secret.encode()
    except UnicodeEncodeError as error:
        raise BadSecret("it is not UTF-8") from error


def looks_like_recovery_key(secret: str) -> bool:
    return secret.strip().upper().startswith(_PREFIX + "-")


def format_recovery_key(secret: bytes) -> str:
    """Return 'PGKEEP-XXXXX-...': 256 bits and a checksum, in letters that are hard to mistake."""
    number = int.from_bytes(secret, "big") << _SUM_BITS | _checksum(secret)
    digits = "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * _DIGITS - 5, -1, -5))
    return "-".join([_PREFIX, *(digits[i : i + 5] for i in range(0, _DIGITS, 5))])


def parse_recovery_key(text: str) -> bytes:
    """Read what a person typed from paper: any case, O for 0, I and L for 1. Raise BadSecret."""
    digits = text.strip().upper().removeprefix(_PREFIX).translate(_LOOK_ALIKE)
    advice = "compare it with the printed one, group by group"
    if len(digits) != _DIGITS:
        why = f"a recovery key has {_DIGITS} letters and digits after {_PREFIX}, not {len(digits)}"
        raise BadSecret(why, advice)
    number = 0
    for digit in digits:
        if digit not in _ALPHABET:
            raise BadSecret("it has a character that no recovery key has", advice)
        number = number << 5 | _ALPHABET.index(digit)
    secret = (number >> _SUM_BITS).to_bytes(32, "big")
    if number & (1 << _SUM_BITS) - 1 != _checksum(secret):
        raise BadSecret("a character of the recovery key is mistyped", advice)
    return secret


def _checksum(secret: bytes) -> int:
    digest = blake3(secret, derive_key_context="pgkeep 2026 recovery key checksum").digest(3)
    return int.from_bytes(digest, "big") >> 24 - _SUM_BITS


def _master(repository: "Repository") -> Key:
    if repository.key is None:
        raise BadSecret(
            f"{repository.store.url} is not encrypted, so there is nothing to open",
            "encryption is chosen once, at: pgkeep init",
        )
    return repository.key


def _slots_of(store: Store, key_id: str) -> list[str]:
    """Return the slots that hold the repository's own key, and so can open it."""
    return [slot.id for slot in list_slots(store) if slot.key_id == key_id and not slot.damage]


def _slots(store: Store) -> Iterator[tuple[KeySlot, dict[str, Any]]]:
    """Yield every slot with its facts; {} and the reason for one that cannot be used."""
    for blob in store.list(names.KEYS):
        slot_id = blob.name.removeprefix(names.KEYS).removesuffix(".json")
        try:
            facts = read_document(store, blob.name)
            moment = parse_moment(facts["created_at"])
            kind, label, key_id = (str(facts[name]) for name in ("kind", "label", "key_id"))
        except (BlobMissing, UnsafeName):
            continue  # removed while we looked
        except (Damaged, FormatTooNew) as error:
            modified = datetime.fromtimestamp(blob.modified, UTC)
            yield KeySlot(slot_id, "", "", modified, "", str(error)), {}
        except (KeyError, ValueError) as error:
            modified = datetime.fromtimestamp(blob.modified, UTC)
            yield KeySlot(slot_id, "", "", modified, "", f"a fact is missing or wrong: {error}"), {}
        else:
            yield KeySlot(slot_id, kind, label, moment, key_id), facts


def _write_slot(store: Store, key: Key, kind: str, secret: bytes, new: NewSlot) -> str:
    slot_id = new.random(4).hex()
    facts: dict[str, Any] = {
        "kind": kind,
        "label": new.label,
        "created_at": format_moment(new.now or datetime.now(UTC)),
        "key_id": f"{key.id:08x}",
        "kdf": _SCRYPT if kind == PASSPHRASE else _BLAKE3,
        "salt": new.random(16).hex(),
    }
    wrapping = _wrapping_key(secret, facts["kdf"], bytes.fromhex(facts["salt"]))
    wrapped = encrypt(wrapping, key.master, _bound(slot_id, facts)).hex()
    content = encode_document({**facts, "wrapped": wrapped})
    store.create(f"{names.KEYS}{slot_id}.json", [content])
    return slot_id


def _unwrap(slot: KeySlot, facts: dict[str, Any], secret: bytes) -> Key | None:
    """Return the key if the secret fits. Raise Damaged for a slot that asks the impossible."""
    where = f"key slot {slot.id}"
    try:
        salt, wrapped = bytes.fromhex(facts["salt"]), bytes.fromhex(facts["wrapped"])
        wrapping = _wrapping_key(secret, facts["kdf"], salt)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(where, f"it holds what pgkeep never writes: {error}") from error
    if len(wrapped) != _WRAPPED_LENGTH:
        raise Damaged(where, f"it holds a wrapped key of {len(wrapped)} bytes")
    master = decrypt(wrapping, wrapped, _bound(slot.id, facts))
    return None if master is None else Key(master)


def _bound(slot_id: str, facts: dict[str, Any]) -> bytes:
    """Return what is authenticated with the wrapped key: every other fact, and the slot's name."""
    names_bound = ("kind", "label", "created_at", "key_id", "kdf", "salt")
    return canonical({"slot": slot_id, **{name: facts[name] for name in names_bound}})


def _wrapping_key(secret: bytes, kdf: dict[str, Any], salt: bytes) -> bytes:
    """Derive a slot's key; raise ValueError rather than spend what a hostile slot asks for."""
    if kdf == _BLAKE3:
        return blake3(salt + secret, derive_key_context="pgkeep 2026 recovery slot").digest()
    n, r, p = (kdf[name] for name in ("n", "r", "p"))
    whole = kdf["name"] == "scrypt" and all(type(number) is int for number in (n, r, p))
    if not whole or n < 2 or n & (n - 1) or r < 1 or not 1 <= p <= _SCRYPT_PASSES:
        raise ValueError(f"key derivation {kdf}")
    if 128 * n * r > _SCRYPT_MEMORY:
        raise ValueError(f"key derivation with {128 * n * r} bytes of memory")
    import hashlib

    memory = 128 * r * (n + p + 2) + (1 << 20)
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)
