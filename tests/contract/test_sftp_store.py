"""The store behind SFTP on a real OpenSSH server: what it promises, whom it trusts."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pgkeep.repository.store.base import BlobExists, BlobMissing, Store, StoreFailed
from pgkeep.repository.store.open import make_store, open_store
from pgkeep.repository.store.sftp.failures import (
    SftpDenied,
    SftpHostChanged,
    SftpHostUnknown,
    SftpKeyRefused,
    SftpRefused,
)
from support.sshd import Sshd, sshd_running
from support.wait import wait_for

BARE = "internal-sftp -P hardlink,fsync,posix-rename,statvfs,limits"


@pytest.fixture
def root(sshd: Sshd) -> Path:
    return sshd.folder()


@pytest.fixture
def store(sshd: Sshd, root: Path) -> Store:
    return open_store(sshd.address(root))


@pytest.fixture(scope="module")
def bare() -> Iterator[Sshd]:
    """A server that offers the draft's own requests and nothing else."""
    with sshd_running(BARE) as server:
        yield server


def calls(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "write a/x": lambda: store.put("a/x", [b"1"]),
        "create a/x": lambda: store.create("a/x", [b"1"]),
        "read a/x": lambda: store.get("a/x"),
        "list a/": lambda: list(store.list("a/")),
        "list everything": lambda: list(store.list()),
        "delete a/x": lambda: store.delete("a/x"),
        "sync a/": lambda: store.secure("a/"),
        "clean .tmp": lambda: store.sweep_temp(0, 0),
    }


def test_an_address_leads_to_the_same_store(sshd: Sshd, root: Path, store: Store) -> None:
    store.create("x", [b"1"])
    assert open_store(store.address).get("x") == b"1"
    assert store.url == f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{root}"
    assert store.free_space() == pytest.approx(_free(root), rel=0.1)


def test_only_the_owner_can_read_it(store: Store, root: Path) -> None:
    store.create("a/b/x", [b"1"])
    store.put("a/y", [b"1"])
    modes = {
        str(path.relative_to(root)): oct(path.stat().st_mode & 0o7777) for path in root.rglob("*")
    }
    folders = dict.fromkeys(("a", "a/b", ".tmp"), "0o700")
    assert modes == {**folders, "a/b/x": "0o600", "a/y": "0o600"}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("create", ["open x", "fsync", "link", "mkdir", "fsync", "link", "unlink", "fsync"]),
        ("put", ["open x", "fsync", "rename", "mkdir", "fsync", "rename", "fsync", "unlink"]),
        ("delete", ["unlink", "fsync"]),
        ("secure", ["fsync", "fsync", "fsync"]),
    ],
)
def test_openssh_syncs_content_before_its_name_and_then_the_folder(
    sshd: Sshd, store: Store, root: Path, call: str, expected: list[str]
) -> None:
    store.create("there/below/y", [b"1"])
    (server,) = [pid for pid in sshd.sessions() if _has_open(pid, root, store)]
    trace = sshd.home / f"trace-{root.name}"
    names = "trace=openat,fsync,link,linkat,rename,renameat,mkdir,mkdirat,unlink,unlinkat"
    with _strace(server, "-e", names, "-o", str(trace)):
        if call == "delete":
            store.delete("there/below/y")
        elif call == "secure":
            store.secure("there/")
        else:
            getattr(store, call)("new/x", [b"1"])
    seen = []
    for line in trace.read_text().splitlines():
        found = re.match(r"(openat|fsync|link|rename|mkdir|unlink)", line)
        if found is not None and (found[1] != "openat" or "O_CREAT" in line):
            seen.append("open x" if found[1] == "openat" else found[1])
    assert seen == expected


