"""The local store when system calls fail, or the process dies at one of them.

strace makes them fail: nothing in the code knows that it is being tested.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pgkeep.repository.store.base import BlobExists, BlobMissing, StoreFailed
from pgkeep.repository.store.local import LocalStore

SCRIPT = """
import sys
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.local import LocalStore
store = LocalStore(sys.argv[1])
try:
    getattr(store, sys.argv[2])(sys.argv[3], [b"new " * 1000])
except StoreFailed as error:
    print(error, "|", error.hint)
else:
    print("done")
"""
WHOLE = b"new " * 1000

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="no strace: failing system calls are NOT tested here"
)


def run(
    root: Path, call: str, *inject: str, name: str = "a/x"
) -> "subprocess.CompletedProcess[str]":
    trace = ["strace", "-f", "-o", str(root) + ".strace"]
    options = [option for rule in inject for option in ("-e", f"inject={rule}")]
    return subprocess.run(
        [*trace, *options, sys.executable, "-c", SCRIPT, str(root), call, name],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "r"
    root.mkdir()
    return root


def content(root: Path, other: str = "a/x") -> bytes | None:
    """Return what readers see: the blob, or None; and demand that they see nothing else."""
    store = LocalStore(str(root))
    assert {blob.name for blob in store.list()} <= {"a/x", other}
    try:
        return store.get("a/x")
    except BlobMissing:
        return None


def create_again(root: Path) -> None:
    with suppress(BlobExists):
        LocalStore(str(root)).create("a/x", [WHOLE])
    assert content(root) == WHOLE


@pytest.mark.parametrize(
    ("fault", "nth", "why"),
    [
        ("writev", 1, "input/output error (EIO)"),
        ("fsync", 1, "input/output error (EIO)"),  # the root, for .tmp
        ("fsync", 2, "input/output error (EIO)"),  # the content
        ("fsync", 3, "input/output error (EIO)"),  # the root, for the new folder
        ("fsync", 4, "input/output error (EIO)"),  # the folder, for the name
        ("link,linkat", 2, "input/output error (EIO)"),
        ("mkdir,mkdirat", 2, "input/output error (EIO)"),
    ],
)
def test_scenario_93_a_failing_call_is_an_error(root: Path, fault: str, nth: int, why: str) -> None:
    done = run(root, "create", f"{fault}:error=EIO:when={nth}")
    assert done.stdout == (
        f"cannot create a/x in {root}: {why} | the disk or the network behind it fails: "
        "look at dmesg, and copy what is readable\n"
    )
    # Only when the very last sync fails has the whole blob its name already.
    assert content(root) == (WHOLE if (fault, nth) == ("fsync", 4) else None)
    assert not any((root / ".tmp").glob("*"))
    create_again(root)


def test_scenario_93_a_failing_close_is_an_error(root: Path) -> None:
    """NFS reports a full disk only then."""
    LocalStore(str(root)).put("a/y", [b""])
    LocalStore(str(root)).delete("a/y")
    run(root, "create", "fsync:error=EIO:when=99")
    lines = Path(f"{root}.strace").read_text().splitlines()
    LocalStore(str(root)).delete("a/x")
    calls = [line.split(None, 1)[1].partition("(")[0] for line in lines]
    nth = calls[: calls.index("fsync")].count("close") + 1
    done = run(root, "create", f"close:error=ENOSPC:when={nth}")
    assert done.stdout.startswith(f"cannot create a/x in {root}: no space left on device (ENOSPC)")
    assert content(root) is None
    create_again(root)


def test_scenario_93_replacing_keeps_the_old_blob_when_it_fails(root: Path) -> None:
    LocalStore(str(root)).put("a/x", [b"old"])
    for fault, nth in (("writev", 1), ("fsync", 1), ("rename,renameat", 1)):
        done = run(root, "put", f"{fault}:error=EIO:when={nth}")
        assert done.stdout.startswith(f"cannot write a/x in {root}: input/output error (EIO)")
        assert content(root) == b"old"
    assert not any((root / ".tmp").glob("*"))


@pytest.mark.parametrize("code", ["ESTALE", "EROFS", "EDQUOT", "ENOSPC", "EACCES"])
def test_each_cause_has_its_advice(root: Path, code: str) -> None:
    LocalStore(str(root)).put("a/y", [b""])
    done = run(root, "create", f"writev:error={code}")
    assert f"({code}) | " in done.stdout
    assert not done.stdout.endswith("| \n")


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_hard_links_is_named(root: Path, code: str) -> None:
    LocalStore(str(root)).put("a/y", [b""])
    done = run(root, "create", f"link,linkat:error={code}")
    assert done.stdout.endswith(
        " | the file system has no hard links, which pgkeep needs to never replace a file: "
        "put the repository on another one\n"
    )
    assert content(root, "a/y") is None


def test_a_link_whose_answer_was_lost_is_no_stranger(root: Path) -> None:
    """NFS sends a request again when the answer is lost, and then hears that the name is taken."""
    script = SCRIPT.replace(
        "store = LocalStore", "import os\nlink = os.link\n"
        "def twice(*names):\n    link(*names)\n    link(*names)\n"
        "os.link = twice\nstore = LocalStore",
    )  # fmt: skip
    call = [sys.executable, "-c", script, str(root), "create", "a/x"]
    assert subprocess.run(call, capture_output=True, check=True).stdout == b"done\n"
    assert content(root) == WHOLE


def test_short_writes_go_on(root: Path) -> None:
    """A disk that takes a few bytes at a time, then the rest."""
    done = run(root, "create", "writev:retval=7:when=1")
    # strace only pretends that 7 bytes were written: the rest follows, and nothing is repeated.
    assert done.stdout == "done\n"
    assert content(root) == WHOLE[7:]


@pytest.mark.parametrize(
    ("call", "nth"),
    [
        *((call, nth) for call in ("mkdir,mkdirat", "fsync") for nth in (1, 2, 3)),
        *(("link,linkat", nth) for nth in (1, 2)),
        ("fsync", 4),
        ("writev", 1),
        ("unlink,unlinkat", 1),
    ],
)
def test_scenario_58_killed_at_each_call(root: Path, call: str, nth: int) -> None:
    done = run(root, "create", f"{call}:signal=KILL:when={nth}")
    assert done.stdout in ("", "done\n")
    assert content(root) in (None, WHOLE)
    create_again(root)
    assert content(root) == WHOLE


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "ro"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount: a read-only repository is NOT tested here")
    LocalStore(str(place)).put("a/x", [WHOLE])
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_scenario_93_a_read_only_repository_can_be_read(read_only: Path) -> None:
    store = LocalStore(str(read_only))
    assert store.get("a/x") == WHOLE
    writes: list[Callable[[], None]] = [
        lambda: store.put("b", [b""]),
        lambda: store.create("b", [b""]),
        lambda: store.delete("a/x"),
    ]
    for write in writes:
        with pytest.raises(StoreFailed) as caught:
            write()
        assert str(caught.value).endswith(": read-only file system (EROFS)")
        assert caught.value.hint == (
            "the file system is read-only: find out why (dmesg), then mount it read-write"
        )
    assert os.listdir(read_only / ".tmp") == []
