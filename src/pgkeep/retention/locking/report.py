"""What locking came to: for text, JSON and tests."""

from dataclasses import dataclass
from datetime import datetime

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.objectlock.tampering import Tampering
from pgkeep.repository.store.objectlock.vault import LockMode


class TamperedWith(StoreFailed):
    """Locked objects were hidden or overwritten: by whoever has the writer's credentials."""

    code = "tampered-with"
    retryable = False


@dataclass(frozen=True, slots=True)
class LockReport:
    """Locks that were set, or would be."""

    cluster: str
    repository: str
    mode: LockMode
    dry_run: bool
    needed: int  # versions of objects that must be locked
    extended: int  # of them, those whose lock was missing or ended too early
    gone: int  # deleted by somebody while this went on
    until: datetime | None  # the first moment at which one of them is locked no longer
    longest: datetime | None
    frozen: bool  # everything was taken for needed, because not all could be trusted
    unreadable: tuple[str, ...]
    tampering: tuple[Tampering, ...]

    @property
    def problem(self) -> TamperedWith | None:
        return tampered_with(self.repository, self.tampering)


def tampered_with(store: str, found: tuple[Tampering, ...]) -> TamperedWith | None:
    """Return an error that names the first deed, or None if there was none."""
    if not found:
        return None
    first = min(found, key=lambda deed: deed.at)
    what = "1 locked object was" if len(found) == 1 else f"{len(found)} locked objects were"
    why = f"{what} hidden or overwritten: {first.words}"
    advice = (
        "find out who has the writer's credentials, and read what was there before: "
        f"versions=before:{first.at:%Y-%m-%dT%H:%M:%SZ} (docs/immutable.md)"
    )
    return TamperedWith(store, "trust all that is shown", why, advice)