def test_a_server_without_extensions_still_never_replaces(bare: Sshd) -> None:
    root = bare.folder()
    store = open_store(bare.address(root))
    store.create("a/x", [b"old"])
    with pytest.raises(BlobExists):
        store.create("a/x", [b"new"])
    assert store.get("a/x") == b"old"
    assert [blob.name for blob in store.list()] == ["a/x"]
    assert store.free_space() is None
    store.secure("a/")
    assert os.listdir(root / ".tmp") == []


def test_a_server_that_cannot_replace_says_so(bare: Sshd) -> None:
    store = open_store(bare.address(bare.folder()))
    store.create("a/x", [b"old"])
    with pytest.raises(SftpRefused) as caught:
        store.put("a/x", [b"new"])
    assert str(caught.value) == (
        f"cannot write a/x in {store.url}: the server does not offer posix-rename@openssh.com, "
        "so nothing can be replaced safely"
    )
    assert store.get("a/x") == b"old"


def test_a_missing_root_is_never_a_missing_blob(store: Store, root: Path) -> None:
    root.rmdir()
    for action, call in calls(store).items():
        with pytest.raises(StoreFailed) as caught:
            call()
        assert str(caught.value) == (
            f"cannot {action} in {store.url}: the repository's directory {root} is not there"
        )
        assert caught.value.hint == (
            "is it mounted on 127.0.0.1? a new one is made by: pgkeep init"
        )


def test_a_root_that_is_a_file_is_an_error(sshd: Sshd, root: Path) -> None:
    (root / "f").write_bytes(b"")
    store = open_store(sshd.address(root / "f"))
    for call in calls(store).values():
        with pytest.raises(SftpRefused, match=f"{root}/f is not a directory there"):
            call()


def test_a_new_root_is_made_with_what_is_above_it(sshd: Sshd, root: Path) -> None:
    store = make_store(sshd.address(root / "new" / "er"))
    store.create("x", [b"1"])
    assert make_store(sshd.address(root / "new" / "er")).get("x") == b"1"
    assert oct((root / "new").stat().st_mode & 0o777) == "0o700"


def test_links_to_folders_are_followed_and_others_are_not(store: Store, root: Path) -> None:
    store.put("real/x", [b"1"])
    (root / "linked").symlink_to("real")
    (root / "blob").symlink_to("real/x")
    (root / "broken").symlink_to("nowhere")
    (root / "dangling").symlink_to("real/nothing")
    os.mkfifo(root / "pipe")
    assert [blob.name for blob in store.list()] == ["linked/x", "real/x"]
    assert store.get("linked/x") == b"1"
    for name in ("blob", "real", "dangling"):
        with pytest.raises(SftpRefused, match="something else than a plain file"):
            store.get(name)
    with pytest.raises(StoreFailed, match="symbolic link to something that is not there"):
        store.get("broken/x")
    with pytest.raises(SftpRefused, match="blob is not a directory there"):
        store.get("blob/x")
    with pytest.raises(BlobMissing):
        store.get("real/y")


def test_folders_that_lead_in_a_circle_end(store: Store, root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "b").symlink_to("..")
    with pytest.raises(StoreFailed, match="its folders lead in a circle"):
        list(store.list())


def test_what_is_not_a_repositorys_is_passed_over(store: Store, root: Path) -> None:
    store.put("a/x", [b"1"])
    for name in (".hidden", "a b", "ä", "a/.y"):
        (root / name).write_bytes(b"")
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    assert [blob.name for blob in store.list()] == ["a/x"]


def test_many_folders_and_long_ones_are_listed_whole(store: Store, root: Path) -> None:
    store.put("a/x", [b"1"])
    made = [f"p/{folder:03}/{n}" for folder in range(70) for n in range(2)]
    made += [f"wide/{n:04}" for n in range(1050)]
    for name in made:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    assert [blob.name for blob in store.list()] == sorted(["a/x", *made])


