"""Finds what was done to objects while they were locked: nothing that pgkeep itself ever does.

pgkeep writes each object once and lets go of none that is locked. So a deletion, or other content
under the same name, that came while a lock was in force is somebody else's work. The locked version
itself is still there.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from pgkeep.repository import names
from pgkeep.repository.store.objectlock.vault import ObjectLock, Vault
from pgkeep.repository.store.objectlock.versions import Version

# Written and deleted while work goes on, whatever the bucket locks by itself: who is at work, what
# is not complete, and pins. So is what lies beside a repository: what pgkeep check tries out.
_PASSING: Final = (["locks"], ["attempts"], ["pins"])


class Deed(StrEnum):
    HIDDEN = "hidden"  # by a deletion
    OVERWRITTEN = "overwritten"


class Tampering(NamedTuple):
    """An object that was hidden or overwritten although it was locked."""

    name: str
    deed: Deed
    at: datetime
    original: Version  # what was current before

    @property
    def words(self) -> str:
        return f"{self.name} was {self.deed} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class Suspect(NamedTuple):
    """A version that another one came after, which its lock should tell of."""

    original: Version
    successor: Version


def is_passing(name: str) -> bool:
    """Tell whether an object may come and go at any time."""
    kept = name == names.MARKER or name.startswith((names.KEYS, names.CLUSTERS))
    return not kept or (name.startswith(names.CLUSTERS) and name.split("/")[2:3] in _PASSING)


def suspects(versions: Iterable[Version]) -> Iterator[Suspect]:
    """Yield, of one object's versions (the newest first), what would be tampering if locked.

    Unless that content is the current one again, or gave way to what was there first: that is an
    attack undone, whose own objects the bucket locked as well.
    """
    found = list(versions)
    newest, oldest = found[0], found[-1]
    for original, successor in pairwise(reversed(found)):
        if original.tag == newest.tag and not newest.marker:
            continue
        same = successor.tag in (original.tag, oldest.tag) and not successor.marker
        if not original.marker and not same and not is_passing(original.name):
            yield Suspect(original, successor)


def judge(suspect: Suspect, lock: ObjectLock | None) -> Tampering | None:
    """Return what was done, or None if the lock had ended, or there was none."""
    original, successor = suspect
    if lock is None or lock.until <= successor.since:
        return None
    deed = Deed.HIDDEN if successor.marker else Deed.OVERWRITTEN
    return Tampering(original.name, deed, successor.since, original)


def find_tampering(vault: Vault, objects: Iterable[tuple[Version, ...]]) -> list[Tampering]:
    """Return what was done to locked objects, the first deed to each, by name."""
    found: dict[str, Tampering] = {}
    candidates = (suspect for versions in objects for suspect in suspects(versions))

    def look(suspect: Suspect) -> Tampering | None:
        return judge(suspect, vault.lock_of(suspect.original.name, suspect.original.id))

    for deed in vault.in_parallel(look, candidates):
        if deed is not None:
            found.setdefault(deed.name, deed)
    return list(found.values())
