"""Who may archive: the first that comes, then whoever takes over, and everybody sees the same."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pgkeep.repository import names
from pgkeep.repository.claims.writers import (
    NotTheWriter,
    Server,
    claim,
    read_writer,
    refusal,
    take_over,
)
from pgkeep.repository.repository import ClusterFolder
from support.manifests import cluster_folder

GENERATION = "18-7710983248089545577"
ONE, TWO = Server("db1", "/data"), Server("db2", "/data")


def writer(cluster: ClusterFolder) -> Server:
    found = cluster.archiving().writers[GENERATION]
    return read_writer(cluster, GENERATION, found).server


def test_the_first_that_comes_keeps_others_out() -> None:
    cluster = cluster_folder()
    claim(cluster, GENERATION, ONE, 1)
    claim(cluster, GENERATION, ONE, 1)
    assert writer(cluster) == ONE


def test_of_many_that_come_at_once_one_is_the_writer() -> None:
    cluster = cluster_folder()
    servers = [Server(f"db{n}", "/data") for n in range(8)]
    together = Barrier(len(servers))

    def come(server: Server) -> str:
        together.wait()
        try:
            claim(cluster, GENERATION, server, 1)
        except NotTheWriter as error:
            return error.writer
        return str(server)

    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(come, servers))
    # Whoever was told that it may may have been overtaken: what counts is what all see from now on.
    last = writer(cluster)
    assert last in servers
    for server in servers:
        if server != last:
            assert refusal(cluster, GENERATION, server, "archive x").writer == str(last)


def test_a_takeover_is_on_record() -> None:
    cluster = cluster_folder()
    claim(cluster, GENERATION, ONE, 1)
    made = take_over(cluster, GENERATION, TWO, 3)
    assert made.number == 2
    assert made.timeline == 3
    assert read_writer(cluster, GENERATION, made).instead_of == str(ONE)
    assert take_over(cluster, GENERATION, TWO, 3) == made
    assert take_over(cluster, GENERATION, ONE, 3).number == 3
    assert len(list(cluster.store.list(names.generations_prefix("main")))) == 3


def test_a_document_that_is_damaged_changes_nothing() -> None:
    cluster = cluster_folder()
    claim(cluster, GENERATION, ONE, 1)
    found = cluster.archiving().writers[GENERATION]
    cluster.store.put(names.writer("main", GENERATION, found.name), [b"{}"])
    assert cluster.archiving().writers[GENERATION] == found
    error = refusal(cluster, GENERATION, TWO, "archive 000000010000000000000007")
    assert "another server archives cluster main" in str(error)
    assert take_over(cluster, GENERATION, TWO, 1).number == 2


@pytest.mark.parametrize("stray", ["x.json", "000002-00000001-short.json", "README"])
def test_strangers_in_the_folder_are_passed_over(stray: str) -> None:
    cluster = cluster_folder()
    claim(cluster, GENERATION, ONE, 1)
    folder = f"{names.generations_prefix('main')}{GENERATION}.writer/"
    cluster.store.put(f"{folder}{stray}", [b"?"])
    assert writer(cluster) == ONE
