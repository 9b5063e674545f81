"""Tries the recovery kit: does it open the repository when nothing else of ours is left?"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgkeep.repository import catalog, dumps
from pgkeep.repository.keys import BadSecret, find_slot, normalise
from pgkeep.repository.marker import read_marker
from pgkeep.repository.repository import NotEncrypted, Repository
from pgkeep.repository.store.base import Store


@dataclass(frozen=True, slots=True)
class KitReport:
    """What the kit opened."""

    repository: str
    slot: str
    kind: str  # of the slot: 'recovery' or 'passphrase'
    label: str
    made_at: datetime
    read: str  # the backup or dump whose manifest was unsealed with it; '' when none is stored
    cluster: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class NoKit(BadSecret):
    """The secret is the one that the config has: opening with it proves nothing of the kit."""

    code = "not-the-kit"


def try_kit(
    store: Store, secret: str, own: str | None, clusters: tuple[str, ...] = ()
) -> tuple[KitReport, Repository]:
    """Open a repository with a secret that a person gave, and unseal the newest thing in it.

    `own` is what the config opens it with, which the kit must do without. Only reads. Raise
    NotEncrypted, NoKit, WrongKey, BadSecret or Damaged.
    """
    marker = read_marker(store)
    if marker.key_check is None:
        raise NotEncrypted(store.url)
    if own is not None and normalise(own) == normalise(secret):
        why = "it is the one that the config has, and the kit is for when that is lost"
        raise NoKit(why, "give what is printed and kept elsewhere: PGKEEP-...")
    key, slot = find_slot(store, secret, marker)
    repository = Repository(store, marker.repository_id, key)
    cluster, read = _newest(repository, clusters)
    report = KitReport(store.url, slot.id, slot.kind, slot.label, slot.created_at, read, cluster)
    return report, repository


def _newest(repository: Repository, clusters: tuple[str, ...]) -> tuple[str, str]:
    """Return cluster and id of the newest backup or dump whose manifest this key unseals."""
    for name in clusters or tuple(repository.clusters()):
        folder = repository.cluster(name)
        if backup := max(catalog.ids(folder), default=""):  # ids begin with the time
            catalog.read_facts(folder, backup)
            return name, backup
        if dump := max(dumps.shelf(folder).ids(), default=""):
            dumps.read_facts(folder, dump)
            return name, dump
    return "", ""
