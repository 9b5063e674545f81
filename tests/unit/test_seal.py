"""Sealed blocks: what goes in comes out, or a PgkeepError does."""

import os
import pickle
import struct
import sys

import pytest
from blake3 import blake3

from pgkeep.repository.seal import (
    CHUNK,
    HEADER_SIZE,
    PLAIN_LIMIT,
    WAL,
    Damaged,
    FormatTooNew,
    Key,
    Sealer,
    WrongKey,
    read_header,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY = Key(bytes(range(32)))
HEADER = struct.Struct("<4sBBBBIII16s16s")


@pytest.fixture(params=["open", "encrypted"])
def sealer(request: pytest.FixtureRequest) -> Sealer:
    return Sealer(KEY if request.param == "encrypted" else None)


@pytest.mark.parametrize(
    "plain",
    [b"", b"x", bytes(8192), os.urandom(5000), b"abc" * 400_000, bytes(PLAIN_LIMIT)],
    ids=["empty", "one byte", "zeroes", "random", "1 MiB", "the limit"],
)
def test_round_trip(sealer: Sealer, plain: bytes) -> None:
    sealed = sealer.seal(CHUNK, plain)
    assert sealer.unseal(CHUNK, sealed.data, "x") == plain
    assert sealer.unseal(CHUNK, memoryview(sealed.data), "x") == plain
    assert sealed.id == sealer.chunk_id(plain)
    assert len(sealed.data) == read_header(sealed.data + b"more", "x").length


def test_any_buffer_can_be_sealed(sealer: Sealer) -> None:
    plain = os.urandom(100) + bytes(1000)
    for buffer in (bytearray(plain), memoryview(plain), memoryview(bytearray(plain))):
        assert sealer.unseal(CHUNK, sealer.seal(CHUNK, buffer).data, "x") == plain


def test_one_sealer_seals_many_blocks_of_all_sizes(sealer: Sealer) -> None:
    for size in (100_000, 0, 1, 1 << 20, 3, 100_000):
        plain = b"y" * size
        assert sealer.unseal(CHUNK, sealer.seal(CHUNK, plain).data, "x") == plain


def test_what_does_not_compress_costs_only_the_header() -> None:
    plain = os.urandom(1 << 20)
    assert len(Sealer(None).seal(CHUNK, plain).data) == len(plain) + HEADER_SIZE
    assert len(Sealer(KEY).seal(CHUNK, plain).data) == len(plain) + HEADER_SIZE + 16


def test_a_known_id_is_not_computed_again() -> None:
    assert Sealer(None).seal(CHUNK, b"x", id=b"i" * 16).id == b"i" * 16


def test_ids_are_blake3_and_keyed_in_an_encrypted_repository() -> None:
    assert Sealer(None).chunk_id(b"x") == blake3(b"x").digest(16)
    assert Sealer(KEY).chunk_id(b"x") != Sealer(None).chunk_id(b"x")
    assert Sealer(KEY).chunk_id(b"x") != Sealer(Key(bytes(32))).chunk_id(b"x")
    hasher = Sealer(KEY).hasher()
    hasher.update(b"on")
    hasher.update(b"ce")
    assert hasher.digest(16) == Sealer(KEY).chunk_id(b"once")


def test_levels_are_read_by_any_sealer() -> None:
    plain = b"".join(b"row %d\n" % n for n in range(10_000))
    sizes = [len(Sealer(None, level).seal(CHUNK, plain).data) for level in (1, 19)]
    assert sizes[1] < sizes[0] < len(plain)
    for level in (1, 3, 19, 22):
        sealed = Sealer(None, level).seal(CHUNK, plain).data
        assert Sealer(None).unseal(CHUNK, sealed, "x") == plain


def test_a_block_over_the_limit_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        Sealer(None).seal(CHUNK, bytes(PLAIN_LIMIT + 1))


def test_scenario_118_no_plaintext_in_an_encrypted_block() -> None:
    secret = b"credit card 4000 1234" * 1000
    for plain in (secret, secret[:21] + os.urandom(50)):
        sealed = Sealer(KEY).seal(CHUNK, plain).data
        assert b"credit" not in sealed
        assert blake3(plain).digest(16) not in sealed


def test_scenario_119_no_two_blocks_share_a_key() -> None:
    plain = b"the same" * 1000
    sealer = Sealer(KEY)
    blocks = [sealer.seal(CHUNK, plain).data for _ in range(200)]
    assert len({block[36:52] for block in blocks}) == 200  # salts
    assert len({block[52:] for block in blocks}) == 200  # ciphertexts
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, sealer.seal(CHUNK, plain).data)
        os._exit(0)
    os.waitpid(child, 0)
    from_child, from_parent = os.read(reader, 10_000), sealer.seal(CHUNK, plain).data
    os.close(reader)
    os.close(writer)
    assert from_child[36:52] != from_parent[36:52]
    assert sealer.unseal(CHUNK, from_child, "x") == plain


def test_a_block_of_another_kind_is_refused(sealer: Sealer) -> None:
    sealed = sealer.seal(CHUNK, b"x").data
    with pytest.raises(Damaged, match=r"it holds a block of kind 1 instead of 5$"):
        sealer.unseal(WAL, sealed, "x")


