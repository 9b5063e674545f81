"""Backups that died: how they are found, and what of them is used."""

from datetime import UTC, datetime

import pytest

from pgkeep.backup.incremental import attempts
from pgkeep.backup.incremental.attempts import Adopted, Past, adopt
from pgkeep.model.backup import BackupId
from pgkeep.repository import names
from pgkeep.repository.pack import PackWriter, StoredPack
from pgkeep.repository.packs.attempts import (
    begin,
    discard,
    end,
    list_attempts,
    list_packs,
    packs_of,
    unfinished,
)
from pgkeep.repository.packs.pack_ids import pack_id, tag_of
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import CHUNK, Key, Sealer
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from support.dying_store import DyingStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DEAD, OTHER = BackupId("20260102T000000Z-dead"), BackupId("20260102T000000Z-0000")


@pytest.fixture
def cluster() -> ClusterFolder:
    return Repository.create(MemoryStore(), "none", None).cluster("main")


def store(
    cluster: ClusterFolder, *chunks: bytes, of: str = DEAD, sealer: Sealer | None = None
) -> StoredPack:
    """Store a pack of these chunks."""
    sealer = sealer or cluster.repository.sealer()
    writer = PackWriter(cluster, sealer, new_id=lambda _: pack_id(tag_of(of)))
    for chunk in chunks:
        writer.add(sealer.seal(CHUNK, chunk))
    (pack,) = writer.finish()
    return pack


def read(cluster: ClusterFolder, found: Adopted, chunk: bytes) -> bytes | None:
    """Return what is stored where a chunk was found."""
    sealer = cluster.repository.sealer()
    answer = found.find(sealer.chunk_id(chunk))
    if answer is None:
        return None
    pack, placed = answer
    name = names.pack("main", pack.id)
    sealed = cluster.store.get(name, placed.offset, placed.length)
    return sealer.unseal(CHUNK, sealed, name)


def test_packs_carry_the_tag_of_their_backup_and_are_spread_over_all_folders() -> None:
    tag = tag_of(DEAD)
    ids = [pack_id(tag) for _ in range(2000)]
    assert {len(each) for each in ids} == {16}
    assert len(set(ids)) == 2000
    assert len({each[0] for each in ids}) > 200
    assert {each[1:7] for each in ids} == {tag}
    assert tag != tag_of(OTHER)


def test_packs_of_an_attempt_are_found_by_name(cluster: ClusterFolder) -> None:
    mine = store(cluster, b"one")
    store(cluster, b"two", of=OTHER)
    packs = list_packs(cluster)
    assert len(packs) == 2
    assert packs_of([DEAD], packs) == [mine]
    assert packs_of([], packs) == []


def test_what_lies_beside_packs_is_passed_over(cluster: ClusterFolder) -> None:
    mine = store(cluster, b"one")
    for name in ("xy/readme", f"00/{mine.id.hex()}", "aa/aa"):
        cluster.store.put(f"{names.packs_prefix('main')}{name}", [b"?"])
    assert mine.id in list_packs(cluster)
    assert packs_of([DEAD], list_packs(cluster)) == [mine]


def test_an_attempt_is_unfinished_until_its_manifest_is_there(cluster: ClusterFolder) -> None:
    begin(cluster, DEAD, NOW)
    begin(cluster, OTHER, NOW)
    cluster.store.put(names.attempts_prefix("main") + "notes.txt", [b"?"])
    assert unfinished(cluster, list_attempts(cluster), []) == [OTHER, DEAD]
    assert unfinished(cluster, list_attempts(cluster), [OTHER]) == [DEAD]
    assert unfinished(cluster, list_attempts(cluster), []) == [
        DEAD
    ]  # the other one was only not tidied up
    end(cluster, [DEAD, OTHER])
    assert unfinished(cluster, list_attempts(cluster), []) == []


def test_attempts_of_dumps_are_left_alone(cluster: ClusterFolder) -> None:
    """They are neither adopted nor forgotten: a dump may be at work beside a backup."""
    dump = "D20260102T000000Z-beef"
    theirs, mine = store(cluster, b"rows", of=dump), store(cluster, b"pages")
    begin(cluster, dump, NOW)
    begin(cluster, DEAD, NOW)
    past = Past.read(cluster)
    assert past.unfinished == [DEAD]
    assert list(past.adopt(cluster).packs) == [mine]
    assert unfinished(cluster, list_attempts(cluster), [dump, DEAD]) == []
    left = [blob.name for blob in cluster.store.list(names.attempts_prefix("main"))]
    assert left == [names.attempt("main", dump)]
    discard(cluster, DEAD)
    assert list(list_packs(cluster)) == [theirs.id]
    discard(cluster, dump)
    assert list_packs(cluster) == {}


