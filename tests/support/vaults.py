"""Buckets that lock objects, and what an attacker does to them."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from pgkeep.repository.store.base import Store
from pgkeep.repository.store.objectlock.vault import Vault, open_vault
from pgkeep.repository.store.open import open_store
from support.object_servers import REGION, ObjectServer, s3_client

PREFIX = "some/prefix"


class LockingBucket(NamedTuple):
    """A bucket with Object Lock turned on, seen by its owner."""

    server: ObjectServer
    name: str
    address: str  # of a repository in it

    @property
    def store(self) -> Store:
        return open_store(self.address)

    @property
    def vault(self) -> Vault:
        return open_vault(self.store)

    @property
    def s3(self) -> Any:
        return s3_client(self.server.endpoint)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of a blob, without its delete markers."""
        key = f"{PREFIX}/{name}"
        found = self.s3.list_object_versions(Bucket=self.name, Prefix=key)
        return [version for version in found.get("Versions", ()) if version["Key"] == key]

    def hide_everything(self) -> int:
        """Delete all that is listed, as whoever may delete objects can; return how many."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        for key in keys:
            self.s3.delete_object(Bucket=self.name, Key=key)
        return len(keys)


def locking_bucket(server: ObjectServer, folder: Path, *, days: int = 0) -> LockingBucket:
    """Make a bucket that can lock objects; with `days` it locks each new one by itself."""
    name = f"locks-{os.urandom(6).hex()}"
    s3 = s3_client(server.endpoint)
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
    if days:
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": days}}
        configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)
    file = server.credentials(folder / "credentials")
    return LockingBucket(server, name, server.address(name, PREFIX, credentials_file=str(file)))
