"""Finds locked objects that somebody hid or overwrote, and makes them the current ones again.

It needs no repository that can be opened: the marker itself may be hidden.
"""

from dataclasses import dataclass
from datetime import datetime

from pgkeep.progress import Progress, Silent
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.objectlock.tampering import Deed, Tampering, find_tampering
from pgkeep.repository.store.objectlock.vault import Vault
from pgkeep.retention.locking.report import TamperedWith, tampered_with


@dataclass(frozen=True, slots=True)
class Hidden:
    """What was found, by name."""

    repository: str
    tampering: tuple[Tampering, ...]
    before: str  # the repository's address as it was before the first deed; '' if there was none
    brought_back: int

    def count(self, deed: Deed) -> int:
        return sum(found.deed is deed for found in self.tampering)

    @property
    def first(self) -> datetime | None:
        return min((found.at for found in self.tampering), default=None)

    @property
    def last(self) -> datetime | None:
        return max((found.at for found in self.tampering), default=None)

    @property
    def problem(self) -> TamperedWith | None:
        """The error, unless all of it was brought back."""
        if self.brought_back == len(self.tampering):
            return None
        return tampered_with(self.repository, self.tampering)


def look_for_hidden(
    store: Store, vault: Vault, progress: Progress | None = None, *, bring_back: bool = False
) -> Hidden:
    """Look through all versions in the bucket. Raise NoVersions, StoreFailed, BlobMissing."""
    progress = progress or Silent()
    progress.phase("looking through all versions")
    found = tuple(find_tampering(vault, vault.versions()))
    before = ""
    if found:
        first = min(deed.at for deed in found)
        before = vault.address_before(first)
    done = 0
    if bring_back and found:
        progress.phase("bringing back", len(found), "objects")
        for _ in vault.in_parallel(lambda deed: vault.bring_back(deed.original), found):
            done += 1
            progress.advance(done)
    return Hidden(store.url, found, before, done)
