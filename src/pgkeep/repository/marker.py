"""pgkeep.json, the file that makes a place a repository; and the form of all small documents.

On disk: docs/formats/repository.md.
"""

from blake3 import blake3

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, Any, Final, NamedTuple
from pgkeep.repository import names, plain_json
from pgkeep.repository.seal import Damaged, FormatTooNew, key_id_of
from pgkeep.repository.store.base import BlobExists, BlobMissing, Store

if TYPE_CHECKING:
    from datetime import datetime

ENCRYPTED: Final = "aes-256-gcm"
NOT_ENCRYPTED: Final = "none"
_FORMAT: Final = 1
_AT_ONCE: Final = 1 << 20  # bytes
_DOCUMENT_LIMIT: Final = 64 << 10  # bytes; the largest ever written has less than 1 KiB


class NotARepository(PgkeepError):
    """There is no repository where one was expected."""

    code = "not-a-repository"
    exit_status = 28

    store: str

    def __str__(self) -> str:
        return f"there is no pgkeep repository in {self.store}: {names.MARKER} is not there"

    @property
    def hint(self) -> str:
        if self.store.startswith("s3://"):
            return (
                "check the repository's url; a new one: pgkeep init; if somebody emptied the "
                "bucket: pgkeep hidden"
            )
        return "check the repository's url and that its disk is mounted; a new one: pgkeep init"


class AlreadyARepository(PgkeepError):
    """A repository cannot be made here: there is one already. It was left alone."""

    code = "already-a-repository"
    exit_status = 29

    store: str
    created_at: str
    encryption: str

    def __str__(self) -> str:
        return (
            f"cannot make a repository in {self.store}: there is one already, "
            f"made {self.created_at} with encryption {self.encryption}"
        )

    @property
    def hint(self) -> str:
        return "use it as it is, or give another place as url"


class Marker(NamedTuple):
    """What a repository says of itself before anything else is read."""

    repository_id: str  # 32 hexadecimal digits
    created_at: str  # as format_moment() writes it
    encryption: str
    key_check: str | None  # 64 hexadecimal digits; fits the master key

    @property
    def key_id(self) -> str:
        """The master key's id as key slots write it; '' without encryption."""
        return f"{key_id_of(bytes.fromhex(self.key_check)):08x}" if self.key_check else ""


def read_marker(store: Store) -> Marker:
    """Raise NotARepository, FormatTooNew or Damaged."""
    try:
        facts = read_document(store, names.MARKER)
    except BlobMissing:
        raise NotARepository(store.url) from None
    try:
        return Marker(
            str(facts["repository_id"]),
            _moment(facts["created_at"]),
            _encryption(facts["encryption"]),
            None if facts["key_check"] is None else bytes.fromhex(facts["key_check"]).hex(),
        )
    except (KeyError, TypeError, ValueError) as error:
        where = f"{names.MARKER} in {store.url}"
        raise Damaged(where, f"a fact is missing or wrong ({error})") from error


def create_marker(store: Store, marker: Marker) -> None:
    """Make the place a repository. Raise AlreadyARepository."""
    facts = marker._asdict()
    try:
        store.create(names.MARKER, [encode_document(facts)])
    except BlobExists:
        raise already(store) from None


def already(store: Store) -> AlreadyARepository:
    """Return the error that describes the repository which is there."""
    found = read_marker(store)
    return AlreadyARepository(store.url, found.created_at, found.encryption)


def encode_document(facts: dict[str, Any]) -> bytes:
    """Return indented JSON with the format's version and a check over everything else."""
    facts = {"format": _FORMAT, **facts}
    import json

    return json.dumps({**facts, "check": _check(facts)}, indent=2).encode() + b"\n"


def read_document(store: Store, name: str) -> dict[str, Any]:
    """Read what encode_document() wrote. Raise BlobMissing, FormatTooNew or Damaged."""
    if store.union is not None:
        return store.union.intact(lambda copy: read_document(copy, name))
    return decode_document(read_whole(store, name, _DOCUMENT_LIMIT), f"{name} in {store.url}")


def read_whole(store: Store, name: str, limit: int) -> bytes:
    """Read all of a blob; a MiB takes one request. Raise BlobMissing, or Damaged beyond `limit`."""
    content, size = store.beginning(name, min(limit, _AT_ONCE))
    if size > limit:
        raise Damaged(f"{name} in {store.url}", f"it has {size} bytes")
    if size <= len(content):
        return content
    return content + store.get(name, len(content), size - len(content))


def decode_document(content: bytes, where: str) -> dict[str, Any]:
    """Check and return a document's facts. Raise FormatTooNew or Damaged."""
    try:
        facts = plain_json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(where, f"it is not JSON ({error})") from error
    if not isinstance(facts, dict) or type(facts.get("format")) is not int:
        raise Damaged(where, "it does not say its format version")
    if facts["format"] > _FORMAT:  # asked before anything else, which may have changed
        raise FormatTooNew(where, facts["format"], _FORMAT)
    try:
        fits = facts.pop("check", None) == _check(facts)
    except RecursionError:
        fits = False
    if not fits:
        raise Damaged(where, "its check does not fit its content")
    return facts


def timed_id(moment: "datetime", chance: bytes) -> str:
    """Return '20261123T044225.120000Z-7f3a9c01': UTC, then chance. They sort by time."""
    return f"{moment:%Y%m%dT%H%M%S.%fZ}-{chance.hex()}"


def moment_of_id(id: str) -> "datetime | None":
    """Return the time in what timed_id() made; None for what is no such id."""
    from datetime import datetime

    try:
        return datetime.strptime(f"{id.partition('-')[0]}+0000", "%Y%m%dT%H%M%S.%fZ%z")
    except ValueError:
        return None


def format_moment(moment: "datetime") -> str:
    from datetime import UTC

    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parse_moment(text: object) -> "datetime":
    """Read what format_moment() wrote. Raise ValueError."""
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment.astimezone(UTC)


def moment_of(microseconds: int) -> "datetime":
    """Return the moment that is so many microseconds after the beginning of 1970."""
    from datetime import UTC, datetime, timedelta

    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def microseconds_of(moment: "datetime") -> int:
    """Undo moment_of()."""
    from datetime import UTC, datetime, timedelta

    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _check(facts: dict[str, Any]) -> str:
    return blake3(plain_json.canonical(facts)).hexdigest(16)


def _moment(text: object) -> str:
    """Look at a moment's form only: datetime takes 1.4 ms to import, in every WAL command."""
    moment = str(text)
    if "".join("0" if c.isdecimal() else c for c in moment) != "0000-00-00T00:00:00.000000+00:00":
        raise ValueError(f"moment {moment!r}")
    return moment


def _encryption(text: object) -> str:
    if text not in (ENCRYPTED, NOT_ENCRYPTED):
        raise ValueError(f"encryption {text!r}")
    return str(text)
