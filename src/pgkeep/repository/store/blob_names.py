"""Which names a blob can have. The one gate between what is stored and paths of this machine."""

import re
from typing import Final

from pgkeep.repository.store.base import UnsafeName

_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_PARTIAL: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})?")
_LENGTH: Final = 900  # keys of buckets end at 1024 bytes, and their prefix counts


def check_name(name: str) -> None:
    """Raise UnsafeName unless `name` stays inside any store."""
    if len(name) > _LENGTH or not all(map(is_part, name.split("/"))):
        raise UnsafeName(name[:_LENGTH])


def check_prefix(prefix: str) -> None:
    """Raise UnsafeName unless names of blobs can begin like this."""
    *folders, last = prefix.split("/")
    whole = len(prefix) <= _LENGTH and all(map(is_part, folders))
    if not whole or _PARTIAL.fullmatch(last) is None:
        raise UnsafeName(prefix[:_LENGTH])


def is_part(part: str) -> bool:
    """Tell whether this can stand between two slashes of a name."""
    return _PART.fullmatch(part) is not None
