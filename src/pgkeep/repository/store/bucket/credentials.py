"""Where a bucket's credentials come from, and whether they are still the newest.

They never stand in an address, on a command line, in a message or in a repr. What is not named here
(workload identity, the instance's own role) is obstore's to find.
"""

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from pgkeep.repository.store.bucket import aws
from pgkeep.repository.store.bucket.errors import CredentialsMissing
from pgkeep.repository.store.bucket.options import BucketOptions

_EARLY: Final = 120  # seconds: a request that starts now must still be signed with them


class Stamp(NamedTuple):
    """Tells a file from its successor."""

    path: str
    changed: int  # nanoseconds; 0 when it is not there
    inode: int
    size: int


class Credentials:
    """Settings of a client that hold secrets, and what they were read from."""

    def __init__(
        self, settings: dict[str, str], files: tuple[Stamp, ...] = (), expires: float | None = None
    ) -> None:
        self.settings = settings
        self._files = files
        self._expires = expires  # seconds since 1970

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self.settings)})"

    def outdated(self, clock: Callable[[], float] = time.time) -> bool:
        """Tell whether there may be newer ones: a file changed, or their time is nearly over."""
        if self._expires is not None and clock() > self._expires - _EARLY:
            return True
        return any(stamp_of(stamp.path) != stamp for stamp in self._files)


def stamp_of(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return Stamp(path, 0, 0, 0)
    return Stamp(path, found.st_mtime_ns, found.st_ino, found.st_size)


def find_credentials(options: BucketOptions) -> Credentials:
    """Read the credentials that the options name. Raise CredentialsMissing."""
    try:
        if options.scheme == "s3":
            places = aws.places(options.credentials_file, options.profile)
            stamps = tuple(map(stamp_of, places.files))
            found = aws.find(places)
            return Credentials(found.settings, stamps, found.expires)
    except aws.BadProfile as error:
        raise CredentialsMissing(options.url, "open the bucket", error.why, error.advice) from error
    return Credentials({})
