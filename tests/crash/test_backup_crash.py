"""Stop a backup at every call to the store: nothing incomplete is ever listed."""

import contextlib
import itertools
from typing import Any

import pytest

from pgkeep.backup.backup import BackupOptions, run
from pgkeep.repository import catalog
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from support.backups import FakeSource, contents, inline, page
from support.dying_store import DyingStore, Killed, forget_locks

FILES = {
    "PG_VERSION": b"18\n",
    **{f"base/5/{n}": page(0) + page(1) for n in range(16384, 16390)},
}


def back_up(store: Any, repository: Repository) -> ClusterFolder:
    cluster = Repository(store, repository.id, None).cluster("main")
    run(FakeSource(dict(FILES)), cluster, BackupOptions(jobs=1), make_workers=inline(cluster))
    return cluster


@pytest.mark.parametrize("error", [Killed, StoreFailed])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_scenario_83_whatever_call_a_backup_dies_at(
    error: type[BaseException], after: bool
) -> None:
    for deadly in itertools.count(1):
        store = MemoryStore()
        repository = Repository.create(store, "none", None)
        first = back_up(store, repository)
        dying = DyingStore(store, deadly, after, error)
        with contextlib.suppress(error):
            back_up(dying, repository)
        if dying.calls < deadly:
            break  # it needed fewer calls than that: all have been tried
        forget_locks(store)
        check(first, at_least=1, where=dying.seen[-1])
        check(back_up(store, repository), at_least=2, where=dying.seen[-1])
    assert deadly > 30


def check(cluster: ClusterFolder, at_least: int, where: str) -> None:
    """Everything that is listed can be read back whole."""
    found = catalog.backups(cluster)
    assert found.unreadable == (), where
    assert len(found.backups) >= at_least, where
    for backup in found.backups:
        assert contents(cluster, backup.id) == {**FILES, "global/pg_control": b"control" * 100}
        archive = cluster.wal(backup.generation.id)
        for number in range(backup.first_segment.number, backup.last_segment.number + 1):
            assert archive.has(backup.first_segment._replace(number=number).name), where
