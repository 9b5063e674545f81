"""What the local store promises beyond the contract: durability, privacy, honest errors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgkeep.repository.store.base import BlobExists, BlobMissing, StoreFailed, StoreFull
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.open import BadStoreUrl, make_store, open_store
from support.wait import wait_for

PROLOGUE = """
import os, sys
from pgkeep.repository.store.base import BlobExists
from pgkeep.repository.store.local import LocalStore
store = LocalStore(sys.argv[1])
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path))


def run(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def everything(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_scenario_173_nobody_else_may_look_whatever_the_umask(tmp_path: Path) -> None:
    script = """
os.umask(int(sys.argv[2], 8))
class Watching(list):
    def __iter__(self):
        for folder, _, files in os.walk(sys.argv[1]):
            for name in files:
                print(oct(os.stat(os.path.join(folder, name)).st_mode & 0o777))
        yield b"x"
store.put("a/b/c", Watching())
store.create("a/b/d", Watching())
"""
    for umask in ("000", "022", "077", "177"):
        root = tmp_path / umask
        root.mkdir(mode=0o755)
        process = run(script, str(root), umask)
        seen, _ = process.communicate()
        assert process.returncode == 0
        assert set(seen.split()) == {"0o600"}  # also while they were being written
        made = list(root.rglob("*"))
        assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
        if umask != "177":
            assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}


def test_a_new_root_is_private(tmp_path: Path) -> None:
    store = make_store(str(tmp_path / "new" / "repository"))
    store.put("x", [b"1"])
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert make_store(store.url).get("x") == b"1"


def test_scenario_59_of_racing_processes_one_wins(tmp_path: Path) -> None:
    script = """
sys.stdin.readline()
try:
    store.create("deep/down/x", [sys.argv[2].encode() * 100000])
    print("won")
except BlobExists:
    print("lost")
"""
    racers = [run(script, str(tmp_path), str(number)) for number in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(told) == ["lost", "lost", "lost", "won"]
    winner = str(told.index("won")).encode()
    assert LocalStore(str(tmp_path)).get("deep/down/x") == winner * 100000
    assert everything(tmp_path) == ["deep/down/x"]


@pytest.mark.parametrize("call", ["put", "create"])
def test_scenario_58_killed_in_the_middle(tmp_path: Path, call: str) -> None:
    script = """
class Endless(list):
    def __iter__(self):
        yield bytes(2 << 20)
        print("half-way", flush=True)
        sys.stdin.read()
getattr(store, sys.argv[2])("a/x", Endless())
"""
    store = LocalStore(str(tmp_path))
    process = run(script, str(tmp_path), call)
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    (temp,) = everything(tmp_path)
    # Somebody else's work: not swept while its writer lives, however old it looks.
    assert temp.startswith(".tmp/")
    assert store.sweep_temp(0, time.time() + 1e6) == []
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert list(store.list()) == []
    with pytest.raises(BlobMissing):
        store.get("a/x")
    assert store.sweep_temp(3600, time.time()) == []
    assert [swept.size for swept in store.sweep_temp(0, time.time() + 1)] == [2 << 20]
    store.create("a/x", [b"again"])
    assert everything(tmp_path) == ["a/x"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB and few inodes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=12,mode=700", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small file system: a full disk is NOT tested here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_scenario_68_a_full_disk_leaves_nothing_behind(small_disk: Path) -> None:
    store = LocalStore(str(small_disk))
    store.put("first", [b"1"])
    for write in (store.put, store.create):
        with pytest.raises(StoreFull) as caught:
            write("big", [os.urandom(700_000), os.urandom(700_000)])
        assert str(caught.value).endswith(f"big in {small_disk}: no space left on device (ENOSPC)")
    assert everything(small_disk) == ["first"]
    (free,) = [store.free_space()]
    assert free is not None
    assert 0 < free < 1 << 20
    store.put("small", [b"fits"])
    assert store.get("small") == b"fits"


def test_scenario_93_no_inode_is_left(small_disk: Path) -> None:
    store = LocalStore(str(small_disk))

    def create_many() -> None:
        for number in range(20):
            store.create(f"{number}", [b"1"])

    with pytest.raises(StoreFull, match=r"\(ENOSPC\)$"):
        create_many()
    before = everything(small_disk)
    assert not any(name.startswith(".tmp/") for name in before)


def test_scenario_93_a_write_that_fails_half_way(tmp_path: Path) -> None:
    script = """
import resource
from pgkeep.repository.store.base import StoreFailed
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for write in (store.put, store.create):
    try:
        write("x", [bytes(3 << 20)])
    except StoreFailed as error:
        print(error, "|", error.hint)
"""
    told, _ = run(script, str(tmp_path)).communicate()
    first, second = told.splitlines()
    assert first.startswith(
        f"cannot write x in {tmp_path}: file too large (EFBIG) | the file system"
    )
    assert second.startswith(f"cannot create x in {tmp_path}: file too large (EFBIG)")
    assert everything(tmp_path) == []


def test_scenario_93_too_many_open_files(tmp_path: Path) -> None:
    script = """
import resource
from pgkeep.repository.store.base import StoreFailed
store.put("x", [b"1"])
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for call in (lambda: store.get("x"), lambda: store.put("y", [b""]), lambda: list(store.list())):
    try:
        call()
    except StoreFailed as error:
        print(error.why, "|", error.hint)
"""
    told, _ = run(script, str(tmp_path)).communicate()
    expected = "too many open files (EMFILE) | too many files are open: raise the limit (ulimit -n)"
    assert told.splitlines() == [expected] * 3


CALLS: list[Callable[[LocalStore], object]] = [
    lambda store: store.get("a/x"),
    lambda store: store.stat("a/x"),
    lambda store: store.delete("a/x"),
    lambda store: store.put("a/x", [b""]),
    lambda store: store.create("a/x", [b""]),
    lambda store: list(store.list()),
    lambda store: store.free_space(),
]


@pytest.mark.parametrize("call", CALLS)
def test_an_absent_root_is_never_taken_for_an_absent_blob(
    tmp_path: Path, call: Callable[[LocalStore], object]
) -> None:
    store = LocalStore(str(tmp_path / "away"))
    with pytest.raises(StoreFailed, match=r"the repository's directory is not there$") as caught:
        call(store)
    hint = f"is {tmp_path}/away mounted? a new one is made by: pgkeep init"
    assert caught.value.hint == hint
    assert everything(tmp_path) == []


@pytest.mark.parametrize("call", CALLS[:2])
def test_a_part_that_is_elsewhere_and_away_is_no_absent_blob(
    tmp_path: Path, call: Callable[[LocalStore], object]
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "unmounted")
    with pytest.raises(StoreFailed, match=r"a symbolic link to .*/unmounted, which is not there$"):
        call(LocalStore(str(tmp_path)))


@pytest.mark.parametrize("call", CALLS[3:5])
def test_a_broken_link_in_the_way_of_a_write_is_no_existing_blob(
    tmp_path: Path, call: Callable[[LocalStore], object]
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "unmounted")
    with pytest.raises(StoreFailed, match=r"\(ENOTDIR\)$"):
        call(LocalStore(str(tmp_path)))


@pytest.mark.parametrize("call", CALLS[:5])
def test_a_file_in_the_place_of_a_folder(
    tmp_path: Path, call: Callable[[LocalStore], object]
) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StoreFailed, match=r"not a directory \(ENOTDIR\)$") as caught:
        call(LocalStore(str(tmp_path)))
    assert caught.value.hint == "there is a file where pgkeep keeps a directory: move it away"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("number", range(len(CALLS) - 1))
def test_somebody_without_permission_hears_who_may(number: int) -> None:
    root = Path(f"/tmp/pgkeep-test-{os.getpid()}-{number}")  # pytest's own places are private
    root.mkdir(mode=0o755)
    try:
        LocalStore(str(root)).put("a/x", [b"1"])
        root.chmod(0o700)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # never returns to pytest
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                CALLS[number](LocalStore(str(root)))
            except StoreFailed as error:
                os.write(writer, f"{error.why} | {error.hint}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        assert told.startswith("permission denied (EACCES) | you are nobody (uid 65534), and ")
        assert f"{root} belongs to root (uid 0) with mode 0700: run pgkeep as root (uid 0)" in told
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)


def test_what_is_not_ours_is_not_listed(store: LocalStore, tmp_path: Path) -> None:
    store.put("a/x", [b"1"])
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "lost+found").mkdir(mode=0)
    (tmp_path / "a" / "my notes.txt").write_bytes(b"")
    (tmp_path / "a" / ".x.swp").write_bytes(b"")
    (tmp_path / "a" / "link").symlink_to("x")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert [blob.name for blob in store.list()] == ["a/x"]


def test_a_blob_is_a_plain_file_or_nothing(store: LocalStore, tmp_path: Path) -> None:
    store.put("a/x", [b"1"])
    (tmp_path / "a" / "link").symlink_to("x")
    os.mkfifo(tmp_path / "a" / "pipe")  # opening one would wait for ever
    with pytest.raises(StoreFailed, match=r"\(ELOOP\)$"):
        store.get("a/link")
    for name in ("a/pipe", "a"):
        with pytest.raises(StoreFailed, match=r"it is not a plain file$"):
            store.get(name)
        with pytest.raises(StoreFailed, match=r"it is not a plain file$"):
            store.stat(name)


def test_a_ring_of_links_ends(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path)
    with pytest.raises(StoreFailed, match=r"its folders lead in a circle$"):
        list(store.list())


def test_a_part_may_live_on_another_disk_by_a_link(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "wal").symlink_to(tmp_path / "elsewhere")
    store = LocalStore(str(tmp_path / "root"))
    store.create("wal/x", [b"1"])
    assert [blob.name for blob in store.list()] == ["wal/x"]


def test_an_existing_blob_is_untouched_by_a_loser(store: LocalStore, tmp_path: Path) -> None:
    store.create("x", [b"1"])
    before = (tmp_path / "x").stat()
    with pytest.raises(BlobExists):
        store.create("x", [b"2"])
    after = (tmp_path / "x").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_names_reach_the_disk_in_the_safe_order(tmp_path: Path) -> None:
    """Content is synced before it has a name, and the name before anyone is told."""
    if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no strace: the order of system calls is NOT tested here")
    log = tmp_path / "log"
    (tmp_path / "r").mkdir()
    script = PROLOGUE + 'store.create("a/x", [b"1"])'
    trace = ["strace", "-f", "-o", str(log), "-e", "trace=fsync,link,linkat,unlink,mkdir,writev"]
    subprocess.run([*trace, sys.executable, "-c", script, str(tmp_path / "r")], check=True)
    calls = [line.split(None, 1)[1].split("(")[0] for line in log.read_text().splitlines()]
    calls = [call for call in calls if call.isidentifier()]
    order = "mkdir fsync writev fsync link mkdir fsync link fsync unlink"
    assert " ".join(call.removesuffix("at") for call in calls) == order


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("/var/lib/x", "/var/lib/x"),
        ("file:///var/lib/x", "/var/lib/x"),
        ("file://localhost/var/x", "/var/x"),
        ("file:///with%20blank", "/with blank"),
        ('/it\'s "%f" $HOME\\ö', '/it\'s "%f" $HOME\\ö'),
        ("/a/../b//c/", "/b/c"),
    ],
)
def test_scenario_70_addresses(url: str, root: str) -> None:
    store = open_store(url)
    assert store.url == root
    assert open_store(store.url).url == root


