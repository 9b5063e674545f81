"""A restore that dies at any point leaves a directory that no server starts on."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.inspect.look import inspect
from pgkeep.inspect.seen import State
from pgkeep.repository.seal import Damaged
from pgkeep.restore.preflight import TargetNotEmpty
from pgkeep.restore.prepare import prepare
from pgkeep.restore.restore import carry_out
from pgkeep.restore.writing.copy import CannotWrite
from pgkeep.server.instance import ServerProcess, ServerWontStart
from support.clusters import NewCluster, only
from support.restores import Scene, make_scene, read_ledger

# Runs a restore in a process of its own, which dies at its n-th call of a function of os, or of any
# method of the store.
DYING = """
import os, signal, sys
from datetime import UTC, datetime
from pgkeep.model.target import RecoveryTarget
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.open import open_store
from pgkeep.restore.prepare import RestoreRequest
from pgkeep.restore.restore import run

url, target, call, countdown = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
delta = sys.argv[5] == "delta"

def make_deadly(owner, name):
    real = getattr(owner, name)

    def dying(*arguments, **named):
        global countdown
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    setattr(owner, name, dying)

folder = Repository.open(open_store(url), None).cluster("main")
for name in ("get", "stat", "list", "create", "put", "delete") if call == "store" else ():
    make_deadly(LocalStore, name)
if call != "store":
    make_deadly(os, call)
run(folder, RestoreRequest(target, jobs=1, delta=delta), now=datetime.now(UTC))
print("finished")
"""


@pytest.fixture
def scene(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Scene:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.enter("a")
    scene.backup()
    scene.archive()
    scene.pg.stop()
    return scene


def die_at(scene: Scene, target: Path, call: str, count: int, *, delta: bool = False) -> bool:
    """Return whether the restore was killed (and not finished before)."""
    command = [sys.executable, "-c", DYING, scene.folder.store.url, str(target), call, str(count)]
    command.append("delta" if delta else "plain")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def refuses_to_start(scene: Scene, target: Path) -> bool:
    log = target.with_name(f"{target.name}.log")
    try:
        server = ServerProcess.start(scene.pg.binaries, target, ["listen_addresses="], log_file=log)
        server.wait_ready(30)
    except ServerWontStart:
        return True
    server.kill()
    return False


@only(17)
def test_killed_at_every_kind_of_moment(scene: Scene, tmp_path: Path) -> None:
    survived = 0
    for call, counts in {
        "fsync": (*range(2, 20, 2), 40, 80),
        "pwrite": (1, 2, 50, 300, 700),
        "mkdir": (1, 2, 10, 25),
        "chmod": (1, 10, 25),
        "unlink": (1, 2, 3),
        "store": (1, 12, 14, 16, 20),
    }.items():
        for count in counts:
            target = tmp_path / f"{call}{count}"
            if not die_at(scene, target, call, count):
                continue
            survived += 1
            whole = not (target / "pgkeep-restore-in-progress").exists()
            if not target.exists():
                continue
            state = inspect(str(target)).state
            if not os.listdir(target):
                assert state is State.NOT_A_DATA_DIRECTORY, (call, count)
            elif whole:
                assert state is State.RESTORED, (call, count)
            else:
                assert state is State.HALF_RESTORED, (call, count)
                with pytest.raises(TargetNotEmpty, match="half-restored"):
                    prepare(scene.folder, scene.request("latest", target.name))
            if not (target / "global/pg_control").exists():
                assert refuses_to_start(scene, target), (call, count)
    assert survived > 15
    assert scene.content_at("latest") == "a"


@only(17)
def test_scenario_84_a_delta_restore_killed_anywhere_is_finished_by_the_next(
    scene: Scene, tmp_path: Path
) -> None:
    """Over a directory that has more, less and other bytes than the backup."""
    old = tmp_path / "old"
    shutil.copytree(scene.restore("latest", "plain").plan.target_dir, old)
    expected = snapshot(tmp_path / "plain")
    files = sorted((old / "base/1").iterdir())
    for number, path in enumerate(files[::3]):
        path.write_bytes(path.read_bytes()[number * 100 :] + b"more")
    for path in files[1::9]:
        path.unlink()
    (old / "base/99999").mkdir()
    (old / "base/99999/1259").write_text("another database")
    killed = 0
    for call, counts in {
        "unlink": (1, 3, 5),
        "rename": (1,),
        "fsync": (2, 4, 6, 12),
        "ftruncate": (3, 60),
        "pwrite": (1, 60),
        "chmod": (1, 20),
        "preadv": (2, 400),
        "store": (1, 12, 18),
    }.items():
        for count in counts:
            target = tmp_path / f"{call}{count}"
            shutil.copytree(old, target)
            if not die_at(scene, target, call, count, delta=True):
                continue
            killed += 1
            half = (target / "pgkeep-restore-in-progress").exists()
            assert half == (inspect(str(target)).state is State.HALF_RESTORED), (call, count)
            if half:
                # It may hold WAL that is nowhere else: nobody is told to remove it.
                assert not any("rm -r" in step for step in inspect(str(target)).next_steps)
                with pytest.raises(TargetNotEmpty) as caught:
                    prepare(scene.folder, scene.request("latest", target.name))
                assert "safe to delete" not in str(caught.value)
                assert caught.value.hint.startswith("finish it with --delta")
            if half and killed % 5 == 0 and not (target / "global/pg_control").exists():
                assert refuses_to_start(scene, target), (call, count)
            if not half:
                names = snapshot(target).keys() - {"pgkeep-restore-in-progress.new"}
                assert names in (snapshot(old).keys(), expected.keys())
            scene.restore("latest", target.name, delta=True)
            left = snapshot(target)
            assert left.keys() == expected.keys(), (call, count)
            assert [name for name in left if left[name] != expected[name]] == [], (call, count)
            shutil.rmtree(target)
    assert killed > 12
    report = scene.restore("latest", "old", delta=True)
    with scene.started(report) as (restored, _):
        assert read_ledger(restored) == "a"


def snapshot(directory: Path) -> dict[str, bytes | None]:
    """Return all that is in a directory, but for the file that tells when it was restored."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
        if path.name != "postgresql.auto.conf"
    }


