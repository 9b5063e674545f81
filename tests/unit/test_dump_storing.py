"""What a worker stores of the files that it is given."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import CapturedFile, Part
from pgkeep.logical.capture.storing import Storer, StorerSetup
from pgkeep.repository.packs.pack_ids import TAG, tag_of
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Key
from pgkeep.repository.store.open import open_store
from pgkeep.workers.throttle import SharedRate
from support.captures import known_of, new_bytes, read_back, tables_of

MIB = 1 << 20
KEY = Key(bytes(range(32)))
NewStorer = Callable[..., Storer]


@pytest.fixture(params=[pytest.param(None, id="open"), pytest.param(KEY, id="encrypted")])
def cluster(request: pytest.FixtureRequest) -> ClusterFolder:
    store = open_store(f"memory:{os.urandom(8).hex()}")
    return Repository(store, "00" * 16, request.param).cluster("main")


@pytest.fixture
def new_storer(cluster: ClusterFolder) -> NewStorer:
    def make(**changes: object) -> Storer:
        repository = cluster.repository
        setup = StorerSetup(repository.store.url, repository.id, repository.key, "main")
        return setup._replace(**changes).open()  # type: ignore[arg-type]

    return make


def rows(count: int, seed: int = 1) -> bytes:
    chance = random.Random(seed)
    return b"".join(b"%d\t%x\n" % (row, chance.getrandbits(200)) for row in range(count))


def take(storer: Storer, directory: Path, *parts: Part) -> list[tuple[int, int]]:
    """Return where each part ended and its line feeds."""
    taken = storer.read(parts, directory)
    storer.seal()
    return [(part.end, part.lines) for part in taken]


def test_a_file_is_stored_part_by_part_and_removed_at_its_end(
    cluster: ClusterFolder, new_storer: NewStorer, tmp_path: Path
) -> None:
    content, storer = rows(40_000), new_storer()
    (tmp_path / "1.dat").write_bytes(content)
    size, begin, lines, tail = len(content), 0, 0, b""
    while begin < size:
        part = Part(0, "1.dat", begin, min(size, begin + MIB), final=begin + MIB >= size)
        (taken,) = storer.read((part,), tmp_path)
        storer.seal()
        assert taken.tail == content[max(begin, taken.end - 16) : taken.end]
        lines += taken.lines
        begin, tail = taken.end, taken.tail
        assert (tmp_path / "1.dat").exists() != part.final
    files = [CapturedFile(0, "1.dat", size, lines, tail)]
    tables = tables_of(files, storer.finish())
    assert dict(read_back(cluster, tables, files)) == {"1.dat": content}


def test_content_of_our_own_is_cut_like_a_file(
    cluster: ClusterFolder, new_storer: NewStorer
) -> None:
    content, storer = rows(150_000), new_storer()
    chance, pieces, begin = random.Random(1), [], 0
    while begin < len(content):
        size = chance.choice([0, 1, 1000, 3 * MIB])
        pieces.append(content[begin : begin + size])
        begin += size
    files = [storer.store(0, [content]), storer.store(1, pieces), storer.store(2, [])]
    assert files[0] == (0, "", len(content), 150_000, content[-16:])
    assert files[1][1:] == files[0][1:]
    assert files[2] == (2, "", 0, 0, b"")
    stored = storer.finish()
    named = [file._replace(path=str(file.number)) for file in files]
    read = dict(read_back(cluster, tables_of(named, stored), named))
    assert read == {"0": content, "1": content, "2": b""}
    (part,) = stored
    assert len(set(part.column("offset").tolist())) * 2 == len(part.rows) // 48


def test_known_chunks_are_not_stored_again(cluster: ClusterFolder, new_storer: NewStorer) -> None:
    content = rows(100_000)
    storer = new_storer()
    first = [storer.store(0, [content])._replace(path="a")]
    parent = tables_of(first, storer.finish())
    again = new_storer(known=known_of(parent))
    begin = content.index(b"\n70000\t") + 1
    changed = content[:begin] + b"a new row\n" + content[begin:]
    files = [again.store(0, [changed])._replace(path="b")]
    stored = again.finish()
    assert new_bytes(stored) < 400_000
    tables = tables_of(files, stored, parent)
    assert dict(read_back(cluster, tables, files)) == {"b": changed}


def test_many_small_files_share_a_chunk_if_they_are_equal(
    cluster: ClusterFolder, new_storer: NewStorer, tmp_path: Path
) -> None:
    storer = new_storer()
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"\\.\n\n\n")
    parts = [Part(number, str(number), 0, 5, final=True) for number in range(50)]
    assert take(storer, tmp_path, *parts) == [(5, 3)] * 50
    assert list(tmp_path.iterdir()) == []
    (stored,) = storer.finish()
    assert set(stored.column("offset").tolist()) == {0}
    assert len(stored.packs) == 1


def test_packs_bear_the_tag_of_their_dump(new_storer: NewStorer) -> None:
    tag = tag_of("D20261127T160500Z-7f3a")
    storer = new_storer(tag=tag)
    storer.store(0, [b"content"])
    (stored,) = storer.finish()
    assert [pack.id[TAG] for pack in stored.packs] == [tag]


def test_nothing_is_stored_of_nothing(new_storer: NewStorer) -> None:
    storer = new_storer()
    assert storer.finish() == []
    storer.store(0, [b"content"])
    assert len(storer.finish()) == 1
    assert storer.finish() == []


def test_a_file_that_cannot_be_read_is_an_error(new_storer: NewStorer, tmp_path: Path) -> None:
    storer = new_storer()
    with pytest.raises(CaptureAborted, match="cannot be read: no such file or directory"):
        take(storer, tmp_path, Part(0, "1.dat", 0, 5, final=True))
    (tmp_path / "1.dat").write_bytes(b"abc")
    with pytest.raises(CaptureAborted, match="cannot be read: it became shorter"):
        take(storer, tmp_path, Part(0, "1.dat", 0, 5, final=True))


def test_a_limited_rate_is_kept(new_storer: NewStorer, tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    rate = SharedRate(MIB, clock=lambda: now[0], sleep=sleep)
    (tmp_path / "1.dat").write_bytes(bytes(4 * MIB))
    storer = new_storer(rate=rate)
    part = Part(0, "1.dat", 0, 4 * MIB, final=True)
    storer.read((part,), tmp_path)
    assert now[0] == 0
    storer.seal()
    assert now[0] == pytest.approx(4, abs=0.2)


def test_chunks_are_remembered_within_bounds(cluster: ClusterFolder) -> None:
    """The memory for a terabyte of new chunks would be gigabytes."""
    repository, content = cluster.repository, rows(150_000)
    setup = StorerSetup(repository.store.url, repository.id, repository.key, "main")
    storer = Storer(cluster, setup, most_chunks=10)
    files = [storer.store(0, [content])._replace(path="a")]
    stored = storer.finish()
    assert len(stored) == 2
    assert dict(read_back(cluster, tables_of(files, stored), files)) == {"a": content}
