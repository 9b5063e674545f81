"""Repositories as former versions of pgkeep left them: all of it works, and what is newer is left.

They are made by support.golden_repository, one of each format, and never changed afterwards.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from pgkeep.backup.backup import Kind
from pgkeep.backup.report import BackupReport
from pgkeep.model.backup import BackupType
from pgkeep.repository import catalog, names
from pgkeep.repository.marker import encode_document
from pgkeep.repository.proofs import Level, read_proofs
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import FormatTooNew, Key
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.wal_archive import WalArchive
from pgkeep.retention.expire import Wish, expire, preview
from pgkeep.retention.pins import read_pins
from pgkeep.retention.policy import KeepPolicy
from pgkeep.retention.survey import Unprovable
from pgkeep.units import MIB
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.verify import run as verify
from support.backups import contents
from support.command import run_pgkeep
from support.golden_repository import LEFT, SECRET, back_up, model_of, open_golden, read_expected

GOLDEN = sorted((Path(__file__).parent / "repositories").glob("v*/*/"))
LATER = datetime(2026, 3, 1, 12, tzinfo=UTC)
WISH = Wish(KeepPolicy(daily=1, minimum=1), UTC, LATER)
BYTES = VerifyOptions(Level.BYTES)


@pytest.fixture(params=GOLDEN, ids=[f"{path.parent.name}-{path.name}" for path in GOLDEN])
def golden(request: pytest.FixtureRequest) -> Path:
    """A golden repository, which nobody may write to."""
    path: Path = request.param
    return path


@pytest.fixture
def cluster(golden: Path) -> ClusterFolder:
    """A copy of it in memory."""
    store = MemoryStore()
    for path in golden.rglob("*"):
        if path.is_file():
            store.put(str(path.relative_to(golden)), [path.read_bytes()])
    return Repository(store, *unlocked(golden)).cluster("main")


@cache
def unlocked(golden: Path) -> tuple[str, Key | None]:
    """Return a repository's id and key. The passphrase takes its time, by design."""
    repository = open_golden(golden).repository
    return repository.id, repository.key


@pytest.fixture
def expected(golden: Path) -> dict[str, Any]:
    """What is in it."""
    return read_expected(golden)


def on_disk(golden: Path, cluster: ClusterFolder, place: Path) -> Path:
    """Write what is in memory into a folder, for commands."""
    for name, content in everything(cluster).items():
        path = place / golden.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place / golden.name


def everything(cluster: ClusterFolder) -> dict[str, bytes]:
    return {blob.name: cluster.store.get(blob.name) for blob in cluster.store.list()}


def hashes(cluster: ClusterFolder, backup_id: str) -> dict[str, str]:
    files = contents(cluster, backup_id)
    return {path: blake3(content).hexdigest(16) for path, content in files.items()}


def extend(cluster: ClusterFolder, parent: str, **changed: Any) -> BackupReport:
    """Change a page of the cluster as it was at a backup, and take the next one."""
    model = model_of(cluster, parent)
    model.write("base/5/1000", 4, fill=77)
    model.replace(*LEFT)
    return back_up(cluster, model, LATER, **changed)


def test_there_is_a_golden_repository_of_each_kind() -> None:
    found = {f"{path.parent.name}-{path.name}" for path in GOLDEN}
    assert {"v1-plain", "v1-encrypted"} <= found


def test_scenario_163_a_golden_repository_is_listed_and_shown(
    golden: Path, cluster: ClusterFolder, expected: dict[str, Any], tmp_path: Path
) -> None:
    place = on_disk(golden, cluster, tmp_path)
    secret = {} if golden.name == "plain" else {"PGKEEP_PASSPHRASE": SECRET}

    def ask(*words: str) -> Any:
        return run_pgkeep("--repository", place, "--json", *words, env=secret).ok().json

    listed = ask("list")
    told = [(one["id"], one["type"]) for one in listed["backups"]]
    assert told == [(one["id"], one["type"]) for one in expected["backups"]]
    assert listed["unreadable"] == []
    assert [one["damaged"] for one in listed["backups"]] == [None] * len(told)
    assert {one["proofs"][0]["level"] for one in listed["backups"]} == {"bytes"}
    shown = ask("show", "latest")
    assert (shown["id"], shown["files"]) == (told[-1][0], len(expected["backups"][-1]["files"]))
    dry = ask("expire", "--dry-run")
    assert dry["error"] is None


