"""Pushed ahead: an acknowledgement is true whatever dies, fails, changes or is copied."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgkeep.coverage.lost_wal import losses_on_record
from pgkeep.wal.ahead.asking import NotYetArchived, ask
from pgkeep.wal.ahead.losses import Losses
from support.archiver import Archiver
from support.segments import GENERATION
from support.wait import wait_for

CALLS = ("writev", "fsync", "link", "rename", "unlink")


@pytest.fixture
def archiver(tmp_path: Path) -> Iterator[Archiver]:
    made = Archiver(tmp_path)
    yield made
    made.kill()


def test_a_backlog_is_pushed_and_acknowledged(archiver: Archiver) -> None:
    names = archiver.names
    assert archiver.ask(names[0]) == 0
    wait_for(lambda: archiver.acknowledged() == names[1:], what="all others acknowledged")
    (pid,) = archiver.pushers()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {os.devnull}
    assert os.getsid(pid) not in (os.getsid(0), pid)
    # An acknowledged file needs neither program nor config.
    away = archiver.config.rename(archiver.config.with_suffix(".away"))
    assert archiver.ask(names[1]) == 0
    away.rename(archiver.config)
    assert [archiver.ask(name) for name in names[2:]] == [0] * (len(names) - 2)
    assert archiver.said == ""


def test_acknowledgements_go_when_postgresql_has_taken_them(archiver: Archiver) -> None:
    assert [archiver.ask(name) for name in archiver.names] == [0] * len(archiver.names)
    wait_for(lambda: not any(archiver.pg_wal.glob("pgkeep-acks-*/*/0*")))


def test_a_single_file_is_pushed_without_a_pusher(archiver: Archiver) -> None:
    for name in archiver.names[1:]:
        (archiver.status / f"{name}.ready").unlink()
    assert archiver.ask(archiver.names[0]) == 0
    assert archiver.pushers() == []


def test_histories_come_first_and_other_kinds_too(archiver: Archiver) -> None:
    archiver.write("00000002.history", b"1\t0/700000\tx\n")
    archiver.write(f"{archiver.names[0]}.00000028.backup", b"START WAL LOCATION: 0/28\n")
    (archiver.data / "global").mkdir()
    control = GENERATION.system_identifier.to_bytes(8, "little")
    (archiver.data / "global/pg_control").write_bytes(control)
    assert archiver.ask("00000002.history") == 0
    for name in archiver.contents.keys() - {"00000002.history"}:
        assert archiver.ask(name) == 0


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_system_call(archiver: Archiver, call: str) -> None:
    """The push that starts it, the pusher, or its threads: whichever comes to the call."""
    if shutil.which("strace") is None:
        pytest.skip("strace cannot trace here")
    names = archiver.names[:5]
    for name in archiver.names[5:]:
        (archiver.status / f"{name}.ready").unlink()
    for when in (1, 2, 4):
        shutil.rmtree(archiver.repository / "clusters/main/wal", ignore_errors=True)
        shutil.rmtree(archiver.pg_wal / archiver.place, ignore_errors=True)
        for name in names:
            (archiver.status / f"{name}.done").unlink(missing_ok=True)
            (archiver.status / f"{name}.ready").touch()
        inject = f"inject={call}:signal=SIGKILL:when={when}"
        trace = ("strace", "-D", "-qq", "-f", "-o", os.devnull, "-e", f"trace={call}")
        archiver.ask(names[0], trace=(*trace, "-e", inject))
        if when == 1:
            assert archiver.pushers() == [], call
        archiver.kill()
        for name in archiver.acknowledged():
            assert archiver.archived(name) == archiver.contents[name], (call, when)
        left = [name for name in names if (archiver.status / f"{name}.ready").exists()]
        assert [archiver.ask(name) for name in left] == [0] * len(left), (call, when)
        archiver.kill()


def test_killed_again_and_again_it_comes_to_an_end(archiver: Archiver) -> None:
    for number, name in enumerate(archiver.names):
        if number % 3 == 1:
            archiver.kill()
        assert archiver.ask(name) == 0


def test_two_at_once_do_no_harm(archiver: Archiver) -> None:
    command = archiver.command.replace("%f", archiver.names[0])
    command = command.replace("%p", f"pg_wal/{archiver.names[0]}")
    running = [subprocess.Popen(["/bin/sh", "-c", command], cwd=archiver.data) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(archiver.pushers()) == 1
    assert [archiver.ask(name) for name in archiver.names] == [0] * len(archiver.names)


# Where an acknowledgement would lie


def acknowledged(archiver: Archiver) -> str:
    """Have all files acknowledged; return one that PostgreSQL has not taken yet."""
    assert archiver.ask(archiver.names[0]) == 0
    wait_for(lambda: archiver.acknowledged() == archiver.names[1:])
    return archiver.names[5]


def test_a_copy_of_the_data_directory_has_no_acknowledgements(
    archiver: Archiver, tmp_path: Path
) -> None:
    name = acknowledged(archiver)
    shutil.copytree(archiver.data, tmp_path / "copy")
    (tmp_path / "copy/pg_wal" / name).write_bytes(archiver.contents[name][:-1] + b"\x01")
    assert archiver.ask(name, cwd=tmp_path / "copy") == 78
    assert "holds another one of this name" in archiver.said


def test_a_segment_that_was_written_anew_is_not_acknowledged(archiver: Archiver) -> None:
    name = acknowledged(archiver)
    archiver.finish(12, seed=99)  # as by a server that was set back
    assert archiver.ask(name) == 78
    assert archiver.ask(archiver.names[6]) == 0


def test_a_restarted_server_asks_anew(archiver: Archiver) -> None:
    name = acknowledged(archiver)
    archiver.kill()
    shutil.rmtree(archiver.repository / "clusters/main/wal")  # emptied meanwhile
    command = archiver.command.replace("%f", name).replace("%p", f"pg_wal/{name}")
    # The shell between is the new archiver process.
    words = ["/bin/sh", "-c", '/bin/sh -c "$1"; exit $?', "archiver", command]
    assert subprocess.run(words, cwd=archiver.data, check=False).returncode == 0
    assert archiver.archived(name) == archiver.contents[name]
    assert archiver.acknowledged() == []


def test_the_pusher_ends_with_its_server(archiver: Archiver) -> None:
    words = ["/bin/sh", "-c", '/bin/sh -c "$1"; exit $?', "archiver"]
    name = archiver.names[0]
    command = archiver.command.replace("%f", name).replace("%p", f"pg_wal/{name}")
    assert subprocess.run([*words, command], cwd=archiver.data, check=False).returncode == 0
    wait_for(lambda: not archiver.pushers(), what="the end of the pusher")


def test_the_pusher_ends_with_its_folder(archiver: Archiver) -> None:
    acknowledged(archiver)
    for folder in archiver.pg_wal.glob("pgkeep-acks-*"):
        shutil.rmtree(folder)
    wait_for(lambda: not archiver.pushers(), what="the end of the pusher")


def test_a_changed_config_voids_what_was_acknowledged(archiver: Archiver) -> None:
    name = acknowledged(archiver)
    moved = archiver.repository.with_name("elsewhere")
    shutil.copytree(archiver.repository, moved)
    shutil.rmtree(moved / "clusters/main/wal")
    archiver.repository = moved
    archiver.options("")
    wait_for(lambda: archiver.acknowledged() == [], what="no acknowledgement of the old place")
    assert archiver.ask(name) == 0
    assert len(list(moved.rglob(name))) == 1


# Failures


def test_a_refused_file_says_why_and_holds_up_no_other(archiver: Archiver) -> None:
    name = archiver.names[0]
    content = archiver.contents[name]
    archiver.archive.push(name, content[:-1] + b"\x01")
    assert archiver.ask(name) == 78
    assert archiver.said.startswith(
        f"pgkeep-wal: cannot archive {name}: cluster main, generation {GENERATION.id} holds"
    )
    assert "hint: the archived one was kept" in archiver.said
    wait_for(lambda: archiver.acknowledged() == archiver.names[1:])
    (stored,) = archiver.repository.rglob(name)
    stored.unlink()  # somebody who knows that nobody will restore across it
    assert archiver.ask(name) == 0


def test_a_failing_store_is_named_and_archiving_goes_on_when_it_is_back(
    archiver: Archiver,
) -> None:
    assert archiver.ask(archiver.names[0]) == 0
    wait_for(lambda: archiver.acknowledged() == archiver.names[1:])
    more = [archiver.finish(number) for number in range(30, 40)]
    archiver.names += more
    wait_for(lambda: archiver.acknowledged() == archiver.names[1:])
    away = archiver.repository.rename(archiver.repository.with_name("away"))
    more = [archiver.finish(number) for number in range(50, 60)]
    archiver.names += more
    status = archiver.ask(more[0])
    assert status in (24, 107)
    assert "the repository's directory is not there" in archiver.said
    assert archiver.acknowledged() == archiver.names[1:-10]
    away.rename(archiver.repository)
    assert archiver.ask(more[0]) == 0
    wait_for(lambda: archiver.acknowledged()[-9:] == more[1:], what="the rest of the backlog")


def test_no_room_for_acknowledgements_is_no_reason_not_to_archive(archiver: Archiver) -> None:
    folder = archiver.place.partition("/")[0]
    (archiver.pg_wal / folder).write_text("in the way")
    assert [archiver.ask(name) for name in archiver.names[:3]] == [0, 0, 0]
    assert archiver.pushers() == []


def test_a_full_disk_is_emptied_by_archiving(archiver: Archiver) -> None:
    place = str(archiver.pg_wal)
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=22", "none", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("cannot mount a small file system here")
    try:
        archiver.status.mkdir()
        for number in range(7, 15):
            archiver.finish(number)
        names = archiver.names[:8]
        for filler in range(22):  # the last inodes
            try:
                (archiver.pg_wal / f"filler{filler}").touch()
            except OSError:
                break
        assert [archiver.ask(name) for name in names] == [0] * len(names)
        archiver.kill()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_file_that_has_to_wait_is_refused_and_kept(archiver: Archiver) -> None:
    archiver.acks.prepare()
    lock = archiver.acks.lock()
    assert lock is not None
    name, heard = archiver.names[3], threading.Event()

    def listen() -> None:
        wait_for(archiver.acks.asked)
        heard.set()

    pusher = threading.Thread(target=listen)
    pusher.start()
    with pytest.raises(NotYetArchived) as caught:
        ask(archiver.acks, name, lambda _: pytest.fail("started"), patience=0.5)
    assert heard.is_set()
    assert str(caught.value) == (
        f"cannot say yet that {name} is archived: the pusher, with 12 files to push, did not come "
        "to an end with it within 0.5 seconds"
    )
    pusher.join()
    os.close(lock)


def test_a_hanging_pusher_keeps_no_file_from_being_archived(archiver: Archiver) -> None:
    assert archiver.ask(archiver.names[0]) == 0
    (pid,) = archiver.pushers()
    os.kill(pid, signal.SIGSTOP)
    archiver.names += [archiver.finish(30), archiver.finish(31)]
    assert archiver.ask(archiver.names[-1]) == 0


# protect-database

PROTECT = 'on_archive_failure = "protect-database"\narchive_backlog_limit = "4MB"'


def give_up(archiver: Archiver) -> list[str]:
    """Take the repository away and ask until enough is given up; return what was."""
    given_up = []
    for name in archiver.names:
        while (status := archiver.ask(name, unarchived=True)) not in (0, 24):
            assert status == 107, archiver.said
        if status == 24 and archiver.ask(name, unarchived=True) != 0:
            break
        assert f"pgkeep-wal: GIVEN UP: {name} was not archived" in archiver.said
        given_up.append(name)
    return given_up


def test_beyond_the_limit_wal_is_given_up_and_noted_first(archiver: Archiver) -> None:
    archiver.options(PROTECT)
    away = archiver.repository.rename(archiver.repository.with_name("away"))
    given_up = give_up(archiver)
    assert given_up == archiver.names[:8]  # 12 MB wait, 4 MB may
    noted = Losses(str(archiver.pg_wal)).read()
    assert {lost.file for lost in noted} == set(given_up)
    assert "the repository's directory is not there" in noted[0].why
    assert archiver.ask(archiver.names[8], unarchived=True) in (24, 107)
    away.rename(archiver.repository)
    assert [archiver.ask(name) for name in archiver.names[8:]] == [0] * 4
    # The loss is on record, and noted until there is a new backup: this one cannot be made.
    wait_for(lambda: losses_on_record(archiver.cluster, GENERATION.id), what="the record")
    (lost,) = losses_on_record(archiver.cluster, GENERATION.id)
    assert (lost.first, lost.last, lost.segments) == (given_up[0], given_up[-1], 8)
    assert Losses(str(archiver.pg_wal)).read() == noted


def test_a_history_is_in_nobody_s_way_and_archived_later(archiver: Archiver) -> None:
    archiver.options(PROTECT)
    history = "00000002.history"
    archiver.write(history, b"1\t0/700000\tx\n")
    away = archiver.repository.rename(archiver.repository.with_name("away"))
    archiver.names.insert(0, history)
    assert give_up(archiver) == archiver.names[:9]
    away.rename(archiver.repository)
    assert archiver.ask(archiver.names[9]) == 0
    wait_for(lambda: losses_on_record(archiver.cluster, GENERATION.id), what="the record")
    assert archiver.archived(history) == archiver.contents[history]


def test_a_single_file_wakes_who_mends_the_chain(archiver: Archiver) -> None:
    for name in archiver.names[1:]:
        (archiver.status / f"{name}.ready").unlink()
    Losses(str(archiver.pg_wal)).add(["000000010000000000000001"], 5, "no room")
    assert archiver.ask(archiver.names[0]) == 0
    (lost,) = wait_for(lambda: losses_on_record(archiver.cluster, GENERATION.id))
    assert (lost.first, lost.why) == ("000000010000000000000001", "no room")


def test_without_the_option_nothing_is_ever_given_up(archiver: Archiver) -> None:
    archiver.repository.rename(archiver.repository.with_name("away"))
    assert give_up(archiver) == []
    assert Losses(str(archiver.pg_wal)).read() == []


def test_a_mistake_is_no_reason_to_give_up(archiver: Archiver) -> None:
    archiver.options(PROTECT)
    known = archiver.repository / "clusters/main/generations"
    known.rename(known.with_name("away"))
    for _ in range(3):
        assert archiver.ask(archiver.names[0]) == 73
    known.with_name("away").rename(known)
    assert [archiver.ask(name) for name in archiver.names] == [0] * len(archiver.names)


def test_what_cannot_be_noted_is_not_given_up(archiver: Archiver) -> None:
    archiver.options(PROTECT)
    archiver.repository.rename(archiver.repository.with_name("away"))
    (archiver.pg_wal / "pgkeep-lost").mkdir()
    assert give_up(archiver) == []


def test_the_note_keeps_what_is_not_mended(tmp_path: Path) -> None:
    losses = Losses(str(tmp_path))
    losses.add(["000000010000000000000001", "00000002.history"], 5, "two\nlines")
    first = losses.read()
    losses.add(["000000010000000000000002"], 6, "later")
    assert [lost.why for lost in first] == ["two lines"] * 2
    losses.forget(first)
    assert losses.read() == [("000000010000000000000002", 6, "later")]
    losses.forget(losses.read())
    assert losses.read() == []
    assert list(tmp_path.iterdir()) == []
