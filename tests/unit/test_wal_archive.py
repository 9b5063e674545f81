"""The WAL archive: pushed once, never replaced; what is fetched is what was pushed, or an error."""

import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.errors import PgkeepError
from pgkeep.model.segment import BadSegmentName
from pgkeep.repository import wal_archive
from pgkeep.repository.marker import NotARepository
from pgkeep.repository.names import BadName
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import WAL, Damaged, FormatTooNew, Key, Sealer, WrongKey
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.wal_archive import (
    BLOCK,
    HEADER_SIZE,
    PushResult,
    WalArchive,
    WalChanged,
    WalConflict,
    WalMissing,
)

GENERATION = "18-7710983248089545577"
FILE = "000000010000000A000000FF"
OBJECT = f"clusters/main/wal/{GENERATION}/00000001/0000000A/{FILE}"
NOW = datetime(2026, 11, 23, 4, 42, 25, 123456, tzinfo=UTC)
MIB = 1 << 20


@pytest.fixture(params=["open", "encrypted"])
def archive(request: pytest.FixtureRequest) -> WalArchive:
    store = MemoryStore("test")
    Repository.create(store, "none", None)
    key = Key(b"k" * 32) if request.param == "encrypted" else None
    return WalArchive(store, key, "main", GENERATION)


def store_of(archive: WalArchive) -> MemoryStore:
    store = archive._store
    assert isinstance(store, MemoryStore)
    return store


def fetched(archive: WalArchive, file: str = FILE) -> bytes:
    return b"".join(archive.fetch(file))


