"""Passwords and tokens: how they are stored, and compared without telling anything by time."""

import hashlib
import hmac
import secrets
from functools import cache
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final

from pgkeep.api.errors import BadUser

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 12  # characters: guessed against a stolen file, fewer do not last
_KINDS: Final = 6  # different characters
LONGEST: Final = 1024  # bytes: hashing must not become a way to keep this host busy
# Each takes 64 MiB (argon2-cffi's RFC 9106 profile for small memory) and 50 ms of two cores.
_AT_ONCE: Final = BoundedSemaphore(2)
_TOKEN_START: Final = "pgkeep"  # noqa: S105 - what scanners for leaked secrets look for


def hash_password(password: str) -> str:
    """Return what is stored of a password. Raise BadUser when it is too short or too long."""
    if len(password) < SHORTEST:
        why = f"it has fewer than {SHORTEST} characters"
        raise BadUser("use this password", why, "take four words that do not belong together")
    if len(password.encode()) > LONGEST:
        raise BadUser("use this password", f"it is longer than {LONGEST} bytes")
    if len(set(password)) < _KINDS:
        why = f"it has fewer than {_KINDS} different characters"
        raise BadUser("use this password", why, "take four words that do not belong together")
    with _AT_ONCE:
        return _hasher().hash(password)


def is_password(stored: str | None, password: str) -> bool:
    """Tell whether `password` is the one stored; without one stored, take as long to say no."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password.encode(errors="replace")) > LONGEST:
        return False
    with _AT_ONCE:
        try:
            _hasher().verify(stored or _nobodys(), password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
    return stored is not None


def new_token() -> tuple[str, str, str]:
    """Return a token's id, the token, and what is stored of it."""
    id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    token = f"{_TOKEN_START}_{id}_{secret}"
    return id, token, hash_token(token)


def token_id(token: str) -> str | None:
    """Return the id in a token, or None where it cannot be one."""
    start, _, rest = token.partition("_")
    id, _, secret = rest.partition("_")
    return id if start == _TOKEN_START and id and secret and len(token) < 200 else None


def hash_token(token: str) -> str:
    """Return what is stored of a token. It is random, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def is_token(stored: str, token: str) -> bool:
    """Tell whether `token` is the one stored, in the same time whichever it is."""
    return same(stored, hash_token(token))


def same(one: str, other: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher, profiles

    return PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)


@cache
def _nobodys() -> str:
    return _hasher().hash(secrets.token_hex(16))
