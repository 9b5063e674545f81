"""Backups and dumps that are not complete, yet or for ever. On disk: docs/formats/repository.md.

Each keeps an object of its own from before its first pack until after its manifest, and the ids of
its packs carry a tag made of its id. So the packs of one that died are found by their names.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime

from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.dumps import is_dump_id, manifest_name
from pgkeep.repository.marker import encode_document, format_moment
from pgkeep.repository.pack import StoredPack
from pgkeep.repository.packs.pack_ids import TAG, tag_of
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import StoreFailed, StoreFull


def begin(cluster: ClusterFolder, backup_id: str, now: datetime) -> None:
    """Say that a backup or dump is being made: before its first pack."""
    document = encode_document({"backup": backup_id, "began_at": format_moment(now)})
    cluster.store.create(names.attempt(cluster.name, backup_id), [document])


def end(cluster: ClusterFolder, backup_ids: Iterable[str]) -> None:
    """Forget attempts: one whose manifest is written, and those it has made use of.

    What the store won't delete is left to the next backup: this one is complete all the same.
    """
    for backup_id in backup_ids:
        with suppress(StoreFailed):
            cluster.store.delete(names.attempt(cluster.name, backup_id))


def list_attempts(cluster: ClusterFolder) -> list[str]:
    """Return the backups that were begun and not ended; whoever asks holds the lock.

    Dumps are passed over: one may be at work beside a backup.
    """
    prefix = names.attempts_prefix(cluster.name)
    listed = (blob.name.removeprefix(prefix) for blob in cluster.store.list(prefix))
    ids = [name.removesuffix(".json") for name in listed if name.endswith(".json")]
    return [name for name in ids if not is_dump_id(name)]


def unfinished(
    cluster: ClusterFolder, found: Iterable[str], complete: Collection[str]
) -> list[str]:
    """Return those of list_attempts() that have no manifest, and end those that have one."""
    attempts = list(found)
    end(cluster, (name for name in attempts if name in complete))
    return [name for name in attempts if name not in complete]


def list_packs(cluster: ClusterFolder) -> dict[bytes, int]:
    """Return the ids and sizes of all packs; other objects beside them are passed over."""
    found = {}
    for blob in cluster.store.list(names.packs_prefix(cluster.name)):
        name = blob.name.rpartition("/")[2]
        try:
            pack = bytes.fromhex(name)
        except ValueError:
            continue
        if names.pack(cluster.name, pack) == blob.name:
            found[pack] = blob.size
    return found


def packs_of(attempts: Iterable[str], packs: Mapping[bytes, int]) -> list[StoredPack]:
    """Return the packs that these attempts left behind."""
    tags = {tag_of(attempt) for attempt in attempts}
    return [StoredPack(pack, size) for pack, size in packs.items() if pack[TAG] in tags]


@contextmanager
def given_back_when_full(cluster: ClusterFolder, backup_id: str, lock: Lock) -> Iterator[None]:
    """Remove what an attempt has stored when the store is full: WAL needs the room more."""
    try:
        yield
    except StoreFull:
        with suppress(PgkeepError):
            lock.check()  # who took us for dead may use our packs by now
            discard(cluster, backup_id)
        raise


def discard(cluster: ClusterFolder, backup_id: str) -> None:
    """Remove what an attempt has stored: there is no room for it. What is listed stays."""
    # The store may complain after it has taken the manifest: then the packs are needed.
    if any(cluster.store.list(manifest_name(cluster.name, backup_id))):
        return
    for pack in packs_of([backup_id], list_packs(cluster)):
        cluster.store.delete(names.pack(cluster.name, pack.id))
    end(cluster, [backup_id])
