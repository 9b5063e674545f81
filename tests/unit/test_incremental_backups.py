"""Incremental backups of a cluster made of pages: what is told, and what could fool them."""

import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from pgkeep.backup import plan
from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.incremental import changes
from pgkeep.backup.incremental.base import Cleaning, NoParent
from pgkeep.backup.plan import CHUNK
from pgkeep.backup.report import BackupReport
from pgkeep.backup.source import ClusterFacts
from pgkeep.model.backup import BackupType
from pgkeep.progress import Silent
from pgkeep.repository import catalog, names
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import LockTaken
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.memory import MemoryStore
from support import page_model
from support.backups import contents, inline
from support.page_model import During, ModelSource, PageModel, make_page


@pytest.fixture
def cluster() -> ClusterFolder:
    return Repository.create(MemoryStore(), "none", None).cluster("main")


@pytest.fixture
def model() -> PageModel:
    model = PageModel()
    model.replace("PG_VERSION", b"18\n")
    for database in ("5", "6"):
        model.replace(f"base/{database}/PG_VERSION", b"18\n")
        model.create(f"base/{database}/1000", 12)
    return model


def back_up(
    cluster: ClusterFolder,
    model: PageModel,
    method: str = "lsn",
    during: During | None = None,
    **options: Any,
) -> BackupReport:
    source = ModelSource({}, model=model, method=method, during=during or During())
    made = len(list(cluster.store.list("clusters/main/backups/")))
    now = datetime(2026, 1, 2, 3, made, tzinfo=UTC)  # ids sort as they were made
    chosen = BackupOptions(**{"jobs": 1, **options})
    return run(source, cluster, chosen, make_workers=inline(cluster), now=lambda: now)


def demand_whole(cluster: ClusterFolder, model: PageModel, backup_id: str) -> None:
    got = contents(cluster, backup_id)
    del got["global/pg_control"]
    assert got == model.snapshot()


@pytest.mark.parametrize("method", ["lsn", "summaries"])
@pytest.mark.parametrize("same_inodes", [True, False])
def test_a_database_made_anew_by_file_copy_under_the_same_oid(
    cluster: ClusterFolder, model: PageModel, method: str, same_inodes: bool
) -> None:
    """Its pages keep the old LSNs of the template, and file systems give inodes again."""
    for block in range(12):
        model.write("base/6/1000", block, 99)
    back_up(cluster, model)
    model.copy_database("base/5/", "base/6/", same_inodes=same_inodes)
    report = back_up(cluster, model, method)
    assert report.reuse is not None
    demand_whole(cluster, model, report.id)


@pytest.mark.parametrize("left", [0, 5, 23])
@pytest.mark.parametrize("changed", [[], [0, 12], [24, 25], [0, 12, 24]])
def test_a_file_due_for_merged_overlays_is_truncated_while_it_is_read(
    cluster: ClusterFolder,
    model: PageModel,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    changed: list[int],
) -> None:
    monkeypatch.setattr(changes, "MOST_LAYERS", 2)
    back_up(cluster, model)
    for block in range(12, 24):
        model.write("base/5/1000", block, 7)
    back_up(cluster, model, cleaning=Cleaning(100, 0))
    model.touch("base/5/1000")
    for block in changed:
        model.write("base/5/1000", block, 8)
    during = During([(1, lambda: model.truncate("base/5/1000", left))])
    source = ModelSource({}, model=model, during=during)
    options = BackupOptions(jobs=1, cleaning=Cleaning(100, 0))
    report = run(source, cluster, options, make_workers=inline(cluster))
    assert report.reuse is not None
    assert source.replayed(contents(cluster, report.id)) == source.truth
    demand_whole(cluster, model, back_up(cluster, model).id)


def test_a_damaged_manifest_is_told_of_and_no_parent(
    cluster: ClusterFolder, model: PageModel
) -> None:
    first, second = back_up(cluster, model), back_up(cluster, model)
    spoil(cluster, second.id)
    third = back_up(cluster, model)
    assert third.reuse is not None
    assert third.reuse.parent == first.id
    (note,) = third.notes
    assert note.startswith(f"{second.id} cannot be its parent: ")
    spoil(cluster, first.id)
    assert back_up(cluster, model).notes == []  # there is a newer one that is good
    demand_whole(cluster, model, third.id)


