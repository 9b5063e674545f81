"""What the address of a bucket says: where it is and how to talk to it, but never a secret. Pure.

    s3://bucket/prefix?endpoint=https://minio.example:9000&region=eu-central-1

docs/object-stores.md describes every option.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pgkeep.repository.store.blob_names import is_part
from pgkeep.repository.store.open import BadStoreUrl
from pgkeep.units import KIB, MIB, BadUnit, parse_duration, parse_size

SERVICES: Final = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
_ALL: Final = ("s3", "gs", "az")
_BUCKET_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
# Keys end at 1024 bytes (Azure, GCS and S3 alike), and a blob's name may take 900.
_PREFIX_LENGTH: Final = 120
_LONGEST: Final = 3600  # seconds
_PART_SIZE: Final = 16 * MIB
_PART_LIMITS: Final = (5 * MIB, 1024 * MIB)  # S3 takes no smaller parts; a part lies in memory


class BucketOptions(NamedTuple):
    """A bucket's address, read. Empty text: whatever the service or its environment says."""

    scheme: str  # s3, gs or az
    bucket: str
    prefix: str  # '' or 'a/b': all blobs lie below it
    endpoint: str = ""
    region: str = ""
    path_style: bool | None = None
    profile: str = ""
    credentials_file: str = ""
    account: str = ""
    storage_class: str = ""
    server_side_encryption: str = ""
    kms_key: str = ""
    ca_file: str = ""
    proxy: str = ""
    connect_timeout: int = 10  # seconds
    timeout: int = 60  # seconds without an answer
    retry_for: int = 30  # seconds
    part_size: int = _PART_SIZE  # bytes
    versions: str = ""  # 'before:MOMENT': what was current then is read, and nothing written

    @property
    def url(self) -> str:
        """Return the name for people."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def bucket_in_path(self) -> bool:
        """Whether the bucket stands in the path of requests; else in the host's name."""
        if self.path_style is None:
            return bool(self.endpoint) or "." in self.bucket
        return self.path_style

    @property
    def address(self) -> str:
        """Return what parse() reads as the same options: in another process, on another host."""
        given = {
            name: _written(value)
            for name, value in zip(self._fields[3:], self[3:], strict=True)
            if value != self._field_defaults[name]
        }
        query = urlencode(sorted(given.items()), safe=":/", quote_via=quote)
        return self.url + (f"?{query}" if query else "")


def parse(address: str) -> BucketOptions:
    """Read an address. Raise BadStoreUrl, which names what is valid and repeats no secret."""
    parts = urlsplit(address)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        why = "it has a user or a secret in it, and addresses are shown and stored"
        raise BadStoreUrl(shown, why, "name a credentials_file, a profile or the environment")
    if parts.fragment:
        raise BadStoreUrl(shown, "it has a '#' in it", "leave out what begins with '#'")
    bucket, prefix = parts.netloc, unquote(parts.path).strip("/")
    if not 3 <= len(bucket) <= 222 or not _BUCKET_CHARACTERS.issuperset(bucket):
        example = f"{parts.scheme}://my-backups/pgkeep"
        raise BadStoreUrl(shown, f"{bucket!r} is no name of a bucket", f"write it like {example}")
    if prefix and not (len(prefix) <= _PREFIX_LENGTH and all(map(is_part, prefix.split("/")))):
        why = f"{prefix!r} cannot be where a repository begins"
        advice = f"use letters, digits, '.', '_', '-' and '/', at most {_PREFIX_LENGTH} of them"
        raise BadStoreUrl(shown, why, advice)
    found = _options(shown, parts.scheme, parts.query)
    options = BucketOptions(parts.scheme, bucket, prefix, **found)
    _check_together(shown, options)
    return options


def _options(shown: str, scheme: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        schemes, read = _READERS.get(name, ((), _text))
        if scheme not in schemes:
            known = sorted(option for option, (fits, _) in _READERS.items() if scheme in fits)
            what = f"{SERVICES[scheme]} has no option {name!r}"
            raise BadStoreUrl(shown, what, f"there is {', '.join(known)}")
        if name in found:
            advice = "keep one: the config's options and the url's come together"
            raise BadStoreUrl(shown, f"{name} is there twice", advice)
        try:
            found[name] = read(text)
        except (ValueError, BadUnit) as error:
            advice = getattr(error, "hint", "") or str(error)
            raise BadStoreUrl(shown, f"{name} cannot be {text!r}", advice) from error
    return found


def _check_together(shown: str, options: BucketOptions) -> None:
    if options.kms_key and "kms" not in options.server_side_encryption:
        advice = "add server_side_encryption = aws:kms"
        raise BadStoreUrl(shown, "kms_key is of no use without encryption by KMS", advice)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that nobody can see")
    return text


def _web(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write it like https://storage.example.com:9000")
    if "@" in parts.netloc:
        raise ValueError("it may hold no user and no secret")
    return text.rstrip("/")


def _file(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("write an absolute path")
    return _text(text)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it takes true or false")
    return text == "true"


def _seconds(text: str) -> int:
    seconds = int(text) if text.isascii() and text.isdigit() else parse_duration(text)
    if not 1 <= seconds <= _LONGEST:
        raise ValueError("it takes 1s to 1h")
    return seconds


def _patience(text: str) -> int:
    return 0 if text in ("0", "0s") else _seconds(text)


def _part(text: str) -> int:
    size = parse_size(text)
    low, high = _PART_LIMITS
    if not low <= size <= high or size % KIB:
        raise ValueError(f"it takes {low // MIB}MiB to {high // MIB}MiB")
    return size


def _before(text: str) -> str:
    """Return 'before:2026-11-20T03:00:00+00:00', from any moment with a zone."""
    kind, _, moment = text.partition(":")
    advice = "write it like before:2026-11-20T03:00Z"
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise ValueError(advice) from None
    if kind != "before" or found.tzinfo is None:
        raise ValueError(advice)
    # Stores tell the times of versions in whole seconds: what happened within this one came after.
    return f"before:{found.astimezone(UTC).replace(microsecond=0):%Y-%m-%dT%H:%M:%SZ}"


def _encryption(text: str) -> str:
    known = ("AES256", "aws:kms", "aws:kms:dsse")
    if text not in known:
        raise ValueError(f"it takes {', '.join(known)}")
    return text


_READERS: Final[dict[str, tuple[tuple[str, ...], Callable[[str], Any]]]] = {
    "endpoint": (_ALL, _web),
    "region": (("s3",), _text),
    "path_style": (("s3",), _truth),
    "profile": (("s3",), _text),
    "credentials_file": (_ALL, _file),
    "account": (("az",), _text),
    "storage_class": (("s3", "gs"), _text),
    "server_side_encryption": (("s3",), _encryption),
    "kms_key": (("s3",), _text),
    "ca_file": (_ALL, _file),
    "proxy": (_ALL, _web),
    "connect_timeout": (_ALL, _seconds),
    "timeout": (_ALL, _seconds),
    "retry_for": (_ALL, _patience),
    "part_size": (_ALL, _part),
    "versions": (("s3",), _before),
}
