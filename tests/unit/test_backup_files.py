"""Reading local files without disturbing the page cache, and writing packs behind the work."""

import os
from pathlib import Path

import pytest

from pgkeep.backup.copying.file_reader import FileReader, _resident_pages
from pgkeep.postgres.datadir import Unreadable
from pgkeep.repository.store.base import BlobExists
from pgkeep.repository.store.distance.write_behind import WriteBehind
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.units import MIB


def in_memory(path: Path) -> float:
    """Return the share of a file that the kernel holds in memory."""
    with path.open("rb") as file:
        pages = _resident_pages(file.fileno(), 0, path.stat().st_size)
    assert pages is not None
    return pages.count(1) / len(pages)


def read_all(path: Path) -> None:
    opened = FileReader(str(path.parent)).open(path.name)
    assert opened is not None
    buffer = memoryview(bytearray(MIB))
    with opened as file:
        for offset in range(0, file.size, MIB):
            assert file.read_into(buffer, offset) == MIB


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(16 * MIB))
    return path


def test_what_was_in_memory_stays_there(large: Path) -> None:
    read_all(large)
    assert in_memory(large) == 1


def test_what_was_fetched_for_the_backup_leaves_again(large: Path) -> None:
    with large.open("rb") as file:
        os.fsync(file.fileno())  # what is not on disk yet can't be dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if in_memory(large):
        pytest.skip("this file system holds everything in memory")
    read_all(large)
    assert in_memory(large) < 0.5


def test_a_file_that_is_gone_is_none(tmp_path: Path) -> None:
    assert FileReader(str(tmp_path)).open("nothing") is None


def test_a_pipe_in_a_files_place_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="no longer a regular file"):
        FileReader(str(tmp_path)).open("pipe")


def test_a_file_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "hba").write_text("local all all trust\n")
    reader = FileReader("/nowhere", {"pgkeep_config/hba_file": str(tmp_path / "hba")})
    opened = reader.open("pgkeep_config/hba_file")
    assert opened is not None
    with opened as file:
        assert file.size == 20


def test_written_behind_is_there_once_settled() -> None:
    store = MemoryStore()
    behind = WriteBehind(store)
    for number in range(5):
        behind.create(f"pack{number}", [b"a", b"b"])
    behind.settle()
    assert [blob.name for blob in store.list()] == [f"pack{number}" for number in range(5)]


def test_what_went_wrong_behind_is_raised_at_the_next_chance() -> None:
    store = MemoryStore()
    store.create("taken", [b"x"])
    behind = WriteBehind(store)
    behind.create("taken", [b"y"])
    with pytest.raises(BlobExists):
        behind.create("next", [b"z"])
    behind.create("taken", [b"y"])
    with pytest.raises(BlobExists):
        behind.settle()
    behind.settle()  # said once
