"""A repository without room: the backup ends with the right words, and gives back what it took."""

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgkeep.backup.backup import BackupOptions, run
from pgkeep.backup.copying.file_reader import FileReader
from pgkeep.backup.report import BackupReport
from pgkeep.repository import catalog
from pgkeep.repository.packs.attempts import list_packs
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import StoreFull
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.units import MIB
from support.backups import FakeSource, contents, inline, new_folder
from support.dying_store import DyingStore
from support.page_model import ModelSource, PageModel

GENERATION = "18-7710983248089545577"


@dataclass
class DirectorySource(FakeSource):
    """A fake server over real files, which worker processes can open."""

    root: str = ""

    def reader(self) -> FileReader:  # type: ignore[override]
        return FileReader(self.root)


@dataclass
class Small:
    """A cluster of files that do not compress, and a repository on a small file system."""

    cluster: ClusterFolder
    root: Path
    mount: str

    def put(self, name: str, size: int) -> None:
        (self.root / name).write_bytes(os.urandom(size))

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}

    def back_up(self) -> BackupReport:
        source = DirectorySource(self.files(), root=str(self.root))
        return run(source, self.cluster, BackupOptions(jobs=2))

    def free(self) -> int:
        return self.cluster.store.free_space() or 0

    def demand_listed_and_whole(self, *backup_ids: str) -> None:
        listed = [backup.id for backup in catalog.backups(self.cluster).backups]
        assert sorted(listed) == sorted(backup_ids)  # several may be of one second
        for backup_id in backup_ids:
            contents(self.cluster, backup_id)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    place, root = tmp_path / "repository", tmp_path / "data"
    place.mkdir()
    (root / "base/5").mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "pgkeep-test", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield Small(new_folder(place), root, str(place))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("first", [True, False], ids=["full", "incremental"])
def test_scenario_85_disk_full_in_mid_backup(small: Small, first: bool) -> None:
    small.put("PG_VERSION", 3)
    small.put("base/5/1", MIB)
    before = [] if first else [small.back_up().id]
    free = small.free()
    for number in range(12):
        small.put(f"base/5/1{number}", 3 * MIB)
    with pytest.raises(StoreFull) as caught:
        small.back_up()
    assert caught.value.exit_status == 25
    assert str(caught.value).endswith("in " + small.mount + ": no space left on device (ENOSPC)")
    assert caught.value.hint.startswith(f"free space in {small.mount}")
    small.demand_listed_and_whole(*before)
    assert small.free() > free - 100_000  # folders stay
    assert list(small.cluster.store.list("clusters/main/attempts/")) == []
    assert list(small.cluster.store.list("clusters/main/locks/")) == []
    small.cluster.wal(GENERATION).push("000000010000000000000099", os.urandom(16 * MIB))
    subprocess.run(["mount", "-o", "remount,size=120m", small.mount], check=True)
    report = small.back_up()
    assert report.resumed == 0
    small.demand_listed_and_whole(*before, report.id)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_no_room_at_any_call(after: bool) -> None:
    """The store may even complain when it has taken what it was given."""
    for full_at in itertools.count(1):
        model, store = PageModel(), MemoryStore()
        repository = Repository.create(store, "none", None)
        for number in range(3):
            model.create(f"base/5/{number + 1}", 6)
        back_up(model, repository.cluster("main"))
        model.write("base/5/1", 3, fill=9)
        model.create("base/5/4", 2)
        full = DyingStore(store, full_at, after, StoreFull)
        with contextlib.suppress(StoreFull):
            back_up(model, Repository(full, repository.id, None).cluster("main"))
        if full.calls < full_at:
            break
        demand_nothing_left(repository.cluster("main"), full.seen[full_at - 1])
    assert full_at > 15


def back_up(model: PageModel, cluster: ClusterFolder) -> BackupReport:
    source = ModelSource({}, model=model)
    return run(source, cluster, BackupOptions(jobs=1), make_workers=inline(cluster))


def demand_nothing_left(cluster: ClusterFolder, where: str) -> None:
    """Every pack is named by a backup, and every backup has its packs."""
    named = set()
    for backup in catalog.backups(cluster).backups:
        contents(cluster, backup.id)
        packs = catalog.read_packs(cluster, backup.id)
        named |= {packs.name(row) for row in range(len(packs))}
    assert list_packs(cluster).keys() == named, where