def test_an_attempt_that_the_store_keeps_does_no_harm(cluster: ClusterFolder) -> None:
    begin(cluster, DEAD, NOW)
    dying = DyingStore(cluster.store, 1, after=False, error=StoreFailed)
    end(Repository(dying, "00" * 16, None).cluster("main"), [DEAD])
    assert unfinished(cluster, list_attempts(cluster), []) == [DEAD]


def test_chunks_of_whole_packs_are_adopted(cluster: ClusterFolder) -> None:
    packs = [store(cluster, b"one", b"two" * 50), store(cluster, b"three")]
    found = adopt(cluster, cluster.repository.sealer(), packs)
    assert (len(found), len(found.packs)) == (3, 2)
    for chunk in (b"one", b"two" * 50, b"three"):
        assert read(cluster, found, chunk) == chunk
    assert read(cluster, found, b"four") is None


def test_many_chunks_are_told_apart(cluster: ClusterFolder) -> None:
    chunks = [b"chunk %d" % number for number in range(500)]
    found = adopt(cluster, cluster.repository.sealer(), [store(cluster, *chunks)])
    assert [read(cluster, found, chunk) for chunk in chunks] == chunks


def test_nothing_to_adopt(cluster: ClusterFolder) -> None:
    found = adopt(cluster, cluster.repository.sealer(), [])
    assert len(found) == 0
    assert found.find(b"x" * 16) is None


@pytest.mark.parametrize("encrypted", [False, True])
def test_packs_that_are_not_whole_are_passed_over_wherever_they_are_hurt(
    encrypted: bool,
) -> None:
    """A bit of the contents or the footer, or an end that is missing. The good one is used."""
    key = Key(bytes(range(32))) if encrypted else None
    cluster = Repository(MemoryStore(), "00" * 16, key).cluster("main")
    sealer = cluster.repository.sealer()
    good, hurt = store(cluster, b"good"), store(cluster, b"hurt" * 30)
    name = names.pack("main", hurt.id)
    content = cluster.store.get(name)
    chunk_end = len(sealer.seal(CHUNK, b"hurt" * 30).data)
    spare = range(len(content) - 11, len(content) - 8)  # of the footer: mean nothing
    for at in range(chunk_end, len(content)):
        for spoiled in (content[:at], content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]):
            cluster.store.put(name, [spoiled])
            found = adopt(cluster, sealer, [hurt, good])
            assert list(found.packs) == ([hurt, good] if at in spare and spoiled[at:] else [good])


def test_a_pack_that_is_gone_is_passed_over(cluster: ClusterFolder) -> None:
    good = store(cluster, b"good")
    found = adopt(cluster, cluster.repository.sealer(), [StoredPack(b"x" * 16, 5), good])
    assert list(found.packs) == [good]


def test_no_more_chunks_than_fit_into_memory(
    cluster: ClusterFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_MOST_CHUNKS", 5)
    packs = [store(cluster, *(b"%d-%d" % (n, chunk) for chunk in range(2))) for n in range(4)]
    found = adopt(cluster, cluster.repository.sealer(), packs)
    assert (list(found.packs), len(found)) == (packs[:2], 4)


def test_what_there_is_no_room_for_is_discarded(cluster: ClusterFolder) -> None:
    begin(cluster, DEAD, NOW)
    mine, other = store(cluster, b"one"), store(cluster, b"two", of=OTHER)
    discard(cluster, DEAD)
    assert list_packs(cluster).keys() == {other.id}
    assert mine.id != other.id
    assert unfinished(cluster, list_attempts(cluster), []) == []


def test_the_packs_of_a_backup_that_is_listed_are_never_discarded(cluster: ClusterFolder) -> None:
    """The store complained that it is full, and had taken the manifest all the same."""
    begin(cluster, DEAD, NOW)
    mine = store(cluster, b"one")
    cluster.store.put(names.manifest("main", DEAD), [b"a manifest"])
    discard(cluster, DEAD)
    assert list_packs(cluster).keys() == {mine.id}
