"""Pull the plug after every system call that changes the repository: what is promised is there.

The commands run for real under strace; what a crash leaves is worked out by support.crash_image.
PGKEEP_ALL_CRASHES=1 looks at many more images than fit into CI.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from pgkeep.model.backup import Backup
from pgkeep.repository import catalog, dumps, names
from pgkeep.repository.proofs import Level
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.store.open import make_store
from pgkeep.server.scratch import ScratchCluster
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.verify import run as verify
from support.clusters import NewCluster, only
from support.command import PGKEEP, PGKEEP_WAL, run_pgkeep, write_config
from support.crash_image import Disk, Kind, Operation, replay
from support.dump_shelf import SHOP, store_dump
from support.small_repository import Small
from support.traced import Timed, can_trace, read_end, read_trace, trace_words
from support.wait import wait_for

ALL = os.environ.get("PGKEEP_ALL_CRASHES") == "1"
DICE = 40 if ALL else 1  # images of each moment that hold some of what was not promised
VERIFIED = 40 if ALL else 3  # images of which every byte is verified as well
RETENTION = "[clusters.main.retention]\ndaily = 1\nminimum = 1\n"

needs_strace = pytest.mark.skipif(not can_trace(), reason="strace cannot trace here")


@dataclass
class Desk:
    """A cluster that archives under strace, and commands that run under it."""

    pg: ScratchCluster
    root: Path
    config: Path
    logs: Path
    begun: list[Operation] = field(default_factory=list)

    def run(self, *words: str) -> None:
        log = self.logs / f"command-{len(list(self.logs.glob('command-*')))}"
        run_traced = Path(trace_words(log)[0])
        command = [*trace_words(log)[1:], str(PGKEEP), "--config", str(self.config), *words]
        run_pgkeep(*command, program=run_traced, timeout=280).ok()

    def backups(self) -> list[str]:
        cluster = Repository.open(store_of(files_below(self.root)), None).cluster("main")
        return [backup.id for backup in catalog.backups(cluster).backups]

    def archived(self) -> None:
        """End the current segment and wait until PostgreSQL knows that it is archived."""
        name = self.pg.switch_wal()
        status = self.pg.data_directory / "pg_wal/archive_status" / f"{name}.done"
        wait_for(status.exists, what=f"{name} to be archived")

    def operations(self, *, slow_pushes: bool = False) -> list[Operation]:
        """Return all that was done to the repository, and what was told to whom, in its order.

        Of slow pushes, none has come to the fsync of a folder yet, nor said that it is done.
        """
        timed: list[Timed] = []
        for log in self.logs.iterdir():
            found = read_trace(log, self.root)
            at, status = read_end(log)
            if slow_pushes and log.name.startswith("push-"):
                found = [one for one in found if not syncs_folder(one.operation)]
            elif status == 0:
                done = [one.operation for one in found if one.operation.kind is Kind.LINK]
                found += [Timed(at, Operation(Kind.TOLD, one.other)) for one in done]
            timed += found
        timed.sort(key=lambda one: one.at)
        return [one.operation for one in timed]


def syncs_folder(operation: Operation) -> bool:
    return operation.kind is Kind.SYNC and not operation.path.startswith(".tmp/")


def deletes(operation: Operation) -> bool:
    return operation.kind is Kind.UNLINK and operation.path.startswith("clusters/main/")


def syncs_file(operation: Operation) -> bool:
    return operation.kind is Kind.SYNC and operation.path.startswith(".tmp/")


def files_below(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def as_operations(root: Path) -> Iterator[Operation]:
    """Yield what makes a folder as it is, durably."""
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir():
            yield Operation(Kind.MAKE_FOLDER, name)
        else:
            yield Operation(Kind.CREATE, name)
            yield Operation(Kind.WRITE, name, content=path.read_bytes())
            yield Operation(Kind.SYNC, name)
    yield from (
        Operation(Kind.SYNC, str(path.relative_to(root)))
        for path in root.rglob("*")
        if path.is_dir()
    )
    yield Operation(Kind.SYNC, "")


@pytest.fixture
def desk(new_cluster: NewCluster, repository_directory: Path, tmp_path: Path) -> Desk:
    logs, config = tmp_path / "logs", tmp_path / "pgkeep.toml"
    logs.mkdir()
    logs.chmod(0o777)
    trace = " ".join(trace_words(f"{logs}/push-%f-$$"))
    place = f"--repository {repository_directory} --cluster main"
    settings = {
        "archive_mode": "on",
        "archive_command": f"{trace} {PGKEEP_WAL} {place} push %p",
    }
    pg = new_cluster(settings={**settings, "autovacuum": "off"})
    write_config(config, repository_directory, {"main": pg.conninfo}, RETENTION)
    run_pgkeep("init", config=config).ok()
    begun = list(as_operations(repository_directory))
    assert not list(logs.iterdir())
    return Desk(pg, repository_directory, config, logs, begun)


@needs_strace
@only(18)
def test_scenario_90_whatever_moment_the_plug_is_pulled_at(desk: Desk) -> None:
    change(desk)
    desk.run("backup", "--jobs", "1")
    change(desk)
    desk.run("backup", "--jobs", "1")
    change(desk)
    desk.run("backup", "--type", "full", "--jobs", "1")
    desk.run("expire")
    change(desk)
    desk.run("backup")
    desk.run("delete", desk.backups()[0], "--yes")
    desk.archived()
    desk.pg.stop()
    operations = desk.operations()
    found = look(desk.begun, operations, Random(90))
    assert found.faults == []
    assert found.most == 3
    assert sum("/wal/" in name for name in found.told) >= 4
    assert sum("/manifest" in name for name in found.told) == 4
    gone = [one.path.split("/")[2] for one in operations if deletes(one)]
    assert {kind: gone.count(kind) >= 3 for kind in ("backups", "packs", "wal")} == {
        "backups": True, "packs": True, "wal": True,
    }  # fmt: skip
    # A segment can be seen before its push has synced the folder: no backup may rely on that.
    # (A verify would complain of holes between backups, which nobody was told to be there.)
    slow = desk.operations(slow_pushes=True)
    assert look(desk.begun, slow, Random(91), verifying=0).faults == []
    # The look itself: without one kind of promise it must complain.
    for promise in (syncs_folder, syncs_file):
        weaker = [one for one in operations if not promise(one)]
        assert look(desk.begun, weaker, Random(92)).faults


@needs_strace
def test_whatever_moment_the_plug_is_pulled_at_while_dumps_go(tmp_path: Path) -> None:
    root, config, logs = tmp_path / "repository", tmp_path / "pgkeep.toml", tmp_path / "logs"
    logs.mkdir()
    store = make_store(str(root))
    Repository.create(store, "none", None)
    small = Small(store).begin()
    made = [store_dump(small, day=day, packs=2) for day in range(4)]
    store_dump(small, {"blog": SHOP}, day=9)
    small.backup({"base/5/16384": bytes(9000)})
    write_config(config, root, {"main": "host=nowhere"}, RETENTION)
    begun = list(as_operations(root))
    for number, words in enumerate((["delete", made[1], "--yes"], ["expire"])):
        traced = trace_words(logs / f"command-{number}")
        command = [*traced[1:], str(PGKEEP), "--config", str(config), *words]
        run_pgkeep(*command, program=Path(traced[0]), timeout=280).ok()
    timed = [one for log in logs.iterdir() for one in read_trace(log, root)]
    operations = [one.operation for one in sorted(timed, key=lambda one: one.at)]
    gone = [one.path.split("/")[2] for one in operations if deletes(one)]
    assert (gone.count("dumps"), gone.count("packs")) == (3, 6)
    found = look(begun, operations, Random(93))
    assert (found.faults, found.most) == ([], 6)
    weaker = [one for one in operations if not syncs_folder(one)]
    assert look(begun, weaker, Random(94)).faults


DIES_TOO_EARLY = """
import os, sys
from pgkeep.repository.store.local import LocalStore
os.makedirs(sys.argv[1] + "/a/b")
file = os.open(sys.argv[1] + "/a/b/x", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.write(file, b"1")
os.fsync(file)
LocalStore(sys.argv[1]).secure(sys.argv[2])
"""


@needs_strace
@pytest.mark.parametrize(("prefix", "left"), [("a/", {"a/b/x": b"1"}), ("c/", {})])
def test_what_others_have_stored_is_durable_once_it_is_secured(
    tmp_path: Path, prefix: str, left: dict[str, bytes]
) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    words = [*trace_words(log), sys.executable, "-c", DIES_TOO_EARLY, str(root), prefix]
    subprocess.run(words, check=True)
    done = [one.operation for one in read_trace(log, root)]
    assert replay(done).image() == left
    assert replay(done[:-3] if left else done).image() == {}


def change(desk: Desk) -> None:
    desk.pg.sql("CREATE TABLE IF NOT EXISTS t AS SELECT g FROM generate_series(1, 30000) g")
    desk.pg.sql("UPDATE t SET g = g + 1 WHERE g % 900 = 0")
    desk.archived()


@dataclass
class Found:
    """What was seen in all images."""

    faults: list[str] = field(default_factory=list)
    most: int = 0  # backups in one image
    told: list[str] = field(default_factory=list)


def look(
    begun: list[Operation], operations: list[Operation], dice: Random, verifying: int = VERIFIED
) -> Found:
    """Look at what is left after each operation, until one leaves a fault."""
    found, disk = Found(), replay(begun)
    written = Written.of([*begun, *operations])
    last = len(operations) - 1
    deep = {last, *dice.sample(range(last), verifying)} if verifying else set()
    gone: set[str] = set()
    for number, operation in enumerate(operations):
        disk.apply(operation)
        if operation.kind is Kind.UNLINK:
            gone.add(operation.path)
        images = [disk.image(), *(disk.image(dice) for _ in range(DICE))]
        for image in images:
            faults = written.faults(image, [name for name in disk.told if name not in gone])
            if number in deep and not faults:
                faults = verified(image)
            found.most = max(found.most, sum("/manifest" in name for name in image))
            found.faults += [f"after {number}, {operation}: {fault}" for fault in faults]
        if found.faults:
            break
    found.told = disk.told
    return found


@dataclass
class Written:
    """What whole objects look like, and what each manifest promises."""

    whole: dict[str, list[bytes]] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> "Written":
        written, disk = cls(), Disk()
        for operation in operations:
            disk.apply(operation)
            if operation.kind in (Kind.LINK, Kind.RENAME):
                content = disk.contents_of(operation.other)
                written.whole.setdefault(operation.other, []).append(content)
            elif operation.kind is Kind.WRITE and not operation.path.startswith("."):
                written.whole.setdefault(operation.path, []).append(operation.content)
        return written

    def faults(self, image: dict[str, bytes], told: Iterable[str]) -> list[str]:
        """Return what is wrong with an image."""
        blobs = {name: content for name, content in image.items() if not name.startswith(".")}
        found = [
            f"{name} is torn"
            for name, content in blobs.items()
            if not any(content is whole or content == whole for whole in self.whole[name])
        ]
        if found:
            return found
        found += [f"{name} was acknowledged" for name in told if name not in blobs]
        cluster = Repository.open(store_of(blobs), None).cluster("main")
        for name in blobs:
            if not name.endswith("/manifest"):
                continue
            if name not in self.needs:  # whole, and never written again
                self.needs[name] = list(needs(cluster, name.split("/")[-2]))
            missing = [need for need in self.needs[name] if need not in blobs]
            found += [f"{name} needs {need}" for need in missing]
        return found


def needs(cluster: ClusterFolder, id: str) -> Iterator[str]:
    """Yield the names of all objects that a backup or dump needs."""
    packs = dumps.read_packs(cluster, id)
    yield from (names.pack("main", packs.name(row)) for row in range(len(packs)))
    if dumps.is_dump_id(id):
        return
    backup: Backup = catalog.read_manifest(cluster, id).facts.backup()
    yield names.generation("main", backup.generation.id)
    for number in range(backup.first_segment.number, backup.last_segment.number + 1):
        segment = backup.first_segment._replace(number=number)
        yield names.wal("main", backup.generation.id, segment.name)


def verified(image: dict[str, bytes]) -> list[str]:
    """Return what a verify of every byte finds; locks are of the dead."""
    left = {name: content for name, content in image.items() if "/locks/" not in name}
    report = verify(
        Repository.open(store_of(left), None).cluster("main"), VerifyOptions(Level.BYTES)
    )
    return [] if report.problem is None else [str(report.problem)]


def store_of(blobs: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    for name, content in blobs.items():
        if not name.startswith("."):
            store.put(name, [content])
    return store
