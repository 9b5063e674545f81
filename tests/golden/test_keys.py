"""The key slots of docs/formats/keys.md open, and are written again."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

from blake3 import blake3

from pgkeep.repository.keys import parse_recovery_key
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Key
from pgkeep.repository.store.memory import MemoryStore
from support.pages import FORMATS, block, json_example

NOW = datetime(2026, 11, 23, 4, 42, 25, tzinfo=UTC)
MASTER = bytes(range(32))
PASSPHRASE = "correct horse battery staple"
SLOT = json_example("keys.md", "Example: a passphrase slot")
RECOVERY = json_example("keys.md", "Example: a recovery key slot")
PRINTED = block("keys.md", "Example: a recovery key slot", "text").strip()


def recovery_name() -> str:
    section = (FORMATS / "keys.md").read_text().partition("# Example: a recovery key slot")[2]
    found = re.search(r"keys/[0-9a-f]{8}\.json", section)
    assert found is not None
    return found[0]


def example() -> MemoryStore:
    store = MemoryStore()
    marker = json_example("repository.md", "Example: a marker with encryption")
    store.put("pgkeep.json", [marker])
    store.put("keys/02020202.json", [SLOT])
    store.put(recovery_name(), [RECOVERY])
    return store


def counting() -> Callable[[int], bytes]:
    """Random bytes as the page's writer had them: the master key, or 01 01.., 02 02.."""
    calls = iter(range(1, 100))
    return lambda size: MASTER if size == 32 else bytes([next(calls)]) * size


def test_both_secrets_open_the_example() -> None:
    for secret in (PASSPHRASE, PRINTED):
        assert Repository.open(example(), secret).key == Key(MASTER)


def test_the_passphrase_slot_is_written_again() -> None:
    store = MemoryStore()
    Repository.create(store, "passphrase", PASSPHRASE, now=NOW, random=counting())
    assert store.get("keys/02020202.json") == SLOT
    marker = json_example("repository.md", "Example: a marker with encryption")
    assert store.get("pgkeep.json") == marker


def bound(slot_id: str, facts: dict[str, object]) -> bytes:
    kept = {k: v for k, v in facts.items() if k not in ("format", "wrapped", "check")}
    text = json.dumps({**kept, "slot": slot_id}, sort_keys=True, separators=(",", ":"))
    return text.encode()


def test_the_passphrase_slot_by_the_page_alone() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    facts = json.loads(SLOT)
    salt, wrapped = bytes.fromhex(facts["salt"]), bytes.fromhex(facts["wrapped"])
    n, r, p = facts["kdf"]["n"], facts["kdf"]["r"], facts["kdf"]["p"]
    wrapping = hashlib.scrypt(
        PASSPHRASE.encode(), salt=salt, n=n, r=r, p=p, dklen=32, maxmem=1 << 26
    )
    opened = AESGCM(wrapping).decrypt(bytes(12), wrapped, bound("02020202", facts))
    assert opened == MASTER


def test_the_recovery_slot_by_the_page_alone() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    facts = json.loads(RECOVERY)
    salt, wrapped = bytes.fromhex(facts["salt"]), bytes.fromhex(facts["wrapped"])
    number = 0
    for digit in PRINTED.removeprefix("PGKEEP").replace("-", ""):
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    secret = (number >> 19).to_bytes(32, "big")
    assert secret == parse_recovery_key(PRINTED)
    context = "pgkeep 2026 recovery slot"
    wrapping = blake3(salt + secret, derive_key_context=context).digest()
    slot_id = recovery_name().removeprefix("keys/").removesuffix(".json")
    assert AESGCM(wrapping).decrypt(bytes(12), wrapped, bound(slot_id, facts)) == MASTER