def wal_like(size: int) -> bytes:
    """Half of it compressible."""
    return b"".join(os.urandom(4096) + bytes(4096) for _ in range(size // 8192))


@pytest.mark.parametrize("size", [0, 1, 8192, BLOCK - 1, BLOCK, BLOCK + 1, 16 * MIB])
def test_what_was_pushed_is_fetched(archive: WalArchive, size: int) -> None:
    content = os.urandom(size // 2) + bytes(size - size // 2)
    result = archive.push(FILE, content, now=NOW)
    assert result.stored
    assert fetched(archive) == content
    found = archive.describe(FILE)
    assert (found.size, found.stored_at, found.blocks) == (size, NOW, -(-size // BLOCK))
    assert found.stored_size == result.stored_size == len(store_of(archive).get(OBJECT))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (FILE, OBJECT),
        (f"{FILE}.partial", f"{OBJECT}.partial"),
        (f"{FILE}.00000028.backup", f"{OBJECT}.00000028.backup"),
        ("0000000B.history", f"clusters/main/wal/{GENERATION}/0000000B.history"),
    ],
)
def test_every_kind_of_file_has_its_place(archive: WalArchive, file: str, name: str) -> None:
    archive.push(file, b"content")
    assert fetched(archive, file) == b"content"
    assert store_of(archive).stat(name)
    assert archive.has(file)


@pytest.mark.parametrize(
    "file",
    ["", "x", FILE.lower(), FILE + "0", FILE[:-1], f"{FILE}.backup", f"{FILE}.00000028", "../x",
     "1.history", "0000000b.history", f"{FILE}\n", "RECOVERYXLOG", f"{FILE}.partial.partial"],
)  # fmt: skip
def test_names_that_no_wal_file_has(archive: WalArchive, file: str) -> None:
    calls: list[Callable[[str], Any]] = [
        lambda f: archive.push(f, b""), archive.fetch, archive.describe, archive.has
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(BadSegmentName):
            call(file)


@pytest.mark.parametrize("generation", ["", "18", "18-", "../..-1", "18-x", "-1"])
def test_generations_that_are_none(generation: str) -> None:
    with pytest.raises(BadName):
        WalArchive(MemoryStore(), None, "main", generation)


def test_scenario_56_the_same_again_is_success(archive: WalArchive) -> None:
    content = wal_like(BLOCK)
    first = archive.push(FILE, content, now=NOW)
    before = store_of(archive).get(OBJECT)
    again = archive.push(FILE, content, level=9)  # other settings, the same content
    assert (first.stored, again.stored) == (True, False)
    assert store_of(archive).get(OBJECT) == before


@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_scenario_57_other_content_is_refused(archive: WalArchive, suffix: str) -> None:
    content = wal_like(2 * BLOCK)
    file = FILE + suffix
    archive.push(file, content, now=NOW)
    before = store_of(archive).get(OBJECT + suffix)
    one_bit = bytearray(content)
    one_bit[-1] ^= 1
    for other in (bytes(one_bit), content[:-1], content + b"\0", b""):
        with pytest.raises(WalConflict) as caught:
            archive.push(file, other)
        error = caught.value
        assert (error.archived_size, error.size) == (len(content), len(other))
        assert error.archived_hash != error.hash
        assert f"cannot archive {file}: cluster main, generation {GENERATION} holds" in str(error)
        assert "archived 2026-11-23T04:42:25.123456+00:00; this one has" in str(error)
    assert store_of(archive).get(OBJECT + suffix) == before


def test_missing_is_said_at_once(archive: WalArchive) -> None:
    with pytest.raises(WalMissing) as caught:
        archive.fetch(FILE)
    assert str(caught.value) == (
        f"{FILE} is not in the WAL archive of cluster main, generation {GENERATION} in memory:test"
    )
    assert not archive.has(FILE)


def test_scenario_60_nothing_else_is_ever_missing(tmp_path: Path) -> None:
    away = WalArchive(LocalStore(str(tmp_path / "away")), None, "main", GENERATION)
    empty = WalArchive(LocalStore(str(tmp_path)), None, "main", GENERATION)
    for ask in (away.fetch, away.describe, away.has):
        with pytest.raises(StoreFailed):
            ask(FILE)
    for ask in (empty.fetch, empty.describe, empty.has):  # an empty mount point
        with pytest.raises(NotARepository):
            ask(FILE)


def test_an_object_that_vanishes_under_a_fetch_is_not_missing(archive: WalArchive) -> None:
    archive.push(FILE, os.urandom(16 * MIB))  # more than a fetch reads at the first go
    blocks = archive.fetch(FILE)
    store_of(archive).delete(OBJECT)
    with pytest.raises(PgkeepError) as caught:
        list(blocks)
    assert not isinstance(caught.value, WalMissing)


def broken_copies(content: bytes) -> Iterator[bytes]:
    for at in [*range(HEADER_SIZE), *range(HEADER_SIZE, len(content), 97), len(content) - 1]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        yield bytes(flipped)
    for cut in (0, 1, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 10, len(content) - 1):
        yield content[:cut]
    yield content + b"\0"
    yield content + content[HEADER_SIZE:]


def test_scenario_62_no_damage_gets_out(archive: WalArchive) -> None:
    content = wal_like(8192) + b"x" * 20_000
    archive.push(FILE, content)
    whole = store_of(archive).get(OBJECT)
    for broken in broken_copies(whole):
        store_of(archive).put(OBJECT, [broken])
        with pytest.raises((Damaged, FormatTooNew, WrongKey)):
            fetched(archive)


def test_the_last_block_comes_only_when_all_is_checked(archive: WalArchive) -> None:
    archive.push(FILE, wal_like(3 * BLOCK))
    broken = bytearray(store_of(archive).get(OBJECT))
    broken[-1] ^= 1
    store_of(archive).put(OBJECT, [bytes(broken)])
    taken: list[bytes] = []
    with pytest.raises(Damaged, match=f"{OBJECT} in memory:test at byte"):
        taken.extend(archive.fetch(FILE))
    assert len(taken) < 3


def test_swapped_blocks_are_noticed(archive: WalArchive) -> None:
    """Each block is intact, and so is the header; only the order is wrong."""
    pieces = [b"a" * BLOCK, b"b" * BLOCK]
    archive.push(FILE, b"".join(pieces))
    sealer = Sealer(archive._key)
    blocks = [sealer.seal(WAL, piece).data for piece in reversed(pieces)]
    header = store_of(archive).get(OBJECT, 0, HEADER_SIZE)
    store_of(archive).put(OBJECT, [header, *blocks])
    with pytest.raises(Damaged, match=r"its blocks are not those that were archived together$"):
        fetched(archive)


def test_scenario_63_objects_put_there_by_hand(archive: WalArchive) -> None:
    store = store_of(archive)
    stranger = WalArchive(store, archive._key, "other", "18-1")
    stranger.push(FILE, b"of another cluster")
    store.put(OBJECT, [store.get(OBJECT.replace("main", "other").replace(GENERATION, "18-1"))])
    with pytest.raises(Damaged, match=r"it belongs to another cluster, 18-1$"):
        archive.fetch(FILE)
    other = FILE[:-1] + "E"
    archive.push(other, b"of this cluster")
    store.put(OBJECT, [store.get(OBJECT[:-1] + "E")])
    with pytest.raises(Damaged, match=f"it holds {other}: somebody renamed it$"):
        archive.fetch(FILE)


@pytest.mark.parametrize("cut", [0, HEADER_SIZE - 1, HEADER_SIZE, -1])
def test_a_push_over_a_truncated_object_is_no_success(archive: WalArchive, cut: int) -> None:
    content = wal_like(8192)
    archive.push(FILE, content)
    store_of(archive).put(OBJECT, [store_of(archive).get(OBJECT)[:cut]])
    with pytest.raises(Damaged, match=OBJECT):
        archive.push(FILE, content)


def test_scenario_114_a_wrong_key_is_not_damage() -> None:
    store = MemoryStore()
    Repository.create(store, "none", None)
    WalArchive(store, Key(b"a" * 32), "main", GENERATION).push(FILE, b"x")
    for key in (Key(b"b" * 32), None):
        with pytest.raises(WrongKey, match=r"it is sealed with key [0-9a-f]{8}, and ours is"):
            WalArchive(store, key, "main", GENERATION).fetch(FILE)


def test_an_open_object_in_an_encrypted_archive_is_refused() -> None:
    store = MemoryStore()
    WalArchive(store, None, "main", GENERATION).push(FILE, b"forged")
    with pytest.raises(Damaged):
        WalArchive(store, Key(b"a" * 32), "main", GENERATION).fetch(FILE)


def test_scenario_39_and_59_pushes_at_once(tmp_path: Path) -> None:
    archive = WalArchive(LocalStore(str(tmp_path)), None, "main", GENERATION)
    gate = threading.Barrier(6)
    told: list[tuple[int, bool | None]] = []
    contents = [bytes([n // 3]) * 100_000 for n in range(6)]  # two contents, three times each

    def push(number: int) -> None:
        gate.wait()
        try:
            told.append((number // 3, archive.push(FILE, contents[number]).stored))
        except WalConflict:
            told.append((number // 3, None))

    threads = [threading.Thread(target=push, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [content for content, stored in told if stored]
    assert sorted(bool(stored) for content, stored in told if content == winner) == [
        False,
        False,
        True,
    ]
    assert [stored for content, stored in told if content != winner] == [None] * 3
    assert fetched(archive) == bytes([winner]) * 100_000


def test_open_files_are_read_from_their_beginning(archive: WalArchive, tmp_path: Path) -> None:
    content = wal_like(BLOCK + 8192)
    (tmp_path / "f").write_bytes(content)
    with (tmp_path / "f").open("rb") as file:
        file.read(40)
        assert archive.push(FILE, file).size == len(content)
        assert file.tell() == 40
    assert fetched(archive) == content
    assert not archive.push(FILE, content).stored


def test_large_segments_need_little_memory(tmp_path: Path) -> None:
    """96 MiB are sealed twice rather than kept: what a 1 GiB segment does as well."""
    repository = Repository.create(LocalStore(str(tmp_path)), "none", None)
    archive = repository.cluster("main").wal(GENERATION)
    with (tmp_path / "f").open("w+b") as file:
        for _ in range(24):
            file.write(os.urandom(64 << 10) + bytes(BLOCK - (64 << 10)))
        file.flush()
        assert archive.push(FILE, file).stored
        assert not archive.push(FILE, file).stored
        file.seek(0)
        for block in archive.fetch(FILE):
            assert file.read(len(block)) == block
        assert file.read() == b""


def test_large_segments_that_change_meanwhile_are_not_stored(tmp_path: Path) -> None:
    class Slow(LocalStore):
        """Changes the file between its two readings."""

        def create(self, name: str, parts: Any) -> None:
            os.pwrite(fd, b"changed", 70 * MIB)
            super().create(name, parts)

    store = Slow(str(tmp_path))
    with (tmp_path / "f").open("w+b") as file:
        fd = file.fileno()
        os.truncate(fd, 80 * MIB)
        with pytest.raises(WalChanged, match=f"^cannot archive {FILE}: it changed while it was"):
            WalArchive(store, None, "main", GENERATION).push(FILE, file)
    assert list(store.list("clusters/")) == []


def test_more_than_any_segment_has_is_refused(tmp_path: Path) -> None:
    archive = WalArchive(MemoryStore(), None, "main", GENERATION)
    assert wal_archive.CONTENT_LIMIT == 1 << 30
    with (tmp_path / "f").open("w+b") as file:
        os.truncate(file.fileno(), (1 << 30) + 1)
        with pytest.raises(BadSegmentName):
            archive.push(FILE, file)


def test_a_header_cannot_claim_what_is_never_written(archive: WalArchive) -> None:
    facts = {"file": FILE, "stored_us": 0, "content_id": bytes(16)}
    claims = [
        {"size": 1 << 31, "stored_size": 128, "blocks": 512},
        {"size": 5, "stored_size": 1 << 40, "blocks": 1},
        {"size": 5, "stored_size": 200, "blocks": 2},
        {"size": 5, "stored_size": 200, "blocks": 0},
    ]
    for claim in claims:
        header = archive._encode(wal_archive.WalObject(**facts, **claim), 0)  # type: ignore[arg-type]
        with pytest.raises(Damaged, match="its header holds values that are never written"):
            archive._decode(header, "x")


def test_a_listing_sorts_files_and_leaves_others_alone(archive: WalArchive) -> None:
    store, prefix = store_of(archive), f"clusters/main/wal/{GENERATION}/"
    for file in (
        "000000020000000000000003", "000000010000000000000002", "000000010000000100000000",
        "000000010000000000000001", "00000002.history", "0000000A.history",
        "000000010000000000000003.partial", "000000010000000000000002.00000028.backup",
    ):  # fmt: skip
        archive.push(file, b"x")
    strangers = [
        f"{prefix}00000001/00000000/notes.txt",
        f"{prefix}00000001/00000000/000000010000000A00000001",  # in another's folder
        f"{prefix}00000001/00000000/000000010000000000000101",  # no segment of 16 MiB
        f"{prefix}00000000/00000000/000000000000000000000001",  # no timeline
    ]
    for name in strangers:
        store.put(name, [b"?"])
    store.put(f"{prefix}00000001/00000000/000000010000000000000009", [b"short"])
    listing = archive.list(16 * MIB)
    assert listing.segments == {1: [1, 2, 256], 2: [3]}
    assert listing.histories == [2, 10]
    assert listing.partials == ["000000010000000000000003.partial"]
    assert listing.backups == ["000000010000000000000002.00000028.backup"]
    assert listing.cut_off == ["000000010000000000000009"]
    assert listing.foreign == sorted(strangers)
    assert listing.stats["00000002.history"].size > HEADER_SIZE
    assert len(list(store.list(prefix))) == 13


def test_scenario_29_an_empty_archive_is_a_normal_state(archive: WalArchive) -> None:
    listing = archive.list(16 * MIB)
    assert (listing.segments, listing.histories, listing.newest) == ({}, [], None)


def test_the_newest_segment_is_the_last_one_stored() -> None:
    ticks = iter(range(1, 100))
    archive = WalArchive(MemoryStore(clock=lambda: next(ticks)), None, "main", GENERATION)
    for file in (FILE, "000000020000000A000000FE", "00000002.history"):
        archive.push(file, b"x")
    newest = archive.list(16 * MIB).newest
    assert newest is not None
    assert newest.name.endswith("/000000020000000A000000FE")


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.data())
def test_any_damage_is_an_error_of_ours(encrypted: bool, data: st.DataObject) -> None:
    store = MemoryStore()
    archive = WalArchive(store, Key(b"k" * 32) if encrypted else None, "main", GENERATION)
    content = data.draw(st.binary(max_size=400))
    assert archive.push(FILE, content) == PushResult(True, len(content), len(store.get(OBJECT)))
    whole = store.get(OBJECT)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    broken = whole[:start] + data.draw(st.binary(max_size=30)) + whole[end:]
    store.put(OBJECT, [broken])
    if broken == whole:
        assert fetched(archive) == content
    else:
        with pytest.raises(PgkeepError):
            fetched(archive)
