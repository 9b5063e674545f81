"""Incremental backups of a cluster made of pages: what is told, and what could fool them."""

from typing import Any

import pytest

from pgkeep.backup.backup import BackupOptions, run
from pgkeep.backup.incremental import changes
from pgkeep.backup.incremental.base import Cleaning
from pgkeep.backup.report import BackupReport
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
    cluster: ClusterFolder, model: PageModel, method: str = "lsn", **options: Any
) -> BackupReport:
    source = ModelSource({}, model=model, method=method)
    options = {"jobs": 1, **options}
    return run(source, cluster, BackupOptions(**options), make_workers=inline(cluster))


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
@pytest.mark.parametrize("changed", [[], [0, 12]])
@pytest.mark.parametrize("grows", [False, True])
def test_a_file_due_for_merged_overlays_is_truncated_while_it_is_read(
    cluster: ClusterFolder,
    model: PageModel,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    changed: list[int],
    grows: bool,
) -> None:
    monkeypatch.setattr(changes, "MOST_LAYERS", 2)
    back_up(cluster, model)
    for block in range(12, 24):
        model.write("base/5/1000", block, 7)
    back_up(cluster, model, cleaning=Cleaning(100, 0))
    model.touch("base/5/1000")
    for block in [*changed, *([24, 25] if grows else [])]:
        model.write("base/5/1000", block, 8)
    during = During([(1, lambda: model.truncate("base/5/1000", left))])
    source = ModelSource({}, model=model, during=during)
    options = BackupOptions(jobs=1, cleaning=Cleaning(100, 0))
    report = run(source, cluster, options, make_workers=inline(cluster))
    assert report.reuse is not None
    assert source.replayed(contents(cluster, report.id)) == source.truth
    demand_whole(cluster, model, back_up(cluster, model).id)