def test_scenario_163_a_golden_repository_is_verified(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    assert len(read_proofs(cluster).found) == 1
    report = verify(cluster, BYTES)
    assert (report.problem, report.damaged, report.notes) == (None, (), ())
    assert [found.id for found in report.backups] == [one["id"] for one in expected["backups"]]
    assert report.orphans is not None
    assert report.orphans[0] > 0  # of the attempt that died


def test_scenario_163_the_files_and_the_wal_of_a_golden_repository(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    assert {one["type"] for one in expected["backups"]} == {"full", "incremental"}
    for one in expected["backups"]:
        backup = catalog.find_backup(catalog.backups(cluster), one["id"])
        assert backup.parent == one["parent"]
        tables = catalog.read_manifest(cluster, one["id"]).tables
        assert bool(len(tables.overlaid())) is one["overlays"]
        assert hashes(cluster, one["id"]) == one["files"]
    archive = wal(cluster)
    assert sorted(archive.list(MIB).stats) == sorted(expected["wal"])
    assert {name[8:] for name in expected["wal"]} >= {".history"}
    for name, wanted in expected["wal"].items():
        assert blake3(b"".join(archive.fetch(name))).hexdigest(16) == wanted


def wal(cluster: ClusterFolder) -> WalArchive:
    (generation,) = cluster.generation_ids()
    return cluster.wal(generation)


def test_scenario_163_what_expire_would_do_to_a_golden_repository(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    before = everything(cluster)
    decision = preview(cluster, WISH)
    assert decision.refusal is None
    kept = {expected["pinned"], expected["backups"][-1]["id"]}
    gone = [one["id"] for one in expected["backups"] if one["id"] not in kept]
    assert [backup.id for backup in decision.plan.dropped] == gone
    assert everything(cluster) == before
    expire(cluster, WISH)
    for one in expected["backups"]:
        if one["id"] in kept:
            assert hashes(cluster, one["id"]) == one["files"]
    assert verify(cluster, BYTES).problem is None


def test_scenario_163_a_golden_repository_is_extended(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    before, last = everything(cluster), expected["backups"][-1]
    report = extend(cluster, last["id"])
    assert (report.backup.type, report.backup.parent) == (BackupType.INCREMENTAL, last["id"])
    assert report.reuse is not None
    assert (report.reuse.changed_pages, report.resumed) == (1, len(LEFT[1]))
    after = everything(cluster)
    gone = {name for name in before if name not in after}
    assert gone == {names.attempt("main", expected["attempt"])}
    assert all(after[name] == content for name, content in before.items() if name not in gone)
    changed = {path for path, found in hashes(cluster, report.id).items()
               if found != last["files"].get(path)}  # fmt: skip
    assert changed == {"base/5/1000", "global/pg_control", LEFT[0]}
    found = verify(cluster, BYTES)
    assert (found.problem, len(found.backups)) == (None, len(expected["backups"]) + 1)


# An old program and a repository in which a newer one has been at work.


def newer_binary(content: bytes) -> bytes:
    """Return an object whose version, after the 4 bytes that tell what it is, is unknown."""
    return content[:4] + struct.pack("<H", 99) + content[6:]


def make_newer(
    cluster: ClusterFolder, name: str, change: Callable[[bytes], bytes] = newer_binary
) -> None:
    cluster.store.put(name, [change(cluster.store.get(name))])


def verdicts(report: VerifyReport) -> dict[str, str]:
    return {found.id: found.verdict.value for found in report.backups}


@pytest.fixture
def newest(cluster: ClusterFolder) -> str:
    """The newest backup, in a format that nobody knows yet."""
    newest = catalog.backups(cluster).backups[-1].id
    make_newer(cluster, names.manifest("main", newest))
    return newest


def test_scenario_163_a_backup_of_a_newer_format_is_told_of_and_not_used(
    golden: Path, cluster: ClusterFolder, newest: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    place = on_disk(golden, cluster, tmp_path)
    with pytest.raises(FormatTooNew):
        catalog.read_manifest(cluster, newest)
    secret = {} if golden.name == "plain" else {"PGKEEP_PASSPHRASE": SECRET}
    told = run_pgkeep("--repository", place, "list", env=secret).ok().stdout
    assert "1 backup CANNOT BE READ" in told
    assert newest in told
    shown = run_pgkeep("--repository", place, "show", newest, env=secret)
    assert shown.exit == FormatTooNew.exit_status
    assert "install the pgkeep version that wrote it" in shown.stderr
    for one in expected["backups"][:-1]:
        assert hashes(cluster, one["id"]) == one["files"]


def test_scenario_163_nothing_is_deleted_beside_a_backup_of_a_newer_format(
    cluster: ClusterFolder, newest: str
) -> None:
    before = everything(cluster)
    decision = preview(cluster, WISH)
    assert isinstance(decision.refusal, Unprovable)
    assert decision.refusal.backup == newest
    expired = expire(cluster, replace(WISH, policy=KeepPolicy(daily=1, minimum=1)))
    assert expired.outcome is None
    assert everything(cluster) == before


def test_scenario_163_a_backup_of_a_newer_format_is_passed_over_as_parent(
    cluster: ClusterFolder, newest: str, expected: dict[str, Any]
) -> None:
    before = everything(cluster)
    parent = expected["backups"][-2]
    report = extend(cluster, parent["id"], kind=Kind.INCREMENTAL)
    assert report.backup.parent == parent["id"]
    assert [note for note in report.notes if note.startswith(f"{newest} cannot be its parent: ")]
    after = everything(cluster)
    assert all(after[name] == before[name] for name in before if "/attempts/" not in name)


def test_scenario_163_a_pack_of_a_newer_format_hits_only_those_that_need_it(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    full, other = (b["id"] for b in expected["backups"] if b["type"] == "full")
    alone = packs(cluster, full) - packs(cluster, other)
    name = names.pack("main", min(alone))
    make_newer(cluster, name, lambda sealed: b"".join((sealed[:4], b"\x63", sealed[5:])))
    found = verdicts(verify(cluster, BYTES))
    assert found[full] == "damaged"
    assert found[other] == "good"
    assert hashes(cluster, other) == expected["backups"][-2]["files"]


def packs(cluster: ClusterFolder, backup_id: str) -> set[bytes]:
    return set(catalog.read_packs(cluster, backup_id).id.tolist())


def test_scenario_163_wal_of_a_newer_format_is_refused_and_the_rest_is_read(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    first, second, *_ = sorted(expected["wal"])
    archive = wal(cluster)
    make_newer(cluster, names.wal("main", archive.generation_id, first))
    with pytest.raises(FormatTooNew):
        b"".join(archive.fetch(first))
    assert b"".join(archive.fetch(second))


def test_scenario_163_a_pin_of_a_newer_format_holds(
    cluster: ClusterFolder, expected: dict[str, Any]
) -> None:
    (pin,) = read_pins(cluster)
    name = names.pin("main", pin.backup, pin.id)
    cluster.store.put(name, [encode_document({"format": 99, "unheard": "of"})])
    dropped = {backup.id for backup in preview(cluster, WISH).plan.dropped}
    assert expected["pinned"] not in dropped


def test_scenario_163_a_repository_of_a_newer_format_is_not_touched(cluster: ClusterFolder) -> None:
    marker = encode_document({"format": 2, "repository_id": "of another kind"})
    cluster.store.put(names.MARKER, [marker])
    before = everything(cluster)
    with pytest.raises(FormatTooNew):
        Repository.open(cluster.store, None)
    assert everything(cluster) == before
