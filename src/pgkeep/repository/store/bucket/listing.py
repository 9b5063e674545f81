"""Listing a bucket: page by page, in name order, whatever else lies there."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pgkeep.repository.store.base import BlobStat, StoreFailed
from pgkeep.repository.store.blob_names import is_part
from pgkeep.repository.store.bucket.connection import Absent, Connection, look_at

if TYPE_CHECKING:
    from pgkeep.repository.store.bucket.opening import Client

_PAGE: Final = 1000  # what services give at most per request


class Listing:
    """The blobs of one bucket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        options = connection.options
        # Azure sorts by folder where it has a hierarchical namespace, S3 not at all in its
        # directory buckets; all others promise the order of the keys' bytes.
        self._sorted = options.scheme != "az" and not options.bucket.endswith("--x-s3")

    def blobs(self, prefix: str) -> Iterator[BlobStat]:
        """Yield what has a blob's name, in name order."""
        found = (
            blob
            for blob in self.everything(prefix)
            if all(map(is_part, blob.name.split("/"))) and (blob.size or self._is_blob(blob.name))
        )
        if not self._sorted:
            yield from sorted(found)
            return
        last = ""
        for blob in found:
            if blob.name <= last:
                action, why = f"list {prefix or 'everything'}", "it lists its objects in no order"
                raise StoreFailed(self._connection.options.url, action, why)
            last = blob.name
            yield blob

    def everything(self, prefix: str) -> Iterator[BlobStat]:
        """Yield all objects whose names start with `prefix`, as the service lists them."""
        for found in self._pages(prefix):
            for entry in found:
                name = entry["path"]
                if name.startswith(prefix):
                    modified = float(int(entry["last_modified"].timestamp()))
                    yield BlobStat(name, entry["size"], modified)
                elif self._sorted and name > prefix:
                    return

    def _pages(self, prefix: str) -> Iterator[Any]:
        """Yield pages. After a failure a listing goes on behind the last name that came."""
        import obstore

        folder = prefix.rpartition("/")[0]
        # obstore lists folders; the names before the prefix are left out by the service.
        last = "" if prefix.endswith("/") or not prefix else _just_before(prefix)
        stream: Any = None

        def request(client: "Client", number: int) -> Any:
            nonlocal stream
            if stream is None or number > 1:
                stream = iter(
                    obstore.list(client, folder or None, offset=last or None, chunk_size=_PAGE)
                )
            return next(stream, None)

        while True:
            try:
                page = self._connection.ask(f"list {prefix or 'everything'}", request)
            except Absent:
                # A listing of a bucket that is there is never "not found".
                url, action = self._connection.options.url, f"list {prefix or 'everything'}"
                raise StoreFailed(url, action, "it answered 404") from None
            if page is None:
                return
            last = page[-1]["path"]
            yield page

    def _is_blob(self, name: str) -> bool:
        """Tell an empty blob from the mark that consoles leave for an empty folder, 'name/'."""

        try:
            self._connection.ask(f"read {name}", lambda client, _: look_at(client, name))
        except Absent:
            return False
        return True


def _just_before(prefix: str) -> str:
    """Return a name that comes before all that start with `prefix`, and close to them."""
    return prefix[:-1] + chr(ord(prefix[-1]) - 1)
