"""What is seen of a directory that somebody writes into."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgkeep.logical.capture.aborted import CaptureAborted
from pgkeep.logical.capture.backlog import Backlog, Taken, Task
from pgkeep.logical.capture.follow import Follower
from pgkeep.logical.capture.holes import Holes

MIB = 1 << 20


class Followed:
    """A directory, and what is known of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.backlog = Backlog(0)
        self.follower = Follower(directory, self.backlog)

    def look(self) -> bool:
        return self.follower.look()

    def write(self, name: str, size: int) -> None:
        (self.directory / name).write_bytes(b"\n" * size)

    def take(self, task: Task) -> list[str]:
        """Read a whole task, as a worker does."""
        for part in task:
            self.backlog.take(part, Taken(part.end, 0, b""))
            if part.final:
                (self.directory / part.name).unlink()
        return [part.name for part in task]

    def take_closed(self) -> list[str]:
        names = []
        while task := self.backlog.next_task(anything=True):
            names += self.take(task)
        return sorted(names)

    def sizes(self) -> dict[str, int]:
        return {file.path: file.size for file in self.backlog.files}


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    found = Followed(tmp_path / "dump")
    yield found
    found.follower.close()


def test_the_directory_may_come_later(followed: Followed) -> None:
    assert not followed.look()
    assert not followed.follower.waitable()
    followed.directory.mkdir()
    assert followed.look()
    assert followed.follower.waitable()
    assert not followed.look()


def test_files_are_seen_when_they_are_made_grow_and_are_closed(followed: Followed) -> None:
    followed.directory.mkdir()
    followed.look()
    with (followed.directory / "1.dat").open("wb") as file:
        assert followed.look()
        assert list(followed.backlog.writing()) == [("1.dat", 0)]
        file.write(b"\n" * MIB)
        file.flush()
        assert followed.look()
        assert not followed.look()
        assert followed.take(followed.backlog.next_task(anything=True)) == ["1.dat"]
        assert list(followed.backlog.writing()) == [("1.dat", MIB)]
    assert followed.look()
    assert list(followed.backlog.writing()) == []
    assert followed.take_closed() == ["1.dat"]
    assert followed.sizes() == {"1.dat": MIB}


def test_files_that_were_there_before_are_seen(followed: Followed) -> None:
    followed.directory.mkdir()
    followed.write("1.dat", 10)
    with (followed.directory / "2.dat").open("wb"):
        followed.look()
        assert [name for name, _ in followed.backlog.writing()] == ["2.dat"]
        assert followed.take_closed() == ["1.dat"]
    followed.look()
    assert followed.take_closed() == ["2.dat"]


def test_cutting_a_file_off_does_not_look_like_its_end(followed: Followed) -> None:
    followed.directory.mkdir()
    holes = Holes(followed.directory)
    with (followed.directory / "1.dat").open("wb") as file:
        file.write(b"\n" * 3 * MIB)
        file.flush()
        followed.look()
        holes.punch("1.dat", 0, 2 * MIB + 100)
        holes.punch("1.dat", 2 * MIB + 100, 2 * MIB + 200)
        followed.look()
        assert [name for name, _ in followed.backlog.writing()] == ["1.dat"]
        path = followed.directory / "1.dat"
        assert path.stat().st_size == 3 * MIB
        if holes.possible:
            assert path.stat().st_blocks * 512 <= MIB
            content = path.read_bytes()
            assert content[: 2 * MIB].strip(b"\0") == b""
            assert content[2 * MIB :] == b"\n" * MIB
    holes.forget("1.dat")
    holes.close()


def test_file_systems_without_holes_are_noticed(tmp_path: Path) -> None:
    """Nothing below /proc has them."""
    holes = Holes(tmp_path)
    (tmp_path / "1.dat").symlink_to("/proc/self/comm")
    holes.punch("1.dat", 0, 4000)
    assert holes.possible
    holes.punch("1.dat", 0, 5000)
    assert not holes.possible
    holes.punch("2.dat", 0, 5000)
    holes.close()


def test_a_file_that_cannot_be_cut_off_is_an_error(tmp_path: Path) -> None:
    holes = Holes(tmp_path)
    with pytest.raises(CaptureAborted, match="cannot be cut off: no such file or directory"):
        holes.punch("1.dat", 0, 5000)


def test_lists_of_large_objects_are_read_in_the_end_and_contents_never(
    followed: Followed,
) -> None:
    followed.directory.mkdir()
    followed.look()
    for name in ("toc.dat", "blobs.toc", "blobs_7.toc", "blob_16392.dat"):
        followed.write(name, 10)
    followed.look()
    assert followed.take_closed() == ["blob_16392.dat"]
    with (followed.directory / "blobs.toc").open("ab") as again:
        again.write(b"more")
    followed.follower.end()
    assert followed.take_closed() == ["blobs.toc", "blobs_7.toc"]
    assert followed.sizes()["blobs.toc"] == 14
    assert os.listdir(followed.directory) == ["toc.dat"]


def test_lost_events_are_made_up_for(followed: Followed) -> None:
    """The system keeps 16,384 events at most by default."""
    followed.directory.mkdir()
    followed.look()
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = [f"{number}.dat" for number in range(most // 2 + 500)]
    for name in names:
        followed.write(name, 1)
    with (followed.directory / "open.dat").open("wb"):
        followed.look()
        assert [name for name, _ in followed.backlog.writing()] == ["open.dat"]
        assert followed.take_closed() == sorted(names)
    followed.write("late.dat", 1)
    followed.look()
    assert followed.take_closed() == ["late.dat", "open.dat"]
    assert len(followed.backlog.files) == len(names) + 2


def test_the_end_is_the_end_of_all_files(followed: Followed) -> None:
    followed.follower.end()
    assert not followed.backlog
    followed.directory.mkdir()
    with (followed.directory / "1.dat").open("wb") as file:
        file.write(b"abc")
        file.flush()
        followed.look()
        followed.follower.end()
        assert followed.take_closed() == ["1.dat"]


def test_files_that_somebody_removes_are_an_error(followed: Followed) -> None:
    followed.directory.mkdir()
    with (followed.directory / "1.dat").open("wb"):
        followed.look()
        (followed.directory / "1.dat").unlink()
        with pytest.raises(CaptureAborted) as raised:
            followed.look()
    path = followed.directory / "1.dat"
    assert str(raised.value) == (
        f"no dump was made: {path} cannot be read: no such file or directory"
    )
    assert raised.value.hint == (
        "somebody removes files there while pg_dump writes them: give another --scratch"
    )


def test_what_cannot_be_watched_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(b"no directory")
    follower = Follower(tmp_path / "dump", Backlog(0))
    with pytest.raises(CaptureAborted, match="dump cannot be watched: not a directory"):
        follower.look()
