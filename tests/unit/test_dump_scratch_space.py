"""Where pg_dump writes to while its files are read."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pgkeep.logical.capture.scratch_space import NoScratchSpace, Place, choose, scratch_space
from support.wait import wait_for

MIB = 1 << 20


@pytest.mark.parametrize(
    ("memory", "disk", "chosen"),
    [
        pytest.param(512, 1000, ("memory", 256), id="memory, if there is plenty"),
        pytest.param(511, 1000, ("disk", 256), id="else the disk"),
        pytest.param(511, 200, ("disk", 100), id="half of what is free"),
        pytest.param(511, 64, ("disk", 32), id="the least"),
    ],
)
def test_the_place_with_room_is_chosen(memory: int, disk: int, chosen: tuple[str, int]) -> None:
    places = [Place("memory", memory * MIB), Place("disk", disk * MIB)]
    assert choose(places, 256 * MIB) == (chosen[0], chosen[1] * MIB)


def test_too_little_room_is_refused() -> None:
    with pytest.raises(NoScratchSpace) as raised:
        choose([Place("/scratch", 63 * MIB)], 256 * MIB)
    assert str(raised.value) == (
        "no dump was made: /scratch cannot take pg_dump's files: "
        "it has 63 MiB free, 64 MiB are needed"
    )
    assert raised.value.hint == (
        "give a directory with 512 MiB free with --scratch, or as scratch in the configuration; "
        "it is needed only while a dump is made"
    )


def test_a_directory_of_our_own_is_made_and_removed(tmp_path: Path) -> None:
    with scratch_space(str(tmp_path)) as space:
        assert space.directory.parent == tmp_path
        assert stat.S_IMODE(space.directory.stat().st_mode) == 0o700
        assert space.limit > 0
        (space.directory / "1").mkdir()
        (space.directory / "1" / "3421.dat").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_found_without_being_told() -> None:
    with scratch_space() as space:
        assert str(space.directory.parent) in ("/dev/shm", tempfile.gettempdir())
    assert not space.directory.exists()


def test_it_is_removed_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_space(str(tmp_path)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("missing", "no such file or directory", id="missing"),
        pytest.param("file", "it is not a directory", id="file"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoScratchSpace) as raised, scratch_space(str(tmp_path / name)):
        pass
    assert (raised.value.directory, raised.value.why) == (str(tmp_path / name), why)


PROGRAM = """
import sys
from pgkeep.logical.capture.scratch_space import scratch_space
with scratch_space(sys.argv[1]) as space:
    (space.directory / "3421.dat").write_bytes(b"x")
    print(space.directory, flush=True)
    sys.stdin.read()
"""


def test_it_is_removed_when_its_owner_is_killed(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        assert directory.is_dir()
        os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: not directory.exists(), what="removal of the scratch directory")