@pytest.mark.parametrize(
    "url",
    ["", "relative", "./x", "~/x", "/", "//", "/..", "ftp://host/x", "file://host/x", "file:x",
     "file:///x?y", "http://x", "\0", "/a\0b"],
)  # fmt: skip
def test_addresses_that_lead_nowhere(url: str) -> None:
    with pytest.raises(BadStoreUrl) as caught:
        open_store(url)
    assert caught.value.hint == 'write an absolute path, like url = "/var/lib/pgkeep"'


def test_the_repository_works_in_a_place_with_a_hostile_name(tmp_path: Path) -> None:
    store = make_store(str(tmp_path / 'it\'s "%f" $HOME\\ö\n'))
    store.put("x", [b"1"])
    assert open_store(store.url).get("x") == b"1"


def test_a_listing_survives_folders_that_vanish(store: LocalStore, tmp_path: Path) -> None:
    for name in ("a/x", "b/x", "c/x"):
        store.put(name, [b""])
    listing = store.list()
    assert next(listing).name == "a/x"
    (tmp_path / "b" / "x").unlink()
    (tmp_path / "b").rmdir()
    assert [blob.name for blob in listing] == ["c/x"]


def test_memory_is_shared_by_address() -> None:
    open_store("memory:shared-for-a-test").put("x", [b"1"])
    assert wait_for(lambda: open_store("memory:shared-for-a-test").get("x")) == b"1"
