"""Locks of objects: S3 Object Lock, set and read one version at a time.

S3 lets a lock be extended by whoever has s3:PutObjectRetention, and shortened by nobody (mode
compliance) or only with a permission of its own (governance). Extending is all that is done here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from pgkeep.repository.store.base import BlobMissing, Store
from pgkeep.repository.store.bucket.options import BucketOptions, parse
from pgkeep.repository.store.bucket.retry import Patience
from pgkeep.repository.store.objectlock.client import (
    WORKERS,
    NotThere,
    Refused,
    S3Client,
    demand_installed,
)
from pgkeep.repository.store.objectlock.errors import NoLocks, NoVersions
from pgkeep.repository.store.objectlock.versions import Version, list_versions

Given = TypeVar("Given")
Made = TypeVar("Made")

_NOT_LOCKABLE: Final = frozenset(
    {"ObjectLockConfigurationNotFoundError", "InvalidRequest", "NoSuchObjectLockConfiguration"}
)
_NOT_LOCKED: Final = _NOT_LOCKABLE
_BATCH: Final = WORKERS * 16


class LockMode(StrEnum):
    """How hard a lock is: governance can be lifted with a permission of its own."""

    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


class ObjectLock(NamedTuple):
    """The lock of one version of an object."""

    mode: LockMode
    until: datetime  # UTC


class Vault:
    """The locks of one bucket's objects. May be used by several threads."""

    def __init__(
        self,
        options: BucketOptions,
        patience: Patience | None = None,
        asked: Callable[[str], None] | None = None,
    ) -> None:
        """`asked` hears of every request: the first word of what is done."""
        demand_installed(options, "look at locks")
        self.url = options.url
        self.client = S3Client(options, patience, asked)

    def now(self) -> datetime:
        """Return the time by the store's clock."""
        name = self.client.options.bucket
        answer = self.client.ask(
            "list everything",
            lambda s3: s3.list_objects_v2(Bucket=name, Prefix=self.client.prefix, MaxKeys=1),
        )
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        return parsedate_to_datetime(said).astimezone(UTC) if said else datetime.now(UTC)

    def versions(self, prefix: str = "") -> Iterator[tuple[Version, ...]]:
        """Yield the versions of each object, in name order, the newest first. Raise NoVersions."""
        for versions in list_versions(self.client, prefix):
            if versions[0].id == "null" and len(versions) == 1 and not self._versioned():
                action = "list older versions"
                why, advice = "the bucket keeps none", "turn versioning on in the bucket's settings"
                raise NoVersions(self.url, action, why, advice)
            yield versions

    def lock_of(self, name: str, version: str = "") -> ObjectLock | None:
        """Return the lock of a version, by default of the current one; None if it has none.

        What is not there has none.
        """
        try:
            found = self.client.ask(
                f"look at the lock of {name}",
                lambda s3: s3.get_object_retention(**self._one(name, version)),
                _NOT_LOCKED,
            )["Retention"]
        except (NotThere, Refused):
            return None
        if not found.get("Mode") or not found.get("RetainUntilDate"):
            return None
        return ObjectLock(LockMode(found["Mode"].lower()), found["RetainUntilDate"].astimezone(UTC))

    def lock(self, name: str, version: str, lock: ObjectLock) -> None:
        """Lock a version. It must not end before the lock that it has. Raise NoLocks, NotThere."""
        retention = {"Mode": lock.mode.value.upper(), "RetainUntilDate": lock.until}
        try:
            self.client.ask(
                f"lock {name}",
                lambda s3: s3.put_object_retention(**self._one(name, version), Retention=retention),
                _NOT_LOCKABLE,
            )
        except Refused as refused:
            raise NoLocks(self.url, f"lock {name}", refused.answer.message, _ADVICE) from None

    def locked_until(self, names: Sequence[str], now: datetime) -> dict[str, datetime]:
        """Return until when those of the objects are locked that still are."""
        found = self.in_parallel(lambda name: (name, self.lock_of(name)), names)
        return {name: lock.until for name, lock in found if lock is not None and lock.until > now}

    def bring_back(self, version: Version) -> None:
        """Make a version the current one again, by a copy of it. Raise BlobMissing."""
        source = {**self.client.of(version.name), "VersionId": version.id}
        try:
            self.client.ask(
                f"write {version.name}",
                lambda s3: s3.copy_object(**self.client.of(version.name), CopySource=source),
            )
        except NotThere:
            raise BlobMissing(self.url, version.name) from None

    def address_before(self, moment: datetime) -> str:
        """Return the address of the store as it was before a moment."""
        before = f"before:{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self.client.options._replace(versions=before).address

    def in_parallel(self, work: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """Yield what `work` makes of each, in order; whatever it raises ends it."""
        rest = iter(given)
        with ThreadPoolExecutor(WORKERS) as pool:
            while batch := list(islice(rest, _BATCH)):
                yield from pool.map(work, batch)

    def _one(self, name: str, version: str) -> dict[str, str]:
        which = self.client.of(name)
        return {**which, "VersionId": version} if version and version != "null" else which

    def _versioned(self) -> bool:
        name = self.client.options.bucket
        found: dict[str, Any] = self.client.ask(
            "read whether the bucket keeps versions",
            lambda s3: s3.get_bucket_versioning(Bucket=name),
        )
        return "Status" in found


_ADVICE: Final = (
    "turn Object Lock on in the bucket's settings (it needs versioning), or lock = none"
)


_INSTEAD: Final = {
    "az": "use the container's version-level immutability: docs/immutable.md, Other services",
    "gs": "use the bucket's soft delete and versioning: docs/immutable.md, Other services",
    "sftp": "have snapshots made on that host which this user cannot touch: docs/sftp.md",
}
_ELSE: Final = "keep a copy in a bucket that locks: pgkeep copy, docs/immutable.md"


def open_vault(store: Store, asked: Callable[[str], None] | None = None) -> Vault:
    """Return the locks of a store's objects. Raise NoLocks where there are none."""
    if not store.address.startswith("s3://"):
        why = "pgkeep knows locks of objects in buckets of S3 and its kin alone"
        instead = _INSTEAD.get(store.address.partition("://")[0], _ELSE)
        raise NoLocks(store.url, "use object locks", why, f"take lock = ... out, and {instead}")
    return Vault(parse(store.address), asked=asked)
