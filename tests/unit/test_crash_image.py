"""What is left after a power cut, by the letter of POSIX."""

from random import Random

import pytest

from support.crash_image import Disk, Kind, Operation, replay

CREATE, WRITE = Operation(Kind.CREATE, ".tmp/1"), Operation(Kind.WRITE, ".tmp/1", content=b"all")
SYNC_FILE, LINK = Operation(Kind.SYNC, ".tmp/1"), Operation(Kind.LINK, ".tmp/1", "a/x")
SYNC_FOLDER = Operation(Kind.SYNC, "a")
BEGIN = [
    Operation(Kind.MAKE_FOLDER, ".tmp"),
    Operation(Kind.MAKE_FOLDER, "a"),
    Operation(Kind.SYNC, ""),
]
SAFE = [*BEGIN, CREATE, WRITE, SYNC_FILE, LINK, SYNC_FOLDER]


def images(disk: Disk) -> list[bytes | None]:
    """Return what may be left under the name a/x."""
    left = [disk.image(Random(seed)).get("a/x") for seed in range(60)]
    return [disk.image().get("a/x"), *left]


def without(*gone: Operation) -> Disk:
    return replay(operation for operation in SAFE if operation not in gone)


def test_what_is_synced_is_there_whatever_happens() -> None:
    assert set(images(replay(SAFE))) == {b"all"}
    assert replay(SAFE).contents() == {".tmp/1": b"all", "a/x": b"all"}


def test_content_that_is_not_synced_may_be_cut_or_zero() -> None:
    found = images(without(SYNC_FILE))
    assert found[0] == b""
    assert {b"", b"a", b"all", b"a\0\0", bytes(3)} <= set(found)


def test_a_name_that_is_not_synced_may_be_there_or_not() -> None:
    found = images(without(SYNC_FOLDER))
    assert found[0] is None
    assert set(found) == {None, b"all"}


def test_a_folder_that_is_not_synced_takes_all_in_it_with_it() -> None:
    found = images(without(BEGIN[2]))
    assert found[0] is None
    assert set(found) == {None, b"all"}


@pytest.mark.parametrize("synced", [True, False])
def test_a_removal_that_is_not_synced_may_be_undone(synced: bool) -> None:
    removal = [Operation(Kind.UNLINK, "a/x"), *([SYNC_FOLDER] if synced else [])]
    found = images(replay([*SAFE, *removal]))
    assert found[0] == (None if synced else b"all")
    assert set(found) == ({None} if synced else {None, b"all"})


def test_a_replacement_that_is_not_synced_leaves_the_old_or_the_new() -> None:
    again = [
        Operation(Kind.CREATE, ".tmp/2"),
        Operation(Kind.WRITE, ".tmp/2", content=b"new"),
        Operation(Kind.SYNC, ".tmp/2"),
        Operation(Kind.RENAME, ".tmp/2", "a/x"),
    ]
    found = images(replay([*SAFE, *again]))
    assert found[0] == b"all"
    assert set(found) == {b"all", b"new"}
    assert set(images(replay([*SAFE, *again, SYNC_FOLDER]))) == {b"new"}


def test_names_of_one_folder_reach_the_disk_in_any_order() -> None:
    disk = replay([*SAFE[:-1], Operation(Kind.LINK, ".tmp/1", "a/y")])
    left = [disk.image(Random(seed)) for seed in range(60)]
    assert {("a/x" in image, "a/y" in image) for image in left} == {
        (False, False), (False, True), (True, False), (True, True),
    }  # fmt: skip


def test_what_was_told_is_remembered() -> None:
    assert replay([*SAFE, Operation(Kind.TOLD, "a/x")]).told == ["a/x"]
