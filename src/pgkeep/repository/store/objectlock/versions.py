"""The versions of a bucket's objects, and which of them were current at a moment."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from pgkeep.repository.store.objectlock.client import S3Client


class Version(NamedTuple):
    """One version of an object; or, with `marker`, that it was deleted."""

    name: str  # the blob's, without the bucket's prefix
    id: str
    since: datetime  # when it became current, UTC, by the store's clock
    latest: bool
    marker: bool
    size: int = 0  # bytes
    tag: str = ""  # the same for the same content, stored in the same way


def list_versions(client: S3Client, prefix: str = "") -> Iterator[tuple[Version, ...]]:
    """Yield the versions of each object below `prefix`, in name order; its newest first."""
    for _, versions in groupby(_all(client, prefix), key=lambda version: version.name):
        yield tuple(sorted(versions, key=_age, reverse=True))


def as_of(versions: Iterable[Version], moment: datetime) -> Version | None:
    """Return what was current just before `moment`; None if there was nothing, or it was deleted.

    Times are whole seconds. Of a version and a deletion in the same second the version counts: too
    much is shown then rather than too little.
    """
    before = [version for version in versions if version.since < moment]
    newest = max(before, key=_age, default=None)
    return None if newest is None or newest.marker else newest


def _age(version: Version) -> tuple[datetime, bool, bool]:
    return version.since, version.latest, not version.marker


def _all(client: S3Client, prefix: str) -> Iterator[Version]:
    """Yield all versions of a page at a time; markers and versions come in two lists."""
    wanted = {"Bucket": client.options.bucket, "Prefix": client.prefix + prefix}
    held: list[Version] = []  # of the last key of a page: more of it may follow on the next
    while True:
        page = client.ask(f"see the versions of {prefix or 'everything'}", partial(_page, wanted))
        found = held + [_version(client, entry, marker=False) for entry in page.get("Versions", ())]
        found += [_version(client, entry, marker=True) for entry in page.get("DeleteMarkers", ())]
        found.sort(key=lambda version: version.name)
        if not page.get("IsTruncated"):
            yield from found
            return
        last = found[-1].name if found else ""
        yield from (version for version in found if version.name != last)
        held = [version for version in found if version.name == last]
        wanted |= {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            wanted |= {"VersionIdMarker": page["NextVersionIdMarker"]}


def _page(wanted: dict[str, str], s3: Any) -> Any:
    return s3.list_object_versions(**wanted)


def _version(client: S3Client, entry: Any, *, marker: bool) -> Version:
    return Version(
        entry["Key"].removeprefix(client.prefix),
        entry.get("VersionId") or "null",
        entry["LastModified"].astimezone(UTC),
        bool(entry.get("IsLatest")),
        marker,
        int(entry.get("Size") or 0),
        str(entry.get("ETag") or "").strip('"'),
    )
