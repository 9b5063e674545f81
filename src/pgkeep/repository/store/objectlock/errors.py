"""What can go wrong with versions and locks of objects. All share StoreFailed's exit status."""

from pgkeep.repository.store.base import StoreFailed


class NoLocks(StoreFailed):
    """Objects of this store cannot be locked: it has no Object Lock, or it is not turned on."""

    code = "no-object-lock"
    retryable = False


class NoVersions(StoreFailed):
    """The store keeps no older versions of its objects."""

    code = "no-versions"
    retryable = False


class PastIsReadOnly(StoreFailed):
    """Somebody tried to write to a store as it was in the past."""

    code = "past-is-read-only"
    retryable = False


class LocksNotInstalled(StoreFailed):
    """The part of pgkeep that knows versions and locks of objects is not installed."""

    code = "object-lock-not-installed"
    retryable = False

    @property
    def hint(self) -> str:
        return "install it: pip install 'pgkeep[objectlock]'"
