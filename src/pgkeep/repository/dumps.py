"""Which dumps a cluster has. As with backups, their manifests are the only catalog."""

from dataclasses import dataclass

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.model.dump import DUMP_PREFIX, Dump, DumpId
from pgkeep.repository import catalog, names
from pgkeep.repository.catalog import LATEST, NoMatch, match_id
from pgkeep.repository.manifest.codec import OF_DUMP, DumpManifest
from pgkeep.repository.manifest.dump_facts import DumpFacts
from pgkeep.repository.manifest.shelf import BAD_MANIFEST, Shelf
from pgkeep.repository.manifest.tables import PackTable
from pgkeep.repository.repository import ClusterFolder


class UnknownDump(PgkeepError):
    """No dump, or more than one, is called that."""

    code = "unknown-dump"
    exit_status = 236

    cluster: str
    wanted: str
    nearest: tuple[str, ...]
    why: str = "there is no such dump"

    def __str__(self) -> str:
        return f"cannot find dump {self.wanted!r} of cluster {self.cluster}: {self.why}"

    @property
    def hint(self) -> str:
        if not self.nearest:
            return "take one with pgkeep dump create"
        shown = "pgkeep dump list shows all"
        if not all(map(is_dump_id, self.nearest)):
            shown = "pgkeep list and pgkeep dump list show all"
        return f"did you mean {' or '.join(self.nearest)}? {shown}"


@dataclass(frozen=True, slots=True)
class UnreadableDump:
    """A dump whose manifest cannot be used, and why. Never passed over in silence."""

    id: DumpId
    error: PgkeepError

    @property
    def why(self) -> str:
        return str(self.error)


@dataclass(frozen=True, slots=True)
class DumpCatalog:
    """All dumps of a cluster, oldest first, and those that cannot be read."""

    cluster: str
    dumps: tuple[Dump, ...] = ()
    unreadable: tuple[UnreadableDump, ...] = ()

    def ids(self) -> set[str]:
        """Return the ids of all, readable or not."""
        return {*(d.id for d in self.dumps), *(bad.id for bad in self.unreadable)}


def is_dump_id(text: str) -> bool:
    """Tell whether this is, or begins, the id of a dump and not of a backup."""
    return text.startswith(DUMP_PREFIX)


def shelf(cluster: ClusterFolder) -> Shelf[DumpFacts]:
    """Return the manifests of a cluster's dumps."""
    prefix = names.dumps_prefix(cluster.name)
    return Shelf(cluster, OF_DUMP, prefix, lambda id: UnknownDump(cluster.name, id, ()))


def dumps(cluster: ClusterFolder) -> DumpCatalog:
    """Read the facts of every manifest. A failing store is raised, a bad manifest is noted."""
    good: list[Dump] = []
    bad: list[UnreadableDump] = []
    manifests = shelf(cluster)
    for dump_id in map(DumpId, manifests.ids()):
        try:
            good.append(manifests.facts(dump_id).dump())
        except UnknownDump:
            continue  # deleted since it was listed
        except BAD_MANIFEST as error:
            bad.append(UnreadableDump(dump_id, error))
    good.sort(key=lambda dump: (dump.started_at, dump.id))
    return DumpCatalog(cluster.name, tuple(good), tuple(bad))


def find_dump(catalog: DumpCatalog, text: str) -> Dump:
    """Return the dump that `text` means: an id, the beginning of one, or 'latest'.

    Raise UnknownDump, or the reason why the one that was meant is unreadable.
    """
    readable = {str(dump.id): dump for dump in catalog.dumps}
    broken = {str(unreadable.id): unreadable for unreadable in catalog.unreadable}
    if text == LATEST:
        if not catalog.dumps:
            raise UnknownDump(catalog.cluster, text, (), "there is no dump yet")
        return catalog.dumps[-1]
    try:
        found = match_id(text, readable | broken)
    except NoMatch as no:
        raise UnknownDump(catalog.cluster, text, no.nearest, *no.why) from None
    if found in broken:
        raise broken[found].error
    return readable[found]


def read_facts(cluster: ClusterFolder, dump_id: str) -> DumpFacts:
    """Read what a dump is: see Shelf.facts. Raises UnknownDump as well."""
    return shelf(cluster).facts(dump_id)


def read_manifest(cluster: ClusterFolder, dump_id: str) -> DumpManifest:
    """Read a whole manifest, everything in it checked: see Shelf.manifest."""
    return shelf(cluster).manifest(dump_id)


# Where both kinds are meant: what an id begins with tells them apart.


def manifest_name(cluster: str, id: str) -> str:
    """Return the object that makes a backup or a dump real."""
    return names.dump(cluster, id) if is_dump_id(id) else names.manifest(cluster, id)


def read_packs(cluster: ClusterFolder, id: str) -> PackTable:
    """Read which packs a backup or a dump needs: see Shelf.packs."""
    if is_dump_id(id):
        return shelf(cluster).packs(id)
    return catalog.read_packs(cluster, id)


def find_any(backups: catalog.Catalog, dumps: DumpCatalog, text: str) -> Backup | Dump:
    """Return the backup or dump that `text` means. 'latest' is a backup.

    Raise UnknownDump, UnknownBackup, or the reason why the one that was meant is unreadable.
    """
    if text == LATEST:
        return catalog.find_backup(backups, text)
    try:
        found = match_id(text, backups.ids() | dumps.ids())
    except NoMatch as no:
        unknown = UnknownDump if is_dump_id(text) else catalog.UnknownBackup
        raise unknown(backups.cluster, text, no.nearest, *no.why) from None
    return find_dump(dumps, found) if is_dump_id(found) else catalog.find_backup(backups, found)
