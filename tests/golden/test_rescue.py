"""The program in docs/formats/rescue.md takes everything out of a repository, without pgkeep."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgkeep.backup.backup import BackupOptions, run
from pgkeep.model.segment import Segment
from pgkeep.repository import keys
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store
from support.backups import LABEL, FakeSource, inline, new_folder, page
from support.pages import block

GENERATION = "18-7710983248089545577"
SEGMENT = Segment(1, 0x30, 1 << 20).name
SECRET = "correct horse battery"
FILES = {
    "PG_VERSION": b"18\n",
    "base/5/16384": b"".join(page(n) for n in range(300)),  # more than two chunks
    "base/5/16385": os.urandom(8192) * 3,
    "base/5/empty": b"",
    "global/pg_filenode.map": b"map" * 100,
    "pg_xact/0000": bytes(8192),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rescue") / "rescue.py"
    path.write_text(block("rescue.md", "The program", "python"))
    return path


@pytest.fixture(params=["none", "passphrase"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> ClusterFolder:
    """A backup and the WAL that belongs to it."""
    cluster = new_folder(tmp_path / "repository", encryption=request.param)
    archive = cluster.wal(GENERATION)
    source = FakeSource(FILES, lambda file: archive.push(file, file.encode() * 300_000) and None)
    run(source, cluster, BackupOptions(jobs=1), make_workers=inline(cluster))
    return cluster


def rescue(
    program: Path, cluster: ClusterFolder, command: str, *words: str, secret: str = SECRET
) -> "subprocess.CompletedProcess[str]":
    encrypted = cluster.repository.key is not None
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ""}
    if encrypted:
        environment["PGKEEP_PASSPHRASE"] = secret
    option, words = (words[:2], words[2:]) if words[:1] == ("--generation",) else ((), words)
    call = [command, *option, cluster.store.url, "main", *words]
    return subprocess.run(
        [sys.executable, str(program), *call],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def backup_id(cluster: ClusterFolder) -> str:
    (name,) = [blob.name for blob in cluster.store.list("clusters/main/backups/")]
    return name.split("/")[3]


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_it_lists_backups_and_files(program: Path, cluster: ClusterFolder) -> None:
    listed = rescue(program, cluster, "backups")
    assert listed.stdout.startswith(f"{backup_id(cluster)} 18.6 2026-01-02T03:05:00"), listed.stderr
    files = rescue(program, cluster, "files", backup_id(cluster)).stdout.splitlines()
    assert f"- 0600 {300 * 8192} base/5/16384 " in files
    assert "d 0700 0 base/5 " in files


def test_it_takes_out_every_file(program: Path, cluster: ClusterFolder, tmp_path: Path) -> None:
    target = tmp_path / "out"
    done = rescue(program, cluster, "all", backup_id(cluster), str(target))
    assert (done.returncode, done.stderr) == (0, "")
    expected = {**FILES, "global/pg_control": b"control" * 100, "backup_label": LABEL.encode()}
    assert tree(target) == {
        name: hashlib.sha256(content).hexdigest() for name, content in expected.items()
    }
    assert (target / "base/5/16384").stat().st_mode & 0o777 == 0o600
    again = rescue(program, cluster, "all", backup_id(cluster), str(target))
    assert again.returncode == 200  # never over something else


def test_it_takes_out_one_file(program: Path, cluster: ClusterFolder, tmp_path: Path) -> None:
    out = tmp_path / "one"
    done = rescue(program, cluster, "get", backup_id(cluster), "base/5/16385", str(out))
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == FILES["base/5/16385"]


def test_it_serves_as_restore_command(
    program: Path, cluster: ClusterFolder, tmp_path: Path
) -> None:
    out = tmp_path / "RECOVERYXLOG"
    for option in ((), ("--generation", GENERATION)):
        done = rescue(program, cluster, "wal", *option, SEGMENT, str(out))
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == SEGMENT.encode() * 300_000
        out.unlink()
    for missing in ("0000000100000000000000FF", "00000002.history"):
        assert rescue(program, cluster, "wal", missing, str(out)).returncode == 1
    assert not out.exists()


def test_damage_stops_recovery(program: Path, cluster: ClusterFolder, tmp_path: Path) -> None:
    (name,) = [b.name for b in cluster.store.list("clusters/main/wal/") if b.name.endswith(SEGMENT)]
    content = bytearray(cluster.store.get(name))
    content[-1] ^= 1
    cluster.store.put(name, [bytes(content)])
    out = tmp_path / "out"
    assert rescue(program, cluster, "wal", SEGMENT, str(out)).returncode == 200
    for pack in list(cluster.store.list("clusters/main/packs/")):
        cluster.store.put(pack.name, [bytes(pack.size)])
    assert rescue(program, cluster, "all", backup_id(cluster), str(out)).returncode == 200
    assert not (out / "global/pg_control").exists()


def test_a_recovery_key_does_and_a_wrong_one_does_not(program: Path, tmp_path: Path) -> None:
    cluster = new_folder(tmp_path / "repository", encryption="passphrase")
    opened = Repository.open(open_store(cluster.store.url), SECRET)
    printed = keys.add_recovery_key(opened)
    cluster.wal(GENERATION).push("00000002.history", b"1\t0/3000000\tx\n")
    out = tmp_path / "out"
    for secret in (printed, printed.lower(), SECRET + "\n"):
        done = rescue(program, cluster, "wal", "00000002.history", str(out), secret=secret)
        assert done.returncode == 0, done.stderr
    for secret in ("wrong", keys.format_recovery_key(bytes(32)), ""):
        done = rescue(program, cluster, "wal", "00000002.history", str(out), secret=secret)
        assert done.returncode == 200
        assert "rescue: " in done.stderr


def test_later_layers_replace_pages(program: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("rescue_program", program)
    assert spec is not None
    assert spec.loader is not None
    rescue_program: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rescue_program)

    class Chunks(rescue_program.Repository):  # type: ignore[misc]
        def __init__(self) -> None:
            """Chunks are their own places."""

        def chunk(self, place: bytes) -> bytes:
            return place

    layers = [
        ([b"AABB", b"CCDD"], []),
        ([b"bb", b"ddee"], [1, 3, 4]),  # the file had grown
        ([b"xx"], [1]),
    ]
    out = tmp_path / "out"
    Chunks().write((b"f", 0, 0o640, 8, b"", layers), str(out), 2)
    assert out.read_bytes() == b"AAxxCCdd"
    assert out.stat().st_mode & 0o777 == 0o640
