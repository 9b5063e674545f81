"""Incremental backups of a cluster made of pages: what is told, and what could fool them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pgkeep.backup.backup import BackupOptions, Kind, run
from pgkeep.backup.incremental import changes
from pgkeep.backup.incremental.base import Cleaning, NoParent
from pgkeep.backup.report import BackupReport
from pgkeep.model.backup import BackupType
from pgkeep.repository import names
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.memory import MemoryStore
from support.backups import contents, inline
from support.page_model import During, ModelSource, PageModel


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
    with pytest.raises(NoParent, match="not possible: .* cannot be its parent: "):
        back_up(cluster, model, kind=Kind.INCREMENTAL)


def spoil(cluster: ClusterFolder, backup_id: str, at: int = 100) -> None:
    """Turn one bit of a manifest around."""
    name = names.manifest("main", backup_id)
    content = bytearray(cluster.store.get(name))
    content[at] ^= 1
    cluster.store.put(name, [content])