def test_a_killed_writer_leaves_garbage_that_is_swept(sshd: Sshd, root: Path) -> None:
    script = (
        "import sys, time\n"
        "from pgkeep.repository.store.open import open_store\n"
        "class Slow(list):\n"
        "    def __iter__(self):\n"
        "        yield bytes(3 << 20)\n"
        "        print('half', flush=True)\n"
        "        sys.stdin.read()\n"
        "open_store(sys.argv[1]).create('a/x', Slow([b'', b'']))\n"
    )
    store = open_store(sshd.address(root))
    command = [sys.executable, "-c", script, store.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        (temp,) = wait_for(lambda: os.listdir(root / ".tmp"))
        assert store.sweep_temp(0, _later(root)) == []  # it lives
        writer.send_signal(signal.SIGKILL)
    assert list(store.list()) == []
    assert store.sweep_temp(3600, _later(root)) == []  # too young
    assert [swept.name for swept in store.sweep_temp(0, _later(root))] == [f".tmp/{temp}"]
    assert os.listdir(root / ".tmp") == []
    store.create("a/x", [b"1"])


FORKING = """
import os, sys, threading
from pgkeep.repository.store.open import open_store
store = open_store(sys.argv[1])
store.create("before", [b"1"])
half, go_on = threading.Event(), threading.Event()
class Slow(list):
    def __iter__(self):
        yield bytes(1 << 20)
        half.set()
        go_on.wait()
        yield b"end"
thread = threading.Thread(target=lambda: store.create("parent", Slow([b"", b""])))
thread.start()
half.wait()
child = os.fork()
if child == 0:
    for name in os.listdir("/proc/self/fd"):  # as wal/prefetch.py does
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass
    assert store.get("before") == b"1"
    store.create("child", [b"2"])
    import gc; gc.collect()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
go_on.set()
thread.join()
store.create("after", [b"3"])
print(sorted((blob.name, blob.size) for blob in store.list()))
"""


def test_threads_share_one_connection_as_far_as_the_server_lets_them() -> None:
    with sshd_running("internal-sftp", "MaxSessions 2") as server:
        store = open_store(server.address(server.folder(), retry_for="0s"))
        gate = threading.Barrier(5)

        def create(number: int) -> None:
            gate.wait()
            store.create(f"{number}/x", [bytes(3 << 20)])

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(create, range(5)))
        assert [blob.name for blob in store.list()] == [f"{number}/x" for number in range(5)]
        log = (server.home / "log").read_text()
    assert log.count("Accepted publickey") < 5


def test_one_session_that_is_lost_leaves_the_others_alone(sshd: Sshd, root: Path) -> None:
    store = open_store(sshd.address(root, retry_for="0s"))
    parts = _Waiting()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.create, "a", parts)
        assert parts.begun.wait(30)
        with pytest.raises(RuntimeError):
            store.create("b", _Broken([b""]))
        store.create("c", [b"3"])
        parts.go_on.set()
        writing.result(30)
    assert [(blob.name, blob.size) for blob in store.list()] == [("a", 2), ("c", 1)]


class _Waiting(list[bytes]):
    """Parts of which the second has to be waited for."""

    def __init__(self) -> None:
        super().__init__([b"1", b"2"])
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield b"1"
        self.begun.set()
        assert self.go_on.wait(30)
        yield b"2"


class _Broken(list[bytes]):
    def __iter__(self) -> Iterator[bytes]:
        raise RuntimeError("gone")


