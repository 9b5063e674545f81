"""Whatever happens to sealed bytes, wrong content never comes out, and only PgkeepErrors do."""

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.repository.seal import CHUNK, Key, Sealer

SEALERS = {False: Sealer(None), True: Sealer(Key(b"k" * 32))}
PLAIN = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda piece, times: piece * times, st.binary(max_size=40), st.integers(0, 200)),
)


@given(PLAIN, st.booleans(), st.integers(1, 5))
def test_round_trip(plain: bytes, encrypted: bool, kind: int) -> None:
    sealer = SEALERS[encrypted]
    assert sealer.unseal(kind, sealer.seal(kind, plain).data, "x") == plain


def opened(sealer: Sealer, sealed: bytes) -> bytes | None:
    try:
        return sealer.unseal(CHUNK, sealed, "x")
    except PgkeepError:
        return None


@given(PLAIN, st.booleans(), st.data())
def test_one_flipped_bit(plain: bytes, encrypted: bool, data: st.DataObject) -> None:
    sealed = bytearray(SEALERS[encrypted].seal(CHUNK, plain).data)
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert opened(SEALERS[encrypted], bytes(sealed)) is None


@given(PLAIN, st.booleans(), st.data())
def test_cut_off_and_extended(plain: bytes, encrypted: bool, data: st.DataObject) -> None:
    sealed = SEALERS[encrypted].seal(CHUNK, plain).data
    cut = data.draw(st.integers(0, len(sealed) - 1))
    assert opened(SEALERS[encrypted], sealed[:cut]) is None
    assert (
        opened(SEALERS[encrypted], sealed + data.draw(st.binary(min_size=1, max_size=60))) is None
    )


@given(PLAIN, PLAIN, st.booleans(), st.data())
def test_parts_of_two_blocks(one: bytes, two: bytes, encrypted: bool, data: st.DataObject) -> None:
    sealer = SEALERS[encrypted]
    first, second = (sealer.seal(CHUNK, plain).data for plain in (one, two))
    cut = data.draw(st.integers(0, min(len(first), len(second))))
    assert opened(sealer, first[:cut] + second[cut:]) in (None, one, two)


@given(st.binary(max_size=200), st.booleans())
def test_noise(noise: bytes, encrypted: bool) -> None:
    assert opened(SEALERS[encrypted], noise) is None
    assert opened(SEALERS[encrypted], b"PGKS\x01" + noise) is None


@given(PLAIN, st.integers(0, (1 << 32) - 1), st.booleans())
def test_any_declared_length(plain: bytes, declared: int, encrypted: bool) -> None:
    sealed = bytearray(SEALERS[encrypted].seal(CHUNK, plain).data)
    sealed[12:16] = declared.to_bytes(4, "little")
    assert opened(SEALERS[encrypted], bytes(sealed)) in (None, plain)