@pytest.mark.parametrize("where", ["facts", "tables"])
def test_scenario_a_damaged_parent_manifest_makes_a_full_backup_loudly(
    cluster: ClusterFolder, model: PageModel, where: str
) -> None:
    first = back_up(cluster, model)
    spoil(cluster, first.id, at=100 if where == "facts" else -10)
    second = back_up(cluster, model)
    assert second.backup.type is BackupType.FULL
    (note,) = second.notes
    assert note.startswith(f"{first.id} cannot be its parent: ")
    demand_whole(cluster, model, second.id)
    spoil(cluster, second.id, at=100 if where == "facts" else -10)
    with pytest.raises(NoParent, match=r"not possible: .* cannot be its parent: "):
        back_up(cluster, model, kind=Kind.INCREMENTAL)


def spoil(cluster: ClusterFolder, backup_id: str, at: int = 100) -> None:
    """Turn one bit of a manifest around."""
    name = names.manifest("main", backup_id)
    content = bytearray(cluster.store.get(name))
    content[at] ^= 1
    cluster.store.put(name, [bytes(content)])


# A clock that was set back.

DAY_NS = 86_400_000_000_000


def set_back(model: PageModel, *paths: str) -> None:
    """Change files by a clock that is a day behind the one before."""
    for path in paths:
        model.write(path, 3, 42)
        file = model.files[path]
        file.mtime_ns -= DAY_NS
        file.ctime_ns -= DAY_NS


@pytest.mark.parametrize("method", ["lsn", "summaries"])
def test_scenario_a_clock_set_back_by_a_day_makes_a_full_backup_loudly(
    cluster: ClusterFolder, model: PageModel, method: str
) -> None:
    first = back_up(cluster, model)
    set_back(model, "base/5/1000")
    second = back_up(cluster, model, method)
    assert second.backup.type is BackupType.FULL
    assert second.notes == [
        f"{first.id} cannot be its parent: base/5/1000 was changed later then than now: the disk, "
        "or the clock, was set back"
    ]
    demand_whole(cluster, model, second.id)
    model.write("base/6/1000", 5, 43)
    third = back_up(cluster, model, method)
    assert third.reuse is not None
    assert third.reuse.parent == second.id
    demand_whole(cluster, model, third.id)


def test_scenario_a_clock_set_back_with_nothing_changed_since(
    cluster: ClusterFolder, model: PageModel
) -> None:
    back_up(cluster, model)
    model.create("base/6/7777", 12)
    file = model.files["base/6/7777"]
    file.mtime_ns = file.ctime_ns = file.ctime_ns - DAY_NS
    second = back_up(cluster, model)
    assert second.reuse is not None
    assert second.reuse.whole_files == 1
    demand_whole(cluster, model, second.id)


def test_scenario_files_from_the_future_are_read_each_time(
    cluster: ClusterFolder, model: PageModel
) -> None:
    """The clock was set back between their last change and the backup: nothing vouches for them."""
    for path in ("PG_VERSION", "base/5/1000"):
        model.files[path].mtime_ns = model.files[path].ctime_ns = time.time_ns() + DAY_NS
    back_up(cluster, model)
    source = ModelSource({}, model=model)
    model.files["base/5/1000"].content[:8192] = make_page(0, model.lsn + 10, 99)  # unseen
    model.lsn += 10
    report = run(source, cluster, BackupOptions(jobs=1), make_workers=inline(cluster))
    assert report.reuse is not None
    assert sorted(set(source.opened)) == ["PG_VERSION", "base/5/1000"]
    demand_whole(cluster, model, report.id)


# Others at work.


def test_scenario_two_backups_at_once_the_second_is_refused(
    cluster: ClusterFolder, model: PageModel
) -> None:
    first = back_up(cluster, model)
    model.write("base/5/1000", 3, 42)
    refused: list[LockTaken] = []

    def second() -> None:
        with pytest.raises(LockTaken) as caught:
            back_up(cluster, model)
        refused.append(caught.value)

    third = back_up(cluster, model, during=During([(0, second)]))
    assert [error.exit_status for error in refused] == [40]
    assert {backup.id for backup in catalog.backups(cluster).backups} == {first.id, third.id}
    demand_whole(cluster, model, third.id)


