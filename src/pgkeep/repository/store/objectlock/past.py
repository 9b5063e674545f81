"""A bucket as it was at a moment: what was hidden or overwritten since is there. Read-only.

Written as an option of the address: `versions=before:2026-11-20T03:00Z`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NoReturn

from pgkeep.repository.store.base import Beginning, BlobMissing, BlobStat, ShortRead, TempFile
from pgkeep.repository.store.blob_names import check_name, check_prefix, is_part
from pgkeep.repository.store.bucket.errors import BrokenTransfer
from pgkeep.repository.store.bucket.options import BucketOptions
from pgkeep.repository.store.objectlock.client import (
    NotThere,
    S3Client,
    demand_installed,
)
from pgkeep.repository.store.objectlock.errors import PastIsReadOnly
from pgkeep.repository.store.objectlock.versions import Version, as_of, list_versions


class PastStore:
    """The versions that were current before a moment. See base.Store; nothing can be written."""

    def __init__(self, options: BucketOptions) -> None:
        demand_installed(options, "read older versions")
        self._options = options
        self._moment = datetime.fromisoformat(options.versions.removeprefix("before:"))
        self._client = S3Client(options)
        self._known: dict[str, Version] = {}

    @property
    def url(self) -> str:
        return f"{self._options.url} {self._words}"

    @property
    def address(self) -> str:
        return self._options.address

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 4

    @property
    def _words(self) -> str:
        return f"as it was before {self._moment:%Y-%m-%d %H:%M:%S} UTC"

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:  # noqa: ARG002
        self._refuse(f"write {name}")

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:  # noqa: ARG002
        self._refuse(f"create {name}")

    def delete(self, name: str) -> None:
        self._refuse(f"delete {name}")

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        version = self._find(name)
        end = version.size if length is None else start + length
        if max(start, end) > version.size:
            raise ShortRead(self.url, name, max(start, end), version.size)
        if start == end:
            return b""
        try:
            content = self._client.ask(
                f"recall {name}", lambda s3: self._read(s3, version, start, end)
            )
        except NotThere:  # its version was destroyed since
            raise BlobMissing(self.url, name) from None
        if len(content) != end - start:
            why = f"{len(content)} bytes came instead of {end - start}"
            raise BrokenTransfer(self.url, f"read {name}", why)
        return content

    def beginning(self, name: str, most: int) -> Beginning:
        size = self._find(name).size
        return Beginning(self.get(name, 0, min(most, size)), size)

    def stat(self, name: str) -> BlobStat:
        return _stat(self._find(name))

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        check_prefix(prefix)
        for versions in list_versions(self._client, prefix):
            found = as_of(versions, self._moment)
            if found is not None and all(map(is_part, found.name.split("/"))):
                self._known[found.name] = found
                yield _stat(found)

    def secure(self, prefix: str) -> None:
        """Do nothing: what a service shows is durable."""
        check_prefix(prefix)

    def free_space(self) -> int | None:
        return None

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:  # noqa: ARG002
        self._refuse("delete temporary files")

    def _find(self, name: str) -> Version:
        """Return the version of a blob that was current. Raise BlobMissing."""
        check_name(name)
        if name not in self._known:
            for versions in list_versions(self._client, name):
                found = as_of(versions, self._moment)
                if versions[0].name == name and found is not None:
                    self._known[name] = found
                break  # the name itself sorts before all that it is the beginning of
        if name not in self._known:
            raise BlobMissing(self.url, name)
        return self._known[name]

    def _read(self, s3: Any, version: Version, start: int, end: int) -> bytes:
        wanted = {**self._client.of(version.name), "VersionId": version.id}
        body: bytes = s3.get_object(**wanted, Range=f"bytes={start}-{end - 1}")["Body"].read()
        return body

    def _refuse(self, action: str) -> NoReturn:
        advice = "take the option versions= out of the address to write"
        raise PastIsReadOnly(self._options.url, action, f"it is read {self._words}", advice)


def _stat(version: Version) -> BlobStat:
    return BlobStat(version.name, version.size, float(int(version.since.timestamp())))
