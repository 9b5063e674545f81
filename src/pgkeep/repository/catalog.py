"""Which backups a cluster has. Their manifests are the catalog: there is nothing else to lose."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup, BackupId
from pgkeep.repository import names
from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.manifest.codec import (
    HEADER_SIZE,
    Manifest,
    decode,
    decode_facts,
    decode_packs,
    encode,
    prove,
    read_manifest_header,
)
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.pieces import Pieces
from pgkeep.repository.manifest.tables import PackTable
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.base import BlobMissing, ShortRead
from pgkeep.units import KIB, MIB

LATEST: Final = "latest"
_HEAD: Final = 64 * KIB  # header and facts of nearly every backup, in one request
_PIECE: Final = 16 * MIB  # of a large manifest, in one request
_AT_ONCE: Final = MIB  # most manifests are smaller: their packs take one request
_SHOWN: Final = 5  # ids in an error


class UnknownBackup(PgkeepError):
    """No backup, or more than one, is called that."""

    code = "unknown-backup"
    exit_status = 31

    cluster: str
    wanted: str
    nearest: tuple[str, ...]
    why: str = "there is no such backup"

    def __str__(self) -> str:
        return f"cannot find backup {self.wanted!r} of cluster {self.cluster}: {self.why}"

    @property
    def hint(self) -> str:
        if not self.nearest:
            return "take one with pgkeep backup"
        return f"did you mean {' or '.join(self.nearest)}? pgkeep list shows all"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A backup whose manifest cannot be used, and why. Never passed over in silence."""

    id: BackupId
    error: PgkeepError

    @property
    def why(self) -> str:
        return str(self.error)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All backups of a cluster, oldest start first, and those that cannot be read."""

    cluster: str
    backups: tuple[Backup, ...]
    unreadable: tuple[Unreadable, ...] = ()


def backups(cluster: ClusterFolder) -> Catalog:
    """Read the facts of every manifest. A failing store is raised, a bad manifest is noted."""
    good: list[Backup] = []
    bad: list[Unreadable] = []
    for backup_id in _ids(cluster):
        try:
            good.append(read_facts(cluster, backup_id).backup())
        except UnknownBackup:
            continue  # deleted since it was listed
        except (BadManifest, Damaged, FormatTooNew, ShortRead, WrongKey) as error:
            bad.append(Unreadable(backup_id, error))
    good.sort(key=lambda backup: (backup.started_at, backup.id))
    return Catalog(cluster.name, tuple(good), tuple(bad))


def find_backup(catalog: Catalog, text: str) -> Backup:
    """Return the backup that `text` means: an id, the beginning of one, or 'latest'.

    Raise UnknownBackup, or the reason why the one that was meant is unreadable.
    """
    readable = {str(backup.id): backup for backup in catalog.backups}
    broken = {str(unreadable.id): unreadable for unreadable in catalog.unreadable}
    known = sorted(readable | broken)
    if text == LATEST:
        if not catalog.backups:
            raise UnknownBackup(catalog.cluster, text, (), "there is no backup yet")
        return catalog.backups[-1]
    matches = (
        [text] if text in known else [name for name in known if text and name.startswith(text)]
    )
    if len(matches) > 1:
        shown = tuple(matches[:_SHOWN])
        raise UnknownBackup(catalog.cluster, text, shown, f"{len(matches)} ids begin like that")
    if not matches:
        nearest = get_close_matches(text, known, n=_SHOWN, cutoff=0.5) or known[-1:]
        raise UnknownBackup(catalog.cluster, text, tuple(nearest))
    if matches[0] in broken:
        raise broken[matches[0]].error
    return readable[matches[0]]


def read_facts(cluster: ClusterFolder, backup_id: str) -> Facts:
    """Read what a backup is, without its tables: one request of 64 KiB as a rule.

    Raise UnknownBackup, BadManifest, Damaged, WrongKey or FormatTooNew.
    """
    name, store = names.manifest(cluster.name, backup_id), cluster.repository.store
    try:
        size = store.stat(name).size
        head = store.get(name, 0, min(size, _HEAD))
        header = read_manifest_header(head, size, name)
        needed = HEADER_SIZE + header.facts_length
        if needed > len(head):
            head += store.get(name, len(head), needed - len(head))
    except BlobMissing as error:
        raise UnknownBackup(cluster.name, backup_id, ()) from error
    facts = decode_facts(head, header, cluster.repository.sealer(), name)
    return _checked(facts, cluster, backup_id, name)


def read_manifest(cluster: ClusterFolder, backup_id: str) -> Manifest:
    """Read a whole manifest, everything in it checked. Raises as `read_facts`, and UnsafePath."""
    name, store = names.manifest(cluster.name, backup_id), cluster.repository.store
    try:
        size = store.stat(name).size
        # In pieces, so that what is inflated takes the room of what was sealed.
        content = Pieces(
            [store.get(name, start, min(_PIECE, size - start)) for start in range(0, size, _PIECE)]
        )
    except BlobMissing as error:
        raise UnknownBackup(cluster.name, backup_id, ()) from error
    manifest = decode(content, cluster.repository.sealer(), name)
    _checked(manifest.facts, cluster, backup_id, name)
    return manifest


def read_packs(cluster: ClusterFolder, backup_id: str) -> PackTable:
    """Read which packs a backup needs, and of the rest of its manifest as little as proves it.

    For 2 million chunks that takes some MiB of memory. Raises as `read_facts`.
    """
    name, store = names.manifest(cluster.name, backup_id), cluster.repository.store
    try:
        size = store.stat(name).size
        head = store.get(name, 0, min(size, _AT_ONCE))

        def read(start: int, length: int) -> bytes:
            end = start + length
            return head[start:end] if end <= len(head) else store.get(name, start, length)

        facts, packs = decode_packs(read, size, cluster.repository.sealer(), name)
    except BlobMissing as error:
        raise UnknownBackup(cluster.name, backup_id, ()) from error
    _checked(facts, cluster, backup_id, name)
    return packs


def write_manifest(cluster: ClusterFolder, manifest: Manifest) -> int:
    """Make a backup real, and return the bytes of its manifest. Never replaces another one.

    Every pack it names must be durable by now: from here on the backup is offered for restores.
    """
    facts, sealer = manifest.facts, cluster.repository.sealer()
    name = names.manifest(cluster.name, facts.id)
    parts = encode(manifest, sealer)
    # What cannot be read back must not be stored: a restore would be the first to notice.
    _checked(prove(parts, manifest, sealer, name), cluster, facts.id, name)
    cluster.repository.store.create(name, parts)
    return sum(map(len, parts))


def _ids(cluster: ClusterFolder) -> Iterator[BackupId]:
    prefix = names.backups_prefix(cluster.name)
    for blob in cluster.repository.store.list(prefix):
        backup_id = blob.name.removeprefix(prefix).partition("/")[0]
        if blob.name == names.manifest(cluster.name, backup_id):
            yield BackupId(backup_id)


def _checked(facts: Facts, cluster: ClusterFolder, backup_id: str, where: str) -> Facts:
    """Refuse a manifest that was stored, or put, in the place of another."""
    if (facts.cluster, facts.id) != (cluster.name, backup_id):
        raise BadManifest(where, f"it describes backup {facts.id} of cluster {facts.cluster}")
    return facts
