"""SFTP's packets: any bytes are an answer or Malformed, and requests say what they were given."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.repository.store.sftp import protocol
from pgkeep.repository.store.sftp.protocol import (
    Attributes,
    Content,
    Entry,
    Handle,
    Malformed,
    Names,
    Room,
    Status,
)

numbers = st.integers(0, (1 << 32) - 1)
attributes = st.builds(
    Attributes,
    st.none() | st.integers(0, (1 << 64) - 1),
    st.none() | numbers,
    st.none() | numbers,
)


def encoded(facts: Attributes, *, owner: bool = False, more: int = 0) -> bytes:
    flags = (facts.size is not None) | 2 * owner | 4 * (facts.mode is not None)
    flags |= 8 * (facts.modified is not None) | 0x80000000 * bool(more)
    content = struct.pack(">I", flags)
    content += b"" if facts.size is None else struct.pack(">Q", facts.size)
    content += struct.pack(">II", 1000, 1000) if owner else b""
    content += b"" if facts.mode is None else struct.pack(">I", facts.mode)
    content += b"" if facts.modified is None else struct.pack(">II", 7, facts.modified)
    if more:
        content += struct.pack(">I", more) + more * (protocol.text(b"name") + protocol.text(b"x"))
    return content


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_malformed(packet: bytes) -> None:
    for read in (protocol.read_answer, protocol.read_version, protocol.read_room):
        with suppress(Malformed):
            read(packet)


@given(numbers, numbers, st.text(max_size=20))
def test_statuses(number: int, code: int, words: str) -> None:
    head = struct.pack(">BII", 101, number, code)
    said = protocol.text(words.encode()) + protocol.text(b"en")
    assert protocol.read_answer(head + said) == (number, Status(code, words))
    assert protocol.read_answer(head) == (number, Status(code, ""))  # of old servers


@given(numbers, st.binary(max_size=300))
def test_handles_and_content(number: int, value: bytes) -> None:
    for kind, expected in ((102, Handle(value)), (103, Content(value))):
        packet = struct.pack(">BI", kind, number) + protocol.text(value)
        assert protocol.read_answer(packet) == (number, expected)
        if value:
            with pytest.raises(Malformed):
                protocol.read_answer(packet[:-1])


@given(numbers, attributes, st.booleans(), st.integers(0, 3))
def test_attributes(number: int, facts: Attributes, owner: bool, more: int) -> None:
    packet = struct.pack(">BI", 105, number) + encoded(facts, owner=owner, more=more)
    assert protocol.read_answer(packet) == (number, facts)


@given(numbers, st.lists(st.tuples(st.binary(max_size=20), attributes), max_size=5))
def test_listings(number: int, listed: list[tuple[bytes, Attributes]]) -> None:
    packet = struct.pack(">BII", 104, number, len(listed))
    for name, facts in listed:
        packet += protocol.text(name) + protocol.text(b"-rw ...") + encoded(facts)
    expected = Names(tuple(Entry(name, facts) for name, facts in listed))
    assert protocol.read_answer(packet) == (number, expected)


def test_a_listing_that_claims_a_million_names_takes_no_memory() -> None:
    with pytest.raises(Malformed):
        protocol.read_answer(struct.pack(">BII", 104, 1, 1 << 31))


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=5), max_size=4))
def test_what_a_server_offers(offers: dict[bytes, bytes]) -> None:
    packet = struct.pack(">BI", 2, 3)
    for name, version in offers.items():
        packet += protocol.text(name) + protocol.text(version)
    assert protocol.read_version(packet) == offers
    with pytest.raises(Malformed, match="it speaks version 6 of SFTP, not 3"):
        protocol.read_version(struct.pack(">BI", 2, 6))


@given(numbers, st.binary(max_size=20), st.binary(max_size=20))
def test_requests_tell_their_own_length(number: int, one: bytes, two: bytes) -> None:
    made = protocol.request(protocol.RENAME, number, protocol.text(one), protocol.text(two))
    length, kind, back = struct.unpack_from(">IBI", made)
    assert (length, kind, back) == (len(made) - 4, 18, number)
    assert made[9:] == struct.pack(">I", len(one)) + one + struct.pack(">I", len(two)) + two
    head = protocol.write_head(number, one, 1 << 40, len(two))
    length, kind, back = struct.unpack_from(">IBI", head)
    assert (length, kind, back) == (len(head) + len(two) - 4, 6, number)
    assert head[-12:] == struct.pack(">QI", 1 << 40, len(two))


def test_room_is_what_this_user_may_still_write() -> None:
    reply = struct.pack(">11Q", 4096, 512, 1000, 500, 400, 90, 80, 70, 1, 1, 255)
    assert protocol.read_room(reply) == Room(400 * 512, 70, read_only=True)
    of_btrfs = struct.pack(">11Q", 4096, 4096, 9, 8, 7, 0, 0, 0, 1, 0, 255)
    assert protocol.read_room(of_btrfs) == Room(7 * 4096, None, read_only=False)
