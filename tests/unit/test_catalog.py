"""The catalog: what can be listed, what cannot be read, and which one is meant."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from pgkeep.model.backup import BackupId
from pgkeep.repository import names
from pgkeep.repository.catalog import (
    Catalog,
    UnknownBackup,
    Unreadable,
    backups,
    find_backup,
    read_facts,
    read_manifest,
    read_packs,
    write_manifest,
)
from pgkeep.repository.manifest.checks import BadManifest, UnsafePath
from pgkeep.repository.manifest.codec import Manifest
from pgkeep.repository.manifest.facts import CorruptPage
from pgkeep.repository.manifest.tables import ID, ChunkTable, Heap, LayerTable, PackTable
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobExists
from pgkeep.repository.store.memory import MemoryStore
from support.manifests import (
    BACKUP,
    KEY,
    cluster_folder,
    encoded,
    manifest_of,
    some_facts,
    with_column,
)

DAY = datetime(2026, 11, 20, tzinfo=UTC)


def with_backups(*ids: str) -> ClusterFolder:
    """Store a backup per id, each a day after the one before."""
    cluster = cluster_folder()
    for day, backup_id in enumerate(ids):
        start = DAY + timedelta(days=day)
        manifest = manifest_of("a=8kB", id=backup_id, started_at=start, stopped_at=start)
        write_manifest(cluster, manifest)
    return cluster


def ids(found: Iterable[Unreadable] | Iterable[object]) -> list[str]:
    return [getattr(one, "id") for one in found]  # noqa: B009 - of backups and of unreadable ones


def test_backups_are_sorted_by_their_start() -> None:
    catalog = backups(with_backups("z", "b", "c"))
    assert ids(catalog.backups) == ["z", "b", "c"]
    assert catalog.unreadable == ()


def test_backups_of_one_second_are_in_the_order_of_their_wal() -> None:
    cluster = cluster_folder()
    for backup_id, lsn in ((f"{BACKUP[:-1]}1", "0/9000028"), (f"{BACKUP[:-1]}2", "0/3000028")):
        manifest = manifest_of("a=8kB", id=backup_id, started_at=DAY, start_lsn=lsn)
        write_manifest(cluster, manifest)
    assert ids(backups(cluster).backups) == [f"{BACKUP[:-1]}2", f"{BACKUP[:-1]}1"]


def test_a_new_cluster_has_no_backups() -> None:
    assert backups(cluster_folder()) == Catalog("main", ())


def test_a_damaged_manifest_is_shown_beside_the_good_ones() -> None:
    cluster = with_backups("a", "b", "c")
    name = names.manifest("main", "b")
    content = cluster.store.get(name)
    cluster.store.put(name, [content[:-1]])
    cluster.store.put(names.manifest("main", "empty"), [b""])
    catalog = backups(cluster)
    assert ids(catalog.backups) == ["a", "c"]
    assert ids(catalog.unreadable) == ["b", "empty"]
    assert catalog.unreadable[1].why == (
        "cannot restore from clusters/main/backups/empty/manifest: it ends after 0 bytes"
    )
    with pytest.raises(BadManifest, match="bytes instead of"):
        find_backup(catalog, "b")
    assert find_backup(catalog, "latest").id == "c"


def test_what_is_no_manifest_is_left_alone() -> None:
    cluster = with_backups("a")
    cluster.store.put("clusters/main/backups/a/notes.txt", [b"keep"])
    cluster.store.put("clusters/main/backups/README", [b"keep"])
    assert ids(backups(cluster).backups) == ["a"]


def test_a_manifest_in_the_place_of_another_is_refused() -> None:
    cluster = with_backups("a")
    moved = cluster.store.get(names.manifest("main", "a"))
    cluster.store.put(names.manifest("main", "b"), [moved])
    with pytest.raises(BadManifest, match="it describes a of cluster main"):
        read_facts(cluster, "b")
    with pytest.raises(BadManifest, match="it describes a of cluster main"):
        read_manifest(cluster, "b")
    assert ids(backups(cluster).unreadable) == ["b"]


def test_facts_that_need_a_second_request() -> None:
    corrupt = tuple(CorruptPage(f"base/1/{n * n}", n * 7) for n in range(20_000))
    cluster = cluster_folder(KEY)
    write_manifest(cluster, manifest_of("a=8kB", corrupt=corrupt))
    assert read_facts(cluster, BACKUP).corrupt == corrupt


def test_write_returns_the_bytes_and_read_gives_the_same_back() -> None:
    cluster = cluster_folder(KEY)
    size = write_manifest(cluster, manifest_of("a=8kB"))
    assert size == cluster.store.stat(names.manifest("main", BACKUP)).size
    assert read_manifest(cluster, BACKUP).facts == manifest_of("a=8kB").facts


def test_a_backup_is_never_replaced() -> None:
    cluster = with_backups("a")
    with pytest.raises(BlobExists):
        write_manifest(cluster, manifest_of("b=8kB", id="a"))
    assert next(read_manifest(cluster, "a").tables.entries()).path == "a"


def test_what_could_not_be_read_back_is_not_stored() -> None:
    cluster = cluster_folder()
    good = manifest_of("a=8kB")
    bad = Manifest(good.facts, with_column(good.tables, "file.path", Heap(b"../a\0")))
    with pytest.raises(UnsafePath):
        write_manifest(cluster, bad)
    with pytest.raises(BadManifest, match="cluster other"):
        write_manifest(cluster, manifest_of("a=8kB", cluster="other"))
    assert list(cluster.store.list()) == []


FOUR = ("20261120T000000Z-aaaa", "20261120T120000Z-bbbb", "20261121T000000Z-cccc", "broken")


def catalog_of(*names_: str) -> Catalog:
    found = tuple(some_facts(id=name).backup() for name in names_ if name != "broken")
    broken = (Unreadable(BackupId("broken"), BadManifest("its manifest", "it is cut off")),)
    return Catalog("main", found, broken if "broken" in names_ else ())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("20261120T000000Z-aaaa", "20261120T000000Z-aaaa", id="whole id"),
        pytest.param("20261121", "20261121T000000Z-cccc", id="beginning"),
        pytest.param("latest", "20261121T000000Z-cccc", id="latest"),
    ],
)
def test_find_backup(text: str, found: str) -> None:
    assert find_backup(catalog_of(*FOUR), text).id == found


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        pytest.param(
            "20261120T000000Z-aaab",
            "cannot find backup '20261120T000000Z-aaab' of cluster main: there is no such backup",
            "20261120T000000Z-aaaa",
            id="misspelt",
        ),
        pytest.param(
            "20261120",
            "cannot find backup '20261120' of cluster main: 2 ids begin like that",
            "did you mean 20261120T000000Z-aaaa or 20261120T120000Z-bbbb? pgkeep list shows all",
            id="ambiguous",
        ),
        pytest.param(
            "", "cannot find backup '' of cluster main: there is no such backup", "list", id="empty"
        ),
    ],
)
def test_an_unknown_backup_names_the_nearest(text: str, message: str, hint: str) -> None:
    with pytest.raises(UnknownBackup) as caught:
        find_backup(catalog_of(*FOUR), text)
    assert str(caught.value) == message
    assert hint in caught.value.hint


def test_no_backup_at_all() -> None:
    with pytest.raises(UnknownBackup) as caught:
        find_backup(catalog_of(), "latest")
    assert str(caught.value) == (
        "cannot find backup 'latest' of cluster main: there is no backup yet"
    )
    assert caught.value.hint == "take one with pgkeep backup"
    with pytest.raises(UnknownBackup):
        read_facts(cluster_folder(), "20261120")


def test_an_unreadable_backup_says_why() -> None:
    with pytest.raises(BadManifest, match="it is cut off"):
        find_backup(catalog_of(*FOUR), "broken")


def test_the_id_alone_is_enough_to_restore() -> None:
    """Nothing but the manifest describes a backup: bring the object to an empty repository."""
    cluster = cluster_folder()
    cluster.store.put(names.manifest("main", BACKUP), [encoded(manifest_of("a=8kB"))])
    assert ids(backups(cluster).backups) == [BACKUP]


class CountingStore(MemoryStore):
    """A store that counts the bytes that are read from it."""

    read = 0

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        content = super().get(name, start, length)
        self.read += len(content)
        return content


def large_manifest(chunks: int = 600_000) -> Manifest:
    """Return one file of many random chunks, 40 to a pack: tables of several blocks."""
    packs, random = chunks // 40, np.random.default_rng(1)
    numbers = np.arange(chunks)
    small = manifest_of("a=8kB")
    plain = np.full(chunks, 1 << 20, "<u4")
    size = np.array([chunks << 20], "<u8")
    tables = replace(
        small.tables,
        file=replace(small.tables.file, size=size),
        layer=LayerTable(np.array([chunks], "<u4"), np.zeros(1, "<u4")),
        chunk=ChunkTable(
            np.frombuffer(random.bytes(chunks * 16), ID),
            (numbers // 40).astype("<u4"),
            (numbers % 40 * 500_000).astype("<u4"),
            np.full(chunks, 500_000, "<u4"),
            plain,
        ),
        pack=PackTable(
            np.frombuffer(random.bytes(packs * 16), ID), np.full(packs, 25_000_000, "<u4")
        ),
    )
    facts = msgspec.structs.replace(small.facts, size=int(size[0]), packs=packs)
    return Manifest(facts, tables)


def test_packs_are_read_without_the_rest_of_a_large_manifest() -> None:
    store = CountingStore()
    cluster = Repository(store, "00" * 16, KEY).cluster("main")
    manifest = large_manifest()
    size = write_manifest(cluster, manifest)
    packs = read_packs(cluster, BACKUP)
    assert bytes(packs.id) == bytes(manifest.tables.pack.id)
    assert bytes(packs.size) == bytes(manifest.tables.pack.size)
    assert size > 9_000_000
    assert store.read < 3_000_000


def test_packs_of_a_backup_without_any() -> None:
    cluster = cluster_folder()
    write_manifest(cluster, manifest_of("empty/"))
    assert len(read_packs(cluster, BACKUP)) == 0


def test_packs_of_an_unknown_or_renamed_backup() -> None:
    cluster = with_backups("a")
    with pytest.raises(UnknownBackup):
        read_packs(cluster, "b")
    cluster.store.put(names.manifest("main", "b"), [cluster.store.get(names.manifest("main", "a"))])
    with pytest.raises(BadManifest, match="it describes a of cluster main"):
        read_packs(cluster, "b")


def test_packs_are_refused_when_their_columns_differ_in_length() -> None:
    cluster, manifest = cluster_folder(), manifest_of("a=8kB")
    bad = Manifest(manifest.facts, with_column(manifest.tables, "pack.size", [2000, 2000]))
    cluster.store.put(names.manifest("main", BACKUP), [encoded(bad)])
    with pytest.raises(BadManifest, match="the columns of its pack table differ in length"):
        read_packs(cluster, BACKUP)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        pytest.param(lambda c: c[:-1], BadManifest, id="cut off"),
        pytest.param(lambda c: c[:-1] + bytes([c[-1] ^ 1]), Damaged, id="flipped in the packs"),
        pytest.param(lambda c: c[:40] + bytes([c[40] ^ 1]) + c[41:], BadManifest, id="binding"),
    ],
)
def test_packs_of_a_damaged_manifest(damage: Any, error: type[Exception]) -> None:
    cluster = with_backups("a")
    name = names.manifest("main", "a")
    cluster.store.put(name, [damage(cluster.store.get(name))])
    with pytest.raises(error):
        read_packs(cluster, "a")
