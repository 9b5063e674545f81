"""Incremental backups of real servers where the engine could be fooled, or is killed."""

from pathlib import Path

import pytest

from pgkeep.repository.repository import ClusterFolder
from support.backups import back_up, contents, new_folder
from support.clusters import NewCluster


@pytest.fixture
def cluster(repository_directory: Path) -> ClusterFolder:
    return new_folder(repository_directory)


@pytest.mark.parametrize(
    ("postgres_version", "summaries"),
    [(15, "off"), (17, "off"), (17, "on")],
    indirect=["postgres_version"],
    ids=["pg15", "pg17", "pg17-summaries"],
)
def test_pages_that_vacuum_marked_all_visible_without_a_new_lsn(
    new_cluster: NewCluster, cluster: ClusterFolder, postgres_version: int, summaries: str
) -> None:
    """Without checksums no LSN tells. A map that is ahead of its pages makes reads go wrong."""
    settings: dict[str, str | int | None] = {"wal_keep_size": "1GB", "autovacuum": "off"}
    if postgres_version >= 17:
        settings["summarize_wal"] = summaries
    pg = new_cluster(checksums=False, settings=settings)
    pg.sql("CREATE TABLE t AS SELECT g, repeat('x', 100) AS t FROM generate_series(1, 20000) g")
    pg.sql("CHECKPOINT")
    path = pg.value("SELECT pg_relation_filepath('t')")
    first = back_up(pg, cluster)
    pg.sql("VACUUM t")
    pg.sql("CHECKPOINT")
    second = back_up(pg, cluster)
    assert second.reuse is not None
    assert second.reuse.parent == first.id
    assert second.reuse.method == ("summaries" if summaries == "on" else "lsn")
    assert contents(cluster, second.id)[path] == (pg.data_directory / path).read_bytes()
    assert marks(contents(cluster, first.id)[path]) == {False}
    assert marks(contents(cluster, second.id)[path]) == {True}


def marks(content: bytes) -> set[bool]:
    """Return what pages say of PD_ALL_VISIBLE (bufpage.h)."""
    return {bool(content[at + 10] & 4) for at in range(0, len(content), 8192)}
