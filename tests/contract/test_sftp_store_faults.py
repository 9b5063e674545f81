"""The store behind SFTP when connections are cut, servers die and disks are full."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pgkeep.repository.store.base import (
    BlobExists,
    BlobMissing,
    ShortRead,
    Store,
    StoreFull,
)
from pgkeep.repository.store.open import open_store
from pgkeep.repository.store.sftp.failures import SftpDenied, SftpLost, SftpRefused
from support.forwarder import Forwarder, forwarding
from support.sshd import Sshd, sshd_running

BLOB = os.urandom(1 << 20)


@pytest.fixture
def root(sshd: Sshd) -> Path:
    return sshd.folder()


@pytest.fixture
def way(sshd: Sshd) -> Iterator[Forwarder]:
    """The way to the server."""
    with forwarding(sshd.port) as forwarder:
        sshd.trust(forwarder.port)
        yield forwarder


@pytest.fixture
def store(sshd: Sshd, root: Path, way: Forwarder) -> Store:
    return open_store(sshd.address(root, way.port))


def impatient(sshd: Sshd, root: Path, way: Forwarder) -> Store:
    return open_store(sshd.address(root, way.port, retry_for="0s"))


def on_disk(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_connection_cut_while_writing_is_made_again(
    root: Path, way: Forwarder, store: Store, share: float
) -> None:
    way.to_server_limit = int(share * len(BLOB))
    store.put("a/x", [BLOB])
    way.to_server_limit = int(share * len(BLOB))
    store.create("a/y", [BLOB])
    assert way.cuts >= 1
    assert on_disk(root) == {"a/x": BLOB, "a/y": BLOB}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_connection_cut_while_reading_is_made_again(
    way: Forwarder, store: Store, share: float
) -> None:
    store.put("a/x", [BLOB])
    way.cut()
    way.to_client_limit = int(share * len(BLOB))
    assert store.get("a/x") == BLOB
    assert way.cuts == 1


def test_without_patience_a_cut_is_an_error_and_leaves_garbage_alone(
    sshd: Sshd, root: Path, way: Forwarder, store: Store
) -> None:
    store.put("a/x", [b"old"])
    hasty = impatient(sshd, root, way)
    for call in (hasty.put, hasty.create):
        way.to_server_limit = len(BLOB) // 2
        with pytest.raises(SftpLost) as caught:
            call("a/x", [BLOB])
        assert caught.value.retryable
        assert caught.value.hint == "is 127.0.0.1 up, and the network? what was stored is safe"
    assert [(blob.name, blob.size) for blob in store.list()] == [("a/x", 3)]
    assert all(name == "a/x" or name.startswith(".tmp/") for name in on_disk(root))


def test_a_cut_anywhere_in_create_is_told_from_a_stranger(
    sshd: Sshd, root: Path, way: Forwarder
) -> None:
    """Each answer of the server is lost in turn; also the one that says that it has the name."""
    lost = list(_lost_answers(sshd, root, way, "mine"))
    assert len(lost) > 5
    for number in lost:
        assert (root / f"mine/{number}").read_bytes() == b"mine"
    for number in _lost_answers(sshd, root, way, "theirs"):
        assert (root / f"theirs/{number}").read_bytes() == b"theirs"
    assert os.listdir(root / ".tmp") == []


def _lost_answers(sshd: Sshd, root: Path, way: Forwarder, whose: str) -> Iterator[int]:
    """Create blobs while ever later bytes of the server's are not delivered."""
    store = open_store(sshd.address(root, way.port))
    (root / whose).mkdir(exist_ok=True)
    sshd.give(root / whose)
    for number in range(100):
        path = root / f"{whose}/{number}"
        if whose == "theirs":
            path.write_bytes(b"theirs")
            path.chmod(0o644)
        store.free_space()  # there is a connection
        cuts, way.to_client_limit = way.cuts, number * 72
        try:
            store.create(f"{whose}/{number}", [b"mine"])
        except BlobExists:
            assert whose == "theirs"
        else:
            assert whose == "mine"
        way.to_client_limit = None
        if way.cuts == cuts:
            return  # it needed fewer bytes than that
        yield number


def test_a_server_that_is_killed_and_comes_back(root: Path) -> None:
    with sshd_running() as server:
        folder = server.folder()
        store = open_store(server.address(folder, retry_for="20s"))
        half = threading.Event()
        attempts = []

        class Interrupted(list[bytes]):
            def __iter__(self) -> Iterator[bytes]:
                attempts.append(1)
                yield BLOB
                if len(attempts) == 1:
                    server.stop()
                    half.set()
                yield BLOB

        def come_back() -> None:
            half.wait()
            server.start()

        thread = threading.Thread(target=come_back)
        thread.start()
        store.create("a/x", Interrupted([b"", b""]))
        thread.join()
        assert len(attempts) >= 2
        assert on_disk(folder) == {"a/x": BLOB + BLOB}
        server.stop()
        server.start()
        assert store.get("a/x") == BLOB + BLOB  # on a connection that was idle and is dead


