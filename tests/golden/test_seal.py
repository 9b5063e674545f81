"""The worked examples of docs/formats/sealed-block.md are what this code reads and writes."""

import struct

import pytest
from blake3 import blake3

from pgkeep.repository.seal import CHUNK, Key, Sealer, read_header
from support.pages import hex_example, table

PAGE = "sealed-block.md"
KEY = Key(bytes(range(32)))


@pytest.mark.parametrize(
    ("title", "key", "plain"),
    [
        ("Example: raw", None, b"pgkeep"),
        ("Example: compressed", None, b"pgkeep " * 100),
        ("Example: encrypted", KEY, b"pgkeep"),
    ],
)
def test_examples_are_read(title: str, key: Key | None, plain: bytes) -> None:
    assert Sealer(key).unseal(CHUNK, hex_example(PAGE, title), title) == plain


def test_the_raw_example_is_written_again() -> None:
    assert Sealer(None).seal(CHUNK, b"pgkeep").data == hex_example(PAGE, "Example: raw")


def test_the_table_of_offsets_is_the_header() -> None:
    content = hex_example(PAGE, "Example: encrypted")
    rows = table(PAGE, "Layout")
    assert [offset for offset, _, _ in rows] == [
        sum(size for _, size, _ in rows[:n]) for n in range(len(rows))
    ]
    fields = {name: content[offset : offset + size] for offset, size, name in rows}
    header = read_header(content, "x")
    assert fields["magic"] == b"PGKS"
    assert fields["version"] == b"\1"
    numbers = ("codec", "cipher", "kind", "key id", "plain length", "body length")
    assert [int.from_bytes(fields[name], "little") for name in numbers] == list(header[:6])
    assert (fields["id"], fields["salt"]) == (header.id, header.salt)
    assert rows[-1][0] + rows[-1][1] == 52


def test_the_encrypted_example_by_the_page_alone() -> None:
    """What a person without pgkeep would do."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    content = hex_example(PAGE, "Example: encrypted")
    master = bytes(range(32))
    check = blake3(master, derive_key_context="pgkeep 2026 key check").digest()
    assert struct.unpack_from("<I", content, 8)[0] == struct.unpack_from("<I", check)[0]
    sealing = blake3(master, derive_key_context="pgkeep 2026 sealed blocks").digest()
    one_time = blake3(content[36:52], key=sealing).digest()
    plain = AESGCM(one_time).decrypt(bytes(12), content[52:], content[:52])
    assert plain == b"pgkeep"
    ids = blake3(master, derive_key_context="pgkeep 2026 content ids").digest()
    assert blake3(plain, key=ids).digest()[:16] == content[20:36]
