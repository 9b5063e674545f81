"""A restore that dies at any point leaves a directory that no server starts on."""

import os
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
from support.restores import Scene, make_scene

# Runs a restore in a process of its own, which dies at its n-th fsync or its n-th file.
DYING = """
import os, signal, sys
from datetime import UTC, datetime
from pgkeep.model.target import RecoveryTarget
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.open import open_store
from pgkeep.restore.prepare import RestoreRequest
from pgkeep.restore.restore import run

url, target, call, countdown = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
real = getattr(os, call)

def dying(*arguments, **named):
    global countdown
    countdown -= 1
    if countdown == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(os, call, dying)
folder = Repository.open(open_store(url), None).cluster("main")
run(folder, RestoreRequest(target, jobs=1), now=datetime.now(UTC))
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


def die_at(scene: Scene, target: Path, call: str, count: int) -> bool:
    """Return whether the restore was killed (and not finished before)."""
    command = [sys.executable, "-c", DYING, scene.folder.store.url, str(target), call, str(count)]
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
        "fsync": (*range(2, 20), 40, 80),
        "pwrite": (1, 2, 50, 300, 700),
        "mkdir": (1, 2, 10, 25),
        "chmod": (1, 10, 25),
        "unlink": (1, 2, 3),
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
    assert survived > 20
    assert scene.content_at("latest") == "a"


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