def test_a_server_that_is_away(sshd: Sshd, root: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    store = open_store(sshd.address(root, port, retry_for="1s"))
    began = time.monotonic()
    with pytest.raises(SftpLost) as caught:
        store.get("x")
    assert 0.3 < time.monotonic() - began < 10
    assert str(caught.value) == (
        f"cannot read x in {store.url}: port {port} of 127.0.0.1 cannot be reached: "
        "connection refused"
    )
    assert caught.value.hint == f"is sshd running there? try: ssh -p {port} 127.0.0.1"


def test_a_host_that_has_no_address() -> None:
    store = open_store("sftp://u@nowhere.invalid/a?retry_for=0s")
    with pytest.raises(SftpLost) as caught:
        store.get("x")
    assert "the name nowhere.invalid cannot be resolved: " in str(caught.value)
    assert caught.value.hint == "is it spelled right? try: getent hosts nowhere.invalid"


def test_a_port_where_something_else_answers(sshd: Sshd, root: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:

        def answer() -> None:
            with suppress(OSError):
                found, _ = other.accept()
                with found:
                    found.sendall(b"220 smtp.example ESMTP\r\n" * 200)

        threading.Thread(target=answer, daemon=True).start()
        store = open_store(sshd.address(root, other.getsockname()[1], retry_for="0s"))
        with pytest.raises(SftpLost, match="the connection could not be set up: "):
            store.get("x")


def test_a_server_that_goes_silent_is_not_waited_for_for_ever(
    sshd: Sshd, root: Path, way: Forwarder
) -> None:
    store = open_store(sshd.address(root, way.port, timeout="1s", retry_for="0s"))
    store.put("x", [b"1"])
    way.delay = 3600
    for _ in ("the connection that is there", "a new one"):
        began = time.monotonic()
        with pytest.raises(SftpLost):
            store.get("x")
        assert time.monotonic() - began < 20


def test_a_long_way_costs_no_more_than_a_few_round_trips(way: Forwarder, store: Store) -> None:
    """Piece by piece, 8 MiB would take 33 round trips and more: 13 s."""
    content = os.urandom(8 << 20)
    store.put("a/x", [content])
    way.delay = 0.2
    began = time.monotonic()
    assert store.get("a/x") == content
    assert time.monotonic() - began < 8


@pytest.fixture
def small(sshd: Sshd) -> Iterator[Path]:
    """A file system of 1 MiB, with 100 inodes."""
    place = sshd.folder()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount: a full disk is NOT tested here")
    sshd.give(place)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_scenario_l_a_full_disk_is_told_from_other_failures(sshd: Sshd, small: Path) -> None:
    store = open_store(sshd.address(small))
    store.put("a/x", [b"old"])
    for call in (store.put, store.create):
        with pytest.raises(StoreFull) as caught:
            call("a/x" if call == store.put else "a/y", [BLOB, BLOB])
        assert str(caught.value).endswith(" bytes are free there")
        assert caught.value.hint == (
            f"free space in {store.url} or give the repository more, then run it again"
        )
        assert not caught.value.retryable
    assert on_disk(small) == {"a/x": b"old"}


def test_a_disk_without_inodes_is_full_too(sshd: Sshd, small: Path) -> None:
    store = open_store(sshd.address(small))
    store.create("y", [b"1"])
    with suppress(OSError):
        for number in range(200):
            (small / f"x{number}").write_bytes(b"")
    with pytest.raises(StoreFull, match=r"no file can be made there any more \(inodes\)"):
        store.create("y2", [b"1"])
    for number in range(3):  # tmpfs counts links, too
        store.delete(f"x{number}")
    store.create("y2", [b"1"])


def test_a_read_only_disk_can_be_read(sshd: Sshd, small: Path) -> None:
    store = open_store(sshd.address(small))
    store.put("a/x", [b"old"])
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    assert store.get("a/x") == b"old"
    writes: list[Callable[[], None]] = [
        lambda: store.put("b", [b""]),
        lambda: store.create("b", [b""]),
        lambda: store.delete("a/x"),
    ]
    for write in writes:
        with pytest.raises(SftpRefused) as caught:
            write()
        assert str(caught.value).endswith(": failure: the file system is read-only")
        assert caught.value.hint == ("find out why on 127.0.0.1 (dmesg), then mount it read-write")


def test_a_read_only_account_can_read() -> None:
    with sshd_running("internal-sftp -R") as server:
        folder = server.folder()
        (folder / "x").write_bytes(b"1")
        (folder / "x").chmod(0o644)
        (folder / ".tmp").mkdir()
        server.give(folder / ".tmp")
        store = open_store(server.address(folder))
        assert store.get("x") == b"1"
        with pytest.raises(SftpDenied):
            store.put("y", [b""])
        with pytest.raises(SftpDenied):
            store.delete("x")


def test_a_file_that_was_cut_off_there_is_short(root: Path, store: Store) -> None:
    store.put("x", [BLOB])
    os.truncate(root / "x", 1000)
    with pytest.raises(ShortRead) as caught:
        store.get("x", 0, len(BLOB))
    assert str(caught.value) == (f"x in {store.url} ends at byte 1000, needed up to {len(BLOB)}")


def test_a_lost_answer_to_delete_is_no_error(way: Forwarder, store: Store) -> None:
    store.put("x", [b"1"])
    way.to_client_limit = 0
    store.delete("x")
    assert way.cuts == 1
    with pytest.raises(BlobMissing):
        store.get("x")
