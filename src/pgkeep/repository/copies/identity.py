"""Whether two repositories are copies of each other: one id, one master key."""

import os

from pgkeep.errors import PgkeepError
from pgkeep.repository.marker import Marker, read_marker
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import Store


class CopyRefused(PgkeepError):
    """Nothing can be copied between two places. Nothing was changed at either."""

    code = "copy-refused"
    exit_status = 97

    source: str
    target: str
    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot copy from {self.source} to {self.target}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class AnotherRepository(CopyRefused):
    """Two repositories are not copies of each other: what is in one means nothing in the other."""

    code = "another-repository"

    @property
    def hint(self) -> str:
        return "give an empty place: pgkeep copy makes a copy of it; or name the right repository"


def demand_copies(source: Repository, target: Repository) -> None:
    """Raise AnotherRepository unless both are the same repository, under the same master key."""
    why = ""
    if source.id != target.id:
        why = f"the one is repository {source.id}, the other {target.id}"
    elif source.key != target.key:
        why = "they have the same id, and different master keys"
    if why:
        raise AnotherRepository(source.store.url, target.store.url, why)


def demand_marker_of(source: Repository, target: Store) -> Marker:
    """Read the target's marker, before any secret is. Raise AnotherRepository, NotARepository."""
    found = read_marker(target)
    if found.repository_id != source.id:
        why = f"there is another repository, {found.repository_id}, not {source.id}"
        raise AnotherRepository(source.store.url, target.url, why)
    if found.key_check != (source.key.check.hex() if source.key else None):
        why = f"its marker has the same id and another key, encryption {found.encryption}"
        raise AnotherRepository(source.store.url, target.url, why)
    return found


def demand_two_places(source: Store, target: Store) -> None:
    """Raise CopyRefused when both addresses lead to one place, as far as they tell."""
    if source.address == target.address or _same_folder(source.address, target.address):
        raise same_place(source, target)


def same_place(source: Store, target: Store) -> CopyRefused:
    why = "both are one and the same place"
    return CopyRefused(source.url, target.url, why, "a copy needs a place of its own: --to ADDRESS")


def _same_folder(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # no folder at all, or not there yet
        return False
