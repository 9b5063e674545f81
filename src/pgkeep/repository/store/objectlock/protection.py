"""What a store does against deletion: facts that can be asked for, no promises."""

from contextlib import suppress
from typing import Final, NamedTuple

from pgkeep.repository.store.base import Store, StoreFailed
from pgkeep.repository.store.bucket.errors import StoreDenied
from pgkeep.repository.store.objectlock.client import NotThere, Refused
from pgkeep.repository.store.objectlock.vault import LockMode, Vault, open_vault

# No backup's name: credentials are often bound to prefixes, so what is asked for looks like a pack.
_PROBE: Final = "clusters/pgkeep-probe/packs/00/00000000000000000000000000000000"
_NO_VERSION: Final = "pgkeepProbeThatIsNoVersionOfAnything0"
_YEAR: Final = 365
_ALLOWED: Final = frozenset({"NoSuchVersion", "InvalidArgument", "InvalidVersionId", "NoSuchKey"})


class Protection(NamedTuple):
    """Everything that is None is unknown."""

    locks: bool | None  # objects can be locked
    mode: LockMode | None  # of the lock that every new object gets from the bucket itself
    default_days: int | None  # how long; 0: the bucket gives none
    versioning: bool | None
    destroys: bool | None  # these credentials may delete versions of objects for good
    noncurrent_days: int | None  # after which a rule removes what was deleted; 0: no rule does

    @property
    def words(self) -> str:
        """Say why nobody here can delete what is stored; '' if somebody can, or nobody knows."""
        if not self.locks or not self.default_days or self.mode is None:
            return ""
        return f"Object Lock, {self.mode}, {self.default_days} d for each new object"


NOTHING: Final = Protection(False, None, 0, False, None, 0)
UNKNOWN: Final = Protection(None, None, None, None, None, None)


def protection(store: Store) -> Protection:
    """Ask a store. What it does not tell these credentials is None; never raises for that."""
    address = store.address
    if address.startswith("/") or address.startswith(("file:", "memory:")):
        return NOTHING._replace(destroys=True)
    if not address.startswith("s3://"):
        return UNKNOWN
    with suppress(StoreFailed):
        return _of_bucket(open_vault(store))
    return UNKNOWN


def _of_bucket(vault: Vault) -> Protection:
    locks, mode, days = _default(vault)
    versioning = _versioning(vault)
    destroys = _destroys(vault) if versioning is not None else None
    return Protection(locks, mode, days, versioning, destroys, _noncurrent(vault))


def _default(vault: Vault) -> tuple[bool | None, LockMode | None, int | None]:
    bucket = vault.client.options.bucket
    try:
        found = vault.client.ask(
            "read the bucket's Object Lock configuration",
            lambda s3: s3.get_object_lock_configuration(Bucket=bucket),
            frozenset({"ObjectLockConfigurationNotFoundError"}),
        )["ObjectLockConfiguration"]
    except Refused:
        return False, None, 0
    except StoreFailed:
        return None, None, None
    if found.get("ObjectLockEnabled") != "Enabled":
        return False, None, 0
    rule = found.get("Rule", {}).get("DefaultRetention", {})
    if not rule.get("Mode"):
        return True, None, 0
    days = int(rule.get("Days") or 0) + _YEAR * int(rule.get("Years") or 0)
    return True, LockMode(rule["Mode"].lower()), days


def _versioning(vault: Vault) -> bool | None:
    bucket = vault.client.options.bucket
    try:
        found = vault.client.ask(
            "read whether the bucket keeps versions",
            lambda s3: s3.get_bucket_versioning(Bucket=bucket),
        )
    except StoreFailed:
        return None
    return bool(found.get("Status") == "Enabled")


def _destroys(vault: Vault) -> bool | None:
    """Ask to delete a version that does not exist: whether that is allowed is looked at first."""
    which = {**vault.client.of(_PROBE), "VersionId": _NO_VERSION}
    try:
        vault.client.ask("delete a version", lambda s3: s3.delete_object(**which), _ALLOWED)
    except (Refused, NotThere):
        return True
    except StoreDenied:
        return False
    except StoreFailed:
        return None
    return True


def _noncurrent(vault: Vault) -> int | None:
    """Return after how many days the bucket removes versions that are current no more."""
    bucket = vault.client.options.bucket
    try:
        found = vault.client.ask(
            "read the bucket's lifecycle rules",
            lambda s3: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
            frozenset({"NoSuchLifecycleConfiguration"}),
        )
    except Refused:
        return 0
    except StoreFailed:
        return None
    days = [
        int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        for rule in found.get("Rules", ())
        if rule.get("Status") == "Enabled" and "NoncurrentVersionExpiration" in rule
    ]
    return min(days, default=0)