@only(17)
def test_a_damaged_pack_leaves_nothing_startable(scene: Scene) -> None:
    prepared = prepare(scene.folder, scene.request())
    pack = max(
        Path(scene.folder.store.url).rglob("packs/*/*"), key=lambda path: path.stat().st_size
    )
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    for jobs in (1, 2):
        prepared = prepare(scene.folder, scene.request("latest", f"r{jobs}", jobs=jobs))
        with pytest.raises(Damaged) as caught:
            carry_out(scene.folder, prepared, now=datetime.now(UTC))
        assert pack.name in str(caught.value)
        assert inspect(prepared.plan.target_dir).state is State.HALF_RESTORED


@only(17)
def test_a_full_disk_leaves_nothing_startable(scene: Scene, tmp_path: Path) -> None:
    """The room was there when it was checked, and is gone when it is needed."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "pgkeep-test", str(small)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("NOT TESTED: this machine allows no mounts")
    try:
        with pytest.raises(PgkeepError) as early:
            prepare(scene.folder, scene.request("latest", "small/r"))
        assert early.value.code == "no-room"
        roomy = prepare(scene.folder, scene.request("latest", "small2"))
        (tmp_path / "small2").symlink_to(small)
        with pytest.raises(CannotWrite, match="No space left on device"):
            carry_out(scene.folder, roomy, now=datetime.now(UTC))
        assert inspect(str(small)).state is State.HALF_RESTORED
        assert refuses_to_start(scene, small)
    finally:
        subprocess.run(["umount", str(small)], check=True)