def test_a_forked_process_opens_a_connection_of_its_own(sshd: Sshd, root: Path) -> None:
    command = [sys.executable, "-c", FORKING, sshd.address(root, retry_for="0s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("[('after', 1), ('before', 1), ('child', 1), ('parent', 1048579)]\n")


def test_scenario_l_an_unknown_host_is_refused_with_the_command(sshd: Sshd, root: Path) -> None:
    hosts = root / "none"
    store = open_store(sshd.address(root, known_hosts=str(hosts)))
    with pytest.raises(SftpHostUnknown) as caught:
        store.get("x")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{sshd.host_key}.pub"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert str(caught.value) == (
        f"cannot read x in {store.url}: the host's key, ssh-ed25519 {shown}, is not known: "
        f"[127.0.0.1]:{sshd.port} is not in {hosts}"
    )
    scan = f"ssh-keyscan -p {sshd.port} -t ed25519 127.0.0.1 >> {hosts}"
    assert caught.value.hint == (
        "run on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; if it prints "
        f"that fingerprint, trust it here, as the user who runs pgkeep: {scan}"
    )
    subprocess.run(["sh", "-c", scan], check=True, capture_output=True)
    store.create("x", [b"1"])


def test_scenario_l_a_host_with_another_key_is_refused(sshd: Sshd, root: Path) -> None:
    other = sshd.make_key(f"other-{root.name}")
    hosts = root / "hosts"
    kind, blob = Path(f"{other}.pub").read_text().split()[:2]
    hosts.write_text(f"[127.0.0.1]:{sshd.port} {kind} {blob}\n")
    store = open_store(sshd.address(root, known_hosts=str(hosts)))
    with pytest.raises(SftpHostChanged) as caught:
        store.get("x")
    assert "the host shows the key ssh-ed25519 SHA256:" in str(caught.value)
    assert f", but {hosts} has ssh-ed25519 SHA256:" in str(caught.value)
    assert not caught.value.retryable
    repair = caught.value.hint.partition("only if it prints that fingerprint: ")[2]
    subprocess.run(["sh", "-c", repair], check=True, capture_output=True)
    store.create("x", [b"1"])


def test_a_revoked_host_key_is_refused(sshd: Sshd, root: Path) -> None:
    known = sshd.known_hosts.read_text().splitlines()[0]
    hosts = root / "hosts"
    hosts.write_text(f"{known}\n@revoked * {known.partition(' ')[2]}\n")
    with pytest.raises(SftpHostChanged, match=f"shows a key that {hosts} calls revoked"):
        open_store(sshd.address(root, known_hosts=str(hosts))).get("x")


def test_scenario_l_a_key_that_is_not_accepted(sshd: Sshd, root: Path) -> None:
    other = sshd.make_key(f"stranger-{root.name}")
    store = open_store(sshd.address(root, identity_file=str(other)))
    with pytest.raises(SftpKeyRefused) as caught:
        store.get("x")
    assert f"127.0.0.1 accepts for user {sshd.user} none of the keys" in str(caught.value)
    assert f": {other} (SHA256:" in str(caught.value)
    assert caught.value.hint == (
        f"add the public key to ~{sshd.user}/.ssh/authorized_keys on 127.0.0.1; its log says more"
    )
    assert not caught.value.retryable


def test_identity_files_that_are_of_no_use(sshd: Sshd, root: Path) -> None:
    def why(identity: Path) -> tuple[str, str]:
        with pytest.raises(SftpKeyRefused) as caught:
            open_store(sshd.address(root, identity_file=str(identity))).get("x")
        return str(caught.value).partition("identity_file ")[2], caught.value.hint

    missing = root / "missing"
    assert why(missing)[0].startswith(f"{missing}: no such file or directory (as user ")
    loose = sshd.make_key(f"loose-{root.name}")
    loose.chmod(0o640)
    assert why(loose) == (
        f"{loose}: other users can read it too (mode 0640)",
        f"chmod 600 {loose}",
    )
    garbage = root / "garbage"
    garbage.write_text("no key")
    garbage.chmod(0o600)
    assert why(garbage)[0] == f"{garbage}: it is not a private key that can be read"


def test_a_key_with_a_passphrase_needs_an_agent(sshd: Sshd, root: Path) -> None:
    locked = root / "locked"
    locked.write_bytes(sshd.identity.read_bytes())
    locked.chmod(0o600)
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "words of ours", "-f", str(locked)]
    subprocess.run(change, check=True, capture_output=True)
    Path(f"{locked}.pub").write_bytes(Path(f"{sshd.identity}.pub").read_bytes())
    address = sshd.address(root, identity_file=str(locked))
    with pytest.raises(SftpKeyRefused) as caught:
        open_store(address).get("x")
    assert str(caught.value).endswith(
        f"identity_file {locked}: it is protected by a passphrase, and nobody is there to type it"
    )
    script = (
        "import sys\nfrom pgkeep.repository.store.open import open_store\n"
        "for address in sys.argv[1:]: open_store(address).put('x', [b'1'])\n"
    )
    anybody = sshd.address(root, identity_file="")
    # ssh-agent ends with the command that it runs.
    shell = 'ssh-add -q "$1" && exec "$2" -c "$3" "$4" "$5"'
    words = ["sh", str(sshd.identity), sys.executable, script, address, anybody]
    agent = ["ssh-agent", "sh", "-c", shell, *words]
    done = subprocess.run(agent, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_that_wants_no_keys(root: Path) -> None:
    with sshd_running("internal-sftp", "PubkeyAuthentication no") as server:
        with pytest.raises(SftpKeyRefused) as caught:
            open_store(server.address(root)).get("x")
        assert caught.value.hint == "allow PubkeyAuthentication in its sshd_config"


@pytest.mark.parametrize(
    ("subsystem", "why"),
    [
        ("", "the server has no SFTP for this user (channel closed)"),
        ("/bin/echo hello", "the server answers with something else than SFTP"),
    ],
)
def test_a_server_without_sftp(root: Path, subsystem: str, why: str) -> None:
    with sshd_running(subsystem) as server, pytest.raises(SftpRefused) as caught:
        open_store(server.address(root)).get("x")
    assert str(caught.value).endswith(f": {why}")
    assert caught.value.hint.endswith("Subsystem sftp internal-sftp")


def test_what_the_user_may_not_do(sshd: Sshd, root: Path, store: Store) -> None:
    if sshd.user != "nobody":
        pytest.skip("tests don't run as root: another user's files are NOT tested here")
    store.put("a/x", [b"1"])
    os.chown(root / "a", 0, 0)
    os.chmod(root / "a", 0o755)
    os.chmod(root / "a/x", 0o644)
    assert store.get("a/x") == b"1"
    for call in (calls(store)[name] for name in ("write a/x", "delete a/x")):
        with pytest.raises(SftpDenied) as caught:
            call()
        assert str(caught.value).endswith(f" in {store.url}: permission denied")
        assert caught.value.hint == (
            f"on 127.0.0.1, give {root} to the user who logs in: chown -R nobody; "
            "and let his SFTP not be limited (-R, -P)"
        )
    os.chmod(root / "a", 0o700)
    for call in (calls(store)[name] for name in ("read a/x", "list a/", "write a/x")):
        with pytest.raises(SftpDenied):
            call()
    os.chmod(root, 0o000)
    for call in calls(store).values():
        with pytest.raises(SftpDenied):
            call()


def _free(path: Path) -> int:
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize


def _later(root: Path) -> float:
    """Return a time a minute after the newest temporary file, by the file system's clock."""
    return 60 + max(path.stat().st_mtime for path in (root / ".tmp", *(root / ".tmp").iterdir()))


def _has_open(pid: int, root: Path, store: Store) -> bool:
    """Tell whether this process serves the store: internal-sftp runs in the session's own."""
    seen = []

    class Looking(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            seen.append(any(str(root) in target for target in _open_files(pid)))
            yield b""

    store.put("probe", Looking([b""]))
    store.delete("probe")
    return seen == [True]


def _open_files(pid: int) -> list[str]:
    found = []
    with suppress(FileNotFoundError):  # ended; or closed while we looked
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(os.readlink(descriptor))
    return found


class _strace:  # noqa: N801 - used like a function
    """Follows a process until the block ends."""

    def __init__(self, pid: int, *options: str) -> None:
        self._command = ["strace", "-p", str(pid), *options]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        assert b"attached" in self._process.stderr.readline()

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=30)
