"""Where sandboxes may be, whose they are, and which are removed."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgkeep.repository.claims.locks import this_process
from pgkeep.sandbox.cleaning import clean, remove, sandboxes_in
from pgkeep.sandbox.mark import MARK, BadMark, Fate, Mark, judge
from pgkeep.sandbox.place import (
    Place,
    check_directory,
    keep_place,
    make_place,
    read_mark,
    write_mark,
)
from pgkeep.sandbox.request import SandboxMisplaced, SandboxTooSmall

NOW = datetime(2026, 1, 15, 15, 47, 21, tzinfo=UTC)
HOUR = timedelta(hours=1)
OURS = Mark(this_process(), "pgkeep drill", "main", NOW, "/tmp/s")


def made(directory: Path) -> Place:
    return make_place(str(directory), "main", "pgkeep drill", NOW)


def abandoned(directory: Path) -> Place:
    """A place whose owner's number has gone to another process since."""
    place = made(directory)
    dead = replace(place, mark=replace(place.mark, owner=this_process()._replace(pid_start="1")))
    write_mark(dead)
    return dead


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a path that leaves room for sockets below it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.parametrize(
    ("mark", "gone", "age", "fate"),
    [
        pytest.param(OURS, False, 0, Fate.IN_USE, id="its owner lives"),
        pytest.param(OURS, True, 0, Fate.LEFT_BEHIND, id="its owner is gone"),
        pytest.param(OURS, None, 9e9, Fate.STRANGE, id="another container's"),
        pytest.param(replace(OURS, kept_until=NOW + HOUR), True, 0, Fate.KEPT, id="kept"),
        pytest.param(replace(OURS, kept_until=NOW), True, 0, Fate.LEFT_BEHIND, id="its time came"),
        pytest.param(replace(OURS, kept_until=NOW), None, 0, Fate.LEFT_BEHIND, id="wherever"),
        pytest.param(replace(OURS, kept_until=NOW), False, 0, Fate.IN_USE, id="still looked at"),
        pytest.param(None, None, 60, Fate.IN_USE, id="being made"),
        pytest.param(None, None, 7200, Fate.LEFT_BEHIND, id="never marked"),
    ],
)
def test_fates(mark: Mark | None, gone: bool | None, age: float, fate: Fate) -> None:
    assert judge(mark, gone, NOW, age) is fate


def test_a_mark_says_the_same_when_it_is_read() -> None:
    kept = replace(OURS, kept_until=NOW + HOUR)
    assert Mark.decode(OURS.encode()) == OURS
    assert Mark.decode(kept.encode()) == kept


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", OURS.encode()[:-9], OURS.encode().replace("+00:00", "")]
)
def test_a_mark_that_cannot_be_one_is_none(text: str) -> None:
    with pytest.raises(BadMark):
        Mark.decode(text)


def test_a_place_is_private_and_marked(short: Path) -> None:
    place = made(short / "here")
    assert place.root.stat().st_mode & 0o777 == 0o700
    assert place.socket_directory == place.root / "s"
    assert read_mark(place.root) == place.mark
    assert [found.fate for found in sandboxes_in(str(short / "here"), NOW)] == [Fate.IN_USE]
    assert clean(str(short / "here"), NOW) == []
    remove(place.root, place.mark)
    assert list((short / "here").iterdir()) == []


def test_sockets_go_elsewhere_when_the_path_is_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    place = made(deep)
    assert len(f"{place.socket_directory}/.s.PGSQL.65535") <= 107
    assert place.socket_directory.is_dir()
    remove(place.root, place.mark)
    assert not place.socket_directory.exists()


def test_what_a_dead_process_left_is_removed_and_nothing_else(short: Path) -> None:
    dead, living = abandoned(short), made(short)
    kept = keep_place(abandoned(short), NOW + HOUR)
    (short / "pgkeep-sandbox-mine").symlink_to(kept.root)
    (short / "other").mkdir()
    assert clean(str(short), NOW) == [f"{dead.root}, left behind by pgkeep drill was removed"]
    assert {path.name for path in short.iterdir()} == {
        living.root.name,
        kept.root.name,
        "pgkeep-sandbox-mine",
        "other",
    }
    assert clean(str(short), NOW + HOUR) == [
        f"{kept.root}, left behind by pgkeep drill was removed"
    ]


def elsewhere(place: Place, **where: Any) -> Place:
    """A place whose owner cannot be seen from here."""
    moved = replace(place, mark=replace(place.mark, owner=place.mark.owner._replace(**where)))
    write_mark(moved)
    return moved


def test_another_container_s_is_removed_once_nobody_holds_it(short: Path) -> None:
    place = elsewhere(made(short), host="other", pid_namespace="pid:[1]")
    assert clean(str(short), NOW) == []
    assert [found.fate for found in sandboxes_in(str(short), NOW)] == [Fate.IN_USE]
    place.let_go()
    assert clean(str(short), NOW) == [f"{place.root}, left behind by pgkeep drill was removed"]


def test_what_was_there_before_a_reboot_is_removed_but_not_another_host_s(short: Path) -> None:
    before = elsewhere(made(short), boot_id="earlier")
    other = elsewhere(made(short), boot_id="earlier", host="other")
    assert sorted(clean(str(short), NOW)) == sorted(
        [
            f"{before.root}, left behind by pgkeep drill was removed",
            f"{other.root} is a sandbox of host other: it is left alone",
        ]
    )
    assert not before.root.exists()
    assert other.root.exists()


def test_a_foreign_directory_with_a_sandbox_s_name_is_left_alone(short: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's directory")
    dead = abandoned(short)
    os.chown(dead.root, 12345, 12345)
    assert clean(str(short), NOW) == []
    assert (dead.root / MARK).exists()


def test_no_sandbox_in_a_data_directory_or_a_repository(tmp_path: Path) -> None:
    (tmp_path / "data" / "base").mkdir(parents=True)
    (tmp_path / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(SandboxMisplaced, match=r"it lies in the data directory .*/data;"):
        check_directory(str(tmp_path / "data" / "base" / "x"), None)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(SandboxMisplaced, match="it lies in the data directory"):
        check_directory(str(tmp_path / "link"), None)
    with pytest.raises(SandboxMisplaced, match="it lies in the repository"):
        check_directory(str(tmp_path / "repo" / "x"), str(tmp_path / "repo"))
    check_directory(str(tmp_path / "beside"), str(tmp_path / "repo"))


def test_too_small_says_how_much_is_missing_and_which_option_helps() -> None:
    error = SandboxTooSmall(
        "5 GiB are needed: data files 5 GiB; 2 GiB are free", "/s", 5 << 30, 2 << 30
    )
    assert str(error) == (
        "cannot make a sandbox in /s: 3 GiB are missing there (5 GiB are needed: data files "
        "5 GiB; 2 GiB are free); nothing was written"
    )
    assert error.hint == (
        "name a directory on a larger file system with --scratch DIR, or under [sandbox] in "
        "pgkeep.toml"
    )
    assert error.exit_status == 96


def test_a_directory_that_is_everybody_s_will_do(short: Path) -> None:
    """As /var/tmp is: another user's, and open to all. The sandbox in it is one's own."""
    short.chmod(0o1777)
    nobody = 65534
    if os.geteuid() == 0:
        os.seteuid(nobody)
    try:
        check_directory(str(short if os.getuid() == 0 else Path("/tmp")), None)
    finally:
        os.seteuid(os.getuid())
