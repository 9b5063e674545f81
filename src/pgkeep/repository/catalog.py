"""Which backups a cluster has. Their manifests are the catalog: there is nothing else to lose."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup, BackupId, in_order
from pgkeep.model.dump import noun_of
from pgkeep.repository import names
from pgkeep.repository.manifest.codec import OF_BACKUP, Manifest
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.shelf import BAD_MANIFEST, Shelf
from pgkeep.repository.manifest.tables import PackTable
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.distance.at_once import at_once

LATEST: Final = "latest"
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
        shown = "pgkeep list shows all"
        if any(noun_of(id) == "dump" for id in self.nearest):
            shown = "pgkeep list and pgkeep dump list show all"
        return f"did you mean {' or '.join(self.nearest)}? {shown}"


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

    def ids(self) -> set[str]:
        """Return the ids of all, readable or not."""
        return {*(b.id for b in self.backups), *(bad.id for bad in self.unreadable)}


def ids(cluster: ClusterFolder) -> list[BackupId]:
    """Return the ids of all backups, by the names of their manifests."""
    return [BackupId(id) for id in shelf(cluster).ids()]


def backups(cluster: ClusterFolder, listed: Sequence[BackupId] | None = None) -> Catalog:
    """Read the facts of every manifest, or of those `listed`.

    A failing store is raised, a bad manifest is noted.
    """
    wanted = ids(cluster) if listed is None else listed
    found = at_once(cluster.store, (partial(_read_backup, cluster, id) for id in wanted))
    good = [backup for backup in found if isinstance(backup, Backup)]
    bad = [backup for backup in found if isinstance(backup, Unreadable)]
    return Catalog(cluster.name, tuple(in_order(good)), tuple(bad))


def _read_backup(cluster: ClusterFolder, backup_id: BackupId) -> Backup | Unreadable | None:
    """Return what a manifest says; None if it was deleted since it was listed."""
    try:
        return read_facts(cluster, backup_id).backup()
    except UnknownBackup:
        return None
    except BAD_MANIFEST as error:
        return Unreadable(backup_id, error)


def find_backup(catalog: Catalog, text: str) -> Backup:
    """Return the backup that `text` means: an id, the beginning of one, or 'latest'.

    Raise UnknownBackup, or the reason why the one that was meant is unreadable.
    """
    readable = {str(backup.id): backup for backup in catalog.backups}
    broken = {str(unreadable.id): unreadable for unreadable in catalog.unreadable}
    if text == LATEST:
        if not catalog.backups:
            raise UnknownBackup(catalog.cluster, text, (), "there is no backup yet")
        return catalog.backups[-1]
    try:
        found = match_id(text, readable | broken)
    except NoMatch as no:
        raise UnknownBackup(catalog.cluster, text, no.nearest, *no.why) from None
    if found in broken:
        raise broken[found].error
    return readable[found]


class NoMatch(Exception):
    """What was typed means no id, or several."""

    def __init__(self, nearest: tuple[str, ...], *why: str) -> None:
        super().__init__(nearest, *why)
        self.nearest = nearest
        self.why = why


def match_id(text: str, ids: Collection[str]) -> str:
    """Return the id that `text` is, or begins. Raise NoMatch."""
    known = sorted(ids)
    matches = (
        [text] if text in known else [name for name in known if text and name.startswith(text)]
    )
    if len(matches) > 1:
        raise NoMatch(tuple(matches[:_SHOWN]), f"{len(matches)} ids begin like that")
    if not matches:
        raise NoMatch(tuple(get_close_matches(text, known, n=_SHOWN, cutoff=0.5) or known[-1:]))
    return matches[0]


def read_facts(cluster: ClusterFolder, backup_id: str) -> Facts:
    """Read what a backup is: see Shelf.facts. Raises UnknownBackup as well."""
    return shelf(cluster).facts(backup_id)


def read_manifest(cluster: ClusterFolder, backup_id: str) -> Manifest:
    """Read a whole manifest, everything in it checked: see Shelf.manifest."""
    return shelf(cluster).manifest(backup_id)


def read_packs(cluster: ClusterFolder, backup_id: str) -> PackTable:
    """Read which packs a backup needs: see Shelf.packs."""
    return shelf(cluster).packs(backup_id)


def write_manifest(
    cluster: ClusterFolder, manifest: Manifest, at_last: Callable[[], None] = lambda: None
) -> int:
    """Make a backup real: see Shelf.write."""
    return shelf(cluster).write(manifest, at_last)


def shelf(cluster: ClusterFolder) -> Shelf[Facts]:
    """Return the manifests of a cluster's backups."""
    prefix = names.backups_prefix(cluster.name)
    return Shelf(cluster, OF_BACKUP, prefix, lambda id: UnknownBackup(cluster.name, id, ()))
