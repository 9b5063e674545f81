"""A store in a bucket, through obstore. docs/object-stores.md says what it needs.

Each request is one attempt of obstore's; when to try again is decided here (retry.py), because only
here it is known what a second attempt may do.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pgkeep.repository.store import durable
from pgkeep.repository.store.base import (
    Beginning,
    BlobExists,
    BlobMissing,
    BlobStat,
    ShortRead,
    TempFile,
)
from pgkeep.repository.store.blob_names import check_name, check_prefix
from pgkeep.repository.store.bucket.connection import (
    Absent,
    BeyondEnd,
    Connection,
    Taken,
    look_at,
)
from pgkeep.repository.store.bucket.errors import BrokenTransfer
from pgkeep.repository.store.bucket.listing import Listing
from pgkeep.repository.store.bucket.options import parse
from pgkeep.repository.store.bucket.retry import Patience
from pgkeep.repository.store.bucket.upload import TEMP, Uploads

if TYPE_CHECKING:
    from pgkeep.repository.store.bucket.opening import Client


class _Range(NamedTuple):
    size: int  # bytes of the whole object
    content: bytes


class BucketStore:
    """Blobs as objects of one bucket, below a prefix. See base.Store.

    Nothing is asked of the service before the first call. Not to be used across fork().
    """

    def __init__(self, address: str, patience: Patience | None = None) -> None:
        self._options = parse(address)
        self._connection = Connection(self._options, patience)
        self._uploads = Uploads(self._connection)
        self._listing = Listing(self._connection)

    @property
    def url(self) -> str:
        return self._options.url

    @property
    def address(self) -> str:
        return self._options.address

    @property
    def union(self) -> None:
        return None

    @property
    def calls_at_once(self) -> int:
        return 4

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        check_name(name)
        self._uploads.put(name, parts)

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        check_name(name)
        try:
            self._uploads.create(name, parts)
        except Taken:
            raise BlobExists(self.url, name) from None

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        if length == 0:
            return self._nothing(name, start, length)
        try:
            found = self._read(name, start, length)
        except BeyondEnd:
            return self._nothing(name, start, length)
        end = found.size if length is None else start + length
        if max(start, end) > found.size:
            raise ShortRead(self.url, name, max(start, end), found.size)
        return found.content

    def beginning(self, name: str, most: int) -> Beginning:
        check_name(name)
        try:
            found = self._read(name, 0, most)
        except BeyondEnd:  # there is no first byte
            return Beginning(self._nothing(name, 0, None), 0)
        return Beginning(found.content, found.size)

    def stat(self, name: str) -> BlobStat:
        check_name(name)
        try:
            found = self._connection.ask(f"read {name}", lambda client, _: look_at(client, name))
        except Absent as absent:
            self._demand_missing(name, absent)
            raise BlobMissing(self.url, name) from None
        # Whole seconds: headers tell no more, and a listing must not tell another time.
        return BlobStat(name, found["size"], float(int(found["last_modified"].timestamp())))

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        check_prefix(prefix)
        return self._listing.blobs(prefix)

    def delete(self, name: str) -> None:
        check_name(name)
        self._delete(name)

    def secure(self, prefix: str) -> None:
        """Do nothing: what a service shows is durable."""
        check_prefix(prefix)

    def free_space(self) -> int | None:
        return None

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        """Remove large uploads whose writers died before they were copied to their names.

        Parts of uploads that were never completed can't be seen: a lifecycle rule of the bucket
        removes them, see docs/object-stores.md.
        """
        swept = []
        for name, size, modified in self._listing.everything(f"{TEMP}/"):
            dead = not durable.writer_is_alive(name.removeprefix(f"{TEMP}/"))
            if dead and now - modified >= older_than:
                self._delete(name)
                swept.append(TempFile(name, size))
        return sorted(swept)

    def demand_bucket(self) -> None:
        """Raise BucketMissing, StoreDenied, ... unless objects can be asked for."""
        self._connection.ask("read the bucket", lambda client, _: _is_answering(client))

    def _read(self, name: str, start: int, length: int | None) -> "_Range":
        """Read a range, or what there is of it. Raise BlobMissing or BeyondEnd."""
        try:
            return self._connection.ask(
                f"read {name}", lambda client, _: self._range(client, name, start, length)
            )
        except Absent as absent:
            self._demand_missing(name, absent)
            raise BlobMissing(self.url, name) from None

    def _range(self, client: "Client", name: str, start: int, length: int | None) -> "_Range":
        import obstore

        # Always a range, also from the beginning: then the answer tells the object's whole size,
        # and not just how much somebody on the way has let through.
        wanted: Any = {"offset": start} if length is None else (start, start + length)
        answer = obstore.get(client, name, options={"range": wanted})
        size = answer.meta["size"]
        content = answer.bytes().to_bytes()
        end = size if length is None else min(start + length, size)
        if len(content) != max(end - start, 0):
            why = f"{len(content)} bytes came instead of {end - start}"
            raise BrokenTransfer(self.url, f"read {name}", why)
        return _Range(size, content)

    def _nothing(self, name: str, start: int, length: int | None) -> bytes:
        """Return a range that has no bytes. Raise ShortRead, or BrokenTransfer if it has some."""
        size = self.stat(name).size
        end = size if length is None else start + length
        if max(start, end) > size:
            raise ShortRead(self.url, name, max(start, end), size)
        if start < end:
            why = f"it says that the object ends before byte {start}, and that it has {size}"
            raise BrokenTransfer(self.url, f"read {name}", why)
        return b""

    def _delete(self, name: str) -> None:
        import obstore

        try:
            self._connection.ask(f"delete {name}", lambda client, _: obstore.delete(client, name))
        except Absent as absent:
            self._demand_missing(name, absent)

    def _demand_missing(self, name: str, absent: Absent) -> None:
        """Return if the service says that an object is missing, and not the bucket it is in.

        An answer to HEAD has no body, so it doesn't tell what is missing; one to GET does.
        """
        if absent.sure:
            return
        try:
            action = f"read {name}"
            self._connection.ask(action, lambda client, _: self._range(client, name, 0, 1))
        except Absent as again:
            if not again.sure:  # a store that names no reasons: then one that lists has a bucket
                next(self._listing.everything(f"{name}/"), None)
        except BeyondEnd:
            return


def _is_answering(client: "Client") -> None:
    import obstore

    next(iter(obstore.list(client, TEMP, chunk_size=1)), None)
