"""From an address to a store."""

import os
from collections.abc import Callable

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, Final
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.durable import make_folder
from pgkeep.repository.store.local import LocalStore
from pgkeep.repository.store.os_errors import translate

if TYPE_CHECKING:
    from pgkeep.repository.store.bucket.store import BucketStore
    from pgkeep.repository.store.memory import MemoryStore
    from pgkeep.repository.store.sftp.store import SftpStore

_BUCKETS: Final = ("s3://", "gs://", "az://")
_IN_MEMORY: "Final[dict[str, MemoryStore]]" = {}  # one address is one store, as everywhere


class BadStoreUrl(PgkeepError):
    """An address that leads to no kind of store that pgkeep knows."""

    code = "bad-store-url"
    exit_status = 30

    url: str
    why: str
    advice: str = 'write an absolute path, like url = "/var/lib/pgkeep"'

    def __str__(self) -> str:
        return f"cannot use {self.url!r} as a repository: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


def open_store(url: str, wrap: Callable[[Store], Store] | None = None) -> Store:
    """Return the store at `url`: a path, file:///path, s3://, gs:// or az://bucket/prefix,
    sftp://user@host/path, memory:name within a process, or copies:ADDRESS,ADDRESS, quoted.

    `wrap` adds behaviour to it; to copies one by one. Nothing is read or made, nobody is connected
    to. Raise BadStoreUrl.
    """
    if url.startswith("copies:"):
        from urllib.parse import unquote

        from pgkeep.repository.store.copies import Copies

        addresses = url.removeprefix("copies:").split(",")
        return Copies([open_store(unquote(address), wrap) for address in addresses])
    store = _open(url)
    return store if wrap is None else wrap(store)


def _open(url: str) -> Store:
    if url.startswith(_BUCKETS):
        bucket = _bucket_store(url)
        return _past(url) if "versions=" in bucket.address else bucket
    if url.startswith("sftp:"):
        return _sftp_store(url)
    if url.startswith("memory:"):
        from pgkeep.repository.store.memory import MemoryStore  # not on the way of WAL commands

        name = url.removeprefix("memory:")
        return _IN_MEMORY.setdefault(name, MemoryStore(name))
    return LocalStore(_path(url))


def make_store(url: str) -> Store:
    """open_store(), and make the directory (and those above it) if it is not there.

    A bucket is its owner's to make: that it is missing is an error.
    """
    if url.startswith(_BUCKETS):
        bucket = _bucket_store(url)
        bucket.demand_bucket()
        return bucket
    if url.startswith("sftp:"):
        remote = _sftp_store(url)
        remote.make_root()
        return remote
    store = open_store(url)
    if not url.startswith("memory:"):
        try:
            _make_folders(store.url)
        except OSError as error:
            raise translate(error, store.url, "make the directory") from error
    return store


def _bucket_store(url: str) -> "BucketStore":
    from pgkeep.repository.store.bucket.store import BucketStore  # only where one is used

    return BucketStore(url)


def _past(url: str) -> Store:
    from pgkeep.repository.store.bucket.options import parse
    from pgkeep.repository.store.objectlock.past import PastStore  # 0.2 s of botocore

    return PastStore(parse(url))


def _sftp_store(url: str) -> "SftpStore":
    from pgkeep.repository.store.sftp.address import parse_address
    from pgkeep.repository.store.sftp.store import SftpStore  # 0.25 s of paramiko

    return SftpStore(parse_address(url))


def _path(url: str) -> str:
    path = url
    if url.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise BadStoreUrl(url, "it names a host or a query; only file:///path is a directory")
        path = unquote(parts.path)
    elif "://" in url:
        raise BadStoreUrl(url, f"this pgkeep knows no {url.partition(':')[0]} stores")
    if not path.startswith("/"):
        raise BadStoreUrl(url, "it is not an absolute path")
    if "\0" in path or os.path.normpath(path) in ("/", "//"):
        raise BadStoreUrl(url, "a repository cannot be there")
    return path


def _make_folders(path: str) -> None:
    if not os.path.isdir(path):
        _make_folders(os.path.dirname(path))
        make_folder(path)
