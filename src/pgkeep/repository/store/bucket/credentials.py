"""Where a bucket's credentials come from, and whether they are still the newest.

They never stand in an address, on a command line, in a message or in a repr. What is not named here
(workload identity, the instance's own role) is obstore's to find.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from pgkeep.repository.store.bucket import aws
from pgkeep.repository.store.bucket.errors import CredentialsMissing
from pgkeep.repository.store.bucket.options import BucketOptions
from pgkeep.repository.store.bucket.private import BadCredentials, read_private

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
    file = options.credentials_file
    try:
        if options.scheme == "s3":
            places = aws.places(file, options.profile)
            stamps = tuple(map(stamp_of, places.files))
            found = aws.find(places)
            return Credentials(found.settings, stamps, found.expires)
        if not file:
            return Credentials({})
        stamp = stamp_of(file)
        content = read_private(file)
        settings = _google(file, content) if options.scheme == "gs" else _azure(file, content)
        return Credentials(settings, (stamp,))
    except BadCredentials as error:
        raise CredentialsMissing(options.url, "open the bucket", error.why, error.advice) from error


def _google(file: str, content: str) -> dict[str, str]:
    """A service account's key; other kinds of Google's JSON files name their kind."""
    try:
        kind = json.loads(content).get("type", "service_account")
    except (ValueError, AttributeError):
        advice = "make one: gcloud iam service-accounts keys create"
        raise BadCredentials(f"{file} is no JSON file of Google's", advice) from None
    name = "service_account" if kind == "service_account" else "application_credentials"
    return {name: file}


def _azure(file: str, content: str) -> dict[str, str]:
    """A connection string, a shared access signature or an account key: one line."""
    line = content.strip()
    if "\n" in line or not line:
        why = f"{file} does not hold one line"
        advice = "it takes a connection string, a shared access signature or an account key"
        raise BadCredentials(why, advice)
    if "sig=" in line and "AccountName=" not in line and ";" not in line:
        return {"sas_key": line.removeprefix("?")}
    if ";" not in line:
        return {"account_key": line}
    pairs = dict(part.partition("=")[::2] for part in line.split(";") if part)
    known = {
        "AccountName": "account_name",
        "AccountKey": "account_key",
        "SharedAccessSignature": "sas_key",
        "BlobEndpoint": "endpoint",
    }
    found = {ours: pairs[name] for name, ours in known.items() if name in pairs}
    if not {"account_key", "sas_key"} & found.keys():
        raise BadCredentials(f"{file} has neither AccountKey= nor SharedAccessSignature=")
    return found