def test_scenario_a_backup_waits_for_the_end_of_an_expire(
    cluster: ClusterFolder, model: PageModel
) -> None:
    seen: list[str] = []
    conflicts = {"backup", "restore", "verify", "expire"}
    expire = locks.hold(cluster, "expire", "pgkeep expire", conflicts)

    class Watching(Silent):
        def phase(self, title: str, total: int | None = None, unit: str = "bytes") -> None:
            seen.append(title)
            if title.startswith("waiting for the end of"):
                expire.__exit__(None, None, None)

    source = ModelSource({}, model=model)
    with expire:
        report = run(
            source, cluster, BackupOptions(jobs=1), Watching(), make_workers=inline(cluster)
        )
    assert seen[0] == "waiting for the end of 'pgkeep expire'"
    demand_whole(cluster, model, report.id)


# Torn, truncated and vanished files.


@pytest.mark.parametrize("method", ["lsn", "summaries"])
@pytest.mark.parametrize("left", [0, 1, 11, 12, 15])
def test_a_file_that_shrinks_while_it_is_read(
    cluster: ClusterFolder, model: PageModel, method: str, left: int
) -> None:
    back_up(cluster, model)
    for block in (2, 11, 12, 13, 14, 15):
        model.write("base/5/1000", block, 8)
    during = During([(1, lambda: model.truncate("base/5/1000", left))])
    source = ModelSource({}, model=model, method=method, during=during)
    options = BackupOptions(jobs=1, cleaning=Cleaning(100, 0))
    report = run(source, cluster, options, make_workers=inline(cluster))
    assert report.reuse is not None
    assert report.reuse.paged_files == 1
    assert source.replayed(contents(cluster, report.id)) == source.truth


def test_without_archiving_a_restarted_server_is_not_trusted(
    cluster: ClusterFolder, model: PageModel
) -> None:
    class Restarted(ModelSource):
        def facts(self) -> ClusterFacts:
            return super().facts()._replace(running_since=datetime(2027, 1, 1, tzinfo=UTC))

    back_up(cluster, model)
    model.write("base/5/1000", 3, 42)
    source = Restarted({}, model=model)
    report = run(source, cluster, BackupOptions(jobs=1), make_workers=inline(cluster))
    assert report.reuse is not None
    assert report.reuse.whole_reasons == {"changed since a restart without archiving": 1}
    demand_whole(cluster, model, report.id)


@pytest.mark.parametrize("method", ["lsn", "summaries"])
@pytest.mark.parametrize("left", [None, 70, 400], ids=["calm", "cut early", "cut late"])
def test_a_large_file_that_several_tasks_read_in_parts(
    cluster: ClusterFolder,
    model: PageModel,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    left: int | None,
) -> None:
    monkeypatch.setattr(page_model, "SEGMENT_BLOCKS", 131072)
    monkeypatch.setattr(plan, "_SMALLEST", CHUNK)
    path, chance = "base/5/9000", random.Random(7)
    model.create(path)
    for block in range(500):
        model.write(path, block, block % 200 + 1)
    back_up(cluster, model, jobs=2)
    for block in [*chance.sample(range(500), 40), *range(150, 300), *range(500, 530)]:
        model.write(path, block, 222)
    during = During()
    if left is not None:
        during.steps.append((3, lambda: model.truncate(path, left)))
    source = ModelSource({}, model=model, method=method, during=during)
    report = run(source, cluster, BackupOptions(jobs=2), make_workers=inline(cluster))
    assert report.reuse is not None
    assert report.reuse.paged_files == 1
    assert source.opened.count(path) > 1
    assert source.replayed(contents(cluster, report.id)) == source.truth
    demand_whole(cluster, model, back_up(cluster, model).id)


def test_packs_of_the_parent_that_are_gone_are_told_and_their_files_read_again(
    cluster: ClusterFolder, model: PageModel
) -> None:
    first = back_up(cluster, model)
    (pack, *_) = catalog.read_packs(cluster, first.id).id
    cluster.store.delete(names.pack("main", pack.tobytes()))
    second = back_up(cluster, model)
    assert second.notes == [
        f"1 packs that {first.id} needs are gone or damaged, so it cannot be restored whole; this "
        "backup reads their files again"
    ]
    demand_whole(cluster, model, second.id)
