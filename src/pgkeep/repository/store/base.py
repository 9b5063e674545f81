"""What every store can do. docs/formats/repository.md says what is kept in one."""

from collections.abc import Iterator, Sequence

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pgkeep.repository.store.copies import Copies


class BlobStat(NamedTuple):
    """What a listing tells of a blob."""

    name: str
    size: int  # bytes
    modified: float  # seconds since 1970, by the store's clock


class Beginning(NamedTuple):
    """What a blob begins with, and how long it is in all."""

    content: bytes
    size: int  # bytes of the whole blob


class TempFile(NamedTuple):
    """What a writer that died left behind. No reader ever sees it."""

    name: str
    size: int  # bytes


class Store(Protocol):
    """Named blobs. Knows nothing about backups.

    Names are relative, '/'-separated, of [A-Za-z0-9._-] in each part, and never start with a dot.
    put() and create() are atomic and durable: once they return the blob survives a power cut; if
    they raise, or the process dies, readers see no blob or the old one, never half of the new one.
    Stores hold no open handles that matter across fork, and can be used from several threads.
    """

    @property
    def url(self) -> str:
        """Return how people are told which store it is."""
        ...

    @property
    def address(self) -> str:
        """Return what `open_store` takes to open the same store in another process: no secrets."""
        ...

    @property
    def union(self) -> "Copies | None":
        """Return the union of copies that this is, so that a damaged blob can be read elsewhere."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Return how many calls its user should have under way: 1 where none has a long way."""
        ...

    def put(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """Store the concatenation of `parts`, replacing what was there."""
        ...

    def create(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """put(), but raise BlobExists when the name is taken; of two racing calls one wins."""
        ...

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return a range, to the end by default. Raise BlobMissing; ShortRead if it ends before."""
        ...

    def beginning(self, name: str, most: int) -> Beginning:
        """Return up to `most` (at least 1) bytes from the start, by one request as a rule.

        For whoever does not know a blob's size. Raise BlobMissing; ShortRead if it was cut off.
        """
        ...

    def stat(self, name: str) -> BlobStat:
        """Raise BlobMissing."""
        ...

    def list(self, prefix: str = "") -> Iterator[BlobStat]:
        """Yield every blob whose name starts with `prefix`, in name order; none is no error."""
        ...

    def delete(self, name: str) -> None:
        """Remove a blob. Deleting what is not there succeeds."""
        ...

    def secure(self, prefix: str) -> None:
        """Make durable what others have stored or deleted below `prefix`, a folder with its slash.

        What put(), create() and delete() do can be seen before they return: whoever relies on what
        he sees of another's work must ask for this first. Nothing there is no error.
        """
        ...

    def free_space(self) -> int | None:
        """Return the bytes still free, or None where there is no such limit."""
        ...

    def sweep_temp(self, older_than: float, now: float) -> Sequence[TempFile]:
        """Remove and return what writers left that died more than `older_than` seconds ago."""
        ...


class BlobMissing(PgkeepError):
    """A blob that should be there is not."""

    code = "blob-missing"
    exit_status = 20

    store: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} is not in {self.store}"


class BlobExists(PgkeepError):
    """A name is taken already; what is stored was left alone."""

    code = "blob-exists"
    exit_status = 21

    store: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} exists already in {self.store}"


class ShortRead(PgkeepError):
    """A blob is shorter than what was recorded of it: it was cut off."""

    code = "short-read"
    exit_status = 22

    store: str
    name: str
    wanted: int  # the byte up to which the blob was to be read
    size: int

    def __str__(self) -> str:
        return f"{self.name} in {self.store} ends at byte {self.size}, needed up to {self.wanted}"

    @property
    def hint(self) -> str:
        return "the object was cut off: restore it from another copy of the repository"


class UnsafeName(PgkeepError):
    """A blob name that could lead out of the store."""

    code = "unsafe-name"
    exit_status = 23

    name: str

    def __str__(self) -> str:
        return f"{self.name!r} is not a name for an object in a repository"


class StoreFailed(PgkeepError):
    """The store answered with an error, or not at all."""

    code = "store-failed"
    exit_status = 24
    retryable = True

    store: str
    action: str  # 'read pgkeep.json'
    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot {self.action} in {self.store}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class StoreFull(StoreFailed):
    """There is no room left in the store; nothing half-written remains visible."""

    code = "store-full"
    exit_status = 25
    retryable = False

    @property
    def hint(self) -> str:
        return f"free space in {self.store} or give the repository more, then run it again"