def test_the_kind_is_authenticated() -> None:
    sealed = bytearray(Sealer(KEY).seal(CHUNK, b"x").data)
    sealed[7] = WAL
    with pytest.raises(Damaged, match=r"its encryption tag does not fit its content$"):
        Sealer(KEY).unseal(WAL, bytes(sealed), "x")


@pytest.mark.parametrize(
    ("writer", "reader", "error", "message"),
    [
        (
            KEY,
            Key(bytes(32)),
            WrongKey,
            "it is sealed with key .*, and key .* is this repository's$",
        ),
        (KEY, None, WrongKey, "it is sealed with key [0-9a-f]{8}, and there is none$"),
        (None, KEY, Damaged, "it is not encrypted, but this repository is$"),
    ],
)
def test_scenario_114_a_wrong_key_is_told_apart_from_damage(
    writer: Key | None, reader: Key | None, error: type[Exception], message: str
) -> None:
    sealed = Sealer(writer).seal(CHUNK, b"x" * 100).data
    with pytest.raises(error, match=message):
        Sealer(reader).unseal(CHUNK, sealed, "x")


def test_a_newer_version_is_told_apart_from_damage() -> None:
    sealed = bytearray(Sealer(None).seal(CHUNK, b"x").data)
    sealed[4] = 2
    with pytest.raises(FormatTooNew) as caught:
        Sealer(None).unseal(CHUNK, bytes(sealed), "pack 7")
    assert str(caught.value) == (
        "cannot read pack 7: it has format version 2, and this pgkeep knows versions up to 1"
    )


def forged(
    plain_length: int, body: bytes, *, codec: int = 1, cipher: int = 0, key_id: int = 0
) -> bytes:
    facts = (
        b"PGKS",
        1,
        codec,
        cipher,
        CHUNK,
        key_id,
        plain_length,
        len(body),
        bytes(16),
        bytes(16),
    )
    return HEADER.pack(*facts) + body


@pytest.mark.parametrize(
    ("sealed", "why"),
    [
        (b"", "it ends after 0 bytes, within a block's header"),
        (bytes(52), "it begins with 00000000 instead of 50474b53"),
        (forged(PLAIN_LIMIT + 1, b"x"), "its header holds values that are never written"),
        (
            forged(1 << 31, zstd.compress(bytes(9))),
            "its header holds values that are never written",
        ),
        (forged(5, b"12345"), "its header holds values that are never written"),
        (forged(5, b"", codec=1), "its header holds values that are never written"),
        (forged(5, b"1234", codec=0), "its header holds values that are never written"),
        (forged(5, b"1234", codec=2), "its header holds values that are never written"),
        (forged(5, b"1234", cipher=2), "its header holds values that are never written"),
        (forged(5, b"1234", key_id=7), "its header holds values that are never written"),
        (forged(4, b"12345", codec=0)[:-1], "its header holds values that are never written"),
        (forged(5, b"12345", codec=0) + b"!", "it has 58 bytes instead of 57"),
        (forged(5, b"12345", codec=0), "its content does not fit its BLAKE3 id"),
    ],
)
def test_headers_that_nobody_writes(sealed: bytes, why: str) -> None:
    with pytest.raises(Damaged) as caught:
        Sealer(None).unseal(CHUNK, sealed, "p at byte 9")
    assert str(caught.value) == f"cannot use p at byte 9, it is damaged: {why}"


@pytest.mark.parametrize(
    "body",
    [
        zstd.compress(bytes(101)),  # one byte more than declared
        zstd.compress(bytes(99)),
        zstd.compress(bytes(1 << 30)),  # 1 GiB out of 32 KiB
        zstd.compress(bytes(100)) + b"!",
        zstd.compress(bytes(50)) + zstd.compress(bytes(50)),
        zstd.compress(bytes(100))[:-1],
        b"no frame at all",
    ],
)
def test_frames_that_do_not_hold_what_the_header_says(body: bytes) -> None:
    length = max(100, len(body) + 1)  # the header itself is possible
    with pytest.raises(Damaged):
        Sealer(None).unseal(CHUNK, forged(length, body), "x")
    if len(body) < 100:
        with pytest.raises(Damaged):
            Sealer(None).unseal(CHUNK, forged(100, body), "x")


def test_a_frame_that_demands_a_huge_window_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    body = compressor.compress(bytes(1 << 20)) + compressor.flush()
    with pytest.raises(Damaged, match="zstd cannot read it"):
        Sealer(None).unseal(CHUNK, forged(1 << 20, body), "x")


def test_scenario_172_a_key_never_shows_itself() -> None:
    key = Key(os.urandom(32))
    for text in (repr(key), str(key), f"{key}", repr([key]), repr(Sealer(key))):
        assert key.master.hex() not in text
        assert repr(key.master) not in text
    assert repr(key) == f"Key(id={key.id:08x})"
    assert pickle.loads(pickle.dumps(key)) == key


def test_a_damaged_block_says_what_it_means_and_what_to_do() -> None:
    error = Damaged("clusters/main/packs/0a/0a12 at byte 52", "x")
    assert error.hint == (
        "nothing that needs it can be restored from this copy: bring the object back from another "
        "copy of the repository, or take a new backup now"
    )
